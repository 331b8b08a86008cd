/*
 * held.h - a victim's own account of the blocks it holds, to be compared with what its log says, and short-lived blocks that it
 * does not hold. One thread; no memory of the account's comes from malloc.
 */
#ifndef TIDE_TESTS_HELD_H
#define TIDE_TESTS_HELD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HELD_MOST 14500u

static struct {
	void *block;
	size_t size;
} held[HELD_MOST];
static unsigned held_count;

/* So many blocks more. Sizes are 39 modulo 64, and differ with `unlike`. */
static inline void take(unsigned blocks, unsigned unlike)
{
	for (unsigned i = 0; i < blocks; i++) {
		size_t size = (i * 7 + unlike) % 50 * 64 + 39;
		held[held_count].block = malloc(size);
		held[held_count++].size = size;
	}
}

/* So many that are larger than all that `take` takes. */
static inline void take_larger(unsigned blocks)
{
	for (unsigned i = 0; i < blocks; i++) {
		size_t size = (50 + i % 8) * 64 + 39;
		held[held_count].block = malloc(size);
		held[held_count++].size = size;
	}
}

/* Every n-th block. */
static inline void drop(unsigned n)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < held_count; i++) {
		if (i % n == 0)
			free(held[i].block);
		else
			held[kept++] = held[i];
	}
	held_count = kept;
}

/* On standard output, "pid NUMBER NAME", and "address size" a line, addresses in hexadecimal. From memory that is there already: nothing is
 * allocated after the blocks were counted. */
static inline void tell(const char *name)
{
	static char text[HELD_MOST * 40];
	char *at = text, *end = text + sizeof text;
	at += snprintf(at, (size_t)(end - at), "pid %d %s\n", getpid(), name);
	for (unsigned i = 0; i < held_count; i++)
		at += snprintf(at, (size_t)(end - at), "%zx %zu\n", (uintptr_t)held[i].block, held[i].size);
	for (char *from = text; from < at;) {
		ssize_t n = write(1, from, (size_t)(at - from));
		if (n <= 0)
			abort();
		from += n;
	}
}

#endif
