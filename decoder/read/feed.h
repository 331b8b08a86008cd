/*
 * feed.h - the producing side of a lane: its blocks in order, each read, checked, decompressed and unpacked into chunks. Knows
 * nothing of other lanes and changes nothing that they share, so that any thread may do it ahead of the merge. A block needs none
 * before it, so several feeds may share a lane's blocks: each takes every so manyth.
 */
#ifndef TIDE_READ_FEED_H
#define TIDE_READ_FEED_H

#include <zstd.h>

#include "read/file.h"
#include "read/ring.h"
#include "read/unpack.h"

/* A staging block, copied when the log was opened. */
struct tide_staging {
	struct tide_block head; /* head.events: how many events its items hold, counted; never more than that */
	uint8_t *payload;       /* head.committed bytes */
	bool taken;             /* valid, and not in the ring as a frame */
};

/* What a lane is made of; the same for as long as the log is open. */
struct tide_blocks_of {
	const struct tide_frame_at *frame; /* `frames` of them, by block_seq */
	uint32_t frames;
	const struct tide_staging *staging; /* follows the frames if `taken` */
};

struct tide_feed_env {
	const struct tide_file *file;
	uint64_t file_uid;
	bool running; /* the writer is alive: what has changed since was evicted, not damaged */
};

/* One thread's; zero is valid. */
struct tide_scratch {
	ZSTD_DCtx *zstd;
	uint8_t *stored; /* payload as stored */
	size_t stored_cap;
	struct tide_chunk *draft; /* the crew's */
};
void tide_scratch_release(struct tide_scratch *);

struct tide_feed {
	struct tide_blocks_of blocks;
	uint64_t next_block; /* `frames`: the staging block is next */
	uint32_t step;       /* from one block of its own to the next */
	uint32_t block;      /* the one that is read */
	bool reading;        /* it has more */
	uint8_t *raw;
	size_t raw_cap;
	struct tide_unpack unpack;
};
/* For blocks first, first + step, and so on. NULL: no memory. */
struct tide_feed *tide_feed_new(const struct tide_blocks_of *, uint32_t first, uint32_t step);
void tide_feed_free(struct tide_feed *); /* NULL is fine */
/* What comes next: all of *chunk is set but `next`. */
void tide_feed_fill(struct tide_feed *, const struct tide_feed_env *, struct tide_scratch *, struct tide_chunk *);

/* The payload of a frame, decompressed into buf[frame->head.raw_len]. */
enum tide_load tide_frame_load(const struct tide_frame_at *, const struct tide_feed_env *, struct tide_scratch *,
			       uint8_t *buf);

#endif
