/*
 * lane.h - the events of one lane, in the order they were written: its frames by block_seq, then its staging block.
 *
 * A lane is opened late and closed at its end: only lanes that are being read hold a block in memory. It always
 * knows its next event (lane->next), so that the merge can look at it.
 */
#ifndef TIDE_READ_LANE_H
#define TIDE_READ_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zstd.h>

#include "read/clock.h"
#include "read/damage.h"
#include "read/file.h"
#include "read/log.h"
#include "read/ring.h"
#include "read/stacks.h"

/* A staging block, copied when the log was opened. */
struct tide_staging {
	struct tide_block head; /* head.events: how many events its items hold, counted; never more than that */
	uint8_t *payload;       /* head.committed bytes */
	bool taken;             /* valid, and not in the ring as a frame */
};

/* What all lanes of a log share. */
struct tide_lane_env {
	struct tide_file *file;
	uint64_t file_uid;
	bool running; /* the writer is alive: what has changed since was evicted, not damaged */
	struct tide_stacks *stacks;
	struct tide_clock *clock;
	struct tide_damages *damages;
	struct tide_gaps *gaps;
	ZSTD_DCtx *zstd;
	uint8_t *stored; /* payload as stored */
	size_t stored_cap;
	uint64_t lost, evicted, bad_frames; /* found out by reading; complete when every lane came to its end */
};

enum tide_frame_fate { TIDE_FATE_UNREAD = 0, TIDE_FATE_READ = 1 };

struct tide_lane_open; /* the block being read */

struct tide_lane {
	uint32_t index;
	const struct tide_frame_at *frame; /* `frames` of them, the log's, by block_seq */
	uint32_t frames;
	uint8_t *fate; /* enum tide_frame_fate by frame: losses are counted when it is first read */
	struct tide_staging staging;
	bool has_block;        /* staging.head is a valid header */
	bool block_known;      /* without one: the reason is known and no further damage */
	uint32_t staging_lost; /* events that the staging block should hold and does not */

	uint64_t limit;      /* events ever of this lane to show; UINT64_MAX all */
	uint32_t next_block; /* `frames`: the staging block is next; frames + 1: none is */
	struct tide_lane_open *open;

	/* the next event: valid after tide_lane_advance returned 1 */
	struct tide_event next;
	uint64_t run_ticks; /* of the run it belongs to */
	uint64_t seq;       /* epoch that it begins; 0: none */
	bool run_begins;    /* it is the first event of its run */

	/* the merge's */
	bool started; /* `next` holds an event */
	uint32_t heap_pos;
	uint32_t wait_next;
};

/* Ticks at which the lane's first unread block begins; UINT64_MAX: there is none. */
uint64_t tide_lane_begin_ticks(const struct tide_lane *);
/* 1: lane->next is the next event. 0: the end; memory is given back. TIDE_ERR_NOMEM. */
int tide_lane_advance(struct tide_lane *, struct tide_lane_env *);
void tide_lane_rewind(struct tide_lane *);
void tide_lane_release(struct tide_lane *);

/* The payload of a frame, decompressed into buf[frame->head.raw_len]. 1: done. 0: damaged or overwritten meanwhile
 * (counted in *ret_gone: overwritten by a living writer). TIDE_ERR_NOMEM. */
int tide_frame_load(const struct tide_frame_at *, struct tide_lane_env *, uint8_t *buf, bool *ret_gone);

#endif
