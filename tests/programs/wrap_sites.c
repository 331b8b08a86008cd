/*
 * Long-lived blocks of several call sites among very many short-lived ones, so that the ring wraps again and again.
 *
 * usage: wrap_sites LONG_LIVED EVENTS [freed: so many of the long-lived ones die at the end]
 * Prints what a log must contain: "block ADDRESS SIZE SITE" for each that lives at the end, and "site NAME ALLOCS BYTES" with
 * everything that was ever allocated there. Output goes through one buffer that is written at the end, and sizes of the program's own
 * blocks are 8 modulo 16, unlike those of anything else here.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SITES 8

struct site {
	uint64_t allocs, bytes;
};
static struct site kept[SITES], churned[SITES];

#define SITE(n)                                                                \
	__attribute__((noinline)) static void *keep_##n(size_t size)           \
	{                                                                      \
		kept[n].allocs++;                                              \
		kept[n].bytes += size;                                         \
		void *volatile block = malloc(size);                           \
		return block;                                                  \
	}                                                                      \
	__attribute__((noinline)) static void *churn_##n(size_t size)          \
	{                                                                      \
		churned[n].allocs++;                                           \
		churned[n].bytes += size;                                      \
		void *volatile block = n % 2 ? calloc(1, size) : malloc(size); \
		return block;                                                  \
	}
SITE(0)
SITE(1)
SITE(2)
SITE(3)
SITE(4)
SITE(5)
SITE(6)
SITE(7)
static void *(*const keep[SITES])(size_t) = {keep_0, keep_1, keep_2, keep_3, keep_4, keep_5, keep_6, keep_7};
static void *(*const churn[SITES])(size_t) = {churn_0, churn_1, churn_2, churn_3, churn_4, churn_5, churn_6, churn_7};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static size_t some_size(uint64_t random)
{
	return 16 * (random % 40) + 24;
}

struct block {
	void *at;
	uint32_t size, site;
};

int main(int argc, char **argv)
{
	uint64_t lasting = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
	uint64_t events = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
	uint64_t dying = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	uint64_t state = 88172645463325252u, every = lasting && events / 2 >= lasting ? events / 2 / lasting : 1;
	struct block *block = calloc(lasting + 1, sizeof *block);
	static void *slot[256];
	uint64_t count = 0;
	for (uint64_t i = 0; i < events / 2; i++) {
		uint64_t random = next_random(&state), at = random >> 8 & 255;
		free(slot[at]);
		slot[at] = churn[random >> 16 & 7](some_size(random >> 32));
		if (i % every == 0 && count < lasting) {
			random = next_random(&state);
			block[count] = (struct block){NULL, (uint32_t)some_size(random >> 32), random >> 16 & 7};
			block[count].at = keep[block[count].site](block[count].size);
			count++;
		}
	}
	for (uint64_t i = 0; i < dying && i < count; i++) {
		free(block[i].at);
		block[i].at = NULL;
	}
	for (unsigned i = 0; i < 256; i++)
		free(slot[i]);
	for (uint64_t i = 0; i < count; i++)
		if (block[i].at)
			printf("block %" PRIxPTR " %" PRIu32 " %" PRIu32 "\n", (uintptr_t)block[i].at, block[i].size,
			       block[i].site);
	for (unsigned i = 0; i < SITES; i++)
		printf("site keep_%u %" PRIu64 " %" PRIu64 "\nsite churn_%u %" PRIu64 " %" PRIu64 "\n", i,
		       kept[i].allocs, kept[i].bytes, i, churned[i].allocs, churned[i].bytes);
	return 0;
}
