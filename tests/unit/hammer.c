/*
 * hammer - threads that record into the real lanes, seal into the real ring, and carry over what lives, under ThreadSanitizer: every
 * byte that one thread writes and another reads must be ordered. Stacks, Python and censuses are left out.
 *
 * usage: hammer [EVENTS a thread]. Exit 0: the log holds as many events as were recorded; 66: a race (TSan's).
 * Built a second time with an order that is too weak (TIDE_COMMIT_ORDER): that one must be found.
 */
#include <pthread.h>

#include "alone.h"

#define THREADS 4u
#define SLOTS 4096u
#define SLOW 1000u

struct tide_config tide_config = {.size = TIDE_FILE_MIN, .name = "hammer", .census_ns = UINT64_MAX};
static struct slot {
	pthread_mutex_t lock; /* what an allocator has in its place */
	bool live;
} slots[SLOTS];
static unsigned long events_each = 60000;

/* The last quarter is the first thread's alone: nothing but what is to be tested orders it with others. */
static void operate(uint64_t thread, uint64_t random)
{
	uint32_t i = (uint32_t)(random >> 40) % (SLOTS / 4) + (thread == 0 ? SLOTS / 4 * 3 : (random & 1) * SLOTS / 4);
	struct slot *s = &slots[i];
	const void *block = (const void *)(uintptr_t)(HEAP + (uint64_t)i * 64 * 64); /* 1,024 blocks share 64 words */
	pthread_mutex_lock(&s->lock);
	if (s->live)
		tide_record_free_now(TIDE_KIND_FREE, block);
	else
		tide_record_alloc_now(TIDE_KIND_ALLOC, NULL, block, random >> 20 & 0xfffff, 0);
	s->live = !s->live;
	pthread_mutex_unlock(&s->lock);
}

static unsigned long events_of(uint64_t thread)
{
	return thread == 0 ? events_each / SLOW : events_each;
}

/* The first thread hardly does anything: while its block is open, passes of the others look at it. */
static void *work(void *arg)
{
	uint64_t thread = (uintptr_t)arg, state = 88172645463325252u + thread * 7919;
	for (unsigned long i = 0; i < events_of(thread); i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		operate(thread, state);
		if (thread == 0)
			usleep(10000);
	}
	return NULL;
}

static uint64_t recorded(void)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < tide_lane_count(); i++) {
		uint32_t epoch;
		const struct tide_block *b = tide_lane_block(i, &epoch);
		sum += b ? b->events_before + b->events : 0;
	}
	return sum;
}

int main(int argc, char **argv)
{
	pthread_t id[THREADS];
	events_each = argc > 1 ? strtoul(argv[1], NULL, 10) : events_each;
	for (uint32_t i = 0; i < SLOTS; i++)
		pthread_mutex_init(&slots[i].lock, NULL);
	if (!alone_begin())
		return 2;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&id[i], NULL, work, (void *)i) != 0)
			return 2;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	uint64_t all = events_of(0) + (THREADS - 1) * events_of(1);
	uint64_t seen = recorded(), evicted = tide_control_get(TIDE_CTL_EVICTED_EVENTS);
	printf("recorded %llu of %llu, carried over %llu, epoch %u\n", (unsigned long long)seen,
	       (unsigned long long)all, (unsigned long long)evicted, tide_ring_epoch());
	return seen == all && evicted > 0 ? 0 : 1;
}
