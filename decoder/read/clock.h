/*
 * clock.h - ticks to CLOCK_MONOTONIC, by the anchors that the log is strewn with: linear between two of them, so slow
 * drift and adjustments of the clock are followed. Never decreasing.
 */
#ifndef TIDE_READ_CLOCK_H
#define TIDE_READ_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct tide_anchor {
	uint64_t ticks;
	uint64_t ns;
};

struct tide_clock {
	struct tide_anchor *anchor; /* after tide_clock_finish: both fields increase */
	size_t count, cap;
	/* where the last answer came from: valid for ticks in [from, to) */
	uint64_t from, to;
	uint64_t from_ns;
	double rate; /* ns a tick */
};

void tide_clock_init(struct tide_clock *);
void tide_clock_release(struct tide_clock *);
/* One instant on both clocks; 0 ticks or 0 ns mean not known and are ignored. -1: no memory. */
int tide_clock_add(struct tide_clock *, uint64_t ticks, uint64_t ns);
/* No more anchors: sorts them and drops those that contradict earlier ones. */
void tide_clock_finish(struct tide_clock *);

/* Slow path of tide_clock_ns. */
void tide_clock_seek(struct tide_clock *, uint64_t ticks);

static inline uint64_t tide_clock_ns(struct tide_clock *c, uint64_t ticks)
{
	if (ticks < c->from || ticks >= c->to)
		tide_clock_seek(c, ticks);
	return c->from_ns + (uint64_t)((double)(ticks - c->from) * c->rate);
}

#endif
