/*
 * Blocks that go from thread to thread as fast as they can: usage order_hammer THREADS EVENTS. Every thread swaps a new or a
 * resized block into a random slot of a shared table and frees, resizes or puts back what was there, so that most
 * frees are of blocks of another thread, and an address is allocated again, by any thread, right after it was freed.
 * One arena: mallopt, so that all threads take from the same chunks. Prints how many events it caused at least.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOTS 512u
#define THREADS_MAX 64

static _Atomic(void *) slot[SLOTS];
static atomic_long events_left;
static atomic_long caused;

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* More than tcache's 7 chunks of a size change hands between two of its refills, so chunks meet in the arena too. */
static size_t some_size(uint64_t random)
{
	return random % 64 ? 16 + random % 8 * 24 : 1200 + random % 3000;
}

static long step(uint64_t *seed)
{
	uint64_t random = next_random(seed);
	_Atomic(void *) *at = &slot[random % SLOTS];
	size_t size = some_size(random >> 20);
	void *old;
	switch ((random >> 10) % 4) {
	case 0: /* whoever comes next frees or resizes it */
		old = atomic_exchange(at, malloc(size));
		free(old);
		return 2;
	case 1:
		old = atomic_exchange(at, NULL);
		old = atomic_exchange(at, realloc(old, size));
		free(old);
		return 2;
	case 2:
		old = atomic_exchange(at, NULL);
		free(old);
		return 1;
	default:
		old = atomic_exchange(at, calloc(1, size));
		old = atomic_exchange(&slot[(random >> 40) % SLOTS], old);
		free(old);
		return 2;
	}
}

static void *hammer(void *arg)
{
	uint64_t seed = 88172645463325252u + (uint64_t)(uintptr_t)arg * 7919u;
	while (atomic_fetch_sub(&events_left, 1024) > 0) {
		long done = 0;
		while (done < 1024)
			done += step(&seed);
		atomic_fetch_add(&caused, done);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long threads = argc == 3 ? atol(argv[1]) : 0;
	pthread_t thread[THREADS_MAX];
	if (threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: order_hammer THREADS EVENTS\n");
		return 2;
	}
	mallopt(M_ARENA_MAX, 1);
	atomic_store(&events_left, atol(argv[2]));
	for (long i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, hammer, (void *)i);
	for (long i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < SLOTS; i++)
		free(slot[i]);
	printf("%ld\n", atomic_load(&caused));
	return 0;
}
