/*
 * carried.h - what outlived its events when the ring wrapped (FORMAT.md 10): live blocks, sums by site, and from where on the lanes
 * have their events.
 *
 * Read in two steps: tide_carried_read before the lanes are made, because it says where they begin; tide_carried_finish
 * when definitions, clock and stacks are there. Memory is as much as what is carried, whatever was overwritten.
 */
#ifndef TIDE_READ_CARRIED_H
#define TIDE_READ_CARRIED_H

#include "format/carry.h"
#include "read/lane.h"
#include "read/log.h"
#include "read/ring.h"

struct tide_defs;
struct tide_carried_entry { /* a block, or a death, as it was read */
	uint64_t addr, ticks, size;
	uint32_t site;
	uint32_t order;
	uint8_t op;
};
struct tide_carry_state {
	struct tide_carried told; /* what a log hands out */
	struct tide_carried_entry *entry;
	size_t entries, entries_cap;
	uint64_t *gone; /* addresses, as they came; sorted once all are there */
	size_t gone_count, gone_cap;
	struct tide_carried_site *site; /* by number */
	struct tide_carried_block *block;
	uint32_t sites;
	size_t sites_cap;
	uint64_t *mark; /* by lane: events that were overwritten, from its first */
	uint32_t marks;
	size_t marks_cap;
};

/* False: no memory; *ret is then released. Damage is told of. */
bool tide_carried_read(struct tide_lane_env *, const struct tide_geometry *, const struct tide_ring *,
		       struct tide_carry_state *ret);
bool tide_carried_finish(struct tide_carry_state *, const struct tide_defs *, struct tide_lane_env *);
void tide_carried_release(struct tide_carry_state *);

/* Where a lane begins. */
static inline uint64_t tide_carried_mark(const struct tide_carry_state *s, uint32_t lane)
{
	return lane < s->marks ? s->mark[lane] : 0;
}

/* One payload of a CARRY frame. False: no memory. *ret_whole: nothing in it was wrong. For tide_carried_read and fuzzing. */
bool tide_carried_parse(struct tide_carry_state *, const uint8_t *payload, size_t len, bool last, bool *ret_whole);

#endif
