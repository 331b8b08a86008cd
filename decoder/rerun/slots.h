/*
 * slots.h - small numbers that come back: the one given back last is taken first.
 */
#ifndef TIDE_RERUN_SLOTS_H
#define TIDE_RERUN_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_slots {
	uint64_t used;  /* numbers below it were taken at some time */
	uint64_t *back; /* given back */
	size_t backs, cap;
};
void tide_slots_release(struct tide_slots *); /* zero is the initial state */
uint64_t tide_slots_take(struct tide_slots *);
/* False: no memory. */
bool tide_slots_give(struct tide_slots *, uint64_t slot);

#endif
