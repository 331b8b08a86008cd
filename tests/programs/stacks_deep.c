/*
 * Allocates at depths far beyond any limit on frames, going in and out a little at a time. Usage: stacks_deep ROUNDS.
 */
#include <stdlib.h>

#define APART __attribute__((noinline, noclone))

static void *volatile sink;

APART static void touch(size_t size)
{
	sink = malloc(size);
	free(sink);
}

APART static int odd(int depth, int bottom);

APART static int even(int depth, int bottom)
{
	touch((size_t)depth % 100 + 1);
	int sum = depth < bottom ? odd(depth + 1, bottom) : 0;
	if (depth % 3 == 0)
		touch((size_t)sum % 50 + 1);
	return sum + 1;
}

APART static int odd(int depth, int bottom)
{
	if (depth % 5 == 0)
		touch((size_t)depth % 70 + 1);
	int sum = depth < bottom ? even(depth + 1, bottom) : 0;
	touch((size_t)sum % 30 + 1);
	return sum + 2;
}

int main(int argc, char **argv)
{
	long rounds = argc == 2 ? atol(argv[1]) : 1;
	int sum = 0;
	for (volatile long i = 0; i < rounds; i++)
		sum += even(0, (int)(i * 37 % 700));
	return sum == 0;
}
