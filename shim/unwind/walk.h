/*
 * walk.h - what the quick walk (unwind.c) and the general one (walk.c) share.
 */
#ifndef TIDE_UNWIND_WALK_H
#define TIDE_UNWIND_WALK_H

#include "unwind/rules.h"
#include "unwind/unwind.h"

/* Where bp is at a frame: the address of a cell, or one of these. */
#define TIDE_BP_HERE 0u /* in the register, where the walk began or was interrupted */
#define TIDE_BP_GONE 1u /* nobody can tell */

static inline uint64_t tide_cell(uintptr_t at)
{
	return *(const uint64_t *)at;
}

/* Where bp is outside a frame that has this rule. */
static inline uintptr_t tide_bp_outside(uintptr_t bp_at, uint64_t rule, uintptr_t cfa)
{
	enum tide_rule_bp kind = tide_packed_bp_kind(rule);
	if (kind == TIDE_BP_SAVED)
		return cfa + (uintptr_t)tide_packed_bp(rule);
	return kind == TIDE_BP_SAME ? bp_at : TIDE_BP_GONE;
}

static inline bool tide_needs_bp(uint64_t rule)
{
	return (rule & TIDE_PACKED_KIND) == TIDE_PACKED_STEP_BP;
}

/* Frame i's rule may need bp. */
static inline void tide_note_bp(struct tide_unwinder *u, uint32_t i)
{
	if (!tide_needs_bp(u->rule[i]))
		return;
	if (!u->bp_innermost || i < u->bp_outermost)
		u->bp_outermost = i;
	if (i > u->bp_innermost)
		u->bp_innermost = i;
}

/* Walks whatever way it takes, and remembers. `changed`: candidates from this one on have another pc than at the last walk, or stand
 * for other frames. *ret as of tide_unwind(). */
void tide_walk(struct tide_unwinder *, const struct tide_regs *, unsigned max, uint32_t changed,
	       struct tide_words *ret);
/* The words of the walk that is remembered; its outermost `shared` frames have the pc they had, its end was `last_end`. */
void tide_walk_tell(struct tide_unwinder *, unsigned max, uint32_t shared, uint64_t last_end, struct tide_words *ret);

#endif
