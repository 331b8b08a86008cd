/*
 * Complements of two-level Boolean covers by recursive expansion: usage bench_cubes COVERS.
 * The shape of a logic minimiser: cubes are small blocks of a few sizes, a cover is an array of them, recursion goes down
 * a variable at a time, so that stacks are about 14 deep and change slowly. About 60 ns of work an event.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLES 16
#define CUBES 48

/* For variable v, bits 2v and 2v + 1: may be 0, may be 1. The weight makes a block as large as a real cube's. */
struct cube {
	uint64_t bits;
	uint32_t weight[VARIABLES];
};

struct cover {
	uint32_t len, cap;
	struct cube **cube;
};

static const uint64_t ALL = (UINT64_C(1) << (2 * VARIABLES)) - 1;
static uint64_t seed;
static uint64_t checksum;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct cover *cover_new(void)
{
	struct cover *c = calloc(1, sizeof *c);
	if (!c)
		abort();
	return c;
}

static void cover_add(struct cover *c, struct cube *cube)
{
	if (c->len == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 4;
		c->cube = realloc(c->cube, c->cap * sizeof *c->cube);
		if (!c->cube)
			abort();
	}
	c->cube[c->len++] = cube;
}

static struct cube *cube_of(uint64_t bits, const struct cube *like)
{
	struct cube *q = malloc(sizeof *q);
	if (!q)
		abort();
	q->bits = bits;
	for (int v = 0; v < VARIABLES; v++)
		q->weight[v] = like ? like->weight[v] + 1 : 0;
	return q;
}

static void cover_free(struct cover *c)
{
	for (uint32_t i = 0; i < c->len; i++)
		free(c->cube[i]);
	free(c->cube);
	free(c);
}

static struct cover *cofactor(const struct cover *c, int v, uint64_t side)
{
	struct cover *r = cover_new();
	uint64_t both = UINT64_C(3) << (2 * v);
	for (uint32_t i = 0; i < c->len; i++)
		if (c->cube[i]->bits & side << (2 * v))
			cover_add(r, cube_of(c->cube[i]->bits | both, c->cube[i]));
	return r;
}

/* The variable that most cubes care about; -1: some cube covers everything */
static int split_variable(const struct cover *c)
{
	uint32_t cares[VARIABLES] = {0};
	int best = 0;
	for (uint32_t i = 0; i < c->len; i++) {
		if (c->cube[i]->bits == ALL)
			return -1;
		for (int v = 0; v < VARIABLES; v++)
			cares[v] += (c->cube[i]->bits >> (2 * v) & 3) != 3;
	}
	for (int v = 1; v < VARIABLES; v++)
		if (cares[v] > cares[best])
			best = v;
	return best;
}

/* Everything of `from` with the variable held to one side, moved into `to` */
static void take_side(struct cover *to, struct cover *from, int v, uint64_t side)
{
	uint64_t mask = ~(UINT64_C(3) << (2 * v)) | side << (2 * v);
	for (uint32_t i = 0; i < from->len; i++) {
		from->cube[i]->bits &= mask;
		cover_add(to, from->cube[i]);
	}
	from->len = 0;
	cover_free(from);
}

/* Drops cubes that lie inside another: what a minimiser spends its time on */
static void absorb(struct cover *c)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < c->len; i++) {
		int inside = 0;
		for (uint32_t k = 0; k < c->len && !inside; k++)
			inside = k != i && c->cube[k] && !(c->cube[i]->bits & ~c->cube[k]->bits);
		if (inside) {
			free(c->cube[i]);
			c->cube[i] = NULL;
		}
	}
	for (uint32_t i = 0; i < c->len; i++)
		if (c->cube[i])
			c->cube[kept++] = c->cube[i];
	c->len = kept;
}

static struct cover *complement(const struct cover *c)
{
	struct cover *r = cover_new();
	if (c->len == 0) {
		cover_add(r, cube_of(ALL, NULL));
		return r;
	}
	int v = split_variable(c);
	for (uint64_t side = 1; v >= 0 && side <= 2; side++) {
		struct cover *part = cofactor(c, v, side);
		take_side(r, complement(part), v, side);
		cover_free(part);
	}
	absorb(r);
	return r;
}

static struct cover *random_cover(void)
{
	struct cover *c = cover_new();
	for (int i = 0; i < CUBES; i++) {
		uint64_t bits = ALL;
		for (int k = 0; k < 5; k++) {
			int v = (int)(next_random() % VARIABLES);
			bits &= ~(UINT64_C(1) << (2 * v + (next_random() & 1)));
		}
		cover_add(c, cube_of(bits, NULL));
	}
	return c;
}

int main(int argc, char **argv)
{
	long covers = argc == 2 ? atol(argv[1]) : 0;
	if (covers <= 0) {
		fprintf(stderr, "usage: bench_cubes COVERS\n");
		return 2;
	}
	for (long n = 0; n < covers; n++) {
		seed = 88172645463325252u + (uint64_t)n * 7919;
		struct cover *c = random_cover(), *not_c = complement(c);
		checksum += not_c->len;
		cover_free(not_c);
		cover_free(c);
	}
	printf("%llu\n", (unsigned long long)checksum);
	return 0;
}
