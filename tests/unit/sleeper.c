/*
 * sleeper - reallocs that fail, and a thread that sleeps for about a lap of the ring, with a block that its next event seals: what is known of that block is
 * of an epoch that is gone, or half gone through. Nothing that lives may be forgotten by that. A realloc that fails keeps its block, whatever recording its
 * first half brought about; one that took a lap is told of as a block that may be forgotten.
 *
 * usage: sleeper [CYCLES]. Exit 0: the shadow byte of every live block names an epoch that is in the ring.
 */
#include <pthread.h>

#include "alone.h"
#include "pass.h"
#include "replaced.h"

#define OWN 1000u /* the sleeper's */
#define DEEP 100u /* words: room that its next event asks for */

struct tide_config tide_config = {.size = 1u << 20, .name = "sleeper", .census_ns = UINT64_MAX, .stack_limit = DEEP};
static pthread_barrier_t turn;
static unsigned long cycles = 60;
static const struct tide_block *own_block; /* the sleeper's */

static void *sleeper(void *arg)
{
	struct tide_regs regs = {0};
	(void)arg;
	for (unsigned long c = 0; c < cycles; c++) {
		for (uint64_t n = next_random() >> 32 & 511; n > 0; n--)
			replace(BLOCKS + (uint32_t)(next_random() % OWN), NULL);
		own_block = tide_self.lane->block;
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
		alone_depth = DEEP;
		tide_record_alloc_now(TIDE_KIND_ALLOC, &regs, address(BLOCKS + OWN), 1, 0);
		alone_depth = 0;
		tide_record_free_now(TIDE_KIND_FREE, address(BLOCKS + OWN));
	}
	return NULL;
}

static bool in_the_ring(uint8_t tag)
{
	for (uint32_t e = tide_survive_done() + 1; e <= tide_ring_epoch(); e++)
		if (tag == tide_tag(e, TIDE_TAG_FRESH) || tag == tide_tag(e, TIDE_TAG_CARRIED))
			return true;
	return false;
}

static void lap(uint32_t epochs)
{
	uint32_t until = tide_ring_epoch() + epochs;
	while (tide_ring_epoch() < until)
		replace((uint32_t)(next_random() >> 32) % BLOCKS, NULL);
}

/* Blocks that are reallocated in vain with their byte at any age; and one that takes a lap for it. How many are wrong. */
static unsigned failed_reallocs(void)
{
	for (uint32_t i = 0; i < 3000; i++) {
		const void *block = address(i);
		if (!live[i])
			replace(i, NULL);
		tide_record_stays(block, tide_record_moves(TIDE_KIND_REALLOC_FREE, block));
		tide_record_plain(TIDE_KIND_REALLOC_FAILED, NULL, 0);
	}
	lap(tide_ring_segments());
	const void *block = address(BLOCKS + OWN + 1);
	tide_record_alloc_now(TIDE_KIND_ALLOC, NULL, block, 1, 0);
	struct tide_moving was = tide_record_moves(TIDE_KIND_REALLOC_FREE, block);
	lap(tide_ring_segments() + 1);
	uint64_t doubted = tide_pass.totals.unknown;
	tide_record_stays(block, was);
	return tide_pass.totals.unknown == doubted;
}

static unsigned forgotten(void)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < BLOCKS + OWN; i++)
		n += live[i] && !in_the_ring(tide_shadow_peek(address(i)));
	return n;
}

int main(int argc, char **argv)
{
	pthread_t id;
	unsigned wrong = 0;
	cycles = argc > 1 ? strtoul(argv[1], NULL, 10) : cycles;
	if (!alone_begin() || pthread_barrier_init(&turn, NULL, 2) != 0 ||
	    pthread_create(&id, NULL, sleeper, NULL) != 0)
		return 2;
	for (unsigned long c = 0; c < cycles; c++) {
		pthread_barrier_wait(&turn);
		/* a lap; or so many epochs that what is known of them is in the same place, and some blocks */
		uint32_t until = own_block->epoch + (c & 1 ? TIDE_SEGMENTS_MAX : tide_ring_segments());
		uint64_t more = (next_random() >> 32) % 4096;
		while (tide_ring_epoch() < until || more-- > 0)
			replace((uint32_t)(next_random() >> 32) % (next_random() & 15 ? 256 : BLOCKS), NULL);
		wrong += forgotten();
		pthread_barrier_wait(&turn);
	}
	pthread_join(id, NULL);
	wrong += forgotten() + failed_reallocs() + forgotten();
	printf("%u forgotten, epoch %u, %llu events evicted\n", wrong, tide_ring_epoch(),
	       (unsigned long long)tide_control_get(TIDE_CTL_EVICTED_EVENTS));
	return wrong == 0 && tide_survive_done() > 0 ? 0 : 1;
}
