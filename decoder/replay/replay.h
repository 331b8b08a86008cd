/*
 * replay.h - events in, address space out: live blocks, sites, totals, the peak. Knows no files and no names.
 */
#ifndef TIDE_REPLAY_REPLAY_H
#define TIDE_REPLAY_REPLAY_H

#include "read/log.h"
#include "replay/blocks.h"

/* A site: one pair of stacks, with what was allocated there. */
struct tide_site {
	/* what every event changes, first */
	uint32_t native, python; /* nodes of the log's frame tree */
	uint64_t allocs, alloc_bytes, frees;
	uint64_t live_bytes, live_blocks;
	uint64_t lifetime_ns; /* of its freed blocks, all together */
	/* Live when the process' live bytes were highest. Valid after tide_replay_finish: until then it is that of the peak which
	 * was the highest so far when the site last changed (peak_seen). */
	uint64_t peak_seen, peak_bytes;
	uint64_t counted_bytes; /* of live_bytes: told by a census, not by events; no part of a peak */
	uint64_t inherited_bytes, inherited_blocks; /* of the live ones: from before the fork */
	uint64_t first_ns, last_ns;                 /* of its live blocks, after tide_replay_finish */
};

struct tide_site_slot;
struct tide_pending;
struct tide_frozen;

struct tide_replay {
	struct tide_blocks blocks;
	struct tide_site *site;
	uint32_t sites, sites_cap;
	struct tide_site_slot *slots; /* hash of (native, python) */
	uint32_t slot_count;
	uint32_t *site_of; /* by number of a pair in the log: site + 1; 0 not looked up yet */
	uint32_t pairs_cap;
	struct tide_pending *pending; /* reallocs begun and not completed, by thread */
	struct tide_frozen *frozen;   /* NULL: not */
	uint64_t allocs, frees, alloc_bytes, live_bytes, live_blocks;
	uint64_t python_bytes;        /* of live_bytes: inside pymalloc's pools */
	uint64_t inherited_bytes;     /* of live_bytes: from before the fork */
	uint64_t inherited_blocks;    /* of live_blocks */
	uint64_t counted_bytes;       /* of live_bytes: told by a census */
	struct tide_block_live freed; /* what the last event gave up; addr 0: nothing */
	uint64_t unmatched_frees;     /* of blocks that this log does not know */
	uint64_t inherited_frees;     /* of blocks from before the fork */
	uint64_t doubled;             /* allocations at an address that was live: a free was missed */
	uint64_t in_flight_bytes;     /* of reallocs begun and never completed */
	uint64_t peak_bytes, peak_ns, peak_index;
	uint64_t peaks; /* how often there was a new highest */
	bool forked; /* the caller's: a forked child's log, and what it inherited is not all known: so what is freed and is
			 * not known is its parent's */
	bool unsure;  /* the caller's: of blocks that were inherited some may have been freed unseen */
	bool carried; /* events were overwritten: blocks that died since then are freed without having been seen */
	uint64_t sample_bytes; /* of the log, set before the first event; 0: none, sums are exact */
};

/* Zero is the initial state, but for sample_bytes; tide_blocks_window may then be told the times. */
void tide_replay_release(struct tide_replay *);
/* What outlived its events, before the first event. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_replay_carried(struct tide_replay *, const struct tide_carried *);
/* TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_replay_event(struct tide_replay *, const struct tide_event *);
/* The same for all events of a batch, but for `freed`. The log that it is of is asked for stacks. ret: NULL, or gets for each event what
 * became of a block of malloc's: what was given up, or what was made. */
struct tide_change {
	uint64_t addr; /* REALLOC_FREE: 0 if the block was not known */
	uint64_t
		size_and_kind; /* bytes * 256 + enum tide_kind, CALLOC being ALLOC; 0: nothing, or a free of what was not known */
};
enum tide_status tide_replay_batch(struct tide_replay *, const struct tide_batch *, const struct tide_log *,
				   struct tide_change *ret);
/* A block that is live before the first event, allocated by such stacks. Is no allocation of this log's. Before
 * tide_replay_carried. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_replay_inherit(struct tide_replay *, const struct tide_block_live *, uint32_t native,
				     uint32_t python);

/* A block of a known site that lives although no event told of it. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_replay_add(struct tide_replay *, const struct tide_block_live *);

/* This is the state to answer with; what follows changes the totals and the peak only. Once. */
enum tide_status tide_replay_freeze(struct tide_replay *);
/* After the last event: completes peak_bytes, first_ns and last_ns of all sites, and in_flight_bytes. If it was frozen the state is
 * again what it was then, totals included, but for the peak's numbers and peak_bytes of sites; *ret_totals, if not NULL, gets
 * those of all events: only its numbers, no tables. TIDE_ERR_NOMEM: only if frozen. */
enum tide_status tide_replay_finish(struct tide_replay *, struct tide_replay *ret_totals);

/* sites.c. The number of the site of two stacks, made if need be. UINT32_MAX: no memory. */
uint32_t tide_replay_site(struct tide_replay *, uint32_t native, uint32_t python);

#endif
