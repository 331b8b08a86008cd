/*
 * Two threads that allocate: usage bench_threads independent|handoff EVENTS.
 * independent: each has its own 1024 blocks and replaces them at random. handoff: one allocates, the other frees, in batches
 * of 256; every free is of another thread's block.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 256
#define BATCHES 32u

struct batch {
	_Alignas(64) atomic_int full;
	void *block[BATCH];
};

static long events;
static struct batch ring[BATCHES];

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void *independent(void *arg)
{
	uint64_t seed = 88172645463325252u + (uintptr_t)arg;
	void *slot[1024] = {0};
	for (long i = 0; i < events / 4; i++) {
		uint64_t r = next_random(&seed);
		void **at = &slot[r & 1023];
		free(*at);
		*at = malloc(16 + (r >> 12) % 500);
		*(char *)*at = 1;
	}
	for (int i = 0; i < 1024; i++)
		free(slot[i]);
	return NULL;
}

static struct batch *turn(long n, int full)
{
	struct batch *b = &ring[n % BATCHES];
	while (atomic_load_explicit(&b->full, memory_order_acquire) != full)
		sched_yield();
	return b;
}

static void *produce(void *arg)
{
	uint64_t seed = 88172645463325252u;
	(void)arg;
	for (long n = 0; n < events / 2 / BATCH; n++) {
		struct batch *b = turn(n, 0);
		for (int i = 0; i < BATCH; i++) {
			b->block[i] = malloc(16 + next_random(&seed) % 500);
			*(char *)b->block[i] = 1;
		}
		atomic_store_explicit(&b->full, 1, memory_order_release);
	}
	return NULL;
}

static void *consume(void *arg)
{
	(void)arg;
	for (long n = 0; n < events / 2 / BATCH; n++) {
		struct batch *b = turn(n, 1);
		for (int i = 0; i < BATCH; i++)
			free(b->block[i]);
		atomic_store_explicit(&b->full, 0, memory_order_release);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t first, second;
	events = argc == 3 ? atol(argv[2]) : 0;
	int alone = events > 0 && strcmp(argv[1], "independent") == 0;
	if (!alone && (events <= 0 || strcmp(argv[1], "handoff") != 0)) {
		fprintf(stderr, "usage: bench_threads independent|handoff EVENTS\n");
		return 2;
	}
	if (pthread_create(&first, NULL, alone ? independent : produce, (void *)1) ||
	    pthread_create(&second, NULL, alone ? independent : consume, (void *)2))
		return 1;
	pthread_join(first, NULL);
	pthread_join(second, NULL);
	return 0;
}
