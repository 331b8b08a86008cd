/*
 * moments.h - a log's events with its censuses between them, each where it was taken as nearly as can be told, up to the moment at
 * which the program had done its work.
 *
 * Events carry the time of a tick that comes every 16 of them, so time alone would put a census up to 16 events late: an
 * interval's census is taken after the event that ticked, one about an arena after that arena's event, the last ones at their marks.
 *
 * When the log's first events were overwritten, events are made up before those that are left: an allocation for each
 * block that was carried over, in order of addresses (neighbours stay neighbours), and a mapping for each arena of pymalloc's
 * that the first census saw. Indexes count on from them.
 */
#ifndef TIDE_RERUN_MOMENTS_H
#define TIDE_RERUN_MOMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "read/log.h"

enum tide_moment { TIDE_MOMENT_END, TIDE_MOMENT_EVENT, TIDE_MOMENT_CENSUS };

#define TIDE_RUN_MOST 64u

struct tide_moments {
	struct tide_log *log;
	const struct tide_carried *carried;
	struct tide_made_up {
		uint64_t *arena; /* base and bytes in turn */
		uint32_t arenas;
		uint64_t given, all; /* of the events that are made up */
	} made_up;
	struct tide_event run[TIDE_RUN_MOST]; /* of one time */
	uint32_t have, at;
	uint32_t census_at; /* the next census comes before run[census_at]; TIDE_RUN_MOST: not in this run */
	struct tide_event ahead;
	bool has_ahead, ended, stopped;
	uint32_t next, censuses; /* numbers */
	uint64_t next_ns;        /* UINT64_MAX: no more */
	uint32_t next_reason;
	enum tide_status status;
};

/* Rewinds the log, which stays the caller's. What goes wrong is told at the end. */
void tide_moments_init(struct tide_moments *, struct tide_log *);
void tide_moments_release(struct tide_moments *);
/* EVENT: *ret_event. CENSUS: *ret_census is its number. END: `status` tells whether all is well. */
enum tide_moment tide_moments_next(struct tide_moments *, struct tide_event *ret_event, uint32_t *ret_census);

#endif
