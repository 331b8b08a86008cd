/*
 * watch.h - what must be seen while events pass by: what the threads' caches hold, and the state at the moment of each census.
 * One census before the answer moment, the last as a rule, is joined with the blocks that are live at its own time, not at the log's end.
 */
#ifndef TIDE_ANALYZE_WATCH_H
#define TIDE_ANALYZE_WATCH_H

#include "analyze/analysis.h"
#include "analyze/aside.h"
#include "model/caches.h"

#define TIDE_WATCH_MOST 256u /* events at once */

struct tide_watch {
	struct tide_analysis *a;
	struct tide_log *log;
	uint32_t *census; /* numbers of usable censuses up to the answer moment, oldest first */
	uint64_t *at_ns;
	uint32_t censuses, next;
	uint32_t own;     /* of those passed by, taken by the process itself */
	uint32_t answer;  /* which of them is joined with the blocks: ledger, arenas and pins are of it */
	uint64_t next_ns; /* of the next census; UINT64_MAX: none */
	bool has_caches;
	struct tide_caches caches;
	struct tide_aside *aside;                       /* NULL: no thread for the caches */
	uint32_t tid;                                   /* of the last event that the caches were told of; 0: none */
	struct tide_change change[TIDE_WATCH_MOST + 1]; /* valid from tide_watch_room to tide_watch_batch */
	uint32_t changes;                               /* in it, before those of the batch */
	struct tide_trend trend;
	struct tide_trend counted; /* of blocks that censuses count; only sites of such blocks are looked up there */
	uint64_t last_ns;          /* of the last event */
};

/* After a->ended is known. On failure nothing is held. */
enum tide_status tide_watch_init(struct tide_watch *, struct tide_analysis *, struct tide_log *);
void tide_watch_release(struct tide_watch *);
/* Before each event is replayed, with its time; with UINT64_MAX at the end. In `sites` mode, Python's blocks are added to the state
 * at the census that is joined. */
enum tide_status tide_watch_until(struct tide_watch *, struct tide_replay *, uint64_t time_ns);
/* Where tide_replay_batch shall tell what the batch's events do; not more than tide_watch_most of them. NULL: nobody needs it. */
struct tide_change *tide_watch_room(struct tide_watch *, const struct tide_batch *);
/* After they were replayed. */
enum tide_status tide_watch_batch(struct tide_watch *, const struct tide_replay *, const struct tide_batch *);
/* How many events from that index on may be taken at once: 1 to TIDE_WATCH_MOST. */
uint64_t tide_watch_most(const struct tide_watch *, uint64_t index);
/* At the answer moment: how each site has grown. */
enum tide_status tide_watch_finish(struct tide_watch *, const struct tide_replay *);

#endif
