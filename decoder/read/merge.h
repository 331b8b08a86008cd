/*
 * merge.h - one order of the events of all lanes (FORMAT.md 7).
 *
 * Runs are merged by the ticks they begin with. A SYNC(word, e) waits for epoch e - 1 of its word: by the counter's
 * order that has been seen, unless it was evicted or lost, or counters of two cores disagree. So a lane is kept waiting only
 * while nothing is missing and others are within MERGE_SLACK ticks of it, and goes on without its predecessor then.
 */
#ifndef TIDE_READ_MERGE_H
#define TIDE_READ_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "read/lane.h"

struct tide_heap {
	uint32_t *lane; /* numbers of lanes, least run_ticks first */
	uint32_t count;
};

struct tide_merge {
	struct tide_lane *lane; /* the log's */
	uint32_t lanes;
	struct tide_heap ready, waiting; /* a lane that has more is in one of them, or current */
	struct tide_lane *current;
	uint64_t index;
	uint64_t anomalies;
	bool gapless;      /* every event ever recorded is here: whoever waits in vain is an anomaly */
	uint64_t *epoch;   /* by word: the last epoch that was begun */
	uint32_t *waiters; /* by word: number + 1 of the first lane that waits for it */
};

/* False: no memory. */
bool tide_merge_init(struct tide_merge *, struct tide_lane *, uint32_t lanes);
void tide_merge_release(struct tide_merge *);
/* Lanes stand at their beginning. */
void tide_merge_start(struct tide_merge *, bool gapless);
/* 1, 0: as tide_log_next. TIDE_ERR_NOMEM. */
int tide_merge_next(struct tide_merge *, struct tide_lane_env *, struct tide_event *ret);

#endif
