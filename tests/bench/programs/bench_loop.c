/*
 * Allocation loops for the benchmark: usage bench_loop KIND EVENTS.
 * tight: malloc and free in turn at call depth 5. middle, deep: the same at depth 14, 40. mixed: sizes of a request's life, 4096
 * slots replaced at random. lives: the same sizes, but one block in eight lives among 200,000 others for a long time. All do
 * the same work in every run (own generator, fixed seed).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252u;
static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void *volatile sink;

static void pairs(long events)
{
	for (long i = 0; i < events / 2; i++) {
		sink = malloc(16 + (size_t)(i & 7) * 16);
		free(sink);
	}
}

/* volatile: the compiler must not make a loop of it */
__attribute__((noinline)) static void at_depth(volatile int depth, void (*work)(long), long events)
{
	if (depth > 0)
		at_depth(depth - 1, work, events);
	else
		work(events);
	__asm__ volatile("" ::: "memory");
}

static void mixed(long events)
{
	static void *slot[4096];
	for (long i = 0; i < events / 2; i++) {
		uint64_t r = next_random();
		void **at = &slot[r & 4095];
		free(*at);
		size_t size = (r >> 12) % 100 < 90 ? 16 + (r >> 20) % 240 : 256 + (r >> 20) % 8000;
		*at = malloc(size);
		if (*at)
			*(char *)*at = 1;
	}
}

static void lives(long events)
{
	static void *slot[200000];
	for (long i = 0; i < events / 2; i++) {
		uint64_t r = next_random();
		void **at = &slot[r & 7 ? (r >> 3) & 1023 : (r >> 3) % 200000];
		free(*at);
		size_t size = (r >> 22) % 100 < 90 ? 16 + (r >> 30) % 240 : 256 + (r >> 30) % 2000;
		*at = malloc(size);
		if (*at)
			*(char *)*at = 1;
	}
}

int main(int argc, char **argv)
{
	long events = argc == 3 ? atol(argv[2]) : 0;
	if (events > 0 && strcmp(argv[1], "tight") == 0)
		at_depth(5, pairs, events);
	else if (events > 0 && strcmp(argv[1], "middle") == 0)
		at_depth(14, pairs, events);
	else if (events > 0 && strcmp(argv[1], "deep") == 0)
		at_depth(40, pairs, events);
	else if (events > 0 && strcmp(argv[1], "mixed") == 0)
		at_depth(12, mixed, events);
	else if (events > 0 && strcmp(argv[1], "lives") == 0)
		at_depth(12, lives, events);
	else {
		fprintf(stderr, "usage: bench_loop tight|middle|deep|mixed|lives EVENTS\n");
		return 2;
	}
	return 0;
}
