/*
 * How long one call of malloc or free takes at most, in CPU time of the thread: what is done at once for many events, such as
 * sealing a block and carrying over what lives, is in the call that happens to do it.
 *
 * usage: longest_call LONG_LIVED CALLS
 * Prints the ten longest in microseconds, the longest first.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SHOWN 10

static uint64_t longest[SHOWN];

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(uint64_t ns)
{
	for (unsigned i = 0; i < SHOWN; i++)
		if (ns > longest[i]) {
			uint64_t less = longest[i];
			longest[i] = ns;
			ns = less;
		}
}

int main(int argc, char **argv)
{
	uint64_t lasting = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
	uint64_t calls = argc > 2 ? strtoull(argv[2], NULL, 10) : 4000000;
	uint64_t state = 88172645463325252u;
	void **kept = calloc(lasting + 1, sizeof *kept);
	static void *slot[4096];
	for (uint64_t i = 0; i < calls / 2; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		/* one in sixteen replaces a block that has lived long */
		void **at = lasting && i % 16 == 0 ? &kept[state % lasting] : &slot[state % 4096];
		uint64_t before = cpu_ns();
		free(*at);
		uint64_t between = cpu_ns();
		*at = malloc(state >> 32 & 511);
		uint64_t after = cpu_ns();
		note(between - before);
		note(after - between);
	}
	for (unsigned i = 0; i < SHOWN; i++)
		printf("%.1f\n", (double)longest[i] / 1000);
	return 0;
}
