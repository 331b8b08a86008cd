/*
 * ring.h - sealed frames in the ring (FORMAT.md 8): compress, find room, begin the next segment, publish.
 *
 * All state here is under one lock, which is also that of the compressor: whoever seals holds it for the time one block
 * takes to compress.
 */
#ifndef TIDE_RING_H
#define TIDE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "format/layout.h"

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

/* Lock held. Compresses raw[raw_len] and publishes it as a frame. The caller fills in `head`: kind, encoding, lane, tid, block_seq,
 * events_before, events, mono_ns, ticks; the rest is set here. False: it did not compress or the file is private memory;
 * nothing was published. */
bool tide_ring_put(const struct tide_frame *head, const void *raw, size_t raw_len);

#endif
