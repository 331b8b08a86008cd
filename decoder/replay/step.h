/*
 * step.h - one event and its rules, for replay.c and events.c only.
 */
#ifndef TIDE_REPLAY_STEP_H
#define TIDE_REPLAY_STEP_H

#include "replay/replay.h"

struct tide_step {
	enum tide_kind kind;
	uint32_t tid;
	uint32_t site; /* for allocations */
	uint64_t addr, size, time_ns, index;
	bool unknown; /* a free: of a block that was never recorded */
};

/* TIDE_OK or TIDE_ERR_NOMEM. r->freed is untouched if nothing is given up. */
enum tide_status tide_replay_step(struct tide_replay *, const struct tide_step *);

/* Before the site changes: if there was a new peak since it last did, it was live with this much then. */
static inline struct tide_site *tide_replay_changing(struct tide_replay *r, uint32_t site)
{
	struct tide_site *s = &r->site[site];
	if (s->peak_seen != r->peaks) {
		s->peak_seen = r->peaks;
		s->peak_bytes = s->live_bytes - s->counted_bytes;
	}
	return s;
}

#endif
