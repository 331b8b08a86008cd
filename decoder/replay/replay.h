/*
 * replay.h - events in, address space out: live blocks, sites, totals, the peak. Knows no files and no names.
 */
#ifndef TIDE_REPLAY_REPLAY_H
#define TIDE_REPLAY_REPLAY_H

#include "read/log.h"
#include "replay/blocks.h"

/* A site: one pair of stacks, with what was allocated there. */
struct tide_site {
	uint32_t native, python; /* nodes of the log's frame tree */
	uint64_t allocs, frees, alloc_bytes;
	uint64_t live_bytes, live_blocks;
	uint64_t lifetime_ns;       /* of its freed blocks, all together */
	uint64_t peak_bytes;        /* live when the process' live bytes were highest */
	uint64_t first_ns, last_ns; /* of its live blocks, once tide_replay_ages was called */
};

struct tide_site_slot;
struct tide_pending;

struct tide_replay {
	struct tide_blocks blocks;
	struct tide_site *site;
	uint32_t sites, sites_cap;
	struct tide_site_slot *slots; /* hash of (native, python) */
	uint32_t slot_count;
	struct tide_pending *pending; /* reallocs begun and not completed, by thread */
	uint64_t allocs, frees, alloc_bytes, live_bytes, live_blocks;
	uint64_t python_bytes;        /* of live_bytes: inside pymalloc's pools */
	struct tide_block_live freed; /* what the last event gave up; addr 0: nothing */
	uint64_t unmatched_frees;     /* of blocks that this log does not know */
	uint64_t doubled;             /* allocations at an address that was live: a free was missed */
	uint64_t in_flight_bytes;     /* of reallocs begun and never completed */
	uint64_t peak_bytes, peak_ns, peak_index;
	bool carried; /* events were overwritten: blocks that died since then are freed without having been seen */
};

/* Zero is the initial state. */
void tide_replay_release(struct tide_replay *);
/* What outlived its events, before the first event. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_replay_carried(struct tide_replay *, const struct tide_carried *);
/* TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_replay_event(struct tide_replay *, const struct tide_event *);
/* Number of the site of two stacks, made if need be; UINT32_MAX: no memory. */
uint32_t tide_replay_site(struct tide_replay *, uint32_t native, uint32_t python);
/* A block of a known site that lives although no event told of it. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_replay_add(struct tide_replay *, const struct tide_block_live *);
/* Fills first_ns and last_ns of every site from its live blocks, and in_flight_bytes. */
void tide_replay_finish(struct tide_replay *);

#endif
