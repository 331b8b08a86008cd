#include "unwind/unwind.h"

#include <stdatomic.h>
#include <string.h>

#include "unwind/modules.h"
#include "unwind/rules.h"
#include "unwind/stacks.h"

static atomic_uint generation = 1; /* of all rules; remembered walks of an earlier one are void */

/* A walk in hand: the state at one frame, and the readable stack. */
struct walk {
	struct tide_unwinder *u;
	struct tide_frame_seen now;
	uintptr_t high;
};

enum step { STEP_ON, STEP_END, STEP_CUT };

static bool load(const struct walk *w, uintptr_t at, uintptr_t *ret)
{
	if (at < w->now.sp || at > w->high - sizeof *ret || at % sizeof *ret)
		return false;
	*ret = *(const uintptr_t *)at;
	return true;
}

/* The kernel's frame: all registers are in it, and the interrupted code may run on another stack. */
static enum step step_signal(struct walk *w)
{
	struct tide_frame_seen next = {.was_interrupted = true};
	uintptr_t frame = w->now.sp;
	if (!load(w, frame + TIDE_UCONTEXT_PC, &next.pc) || !load(w, frame + TIDE_UCONTEXT_SP, &next.sp) ||
	    !load(w, frame + TIDE_UCONTEXT_BP, &next.bp))
		return STEP_CUT;
	if (next.sp < frame || next.sp >= w->high)
		w->high = tide_stack_end(w->u, next.sp);
	w->now = next;
	return w->high ? STEP_ON : STEP_CUT;
}

/* From w->now to the frame outside it. */
static enum step step(struct walk *w, bool *ret_uses_bp)
{
	struct tide_frame_seen *now = &w->now, next = {.bp = now->bp, .bp_lost = now->bp_lost};
	struct tide_rule rule = tide_rule_for(now->pc, now->was_interrupted);
	*ret_uses_bp = rule.kind == TIDE_RULE_STEP && rule.cfa_from_bp;
	if (rule.kind == TIDE_RULE_SIGNAL)
		return step_signal(w);
	if (rule.kind == TIDE_RULE_END)
		return STEP_END;
	if (rule.kind != TIDE_RULE_STEP || (rule.cfa_from_bp && now->bp_lost))
		return STEP_CUT;
	next.sp = (rule.cfa_from_bp ? now->bp : now->sp) + (uintptr_t)(intptr_t)rule.cfa_offset;
	if (next.sp <= now->sp || next.sp > w->high || !load(w, next.sp - TIDE_RA_BELOW_CFA, &next.pc))
		return STEP_CUT;
	if (rule.bp == TIDE_BP_SAVED) {
		next.bp_cell = next.sp + (uintptr_t)(intptr_t)rule.bp_offset;
		next.bp_lost = !load(w, next.bp_cell, &next.bp);
	} else if (rule.bp == TIDE_BP_LOST) {
		next.bp_lost = true;
	}
	w->now = next;
	return next.pc ? STEP_ON : STEP_END;
}

/* Remembered frame number i, counted from outside. */
static struct tide_frame_seen *remembered(struct tide_unwinder *u, uint32_t i)
{
	return &u->frame[TIDE_STACK_MAX - 1 - i];
}

/* Whether what frame f was read from, on leaving the frame inside it, is unchanged. */
static bool stands(const struct walk *w, const struct tide_frame_seen *f)
{
	uintptr_t value;
	if (f->was_interrupted || !load(w, f->sp - TIDE_RA_BELOW_CFA, &value) || value != f->pc)
		return false;
	return !f->bp_matters || !f->bp_cell || (load(w, f->bp_cell, &value) && value == f->bp);
}

/* If the walk has come to a remembered frame (candidates are the *at outermost ones), *at becomes the number of frames from
 * there outwards, and *ret_from how many of the outermost do not stand any more: 0 means the rest of the walk is known. */
static bool meets(const struct walk *w, uint32_t *at, uint32_t *ret_from)
{
	struct tide_unwinder *u = w->u;
	while (*at > 0 && remembered(u, *at - 1)->sp < w->now.sp)
		--*at;
	if (*at == 0)
		return false;
	const struct tide_frame_seen *f = remembered(u, *at - 1);
	if (f->sp != w->now.sp || f->pc != w->now.pc || f->was_interrupted != w->now.was_interrupted)
		return false;
	if (f->bp_matters && (w->now.bp_lost || f->bp_lost || f->bp != w->now.bp))
		return false;
	uint32_t i = *at - 1;
	while (i > 0 && stands(w, remembered(u, i - 1)))
		i--;
	*ret_from = i;
	return true;
}

