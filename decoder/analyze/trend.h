/*
 * trend.h - how the live bytes of each site came to be what they are: their values at moments spread evenly over the events, or
 * over the censuses for blocks that only those count. What still grows at the end is told from what was built up once, and from
 * what goes up and down.
 */
#ifndef TIDE_ANALYZE_TREND_H
#define TIDE_ANALYZE_TREND_H

#include "read/log.h"
#include "replay/replay.h"

#define TIDE_TREND_POINTS 16u
#define TIDE_TREND_LEAST 6u /* fewer say nothing of a trend */

struct tide_trend {
	uint64_t *live[TIDE_TREND_POINTS]; /* by site: live bytes */
	uint32_t sites[TIDE_TREND_POINTS]; /* how many there were */
	uint32_t points;
	uint64_t every, next; /* events, or censuses, between points; index of the next one */
};

struct tide_growth {           /* of one site, at the answer moment */
	uint64_t bytes;        /* live now, beyond what was live half the events ago; 0: not more */
	uint32_t rises, steps; /* of the steps since then, how many went up */
	bool known;            /* there were points enough; false: nothing of the above can be said */
	bool grows;            /* steadily, and much of it lately */
	uint64_t old_bytes;    /* in blocks that live far longer than freed blocks of the site did */
	double score;          /* how much like a leak, 0 to 1: tide_growth_score */
};

void tide_trend_release(struct tide_trend *); /* zero is a valid empty trend */
/* After the event of that index, or of several up to it. False: no memory. */
bool tide_trend_event(struct tide_trend *, const struct tide_replay *, uint64_t index);
/* The same where points are not events: whether that of this index, counted from 0, is wanted. */
bool tide_trend_wants(struct tide_trend *, uint64_t index);
/* The point that was wanted. Takes over `live`, from malloc: bytes of sites 0 to sites - 1. */
void tide_trend_add(struct tide_trend *, uint64_t *live, uint32_t sites);
/* `r` at the answer moment. */
void tide_trend_site(const struct tide_trend *, const struct tide_replay *r, uint32_t site, struct tide_growth *ret);

/* 0.6 for growing steadily, 0.3 for the share of bytes that have outlived their kind, 0.1 for the share of all that was ever allocated. */
double tide_growth_score(const struct tide_growth *, const struct tide_site *);

#endif
