/*
 * survive.h - what outlives its events when the ring wraps (FORMAT.md 10): live blocks, sums by site.
 *
 * A pass looks at all events of the oldest epoch before its segment may be used again: at the frames of that segment, at
 * frames of later ones whose block was begun in it, and at staging blocks that nobody has written to since. An
 * allocation lives if its shadow byte still names the epoch; it is then written anew, into the current segment, as if it
 * had been allocated now, and its byte says so. What was carried into the segment before is treated in the same way. The last
 * frame of a pass makes the whole of it count: a process that is killed before has the old segment, one that is killed
 * after has the new frames.
 *
 * Passes are done in pieces by whoever seals a block, under the ring's lock, so far ahead that nobody waits for one.
 */
#ifndef TIDE_SURVIVE_H
#define TIDE_SURVIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/layout.h"

/* Once a process, when the geometry is known. False: no memory. */
bool tide_survive_init(void);
void tide_survive_fork_child(void);

/* The last epoch of which everything has been carried over: its segment may be used again. */
uint32_t tide_survive_done(void);

/* How far passes have come, ever. */
uint64_t tide_survive_progress(void);
/* A block with this shadow byte was thought dead for a while, by a realloc that failed. If a pass has come further since `progress`, and has come to
 * its epoch, it is counted as one that may have been forgotten. Any thread, outside of a recording. */
void tide_survive_doubt(uint8_t tag, uint64_t progress);

/* A frame of events was published, at `frame` in segment `epoch`. */
void tide_survive_sealed(const struct tide_frame *frame, uint32_t epoch);

/* The same frame's events from number `first` on are of epoch `second`, all others of that in which its block was begun. */
void tide_survive_split(const struct tide_frame *frame, uint32_t first, uint32_t second);

/* `written` bytes went into the ring: does as much of a pass as keeps segments free. */
void tide_survive_work(size_t written);
/* Does passes until so many segments are free, or it takes more than a lap. */
void tide_survive_force(uint32_t wanted);

#endif
