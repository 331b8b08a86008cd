/*
 * deaths.h - which inherited blocks a forked child has freed, once the frees are overwritten (FORMAT.md 10, GONE). That such a block was
 * there only the parent's log tells; that it lives, nothing in this one does. So its death must be told for as long as the log goes on: a pass
 * hands each on, and there are never more than were inherited. Frees of inherited blocks are known by what they found (shadow.h).
 *
 * For survive.c, evict.c and carry_out.c only, under the ring's lock.
 */
#ifndef TIDE_DEATHS_H
#define TIDE_DEATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shadow.h"

/* A forked child has none yet. While the totals are its parent's. */
void tide_deaths_reset(void);

/* Is a free that found this tag one of an inherited block? In the first block of a lane there may be events from before
 * tide_shadow_settle. To say so of a block of our own is no harm: where it was no inherited one lives any more. */
static inline bool tide_deaths_are(uint8_t found, uint64_t events_before)
{
	return tide_tag_inherited(found) || (tide_shadow.young && events_before == 0 && found != TIDE_TAG_NONE);
}
/* The inherited block at `addr` was freed in an event that is overwritten. */
void tide_deaths_add(uint64_t addr);
/* The same of all that are told of in a payload that goes. */
void tide_deaths_carry_on(const uint8_t *payload, size_t len);
/* Some were, and it is not known which. */
void tide_deaths_lost(void);
/* All that were told of are in frames. */
void tide_deaths_flush(void);

#endif
