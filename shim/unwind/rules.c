#include "unwind/rules.h"

#include <stdatomic.h>

#include "lock.h"
#include "sys.h"

#define FIRST_SLOTS 512u /* two pages: enough for programs that do little */
#define SECOND_SLOTS 4096u
#define SLOTS_MOST (1u << 24)
#define EXACT (UINT64_C(1) << 63) /* key bit: the pc of an interrupted function */

struct tide_rule_table *_Atomic tide_rules;
static struct tide_lock growing;

static uint64_t pack(struct tide_rule r)
{
	uint64_t bp = (uint64_t)(uint32_t)(r.bp_offset | (int32_t)r.bp) << 32;
	switch (r.kind) {
	case TIDE_RULE_STEP:
		return bp | (uint32_t)(r.cfa_offset | (r.cfa_from_bp ? TIDE_PACKED_STEP_BP : TIDE_PACKED_STEP));
	case TIDE_RULE_SIGNAL:
		return TIDE_PACKED_SIGNAL;
	case TIDE_RULE_END:
		return TIDE_PACKED_END;
	default:
		return TIDE_PACKED_UNKNOWN;
	}
}

static struct tide_rule_table *new_table(uint32_t slots)
{
	struct tide_rule_table *t = tide_sys_memory(sizeof *t + (slots + 1) * sizeof(struct tide_rule_slot));
	if (t) {
		t->slots = slots;
		t->mask = (slots - 1) * (uint32_t)sizeof(struct tide_rule_slot);
	}
	return t;
}

static void insert(struct tide_rule_table *t, uint64_t key, uint64_t rule)
{
	uint32_t mask = t->slots - 1;
	for (uint32_t i = (uint32_t)(tide_rule_slot(t, key) - t->slot), tries = 0; tries < t->slots;
	     i = (i + 1) & mask, tries++) {
		struct tide_rule_slot *s = &t->slot[i];
		uint64_t free_key = 0;
		if (atomic_compare_exchange_strong_explicit(&s->key, &free_key, key, memory_order_relaxed,
							    memory_order_relaxed))
			atomic_fetch_add_explicit(&t->used, 1, memory_order_relaxed);
		else if (free_key != key)
			continue;
		atomic_store_explicit(&s->rule, rule, memory_order_relaxed);
		return;
	}
}

/* The old table stays: somebody may be reading it. All old ones together are smaller than the new one. */
static void grow(struct tide_rule_table *old)
{
	if ((old && old->slots >= SLOTS_MOST) || !tide_trylock(&growing))
		return;
	if (atomic_load_explicit(&tide_rules, memory_order_relaxed) == old) {
		uint32_t more = old && old->slots >= SECOND_SLOTS ? old->slots * 2 : SECOND_SLOTS;
		struct tide_rule_table *t = new_table(old ? more : FIRST_SLOTS);
		for (uint32_t i = 0; t && old && i < old->slots; i++) {
			uint64_t key = atomic_load_explicit(&old->slot[i].key, memory_order_relaxed);
			uint64_t rule = atomic_load_explicit(&old->slot[i].rule, memory_order_relaxed);
			if (key && rule)
				insert(t, key, rule);
		}
		if (t)
			atomic_store_explicit(&tide_rules, t, memory_order_release);
	}
	tide_unlock(&growing);
}

/* False: the answer may be another one the next time (no object there yet, or somebody is just registering it). */
static bool compute(uintptr_t pc, bool exact, struct tide_rule *ret)
{
	const struct tide_unwind_module *m = tide_module_at(exact ? pc : pc - 1);
	*ret = (struct tide_rule){.kind = TIDE_RULE_UNKNOWN};
	if (!m || m->gone)
		return false;
	if (m->eh_frame_hdr)
		*ret = tide_cfi_rule(m, pc, exact);
	return true;
}

static uint64_t learn(uintptr_t pc, bool exact, uint64_t key)
{
	struct tide_rule rule;
	if (!compute(pc, exact, &rule))
		return pack(rule);
	struct tide_rule_table *t = atomic_load_explicit(&tide_rules, memory_order_acquire);
	if (!t || atomic_load_explicit(&t->used, memory_order_relaxed) > t->slots / 4) {
		grow(t);
		t = atomic_load_explicit(&tide_rules, memory_order_acquire);
	}
	if (t && atomic_load_explicit(&t->used, memory_order_relaxed) < t->slots / 4 * 3)
		insert(t, key, pack(rule));
	return pack(rule);
}

uint64_t tide_rule_search(uintptr_t pc, bool exact)
{
	uint64_t key = pc | (exact ? EXACT : 0);
	struct tide_rule_table *t = atomic_load_explicit(&tide_rules, memory_order_acquire);
	const struct tide_rule_slot *s = t ? tide_rule_slot(t, key) : NULL, *end = t ? t->slot + t->slots : NULL;
	uint64_t there = 0, rule = 0;
	for (; s; s = s + 1 == end ? t->slot : s + 1) {
		there = atomic_load_explicit(&s->key, memory_order_relaxed);
		if (there == key || there == 0)
			break;
	}
	if (there)
		rule = atomic_load_explicit(&s->rule, memory_order_relaxed);
	return rule ? rule : learn(pc, exact, key);
}

void tide_rules_flush(void)
{
	struct tide_rule_table *t = atomic_load_explicit(&tide_rules, memory_order_acquire);
	for (uint32_t i = 0; t && i < t->slots; i++)
		if (atomic_load_explicit(&t->slot[i].rule, memory_order_relaxed))
			atomic_store_explicit(&t->slot[i].rule, 0, memory_order_relaxed);
}

void tide_rules_fork_child(void)
{
	tide_unlock(&growing);
}
