/*
 * damage.h - the places of a file that are not as they should be, and the events that are missing. Losses are data.
 */
#ifndef TIDE_READ_DAMAGE_H
#define TIDE_READ_DAMAGE_H

#include <stdint.h>

#include "read/log.h"

#define TIDE_DAMAGE_KEPT 64u

struct tide_damages {
	uint64_t places;                            /* found */
	uint32_t kept;                              /* <= TIDE_DAMAGE_KEPT */
	struct tide_damage place[TIDE_DAMAGE_KEPT]; /* in the order found */
};

/* printf-style; the text is cut to fit. */
void tide_damage_add(struct tide_damages *, uint64_t offset, uint64_t len, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Gaps, in the order found; sorted when asked for. Zero: empty. */
struct tide_gaps {
	struct tide_gap *gap;
	uint32_t count, cap;
};
/* False: no memory. */
bool tide_gap_add(struct tide_gaps *, const struct tide_gap *);
void tide_gaps_sort(struct tide_gaps *);
void tide_gaps_release(struct tide_gaps *);

#endif
