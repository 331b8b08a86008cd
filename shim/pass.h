/*
 * pass.h - the state of a pass over the oldest epoch (survive.h), for survive.c, evict.c and carry_out.c only. One at a time, under
 * the ring's lock; static, for a guest's stack may be small.
 */
#ifndef TIDE_PASS_H
#define TIDE_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "candidates.h"
#include "format/carry.h"
#include "format/layout.h"
#include "lane.h"
#include "shadow.h"

enum tide_pass_phase {
	TIDE_PASS_NONE,
	TIDE_PASS_KNOWN,      /* what is known without decoding (candidates.h) */
	TIDE_PASS_SEGMENT,    /* frames of the segment: events; frames of carried blocks are noted */
	TIDE_PASS_CARRIED,    /* those, the last first: of what was carried twice the last copy is the right one */
	TIDE_PASS_STRADDLERS, /* frames of later segments whose block was begun by then */
	TIDE_PASS_IDLE_LANES, /* staging blocks begun by then, one at a time */
	TIDE_PASS_LAST        /* what was added to those meanwhile; sums; the frame that makes it count */
};

struct tide_pass {
	enum tide_pass_phase phase;
	uint32_t epoch;  /* the one that is to go; everything before it is gone */
	uint32_t offset; /* in its segment: the next frame */
	uint32_t next;   /* straddler or lane */
	uint32_t parts;  /* CARRY frames written */
	uint32_t begun;  /* epoch when it began: its own frames are in the segments from that one on */
	uint32_t *noted; /* offsets of CARRY frames in its segment */
	uint32_t noted_count;
	uint64_t *mark;       /* by lane: events that are gone, or about to be */
	bool full;            /* no room for more blocks */
	bool knows;           /* what candidates.h has of its epoch is used */
	uint8_t carried[256]; /* tags that this pass has given; a block that has one was found alive by it */
	uint64_t handled;     /* events and blocks that were looked at, and blocks written, ever */
	uint64_t done;        /* of these, when a call was last left */
	uint64_t longest;     /* the most that were handled in one call */
	uint64_t forced;      /* passes that events had to wait for */
	struct tide_carry_totals totals;
};
extern struct tide_pass tide_pass;

/* Handled in one call before the rest is left to the next; ten to a hundred nanoseconds each. A frame or staging block is not cut in two. In
 * haste: when half of the segments that should be free are not. */
#define TIDE_PASS_AT_ONCE 6000u
#define TIDE_PASS_IN_HASTE 18000u

/* ---- evict.c: reading ---- */
bool tide_evict_init(void);
struct tide_evicted_block { /* of a lane: a frame, or a staging block as far as it was committed */
	const uint8_t *payload;
	size_t len;
	uint32_t lane, epoch;
	uint64_t events_before, ticks;
};
/* Looks at the block's events of epochs up to the pass' that are beyond the lane's mark, and moves that. Returns the allocations up to there,
 * from the block's first event on. */
struct tide_alloc_count tide_evict_block(const struct tide_evicted_block *);
/* The same for a frame of any kind in the ring; what cannot be read is counted. Bytes looked at. */
size_t tide_evict_frame(const struct tide_frame *);
/* A page of what is known of the epoch. False: there is no more. */
bool tide_evict_known(void);
/* Numbers the sites of a block's allocations. */
void tide_evict_learn(const struct tide_raw *);
/* Of blocks sorted by address, one at each, those that are in no frame of this pass yet with a later time. How many, from block[0] on;
 * `room` is for TIDE_BLOCK_MAX bytes. */
uint32_t tide_evict_newest(struct tide_carry_block *block, uint32_t count, uint8_t *room);
/* True if bytes at `frame` are one of this file's, in the segment of `epoch`. */
bool tide_evict_is_frame(const struct tide_frame *frame, uint32_t epoch, size_t room);

/* ---- carry_out.c: writing ---- */
bool tide_carry_out_init(void);
void tide_carry_out_reset(void);
/* A block that lives. */
enum tide_carry_source {
	TIDE_CARRY_FRESH, /* as an allocation said */
	TIDE_CARRY_OLD,   /* it was carried before */
	/* an allocation said so, but at its address this pass has carried one already: in an epoch an address is used many times, and all
	 * its allocations seem to live if the last one does */
	TIDE_CARRY_AGAIN,
	TIDE_CARRY_SOURCES
};
void tide_carry_out(const struct tide_carry_block *, enum tide_carry_source);
/* All blocks of a frame of carried ones were handed in. */
void tide_carry_out_frame_end(void);
/* Everything that was handed in is in frames. */
void tide_carry_out_flush(void);
/* Of what this pass carried, a block in the place of `with` is not what lives there (`op` DIED, `ticks` before which it was born, `tag` of
 * its byte); the byte becomes `tags`. False: no room. */
bool tide_carry_out_revoke(const struct tide_carry_block *block, const uint8_t *tags, uint32_t count);
/* When all is handed in and flushed: sums and marks, and the last frame. False: no room for it, the pass does not count. */
bool tide_carry_out_commit(uint32_t lanes);
/* Bytes of CARRY frames in segments that were not overwritten. */
uint64_t tide_carry_out_bytes(void);
/* A frame of what was packed where it was reserved (ring.h); `blocks` live ones are in it. */
void tide_carry_out_publish(size_t raw_len, uint32_t epoch, size_t packed, uint64_t blocks, bool last);
/* In either of the two places. */
const uint64_t *tide_carry_out_sort(uint64_t *from, uint64_t *to, uint32_t count);

#endif
