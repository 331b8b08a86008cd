/* 200 threads at once, each with its own blocks, half of them freed by the next thread; prints sums that do not depend on order. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 200
#define BLOCKS 300

static pthread_barrier_t together;
static unsigned char *block[THREADS][BLOCKS];
static uint64_t sum[THREADS];

static void *work(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	for (int i = 0; i < BLOCKS; i++) {
		size_t size = (size_t)(me * 31 + (unsigned)i * 17) % 2000 + 1;
		block[me][i] = malloc(size);
		memset(block[me][i], (int)me, size);
	}
	pthread_barrier_wait(&together);
	uintptr_t next = (me + 1) % THREADS;
	for (int i = 0; i < BLOCKS; i += 2) {
		sum[me] += block[next][i][0];
		free(block[next][i]);
	}
	pthread_barrier_wait(&together);
	for (int i = 1; i < BLOCKS; i += 2) {
		block[me][i] = realloc(block[me][i], 3000);
		sum[me] += block[me][i][0];
		free(block[me][i]);
	}
	return NULL;
}

int main(void)
{
	pthread_t id[THREADS];
	uint64_t total = 0;
	pthread_barrier_init(&together, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&id[i], NULL, work, (void *)i) != 0)
			return 2;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(id[i], NULL);
		total += sum[i];
	}
	printf("%llu\n", (unsigned long long)total);
	return 0;
}
