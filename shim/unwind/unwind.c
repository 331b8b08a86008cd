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
	uintptr_t stands;               /* as of tide_unwind() */
	uint32_t changed;               /* as in struct walk */
};

/* bp that is at `bp_at`, as tide_frame_fresh.bp_value has it; 0: nobody can tell. */
static uintptr_t quick_bp(const struct quick *q, uintptr_t bp_at)
{
	uintptr_t high = q->u->stack.high, bp = q->bp_here;
	if (bp_at != TIDE_BP_HERE) {
		if (bp_at < q->start || bp_at > high - sizeof bp || bp_at % sizeof bp)
			return 0;
		bp = tide_cell(bp_at);
	}
	return bp ? bp : 1;
}

/* Where bp is at frame i <= q->at, now that the frames inside of it are known: in the cell where the nearest of those that saved
 * it put it. Asked for the few frames only that need it; to keep up with it at each frame made a walk twice as long. */
static uintptr_t bp_at_frame(const struct quick *q, uint32_t i)
{
	const struct tide_unwinder *u = q->u;
	for (i++; i <= q->at; i++)
		if (tide_packed_bp_kind(u->rule[i]) != TIDE_BP_SAME)
			return tide_bp_outside(TIDE_BP_GONE, u->rule[i], u->sp[i - 1]);
	return q->bp_at;
}

/* The canonical frame address by the rule of the frame in hand, frame i if it is one of the last walk's, else 0; *ret_bp, if bp's
 * value is needed. UINTPTR_MAX: it is not that simple. */
INLINE uintptr_t quick_cfa(const struct quick *q, uint64_t rule, uint32_t i, bool with_bp, uintptr_t *ret_bp)
{
	if (__builtin_expect(rule & TIDE_PACKED_KIND, 0)) {
		bool needed = with_bp && tide_needs_bp(rule);
		uintptr_t bp = needed ? quick_bp(q, i ? bp_at_frame(q, i) : q->bp_at) : 0;
		uintptr_t cfa = bp + (uintptr_t)tide_packed_cfa(rule);
		*ret_bp = bp;
		return bp && cfa > q->sp && cfa % sizeof cfa == 0 ? cfa : UINTPTR_MAX;
	}
	return q->sp + (uintptr_t)(intptr_t)(int32_t)rule;
}

/* Frame i was called from elsewhere, but its caller's frame lies where it lay. */
INLINE void put_in_place(struct quick *q, uint32_t i, uint64_t rule, uintptr_t bp, bool with_bp)
{
	struct tide_unwinder *u = q->u;
	u->pc[i] = q->pc;
	u->rule[i] = rule;
	if (with_bp) {
		u->bp_value[i] = bp;
		tide_note_bp(u, i);
	}
	q->changed = i;
}

/* To where the last walk passed with the same sp and went on to the same frame: q->at is that frame of it, whose pc now is what it is
 * now. Those before it are fresh. */
