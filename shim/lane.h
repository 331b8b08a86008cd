/*
 * lane.h - who writes where. A lane is a stream of items with one staging block in the log; a thread takes a lane
 * at its first event and gives it back when it ends, and the next thread goes on in the same block.
 *
 * Lanes 0 .. shared - 1 belong to nobody: they are taken by try-lock for one event at a time, by threads that found no
 * lane of their own, by threads past their last destructor, and by signal handlers that interrupted a recording.
 */
#ifndef TIDE_LANE_H
#define TIDE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "format/encode.h"
#include "format/layout.h"
#include "lock.h"
#include "python/stack.h"
#include "unwind/unwind.h"

struct tide_lane {
	struct tide_block *block; /* in the log; NULL until the lane's first event */
	uint8_t *at;              /* next item */
	uint8_t *end;
	uint32_t index;
	uint32_t tid;        /* of the last event's thread */
	uint32_t since_tick; /* events since the last TICK */
	bool due;            /* when the event in hand is done, something slower is to be done */
	uint32_t events;     /* in this block */
	uint64_t events_before;
	uint32_t epoch;                      /* of the last event: a segment of the ring (shadow.h) */
	uint8_t tag;                         /* which the shadow bytes of blocks allocated now get */
	struct tide_lock lock;               /* held: taken, for one event (shared) or a thread's life */
	bool nested;                         /* taken by a signal handler that interrupted a recording: never waits */
	uint64_t native[TIDE_STACK_MAX + 2]; /* scratch of the event in hand: hooks may run on 16 KiB stacks */
	uint64_t python[TIDE_STACK_MAX + 2];
	struct tide_py_stack python_stack;
	struct tide_encoder encoder;
	struct tide_unwinder unwinder;
};

/* Memory for all lanes of the log's geometry; touched only as lanes are used. Once a process. False: none. */
bool tide_lanes_init(void);
/* A forked child: every lane is free and empty. events[i], if not NULL, gets what lane i had recorded; room for `lanes`. */
void tide_lanes_fork_child(uint64_t *events);

/* The lane for one event of the calling thread, or NULL (counted). Must be given back at once with tide_lane_leave. */
struct tide_lane *tide_lane_enter(void);
void tide_lane_leave(struct tide_lane *);

/* Kernel id of the calling thread; known after tide_lane_enter. */
uint32_t tide_lane_tid(void);

/* Makes room for `bound` bytes, sealing the block if need be. False: no room, counted; nothing may be written. */
bool tide_lane_room(struct tide_lane *, size_t bound);
/* Publishes items up to `at` as one event. */
void tide_lane_commit(struct tide_lane *, uint8_t *at);

/* The lane's next event is of another epoch. Has the block's next event seal it if it has waited long enough. */
void tide_lane_set_epoch(struct tide_lane *, uint32_t epoch);

/* Lanes that there are, and the staging block of one, NULL while it has none. For whoever holds the ring's lock: no block is
 * sealed or begun meanwhile, but events are added to it. *ret_epoch: of its last event, or older. */
uint32_t tide_lane_count(void);
struct tide_block *tide_lane_block(uint32_t index, uint32_t *ret_epoch);

/* Number by which ownership words name the lane; 0 is nobody. */
static inline uint32_t tide_lane_owner(const struct tide_lane *lane)
{
	return lane->index + 1;
}

#endif
