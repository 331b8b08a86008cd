#include "unwind/rules.h"

#include <stdatomic.h>

#include "lock.h"
#include "sys.h"

#define FIRST_SLOTS 4096u
#define SLOTS_MOST (1u << 24)
#define EXACT (UINT64_C(1) << 63) /* key bit: the pc of an interrupted function */

struct slot {
	_Atomic uint64_t key;  /* 0: free; set once, by whoever takes the slot */
	_Atomic uint64_t rule; /* packed; 0: not known (yet, or any more) */
};
struct table {
	uint32_t slots; /* a power of two */
	atomic_uint used;
	struct slot slot[];
};

static struct table *_Atomic current;
static struct tide_lock growing;

/* kind 0-2, cfa_from_bp 3, bp 4-5, cfa_offset 8-35, bp_offset 36-63; offsets in units of 8. */
static uint64_t pack(struct tide_rule r)
{
	return (uint64_t)r.kind | (uint64_t)r.cfa_from_bp << 3 | (uint64_t)r.bp << 4 |
	       ((uint64_t)(r.cfa_offset / 8) & 0xfffffff) << 8 | ((uint64_t)(r.bp_offset / 8) & 0xfffffff) << 36;
}

static struct tide_rule unpack(uint64_t packed)
{
	return (struct tide_rule){
		.kind = packed & 7,
		.cfa_from_bp = packed >> 3 & 1,
		.bp = packed >> 4 & 3,
		.cfa_offset = (int32_t)(packed >> 8 << 4) >> 4 << 3,
		.bp_offset = (int32_t)(packed >> 36 << 4) >> 4 << 3,
	};
}

static uint32_t first_slot(uint64_t key, uint32_t slots)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (slots - 1);
}

static struct table *new_table(uint32_t slots)
{
	struct table *t = tide_sys_memory(sizeof *t + slots * sizeof(struct slot));
	if (t)
		t->slots = slots;
	return t;
}

static void insert(struct table *t, uint64_t key, uint64_t rule)
{
	uint32_t mask = t->slots - 1;
	for (uint32_t i = first_slot(key, t->slots), tries = 0; tries < t->slots; i = (i + 1) & mask, tries++) {
		struct slot *s = &t->slot[i];
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
static void grow(struct table *old)
{
	if ((old && old->slots >= SLOTS_MOST) || !tide_trylock(&growing))
		return;
	if (atomic_load_explicit(&current, memory_order_relaxed) == old) {
		struct table *t = new_table(old ? old->slots * 2 : FIRST_SLOTS);
		for (uint32_t i = 0; t && old && i < old->slots; i++) {
			uint64_t key = atomic_load_explicit(&old->slot[i].key, memory_order_relaxed);
			uint64_t rule = atomic_load_explicit(&old->slot[i].rule, memory_order_relaxed);
			if (key && rule)
				insert(t, key, rule);
		}
		if (t)
			atomic_store_explicit(&current, t, memory_order_release);
	}
	tide_unlock(&growing);
}

static struct tide_rule compute(uintptr_t pc, bool exact)
{
	const struct tide_unwind_module *m = tide_module_at(exact ? pc : pc - 1);
	if (!m || m->gone || !m->eh_frame_hdr)
		return (struct tide_rule){.kind = TIDE_RULE_UNKNOWN};
	return tide_cfi_rule(m, pc, exact);
}

static struct tide_rule learn(uintptr_t pc, bool exact, uint64_t key)
{
	struct tide_rule rule = compute(pc, exact);
	struct table *t = atomic_load_explicit(&current, memory_order_acquire);
	if (!t || atomic_load_explicit(&t->used, memory_order_relaxed) > t->slots / 2) {
		grow(t);
		t = atomic_load_explicit(&current, memory_order_acquire);
	}
	if (t && atomic_load_explicit(&t->used, memory_order_relaxed) < t->slots / 4 * 3)
		insert(t, key, pack(rule));
	return rule;
}

struct tide_rule tide_rule_for(uintptr_t pc, bool exact)
{
	uint64_t key = pc | (exact ? EXACT : 0);
	struct table *t = atomic_load_explicit(&current, memory_order_acquire);
	uint32_t mask = t ? t->slots - 1 : 0;
	for (uint32_t i = t ? first_slot(key, t->slots) : 0; t; i = (i + 1) & mask) {
		uint64_t there = atomic_load_explicit(&t->slot[i].key, memory_order_relaxed);
		if (there == key) {
			uint64_t rule = atomic_load_explicit(&t->slot[i].rule, memory_order_relaxed);
			if (rule)
				return unpack(rule);
			break;
		}
		if (there == 0)
			break;
	}
	return learn(pc, exact, key);
}

void tide_rules_flush(void)
{
	struct table *t = atomic_load_explicit(&current, memory_order_acquire);
	for (uint32_t i = 0; t && i < t->slots; i++)
		if (atomic_load_explicit(&t->slot[i].rule, memory_order_relaxed))
			atomic_store_explicit(&t->slot[i].rule, 0, memory_order_relaxed);
}

void tide_rules_fork_child(void)
{
	tide_unlock(&growing);
}
