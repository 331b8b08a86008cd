#include "unwind/unwind.h"

#include <stdatomic.h>

#include "unwind/modules.h"
#include "unwind/rules.h"
#include "unwind/stacks.h"
#include "unwind/walk.h"

#define QUICK_MOST 64u /* fresh frames; more are no matter of speed */

static atomic_uint generation = 1; /* of all rules; remembered walks of an earlier one are void */

/* ---- the quick way, which most walks go: no signal frame, and an end where the last walk passed ----
 *
 * Compiled twice: where some frame's rule needs bp, and where none does. */

#define INLINE static inline __attribute__((always_inline))

struct quick {
	struct tide_unwinder *u;
	struct tide_rule_table *rules;
	uintptr_t pc, sp;
	uintptr_t bp_at, bp_here; /* as in struct walk */
	uintptr_t start;
	struct tide_frame_fresh *fresh; /* behind the last one */
	uint32_t at;                    /* frame of the last walk */
	uint32_t changed;               /* as in struct walk */
};

/* bp at the frame in hand, as tide_frame_fresh.bp_value has it; 0: nobody can tell. */
static uintptr_t quick_bp(const struct quick *q)
{
	uintptr_t high = q->u->stack.high, bp = q->bp_here;
	if (q->bp_at != TIDE_BP_HERE) {
		if (q->bp_at < q->start || q->bp_at > high - sizeof bp || q->bp_at % sizeof bp)
			return 0;
		bp = tide_cell(q->bp_at);
	}
	return bp ? bp : 1;
}

/* The canonical frame address by the rule of the frame in hand; *ret_bp, if bp's value is needed. UINTPTR_MAX: it is not that simple. */
INLINE uintptr_t quick_cfa(const struct quick *q, uint64_t rule, bool with_bp, uintptr_t *ret_bp)
{
	if (__builtin_expect(rule & TIDE_PACKED_KIND, 0)) {
		uintptr_t bp = with_bp && tide_needs_bp(rule) ? quick_bp(q) : 0;
		uintptr_t cfa = bp + (uintptr_t)tide_packed_cfa(rule);
		*ret_bp = bp;
		return bp && cfa > q->sp && cfa % sizeof cfa == 0 ? cfa : UINTPTR_MAX;
	}
	return q->sp + (uintptr_t)(intptr_t)(int32_t)rule;
}

/* To where the last walk passed with the same sp: q->at is that frame of it, q->pc what its pc is now. Those before it are fresh. */
INLINE bool walk_in(struct quick *q, bool with_bp)
{
	struct tide_unwinder *u = q->u;
	uintptr_t high = u->stack.high, bp = 0;
	const uintptr_t *known = u->sp + u->known;
	struct tide_frame_fresh *f = u->fresh, *most = f + QUICK_MOST;
	for (;; f++) {
		while (*known < q->sp) /* sp[0] is not below any */
			known--;
		if (*known == q->sp)
			break;
		uint64_t rule = tide_rule_in(q->rules, q->pc);
		uintptr_t cfa = quick_cfa(q, rule, with_bp, &bp);
		if (__builtin_expect(cfa > high || f == most, 0))
			return false;
		f->pc = q->pc;
		f->sp = q->sp;
		f->rule = rule;
		if (with_bp) {
			f->bp_value = bp;
			q->bp_at = tide_bp_outside(q->bp_at, rule, cfa);
		}
		q->pc = tide_cell(cfa - TIDE_RA_BELOW_CFA);
		q->sp = cfa;
	}
	q->at = (uint32_t)(known - u->sp);
	q->fresh = f;
	return known != u->sp;
}

/* The frame in hand, `i`, was called from elsewhere. If its caller's frame lies where it lay, it changes its pc in its place. */
INLINE bool change_in_place(struct quick *q, uint32_t i, bool with_bp)
{
	struct tide_unwinder *u = q->u;
	uint64_t rule = tide_rule_in(q->rules, q->pc);
	uintptr_t bp = 0, cfa = quick_cfa(q, rule, with_bp, &bp);
	if (__builtin_expect(cfa != u->sp[i - 1] || cfa > u->stack.high, 0))
		return false;
	u->pc[i] = q->pc;
	u->rule[i] = rule;
	if (with_bp)
		u->bp_value[i] = bp;
	q->changed = i;
	return true;
}