INLINE bool walk_in(struct quick *q, bool with_bp)
{
	struct tide_unwinder *u = q->u;
	uintptr_t high = u->stack.high, bp = 0;
	const uintptr_t *known = u->sp + u->known;
	struct tide_frame_fresh *f = u->fresh, *most = f + QUICK_MOST;
	for (;; f++) {
		while (*known < q->sp) /* sp[0] is not below any */
			known--;
		q->at = (uint32_t)(known - u->sp);
		bool met = *known == q->sp;
		if (met && (known == u->sp || u->pc[q->at] == q->pc)) {
			q->changed = q->at + 1;
			break;
		}
		uint64_t rule = tide_rule_in(q->rules, q->pc);
		uintptr_t cfa = quick_cfa(q, rule, 0, with_bp, &bp);
		if (__builtin_expect(cfa > high || f == most, 0))
			return false;
		if (met && cfa == known[-1]) {
			put_in_place(q, q->at, rule, bp, with_bp);
			break;
		}
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
	q->fresh = f;
	return known != u->sp;
}

/* The frame in hand, `i`, was called from elsewhere. */
INLINE bool change_in_place(struct quick *q, uint32_t i, bool with_bp)
{
	struct tide_unwinder *u = q->u;
	uint64_t rule = tide_rule_in(q->rules, q->pc);
	uintptr_t bp = 0, cfa = quick_cfa(q, rule, i, with_bp, &bp);
	if (__builtin_expect(cfa != u->sp[i - 1] || cfa > u->stack.high, 0))
		return false;
	put_in_place(q, i, rule, bp, with_bp);
	return true;
}

/* Compares frames further out than q->at with what they were. False: it is not that simple; what was changed until then is right. */
INLINE bool walk_out_in_place(struct quick *q, bool with_bp, bool spared)
{
	struct tide_unwinder *u = q->u;
	uintptr_t stands = q->stands; /* *q would be in memory */
	for (uint64_t i = q->at;;) {
		if (--i == 0)
			return !u->end_is_cell || tide_cell(u->sp[0] - TIDE_RA_BELOW_CFA) == 0;
		uintptr_t sp = u->sp[i];
		if (spared && sp > stands)
			return true;
		uintptr_t pc = tide_cell(sp - TIDE_RA_BELOW_CFA);
		if (__builtin_expect(pc != u->pc[i], 0)) {
			q->pc = pc;
			q->sp = sp;
			if (!change_in_place(q, (uint32_t)i, with_bp))
				return false;
		}
	}
}

/* Of frames q->at and further out those that need bp have the one that they had. */
static bool same_bp(const struct quick *q)
{
	const struct tide_unwinder *u = q->u;
	uint32_t i = u->bp_innermost < q->at ? u->bp_innermost : q->at;
	for (; i && i >= u->bp_outermost && u->sp[i] <= q->stands; i--)
		if (tide_needs_bp(u->rule[i]) && quick_bp(q, bp_at_frame(q, i)) != u->bp_value[i])
			return false;
	return true;
}

/* Frames inside of `at` are others now. */
static void note_fresh_bp(struct tide_unwinder *u, uint32_t at, uint32_t depth)
{
	if (u->bp_innermost > at) {
		u->bp_innermost = at;
		while (u->bp_innermost >= u->bp_outermost && !tide_needs_bp(u->rule[u->bp_innermost]))
			u->bp_innermost--;
		if (u->bp_innermost < u->bp_outermost)
			u->bp_innermost = 0;
	}
	for (uint32_t i = at + 1; i <= depth; i++)
		tide_note_bp(u, i);
}

/* False: nothing is known but what *changed says. */
INLINE bool walk_quickly(struct tide_unwinder *u, const struct tide_regs *regs, uintptr_t stands, uint32_t *changed,
			 bool with_bp)
{
	struct quick q = {.u = u,
			  .rules = atomic_load_explicit(&tide_rules, memory_order_acquire),
			  .pc = regs->pc,
			  .sp = regs->sp,
			  .bp_at = TIDE_BP_HERE,
			  .bp_here = regs->bp,
			  .start = regs->sp,
			  .stands = stands};
	if (!walk_in(&q, with_bp))
		return false;
	uint32_t depth = q.at + (uint32_t)(q.fresh - u->fresh);
	bool quick =
		stands != UINTPTR_MAX ? walk_out_in_place(&q, with_bp, true) : walk_out_in_place(&q, with_bp, false);
	quick = quick && (!with_bp || same_bp(&q));
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
		note_fresh_bp(u, q.at, depth);
	return true;
}

__attribute__((noinline)) static bool walk_quickly_with_bp(struct tide_unwinder *u, const struct tide_regs *regs,
							   uintptr_t stands, uint32_t *changed)
{
	return walk_quickly(u, regs, stands, changed, true);
}

void tide_unwind(struct tide_unwinder *u, const struct tide_regs *regs, unsigned max, uintptr_t stands,
		 struct tide_words *ret)
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
		quick = u->bp_innermost ? walk_quickly_with_bp(u, regs, stands, &changed)
					: walk_quickly(u, regs, stands, &changed, false);
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
