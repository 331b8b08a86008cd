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

#include "digest.h"
#include "format/encode.h"
#include "format/layout.h"
#include "lock.h"
#include "python/stack.h"
#include "unwind/unwind.h"

/* Events from one TICK to the next, at most. */
#define TIDE_TICK_EVERY 16u

struct tide_lane {
	struct tide_block *block; /* in the log; NULL until the lane's first event */
	uint8_t *at;              /* next item */
	uint8_t *end;
	uint32_t index;
	uint32_t tid; /* of the last event's thread; who takes the lane sees to it that a change is noticed (lane.c) */
	uint32_t since_tick;   /* events since the last TICK */
	uint32_t events;       /* in this block */
	uint32_t epoch;        /* of the last event: a segment of the ring (shadow.h) */
	uint32_t summed;       /* payload bytes that `sum` is over, whole words */
	uint8_t tag;           /* which the shadow bytes of blocks allocated now get */
	uint8_t others;        /* the first tag of inherited blocks */
	bool due;              /* when the event in hand is done, something slower is to be done */
	bool nested;           /* taken by a signal handler that interrupted a recording: never waits */
	struct tide_lock lock; /* held: taken, for one event (shared) or a thread's life */
	uint64_t events_before;
	uint64_t sum;
	struct tide_py_stack python_stack;
	struct tide_unwinder unwinder;
	struct tide_encoder encoder;
	struct tide_digest *digest; /* NULL: none is kept */
	struct tide_digest *before; /* of the block's first events, if they are of an earlier epoch */
	uint32_t split;             /* the epoch of the block's events from number `first` on; 0: all are of one */
	uint32_t first;
	struct tide_kept python_kept;
};

/* RULE: one small struct of initial-exec TLS; anything dynamic could call malloc. */
struct tide_self {
	struct tide_lane *lane;  /* own, exclusive */
	struct tide_lane *other; /* a shared one in a handler's hands; the last, if handlers interrupt each other */
	uintptr_t frame;         /* of the recording in hand that no other interrupted */
	uint32_t tid;            /* 0: not asked yet */
	bool busy;               /* inside tide_lane_enter .. leave: what comes now is a signal handler's */
	bool retired;            /* past the destructor: no lane of its own any more */
	bool realloc_open;       /* sampling: its last realloc-free was recorded, and is to be completed */
	bool pyrealloc_open;
};
extern __thread struct tide_self tide_self __attribute__((tls_model("initial-exec")));

/* Memory for all lanes of the log's geometry; touched only as lanes are used. Once a process. False: none. */
bool tide_lanes_init(void);
/* A forked child: every lane is free and empty. events[i], if not NULL, gets what lane i had recorded; room for `lanes`. Returns ticks that
 * no event of the parent will be told to have less of, which was in `epoch`; 0: there was none before. */
uint64_t tide_lanes_fork_child(uint64_t *events, uint32_t epoch);

/* The log is a file now: what is allocated from now on is carried over by its tag (shadow.h). */
void tide_lanes_have_log(void);

struct tide_lane *tide_lane_enter_slowly(uintptr_t frame);
void tide_lane_leave_slowly(struct tide_lane *);
bool tide_lane_make_room(struct tide_lane *, size_t bound);

/* The lane for one event of the calling thread, or NULL (counted). Must be given back at once with tide_lane_leave. */
static inline struct tide_lane *tide_lane_enter(void)
{
	struct tide_lane *lane = tide_self.lane;
	if (__builtin_expect(!lane || tide_self.busy, 0))
		return tide_lane_enter_slowly((uintptr_t)__builtin_frame_address(0));
	tide_self.frame = (uintptr_t)__builtin_frame_address(0);
	tide_self.busy = true;
	atomic_signal_fence(memory_order_seq_cst);
	return lane;
}
static inline void tide_lane_leave(struct tide_lane *lane)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (__builtin_expect(lane == tide_self.lane, 1))
		tide_self.busy = false;
	else
		tide_lane_leave_slowly(lane);
}

/* Kernel id of the calling thread; known after tide_lane_enter. */
static inline uint32_t tide_lane_tid(void)
{
	return tide_self.tid;
}

/* Makes room for `bound` bytes, sealing the block if need be. False: no room, counted; nothing may be written. */
static inline bool tide_lane_room(struct tide_lane *lane, size_t bound)
{
	/* signed: `end` may be behind `at` */
	return __builtin_expect(lane->end - lane->at >= (ptrdiff_t)bound, 1) || tide_lane_make_room(lane, bound);
}

/* What is known of the block's events so far; when there is no room for more, the next event seals it. */
static inline void tide_lane_note(struct tide_lane *lane)
{
	if (lane->digest && !tide_digest_note(lane->digest, &lane->encoder))
		lane->end = lane->at;
}

/* The events from now on are of another epoch. */
void tide_lane_split_digest(struct tide_lane *);

/* Publishes items up to `at` as one event. */
#ifndef TIDE_COMMIT_ORDER /* tests/unit/hammer.c: one that is too weak must be found */
#define TIDE_COMMIT_ORDER memory_order_release
#endif
static inline void tide_lane_commit(struct tide_lane *lane, uint8_t *at)
{
	struct tide_block *b = lane->block;
	lane->at = at;
	atomic_store_explicit((_Atomic uint32_t *)&b->events, ++lane->events, memory_order_relaxed);
	/* pairs with the reader's acquire, and with nothing at all when the process is killed */
	atomic_store_explicit((_Atomic uint32_t *)&b->committed, (uint32_t)(at - (uint8_t *)(b + 1)),
			      TIDE_COMMIT_ORDER);
}

/* Puts what is committed under the block's check word. Every TICK_EVERY events at least; between events only. */
void tide_lane_sum(struct tide_lane *);
/* All of it, of every lane that no other thread has: the process is about to end. */
void tide_lanes_sum(void);

/* The lane's next event is of another epoch. Has the block's next event seal it if it has waited long enough. */
void tide_lane_set_epoch(struct tide_lane *, uint32_t epoch);

/* Lanes that there are, and the staging block of one, NULL while it has none. For whoever holds the ring's lock: no block is
 * sealed or begun meanwhile, but events are added to it. *ret_epoch: of its last event, or older. */
uint32_t tide_lane_count(void);
struct tide_block *tide_lane_block(uint32_t index, uint32_t *ret_epoch);

/* Allocations of a block, at multiples of 16 and others. */
struct tide_alloc_count {
	uint32_t even, odd;
};
/* The allocation that a lane has in hand, not among the first `told` of its block: encoded, and perhaps its shadow byte stored, but not
 * committed. For whoever holds the ring's lock, and has seen that the lane committed nothing between `told` and now. False: none. */
struct tide_in_hand {
	uint64_t addr, ticks; /* when its event will say */
	uint8_t tag;          /* of its shadow byte */
};
bool tide_lane_in_hand(uint32_t index, struct tide_alloc_count told, struct tide_in_hand *ret);

/* Number by which ownership words name the lane; 0 is nobody. */
static inline uint32_t tide_lane_owner(const struct tide_lane *lane)
{
	return lane->index + 1;
}

#endif
