/*
 * A factoriser whose numbers all live on the heap: usage bench_factor NUMBERS.
 * Pollard's rho over products of three primes of 30 bits, in a small bignum package where every operation makes a new number
 * and drops those it used up. About 15 ns of work an event; calls are 8 to 10 deep.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))
#define LIMBS 8 /* of 32 bits; enough for a product of two residues */

/* limb[0] is the lowest; no leading zero limbs, zero has none */
struct big {
	uint32_t len;
	uint32_t limb[];
};

static NOINLINE struct big *big_new(uint32_t len)
{
	struct big *b = malloc(sizeof *b + len * sizeof b->limb[0]);
	if (!b || len > LIMBS)
		abort();
	b->len = len;
	return b;
}

static struct big *trim(struct big *b)
{
	while (b->len && b->limb[b->len - 1] == 0)
		b->len--;
	return b;
}

static NOINLINE struct big *big_of(uint64_t value)
{
	struct big *b = big_new(2);
	b->limb[0] = (uint32_t)value;
	b->limb[1] = (uint32_t)(value >> 32);
	return trim(b);
}

static NOINLINE struct big *big_mul(const struct big *a, const struct big *b)
{
	struct big *r = big_new(a->len + b->len);
	memset(r->limb, 0, r->len * sizeof r->limb[0]);
	for (uint32_t i = 0; i < a->len; i++) {
		uint64_t carry = 0;
		for (uint32_t k = 0; k < b->len; k++) {
			carry += (uint64_t)a->limb[i] * b->limb[k] + r->limb[i + k];
			r->limb[i + k] = (uint32_t)carry;
			carry >>= 32;
		}
		r->limb[i + b->len] = (uint32_t)carry;
	}
	return trim(r);
}

static NOINLINE struct big *big_add(const struct big *a, const struct big *b)
{
	uint32_t longer = a->len > b->len ? a->len : b->len;
	struct big *r = big_new(longer + 1);
	uint64_t carry = 0;
	for (uint32_t i = 0; i <= longer; i++) {
		carry += (uint64_t)(i < a->len ? a->limb[i] : 0) + (i < b->len ? b->limb[i] : 0);
		r->limb[i] = (uint32_t)carry;
		carry >>= 32;
	}
	return trim(r);
}

static int compare(const struct big *a, const struct big *b)
{
	if (a->len != b->len)
		return a->len > b->len ? 1 : -1;
	for (uint32_t i = a->len; i-- > 0;)
		if (a->limb[i] != b->limb[i])
			return a->limb[i] > b->limb[i] ? 1 : -1;
	return 0;
}

/* |a - b| */
static NOINLINE struct big *big_distance(const struct big *a, const struct big *b)
{
	const struct big *more = compare(a, b) >= 0 ? a : b, *less = more == a ? b : a;
	struct big *r = big_new(more->len);
	int64_t borrow = 0;
	for (uint32_t i = 0; i < more->len; i++) {
		borrow += (int64_t)more->limb[i] - (i < less->len ? less->limb[i] : 0);
		r->limb[i] = (uint32_t)borrow;
		borrow >>= 32;
	}
	return trim(r);
}

/* Takes quotient * n from the rest at u, one limb longer than n; adds n back if that was too much. */
static void subtract_row(uint32_t *u, const uint32_t *n, uint32_t len, uint64_t quotient)
{
	uint64_t carry = 0;
	int64_t borrow = 0;
	for (uint32_t i = 0; i <= len; i++) {
		carry += i < len ? quotient * n[i] : 0;
		borrow += (int64_t)u[i] - (uint32_t)carry;
		u[i] = (uint32_t)borrow;
		carry >>= 32;
		borrow >>= 32;
	}
	while (borrow < 0) {
		carry = 0;
		for (uint32_t i = 0; i <= len; i++) {
			carry += (uint64_t)u[i] + (i < len ? n[i] : 0);
			u[i] = (uint32_t)carry;
			carry >>= 32;
		}
		borrow += (int64_t)carry;
	}
}

static void shift_left(uint32_t *to, const uint32_t *from, uint32_t len, int bits)
{
	uint32_t carry = 0;
	for (uint32_t i = 0; i < len; i++) {
		to[i] = from[i] << bits | carry;
		carry = bits ? from[i] >> (32 - bits) : 0;
	}
	to[len] = carry;
}

