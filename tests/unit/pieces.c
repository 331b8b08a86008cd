/*
 * pieces - how much of what is overwritten is gone through at once, counted: whoever seals a block waits for it. One thread, whose blocks
 * live long or short, and a ring that wraps several times.
 *
 * usage: pieces SIZE LONG_LIVED [LAPS]. Exit 0: no call handled more than it may, and events never waited for a pass.
 */
#include "alone.h"
#include "pass.h"

#define SHORT_LIVED 1024u
#define LONG_MOST 500000u
/* What may come on top of what is meant to be done at once: a block's events and what of them is put aside, and three chunks that are written
 * (carry_out.c). */
#define ON_TOP(block_events) (2 * (block_events) + 3 * 1800u)

struct tide_config tide_config = {.name = "pieces", .census_ns = UINT64_MAX};
static bool live[SHORT_LIVED + LONG_MOST];

static void replace(uint32_t i, uint64_t random)
{
	const void *block = (const void *)(uintptr_t)(HEAP + (uint64_t)i * 208);
	if (live[i])
		tide_record_free_now(TIDE_KIND_FREE, block);
	tide_record_alloc_now(TIDE_KIND_ALLOC, NULL, block, random >> 50, 0);
	live[i] = true;
}

/* Events of the longest block. */
static uint64_t run(uint32_t lasting, uint32_t epochs)
{
	uint64_t state = 88172645463325252u, most = 0;
	uint32_t epoch;
	while (tide_ring_epoch() < epochs) {
		for (unsigned i = 0; i < 1000; i++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			replace(state & 7 || !lasting ? (state >> 3) % SHORT_LIVED
						      : SHORT_LIVED + (state >> 3) % lasting,
				state);
		}
		for (uint32_t i = 0; i < tide_lane_count(); i++) {
			const struct tide_block *b = tide_lane_block(i, &epoch);
			most = b && b->events > most ? b->events : most;
		}
	}
	return most;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	tide_config.size = strtoull(argv[1], NULL, 10);
	uint32_t lasting = (uint32_t)strtoul(argv[2], NULL, 10),
		 laps = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 4;
	if (lasting > LONG_MOST || !alone_begin())
		return 2;
	uint64_t events = run(lasting, laps * tide_ring_segments()), most = TIDE_PASS_IN_HASTE + ON_TOP(events);
	printf("at most %llu events and blocks at once, of %llu that may be; %llu in all, for %llu events evicted; "
	       "%llu forced\n",
	       (unsigned long long)tide_pass.longest, (unsigned long long)most, (unsigned long long)tide_pass.handled,
	       (unsigned long long)tide_control_get(TIDE_CTL_EVICTED_EVENTS), (unsigned long long)tide_pass.forced);
	return tide_pass.longest <= most && tide_pass.forced == 0 && tide_survive_done() > 0 ? 0 : 1;
}
