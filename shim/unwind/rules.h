/*
 * rules.h - the rule of every return address met so far: one table for all threads, 16 bytes an address, growing by
 * doubling from 64 KiB. Lock-free to read and to insert into; what is lost in a race is only computed again.
 */
#ifndef TIDE_UNWIND_RULES_H
#define TIDE_UNWIND_RULES_H

#include <stdatomic.h>

#include "unwind/cfi.h"

/* A rule in one word, never 0: kind in bits 0-2, cfa_from_bp 3, bp 4-5, cfa_offset 8-35, bp_offset 36-63; offsets in units of 8. */
#define TIDE_PACKED_KIND 7u
#define TIDE_PACKED_FROM_BP 8u
#define TIDE_PACKED_BP 0x30u
#define TIDE_PACKED_BP_SAVED (TIDE_BP_SAVED << 4)
static inline intptr_t tide_packed_cfa(uint64_t packed)
{
	return (int64_t)(packed << 28) >> 36 << 3;
}
static inline intptr_t tide_packed_bp(uint64_t packed)
{
	return (int64_t)packed >> 36 << 3;
}

struct tide_rule_slot {
	_Atomic uint64_t key;  /* 0: free; set once, by whoever takes the slot */
	_Atomic uint64_t rule; /* packed; 0: not known (yet, or any more) */
};
struct tide_rule_table {
	uint32_t slots; /* a power of two */
	atomic_uint used;
	struct tide_rule_slot slot[];
};
extern struct tide_rule_table *_Atomic tide_rules;

static inline uint32_t tide_rule_slot_of(uint64_t key, uint32_t slots)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (slots - 1);
}

/* `exact` as in tide_cfi_rule. Finds the rule in the table, or computes and keeps it; packed. */
uint64_t tide_rule_search(uintptr_t pc, bool exact);

/* The rule of a return address. Inline for the one in its first slot, which nearly all are. */
static inline uint64_t tide_rule_of_call(uintptr_t pc)
{
	struct tide_rule_table *t = atomic_load_explicit(&tide_rules, memory_order_acquire);
	if (__builtin_expect(t != NULL, 1)) {
		struct tide_rule_slot *s = &t->slot[tide_rule_slot_of(pc, t->slots)];
		uint64_t rule = atomic_load_explicit(&s->rule, memory_order_relaxed);
		if (__builtin_expect(atomic_load_explicit(&s->key, memory_order_relaxed) == pc && rule, 1))
			return rule;
	}
	return tide_rule_search(pc, false);
}

/* Forgets all. */
void tide_rules_flush(void);
void tide_rules_fork_child(void);

#endif
