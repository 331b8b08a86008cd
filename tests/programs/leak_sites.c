/* Three leaks of known size, count and line, among 200,000 allocations that are freed. Prints: line count bytes, one a leak. */
#include <stdio.h>
#include <stdlib.h>

enum { SMALL_LINE = __LINE__ + 8, PAGES_LINE = __LINE__ + 14, GROWN_LINE = __LINE__ + 20 };

static void *volatile keep[4096];
static unsigned kept;

static __attribute__((noinline)) void small(void)
{
	for (int i = 0; i < 1000; i++)
		keep[kept++] = malloc(24);
}

static __attribute__((noinline)) void pages(void)
{
	for (int i = 0; i < 50; i++)
		keep[kept++] = calloc(4, 1024);
}

static __attribute__((noinline)) void grown(void)
{
	for (int i = 0; i < 7; i++)
		keep[kept++] = realloc(malloc(10), 1000003);
}

static __attribute__((noinline)) void balanced(int rounds)
{
	void *held[100] = {0};
	for (int i = 0; i < rounds; i++) {
		free(held[i % 100]);
		held[i % 100] = malloc((size_t)(i % 700) + 1);
	}
	for (int i = 0; i < 100; i++)
		free(held[i]);
}

int main(void)
{
	balanced(100000);
	small();
	pages();
	grown();
	balanced(100000);
	printf("%d 1000 %d\n%d 50 %d\n%d 7 %d\n", SMALL_LINE, 1000 * 24, PAGES_LINE, 50 * 4096, GROWN_LINE,
	       7 * 1000003);
	return 0;
}
