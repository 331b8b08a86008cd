/*
 * Allocates at many depths and in the ways C code calls: recursion, variable-length arrays, callbacks, function pointers,
 * longjmp, tail calls, a large frame. Usage: stacks_c ROUNDS.
 */
#include <alloca.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define APART __attribute__((noinline, noclone))

static uint32_t seed = 2463534242u;
static void *volatile sink;
static jmp_buf back;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

APART static void touch(size_t size)
{
	sink = malloc(size);
	free(sink);
}

APART static void with_array(unsigned n)
{
	char text[n % 200 + 1]; /* its frame is found from the frame pointer */
	memset(text, 'x', sizeof text);
	touch((size_t)text[0] + n % 50);
	if (n % 3 == 0) {
		char *more = alloca(n % 300 + 8);
		more[0] = text[n % 200];
		touch((size_t)more[0]);
	}
	touch(sizeof text);
}

APART static void large_frame(unsigned n)
{
	volatile char page[9000];
	page[n % sizeof page] = 1;
	touch(100);
	page[0] = page[n % sizeof page];
}

APART static unsigned deeper(unsigned depth, unsigned n)
{
	touch(depth + 1);
	if (depth == 0)
		return n;
	unsigned sum = deeper(depth - 1, n * 7);
	if (n % 5 == 0)
		with_array(n);
	touch(sum % 64 + 1);
	return sum + 1;
}

static int compare(const void *a, const void *b)
{
	touch(24);
	return *(const int *)a - *(const int *)b;
}

APART static void sorted(void)
{
	int values[20];
	for (int i = 0; i < 20; i++)
		values[i] = (int)(next_random() % 100);
	qsort(values, 20, sizeof *values, compare);
	touch((size_t)values[0] + 1);
}

APART static void jumps(unsigned n)
{
	touch(n % 100 + 1);
	if (n % 4 == 0)
		longjmp(back, 1);
	touch(n % 10 + 1);
}

APART static void tail(unsigned n)
{
	if (n % 2)
		large_frame(n);
	else
		with_array(n); /* a jump, not a call: this function is on no stack */
}

int main(int argc, char **argv)
{
	long rounds = argc == 2 ? atol(argv[1]) : 1;
	void (*const way[])(unsigned) = {with_array, large_frame, jumps, tail};
	for (volatile long i = 0; i < rounds; i++) {
		uint32_t n = next_random();
		deeper(n % 40, n);
		sorted();
		if (setjmp(back) == 0)
			way[n % 4](n >> 8);
		touch(16);
		void *old = calloc(1, n % 1000 + 1);
		old = realloc(old, n % 2000 + 1);
		free(old);
	}
	return 0;
}
