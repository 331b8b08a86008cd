/*
 * rules.h - the rule of every return address met so far: one table for all threads, 16 bytes an address, growing by
 * doubling from 64 KiB. Lock-free to read and to insert into; what is lost in a race is only computed again.
 */
#ifndef TIDE_UNWIND_RULES_H
#define TIDE_UNWIND_RULES_H

#include <stdatomic.h>

#include "unwind/cfi.h"

/* A rule in one word, never 0. Low half: cfa_offset, and in its low three bits a kind; high half: bp_offset, and in its low three
 * bits enum tide_rule_bp. Both offsets are multiples of 8. */
#define TIDE_PACKED_KIND 7u
enum tide_packed_kind {
	TIDE_PACKED_STEP = 0,
	TIDE_PACKED_STEP_BP,
	TIDE_PACKED_SIGNAL,
	TIDE_PACKED_END,
	TIDE_PACKED_UNKNOWN
};
static inline intptr_t tide_packed_cfa(uint64_t packed)
{
	return (int32_t)(packed & ~(uint64_t)TIDE_PACKED_KIND);
}
static inline enum tide_rule_bp tide_packed_bp_kind(uint64_t packed)
{
	return (enum tide_rule_bp)(packed >> 32 & 7);
}
/* Of TIDE_BP_SAVED: where, from the CFA. */
static inline intptr_t tide_packed_bp(uint64_t packed)
{
	return (int64_t)(packed - ((uint64_t)TIDE_BP_SAVED << 32)) >> 32;
}

struct tide_rule_slot {
	_Atomic uint64_t key;  /* 0: free; set once, by whoever takes the slot */
	_Atomic uint64_t rule; /* packed; 0: not known (yet, or any more) */
};
struct tide_rule_table {
	uint32_t slots; /* a power of two */
	uint32_t mask;  /* (slots - 1) * sizeof(struct tide_rule_slot) */
	atomic_uint used;
	struct tide_rule_slot slot[]; /* and one more, which is never taken: to look at behind the last */
};
extern struct tide_rule_table *_Atomic tide_rules;

static inline struct tide_rule_slot *tide_rule_slot(struct tide_rule_table *t, uint64_t key)
{
	uint64_t hash = key * UINT64_C(0x9e3779b97f4a7c15);
	return (struct tide_rule_slot *)((char *)t->slot + (hash >> 28 & t->mask));
}

/* `exact` as in tide_cfi_rule. Finds the rule in the table, or computes and keeps it; packed. */
uint64_t tide_rule_search(uintptr_t pc, bool exact);

/* The rule of a return address. Inline for the one in its first two slots, which nearly all are. A table exists once anything was learnt. */
static inline uint64_t tide_rule_in(struct tide_rule_table *t, uintptr_t pc)
{
	struct tide_rule_slot *s = tide_rule_slot(t, pc);
	if (__builtin_expect(atomic_load_explicit(&s->key, memory_order_relaxed) != pc, 0) &&
	    atomic_load_explicit(&(++s)->key, memory_order_relaxed) != pc)
		return tide_rule_search(pc, false);
	uint64_t rule = atomic_load_explicit(&s->rule, memory_order_relaxed);
	return __builtin_expect(rule != 0, 1) ? rule : tide_rule_search(pc, false);
}
static inline uint64_t tide_rule_of_call(uintptr_t pc)
{
	struct tide_rule_table *t = atomic_load_explicit(&tide_rules, memory_order_acquire);
	return __builtin_expect(t != NULL, 1) ? tide_rule_in(t, pc) : tide_rule_search(pc, false);
}

/* Forgets all. */
void tide_rules_flush(void);
void tide_rules_fork_child(void);

#endif
