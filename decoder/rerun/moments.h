/*
 * moments.h - a log's events with its censuses between them, each where it was taken as nearly as can be told, up to the moment at
 * which the program had done its work.
 *
 * Events carry the time of a tick that comes every 16 of them, so time alone would put a census up to 16 events late: an
 * interval's census is taken after the event that ticked, one about an arena after that arena's event, the last ones at their marks.
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

/* Rewinds the log, which stays the caller's. */
void tide_moments_init(struct tide_moments *, struct tide_log *);
/* EVENT: *ret_event. CENSUS: *ret_census is its number. END: `status` tells whether all is well. */
enum tide_moment tide_moments_next(struct tide_moments *, struct tide_event *ret_event, uint32_t *ret_census);

#endif