/* a mod n, by long division with n's highest bit shifted to the top */
static NOINLINE struct big *big_mod(const struct big *a, const struct big *n)
{
	uint32_t u[LIMBS + 2] = {0}, v[LIMBS + 1];
	int bits = __builtin_clz(n->limb[n->len - 1]);
	shift_left(u, a->limb, a->len, bits);
	shift_left(v, n->limb, n->len, bits);
	for (uint32_t k = a->len + 1; k-- > n->len;) {
		uint64_t top = (uint64_t)u[k] << 32 | u[k - 1];
		uint64_t quotient = top / v[n->len - 1];
		subtract_row(u + k - n->len, v, n->len, quotient > UINT32_MAX ? UINT32_MAX : quotient);
	}
	struct big *r = big_new(n->len);
	for (uint32_t i = 0; i < n->len; i++)
		r->limb[i] = (uint32_t)(((uint64_t)u[i + 1] << 32 | u[i]) >> bits);
	return trim(r);
}

static NOINLINE struct big *mul_mod(struct big *a, const struct big *b, const struct big *n)
{
	struct big *product = big_mul(a, b), *r = big_mod(product, n);
	free(product);
	free(a);
	return r;
}

static NOINLINE struct big *step(struct big *x, const struct big *c, const struct big *n)
{
	struct big *square = big_mul(x, x), *sum = big_add(square, c), *r = big_mod(sum, n);
	free(square);
	free(sum);
	free(x);
	return r;
}

/* Uses up a; b stays. */
static NOINLINE struct big *gcd(struct big *a, const struct big *b)
{
	struct big *other = big_add(b, &(struct big){0});
	while (other->len) {
		struct big *rest = big_mod(a, other);
		free(a);
		a = other;
		other = rest;
	}
	free(other);
	return a;
}

/* A divisor of n; n itself, or 1, when this constant finds none */
static NOINLINE struct big *rho(const struct big *n, uint64_t constant)
{
	struct big *c = big_of(constant), *slow = big_of(2), *fast = big_of(2), *product = big_of(1), *d = big_of(1);
	while (d->len == 1 && d->limb[0] == 1) {
		for (int i = 0; i < 64; i++) {
			slow = step(slow, c, n);
			fast = step(step(fast, c, n), c, n);
			struct big *apart = big_distance(slow, fast);
			product = mul_mod(product, apart, n);
			free(apart);
		}
		free(d);
		d = gcd(product, n);
		product = big_of(1);
	}
	free(c);
	free(slow);
	free(fast);
	free(product);
	return d;
}

static NOINLINE uint64_t factor(const struct big *n)
{
	uint64_t found = 0;
	for (uint64_t constant = 1; !found && constant < 20; constant++) {
		struct big *d = rho(n, constant);
		struct big *rest = big_mod(n, d);
		if (rest->len)
			abort(); /* not a divisor: the arithmetic is wrong */
		found = compare(d, n) != 0 ? d->limb[0] : 0;
		free(rest);
		free(d);
	}
	return found;
}

static int is_prime(uint64_t n)
{
	for (uint64_t d = 3; d * d <= n; d += 2)
		if (n % d == 0)
			return 0;
	return n % 2;
}

static struct big *next_prime(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	uint64_t n = (*seed & 0x1fffffff) | 0x20000000;
	while (!is_prime(n))
		n++;
	return big_of(n);
}

static NOINLINE uint64_t factor_all(long numbers)
{
	uint64_t seed = 88172645463325252u, sum = 0;
	for (long i = 0; i < numbers; i++) {
		struct big *p = next_prime(&seed), *q = next_prime(&seed), *r = next_prime(&seed);
		struct big *pq = big_mul(p, q), *n = big_mul(pq, r);
		sum += factor(n);
		free(p);
		free(q);
		free(r);
		free(pq);
		free(n);
	}
	return sum;
}

int main(int argc, char **argv)
{
	long numbers = argc == 2 ? atol(argv[1]) : 0;
	if (numbers <= 0) {
		fprintf(stderr, "usage: bench_factor NUMBERS\n");
		return 2;
	}
	printf("%llu\n", (unsigned long long)factor_all(numbers));
	return 0;
}
