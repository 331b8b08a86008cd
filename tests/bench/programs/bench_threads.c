/*
 * Two threads that allocate: usage bench_threads bare|server|handoff EVENTS.
 * bare: each replaces its own 1024 blocks of up to 500 bytes at random, and does nothing else: some 10 ns an event. server: the
 * same with 5000 blocks of up to 1000 bytes, each written whole by who asked for it and read by who frees it, as a server does with
 * its requests (after Larson and Krishnan, Memory allocation for long-running server applications, ISMM 1998). handoff: one
 * allocates, the other frees, in batches of 256; every free is of another thread's block.
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

static void *bare(void *arg)
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

struct request {
	size_t len;
	unsigned char text[];
};

static void *server(void *arg)
{
	uint64_t seed = 88172645463325252u + (uintptr_t)arg, sum = 0;
	struct request **slot = calloc(5000, sizeof *slot);
	for (long i = 0; slot && i < events / 4; i++) {
		uint64_t r = next_random(&seed);
		struct request **at = &slot[r % 5000];
		for (size_t k = 0; *at && k < (*at)->len; k += 64)
			sum += (*at)->text[k];
		free(*at);
		size_t len = 8 + (r >> 16) % 992;
		*at = malloc(sizeof **at + len);
		(*at)->len = len;
		memset((*at)->text, (int)r, len);
	}
	for (int i = 0; slot && i < 5000; i++)
		free(slot[i]);
	free(slot);
	return (void *)(uintptr_t)(sum & 1); /* so that it is computed */
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
	static const struct {
		const char *name;
		void *(*run[2])(void *);
	} modes[] = {{"bare", {bare, bare}}, {"server", {server, server}}, {"handoff", {produce, consume}}};
	pthread_t thread[2];
	size_t mode = 0, modes_known = sizeof modes / sizeof *modes;
	events = argc == 3 ? atol(argv[2]) : 0;
	while (mode < modes_known && (events <= 0 || strcmp(argv[1], modes[mode].name) != 0))
		mode++;
	if (mode == modes_known) {
		fprintf(stderr, "usage: bench_threads bare|server|handoff EVENTS\n");
		return 2;
	}
	for (uintptr_t i = 0; i < 2; i++)
		if (pthread_create(&thread[i], NULL, modes[mode].run[i], (void *)(i + 1)))
			return 1;
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
