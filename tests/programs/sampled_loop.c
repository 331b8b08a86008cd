/*
 * Four sites of known totals, for a sampled log: many small blocks, fewer middling ones, large ones that each exceed the mean, and
 * reallocs that grow; a part of each stays. Prints a line a site: bytes and blocks allocated, bytes and blocks that stay.
 */
#include <stdio.h>
#include <stdlib.h>

#define APART __attribute__((noinline, noclone))

struct sum {
	unsigned long bytes, blocks, live_bytes, live_blocks;
};

static void *volatile kept; /* a chain: the blocks that stay are reachable */

static void stay(void *block)
{
	*(void **)block = kept;
	kept = block;
}

static void after(struct sum *s, void *block, size_t size, int keep)
{
	s->bytes += size;
	s->blocks++;
	if (!keep) {
		free(block);
		return;
	}
	s->live_bytes += size;
	s->live_blocks++;
	stay(block);
}

APART static struct sum small(void)
{
	struct sum s = {0};
	for (int i = 0; i < 400000; i++)
		after(&s, malloc(48), 48, i % 4 == 0);
	return s;
}

APART static struct sum middling(void)
{
	struct sum s = {0};
	for (int i = 0; i < 20000; i++) {
		size_t size = 1000 + (size_t)(i % 7) * 500;
		after(&s, calloc(1, size), size, i % 5 == 0);
	}
	return s;
}

APART static struct sum large(void)
{
	struct sum s = {0};
	for (int i = 0; i < 3000; i++)
		after(&s, malloc(40000), 40000, i % 10 == 0);
	return s;
}

APART static struct sum growing(void)
{
	struct sum s = {0};
	for (int i = 0; i < 20000; i++) {
		void *block = malloc(500);
		block = realloc(block, 3000);
		s.bytes += 500;
		s.blocks++;
		after(&s, block, 3000, i % 8 == 0);
	}
	return s;
}

int main(void)
{
	struct sum s[] = {small(), middling(), large(), growing()};
	const char *name[] = {"small", "middling", "large", "growing"};
	for (int i = 0; i < 4; i++)
		printf("%s %lu %lu %lu %lu\n", name[i], s[i].bytes, s[i].blocks, s[i].live_bytes, s[i].live_blocks);
	return 0;
}
