/*
 * lane.h - the events of one lane, in the order they were written: its frames by block_seq, then its staging block.
 *
 * A lane is opened late and closed at its end: only lanes that are being read hold a block in memory. It stands at the
 * beginning of a run (lane->op .. ops), so that the merge can look at it, and can be looked into further ahead.
 */
#ifndef TIDE_READ_LANE_H
#define TIDE_READ_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "read/clock.h"
#include "read/crew.h"
#include "read/damage.h"
#include "read/feed.h"
#include "read/log.h"
#include "read/stacks.h"

/* What all lanes of a log share. */
struct tide_lane_env {
	struct tide_feed_env feed;
	struct tide_stacks *stacks;
	struct tide_clock *clock;
	struct tide_damages *damages;
	struct tide_gaps *gaps;
	struct tide_scratch scratch;
	struct tide_crew *crew; /* NULL: nobody reads ahead */
	struct tide_chunk *spare;
	uint32_t chunk_ops;                 /* operations a chunk; 0: the most */
	uint64_t lost, evicted, bad_frames; /* found out by reading; complete when every lane came to its end */
};
/* Chunks and scratch; the rest is the log's. */
void tide_lane_env_release(struct tide_lane_env *);
/* Chosen so that all lanes together, each with two chunks, take some 32 MiB at most. */
uint32_t tide_chunk_ops_for(uint32_t lanes);

enum tide_frame_fate { TIDE_FATE_UNREAD = 0, TIDE_FATE_READ = 1 };

/* GAVE_UP: the epoch before does not come. GOES_ANYHOW: nor do the events that it waits for. */
enum tide_hope { TIDE_HOPES, TIDE_GAVE_UP, TIDE_GOES_ANYHOW };

struct tide_lane {
	uint32_t index;
	const struct tide_frame_at *frame; /* `frames` of them, the log's, by block_seq */
	uint32_t frames;
	uint8_t *fate; /* enum tide_frame_fate by frame: losses are counted when it is first read */
	struct tide_staging staging;
	bool has_block;        /* staging.head is a valid header */
	bool block_known;      /* without one: the reason is known and no further damage */
	uint32_t staging_lost; /* events that the staging block should hold and does not */
	uint32_t unverified;   /* events of the staging block that are under no sum */
	uint64_t from;         /* events ever of this lane that were overwritten, and are not shown */
	uint64_t limit;        /* events ever of this lane to show; UINT64_MAX all */

	/* what is read: chunks follow each other from `chunk` */
	struct tide_feed *feed; /* NULL: not begun, or at its end, or a crew reads */
	struct tide_ahead ahead;
	struct tide_chunk *chunk;
	uint32_t run;    /* of the chunk */
	uint32_t extra;  /* of the chunk: the run's first */
	uint64_t before; /* events of the lane before the chunk */
	uint32_t done;   /* events of the block before the chunk */
	uint32_t *node;  /* of the block -> of the log; [0] is 0 */
	uint32_t *pair;
	uint32_t nodes, nodes_cap, pairs, pairs_cap;

	/* the run that comes next: valid after tide_lane_advance returned 1 */
	const struct tide_op *op;
	uint32_t ops; /* at least 1 */
	uint32_t tid;
	uint64_t run_ticks;
	uint64_t seq; /* epoch that its first operation begins; 0: none */

	/* the merge's */
	bool started, ended, waits;
	uint8_t hope; /* enum tide_hope: of its SYNC */
	uint32_t heap_pos;
	uint64_t key;      /* order in the heap that it is in */
	uint32_t wait_for; /* a word, or TIDE_WORDS + the number of a lane */
	uint32_t wait_next;
};

/* Ticks at which the lane's first block begins; UINT64_MAX: there is none. For a lane that stands at its beginning. */
uint64_t tide_lane_begin_ticks(const struct tide_lane *);
/* Events before its first block: evicted, or lost. */
uint64_t tide_lane_evicted(const struct tide_lane *);
/* To the next run. 1: it is there. 0: the end; memory is given back. TIDE_ERR_NOMEM. */
int tide_lane_advance(struct tide_lane *, struct tide_lane_env *);
void tide_lane_rewind(struct tide_lane *, struct tide_lane_env *);
void tide_lane_release(struct tide_lane *);

/* Looks ahead, as far as runs that begin at or before `until`: 1: an event on `word` comes before the lane takes that word (or it
 * is too far to tell). 0: none does. TIDE_ERR_NOMEM. */
int tide_lane_uses(struct tide_lane *, struct tide_lane_env *, uint32_t word, uint64_t until);
/* Does the lane begin that epoch, in what has been unpacked of it so far? */
bool tide_lane_begins(const struct tide_lane *, uint32_t word, uint64_t seq);

#endif