/* Compares frames q->at and further out with what they were. False: it is not that simple; what was changed until then is right. */
INLINE bool walk_out_in_place(struct quick *q, bool with_bp)
{
	struct tide_unwinder *u = q->u;
	for (uint64_t i = q->at;;) {
		if (__builtin_expect(q->pc != u->pc[i], 0)) {
			if (!change_in_place(q, (uint32_t)i, with_bp))
				return false;
		} else if (with_bp && tide_needs_bp(u->rule[i]) && quick_bp(q) != u->bp_value[i]) {
			return false;
		}
		if (--i == 0)
			return !u->end_is_cell || tide_cell(u->sp[0] - TIDE_RA_BELOW_CFA) == 0;
		if (with_bp)
			q->bp_at = tide_bp_outside(q->bp_at, u->rule[i + 1], u->sp[i]);
		q->sp = u->sp[i];
		q->pc = tide_cell(q->sp - TIDE_RA_BELOW_CFA);
	}
}

/* False: nothing is known but what *changed says. */
INLINE bool walk_quickly(struct tide_unwinder *u, const struct tide_regs *regs, uint32_t *changed, bool with_bp)
{
	struct quick q = {.u = u,
			  .rules = atomic_load_explicit(&tide_rules, memory_order_acquire),
			  .pc = regs->pc,
			  .sp = regs->sp,
			  .bp_at = TIDE_BP_HERE,
			  .bp_here = regs->bp,
			  .start = regs->sp};
	if (!walk_in(&q, with_bp))
		return false;
	uint32_t depth = q.at + (uint32_t)(q.fresh - u->fresh);
	q.changed = q.at + 1;
	bool quick = walk_out_in_place(&q, with_bp);
	*changed = q.changed;
	if (__builtin_expect(!quick || depth > TIDE_STACK_MAX, 0))
		return false;
	u->depth = u->known = depth;
	uint64_t i = depth;
	for (const struct tide_frame_fresh *f = u->fresh; f < q.fresh; f++, i--) {
		u->pc[i] = f->pc;
		u->sp[i] = f->sp;
		u->rule[i] = f->rule;
		if (with_bp)
			u->bp_value[i] = f->bp_value;
	}
	if (with_bp)
		u->needing_bp = tide_count_bp(u, depth);
	return true;
}

__attribute__((noinline)) static bool walk_quickly_with_bp(struct tide_unwinder *u, const struct tide_regs *regs,
							   uint32_t *changed)
{
	return walk_quickly(u, regs, changed, true);
}

void tide_unwind(struct tide_unwinder *u, const struct tide_regs *regs, unsigned max, struct tide_words *ret)
{
	unsigned now = atomic_load_explicit(&generation, memory_order_relaxed);
	uint32_t changed = UINT32_MAX;
	if (__builtin_expect(u->generation != now, 0)) {
		u->generation = now;
		u->known = 0;
	}
	if (__builtin_expect(regs->sp - u->stack.low >= u->stack.high - u->stack.low, 0)) {
		u->known = 0;
		tide_stack_switch(u, regs->sp);
	}
	bool quick = u->known && u->end != TIDE_WORD_CUT_LIMIT; /* and so there is a table of rules */
	if (__builtin_expect(quick, 1))
		quick = u->needing_bp ? walk_quickly_with_bp(u, regs, &changed)
				      : walk_quickly(u, regs, &changed, false);
	if (__builtin_expect(quick && u->end == 0 && u->first == 1 && u->depth <= max, 1))
		*ret = (struct tide_words){u->pc + 1, u->depth, changed - 1};
	else if (quick)
		tide_walk_tell(u, max, changed - 1, u->end, ret);
	else
		tide_walk(u, regs, max, changed, ret);
}

void tide_unwinder_forget(struct tide_unwinder *u)
{
	u->known = 0;
	u->stack = (struct tide_stack_range){0, 0};
	u->ranges = 0;
}

void tide_unwind_flush(void)
{
	tide_rules_flush();
	tide_modules_sweep();
	atomic_fetch_add_explicit(&generation, 1, memory_order_relaxed);
}

void tide_unwind_fork_child(void)
{
	tide_rules_fork_child();
	tide_modules_fork_child();
}
