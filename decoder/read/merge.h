/*
 * merge.h - one order of the events of all lanes (FORMAT.md 7).
 *
 * What must hold: for every ownership word, all events of epoch e come before the event that begins epoch e + 1; and a lane's events
 * stay in order. Such an order exists: sort all events by the instant at which they looked at their word. (x86-64: a word is only
 * ever changed by locked instructions, and loads are not reordered with these or each other, so there is one such order for
 * all threads; an event of epoch e saw the word before the exchange to e + 1 changed it.) Two events on one address are in it as
 * the allocator had them, for one of them happened before the other.
 *
 * How it is found: runs go by the ticks they begin with, the least first. A run begins no later than its events look at
 * their words, but its SYNC reads the counter only after the exchange: the thread may have been preempted in between, and the next
 * owner may have read it first. So a run that begins epoch e + 1 of a word at tick t waits
 *   - until epoch e has begun, and
 *   - for the lane that began e, while that one still has events on the word in runs that begin before t. Which it can only while it
 *     is itself behind its turn; whether it has is looked up, for waiting for a lane that merely might have could close a circle.
 * Both are waits for what happened before, so somebody can always go on. MERGE_MARGIN makes it hold on machines whose cores' counters
 * disagree by as much.
 *
 * Where e may be missing the wait ends after a while. Before whole_from, where it most often was evicted, it is only waited for if
 * it is seen to come: a lane that is held back there in vain would come after what lanes that begin later do with words
 * which they took in their evicted part. So there the order is almost always right, and after it always.
 */
#ifndef TIDE_READ_MERGE_H
#define TIDE_READ_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "format/items.h"
#include "read/lane.h"

struct tide_heap {
	uint32_t *lane; /* numbers of lanes, least key first */
	uint32_t count;
};

struct tide_word {
	uint64_t epoch; /* the last that was begun; 0: none yet */
	uint32_t owner; /* the lane that began it, and WHOLE: every epoch after it is in the log */
	uint32_t
		waiters; /* number + 1 of the first lane that waits for the next epoch to begin; lane->wait_next goes on */
};

#define TIDE_WORDS_TOGETHER 256u

struct tide_merge {
	struct tide_lane *lane; /* the log's */
	uint32_t lanes;
	struct tide_heap ready;  /* by run_ticks */
	struct tide_heap vain;   /* who waits for an epoch to begin, by when that is in vain */
	uint32_t waiting;        /* lanes that wait, for an epoch or a lane */
	uint32_t *lane_waiters;  /* by lane: as tide_word.waiters, for its run to be over */
	struct tide_lane *taken; /* its run was handed out */
	uint64_t index, anomalies;
	uint64_t whole_from; /* as tide_merge_start has them */
	bool complete;
	struct tide_word *word;
	bool used[TIDE_WORDS / TIDE_WORDS_TOGETHER]; /* of so many words, one is not zero any more */
	/* tide_merge_next: what is left of the batch in hand */
	struct tide_batch batch;
};

/* False: no memory. */
bool tide_merge_init(struct tide_merge *, struct tide_lane *, uint32_t lanes);
void tide_merge_release(struct tide_merge *);
/* Lanes stand at their beginning. whole_from: ticks from which on every lane is there; 0: from the beginning.
 * complete: and nothing is missing in them, so whoever waits in vain is an anomaly. */
void tide_merge_start(struct tide_merge *, uint64_t whole_from, bool complete);
/* 1, 0: as tide_log_batch, tide_log_next. TIDE_ERR_NOMEM. */
int tide_merge_batch(struct tide_merge *, struct tide_lane_env *, struct tide_batch *ret);
/* Takes the first event out of a batch. */
void tide_batch_expand(struct tide_batch *, const struct tide_stacks *, struct tide_event *ret);
int tide_merge_next(struct tide_merge *, struct tide_lane_env *, struct tide_event *ret);

#endif
