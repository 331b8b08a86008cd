/*
 * ring.h - sealed frames in the ring (FORMAT.md 8): compress, find room, begin the next segment, publish.
 *
 * All state here is under one lock, which is also that of the compressor and of the carrier (survive.h): whoever seals holds it
 * for the time one block takes to compress and a few old ones to be looked through.
 */
#ifndef TIDE_RING_H
#define TIDE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/layout.h"

/* Room for zstd's contexts, of which tests/unit/test_zstd.c says that it is enough: to ask zstd itself costs each start the pages that its
 * answer is on. */
#define TIDE_ZSTD_PACKS ((size_t)384 << 10)
#define TIDE_ZSTD_UNPACKS ((size_t)128 << 10)
#define TIDE_ZSTD_LEVEL 1
#define TIDE_ZSTD_QUICK (-1) /* for some short blocks */

/* The current epoch: how many segments have been begun. Read on every event; whatever happens after an event of
 * epoch e is of epoch e or later, so that "all events up to epoch e" is always a state that the program was in. */
extern _Atomic uint32_t tide_ring_now;
static inline uint32_t tide_ring_epoch(void)
{
	return atomic_load_explicit(&tide_ring_now, memory_order_relaxed);
}

/* Takes memory for the compressor; once a process. False: none. */
bool tide_ring_init(void);
/* A forked child: an empty ring; the lock is free. */
void tide_ring_fork_child(void);

/* `wait`: for a bounded time. False: somebody else has it. */
bool tide_ring_lock(bool wait);
void tide_ring_unlock(void);

/* Lock held. Compresses raw[raw_len] and publishes it as a frame. The caller fills in `head`: kind, encoding, lane, tid,
 * block_seq, events_before, events, epoch, mono_ns, ticks; the rest is set here. NULL: it did not compress, there is no
 * room, or the file is private memory; nothing was published. Else where the frame is. */
const struct tide_frame *tide_ring_put(const struct tide_frame *head, const void *raw, size_t raw_len);

/* From a frame that was checked to the next. */
static inline uint32_t tide_frame_span(const struct tide_frame *f)
{
	uint32_t len = (uint32_t)sizeof *f + f->stored_len;
	return (len + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN;
}

/* ---- for the carrier, which must know the segment before it publishes; lock held ---- */
uint32_t tide_ring_segments(void);
/* Segments that events leave to the carrier: it needs room to make room. */
#define TIDE_RING_SPARE 3u
/* Segments that can be begun without a pass. */
uint32_t tide_ring_free(void);
/* The segment of an epoch that has begun and was not overwritten. */
struct tide_segment *tide_ring_segment(uint32_t epoch);
/* Packed bytes that fit a frame in the current segment. */
size_t tide_ring_room(void);
/* Compresses into the ring's buffer: bytes that the frame will take, 0: it did not work. */
size_t tide_ring_pack(const void *raw, size_t raw_len);
/* Room for them, in a new segment if need be, and then one only if more than `spare` are free. The epoch in which they will
 * stand, 0: no room. */
uint32_t tide_ring_reserve(size_t packed, uint32_t spare);
/* Publishes what was packed where it was reserved. */
void tide_ring_publish(const struct tide_frame *head, size_t raw_len);
/* A frame of the ring once more, as it is, where frames are written now. False: no room, or it is not what it was. */
bool tide_ring_copy(const struct tide_frame *);

#endif