static void push(struct tide_unwinder *u, uint32_t *fresh, const struct tide_frame_seen *f)
{
	u->fresh[(*fresh)++] = *f;
}

/* Frames at - 1 down to `from` stand; further out something changed. Takes them as walked and ends at the outermost of them.
 * A bp that did not matter was not compared, so it is loaded anew. */
static void jump(struct walk *w, uint32_t at, uint32_t from, uint32_t *fresh, uint32_t max)
{
	for (uint32_t i = at - 1; i > from && *fresh < max; i--) {
		struct tide_frame_seen next = *remembered(w->u, i - 1);
		push(w->u, fresh, &w->now);
		w->u->fresh[*fresh - 1].uses_bp = remembered(w->u, i)->uses_bp;
		next.bp = w->now.bp;
		if (next.bp_cell)
			next.bp_lost = !load(w, next.bp_cell, &next.bp);
		w->now = next;
	}
}

/* The walk becomes what is remembered: `fresh` inner frames before `kept` outer ones. */
static void remember(struct tide_unwinder *u, uint32_t fresh, uint32_t kept, uint64_t last)
{
	if (fresh + kept > TIDE_STACK_MAX || last == TIDE_WORD_CUT_LIMIT) {
		u->depth = 0;
		return;
	}
	for (uint32_t i = 0; i < fresh; i++) {
		struct tide_frame_seen *f = remembered(u, kept + i);
		const struct tide_frame_seen *outer = kept + i ? f + 1 : NULL;
		*f = u->fresh[fresh - 1 - i];
		f->bp_matters =
			f->uses_bp || (outer && !outer->bp_cell && !outer->was_interrupted && outer->bp_matters);
	}
	u->depth = fresh + kept;
	u->last_word = last;
}

static unsigned give(struct tide_unwinder *u, uint32_t fresh, uint32_t kept, unsigned max, uint64_t last,
		     uint64_t *words)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < fresh && n < max; i++)
		words[n++] = u->fresh[i].pc;
	for (uint32_t i = kept; i-- > 0 && n < max;)
		words[n++] = remembered(u, i)->pc;
	if (last)
		words[n++] = last;
	return n;
}

/* Walks until the end, a cut, or frames that are known; *ret_kept of those. Returns the word that ends the stack, or 0. */
static uint64_t walk_out(struct walk *w, unsigned max, uint32_t *fresh, uint32_t *ret_kept)
{
	struct tide_unwinder *u = w->u;
	uint32_t at = u->depth, from = 0;
	enum step s = w->high ? STEP_ON : STEP_CUT;
	if (s == STEP_CUT)
		push(u, fresh, &w->now);
	while (s == STEP_ON) {
		if (meets(w, &at, &from)) {
			if (from == 0) {
				*ret_kept = at;
				return u->last_word;
			}
			jump(w, at, from, fresh, max);
			at = from;
		}
		if (*fresh == max)
			return TIDE_WORD_CUT_LIMIT;
		struct tide_frame_seen *f = &u->fresh[*fresh];
		push(u, fresh, &w->now);
		s = step(w, &f->uses_bp);
	}
	return s == STEP_CUT ? TIDE_WORD_CUT_UNKNOWN : 0;
}

unsigned tide_unwind(struct tide_unwinder *u, const struct tide_regs *regs, unsigned max, uint64_t *words,
		     unsigned *ret_shared)
{
	struct walk w = {.u = u, .now = {.pc = regs->pc, .sp = regs->sp, .bp = regs->bp}};
	unsigned now = atomic_load_explicit(&generation, memory_order_relaxed);
	uint32_t fresh = 0, kept = 0;
	if (u->generation != now) {
		u->generation = now;
		u->depth = 0;
	}
	w.high = tide_stack_end(u, w.now.sp);
	uint64_t last = walk_out(&w, max, &fresh, &kept);
	bool cut = fresh + kept > max;
	if (cut)
		last = TIDE_WORD_CUT_LIMIT;
	unsigned n = give(u, fresh, kept, max, last, words);
	*ret_shared = cut || last == TIDE_WORD_CUT_LIMIT ? 0 : kept + (kept && last ? 1 : 0);
	remember(u, fresh, kept, last);
	return n;
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
