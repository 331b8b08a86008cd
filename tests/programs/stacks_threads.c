/*
 * Threads on 16 KiB stacks that come and go, each allocating at several depths. Usage: stacks_threads ROUNDS.
 */
#include <pthread.h>
#include <stdlib.h>

#define APART __attribute__((noinline, noclone))

APART static void *deeper(int depth)
{
	void *block = malloc((size_t)depth + 1);
	if (depth > 0)
		free(deeper(depth - 1));
	return block;
}

static void *run(void *depth)
{
	for (int i = 0; i < 50; i++)
		free(deeper((int)(long)depth));
	return NULL;
}

int main(int argc, char **argv)
{
	long rounds = argc == 2 ? atol(argv[1]) : 1;
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 16384);
	for (long i = 0; i < rounds; i++) {
		pthread_t t[4];
		for (long k = 0; k < 4; k++)
			if (pthread_create(&t[k], &small, run, (void *)(k * 5)) != 0)
				return 1;
		for (int k = 0; k < 4; k++)
			pthread_join(t[k], NULL);
	}
	return 0;
}
