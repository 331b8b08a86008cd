#include "unwind/walk.h"

#include <string.h>

#include "unwind/modules.h"
#include "unwind/stacks.h"

/* A walk in hand. */
struct walk {
	struct tide_unwinder *u;
	uintptr_t pc, sp;
	uintptr_t bp_at;       /* the cell that bp is in at this frame, or TIDE_BP_* */
	uintptr_t bp_here;     /* where the walk began or was interrupted */
	uintptr_t start, high; /* what may be read */
	uint32_t at;           /* candidates for a meeting are frames [1] .. [at] */
	uint32_t fresh, kept;
	uint32_t max;     /* frames wanted */
	uint32_t changed; /* as of tide_walk() */
	bool interrupted; /* the frame in hand was, by a signal: its pc is not a return address */
	bool crossed;     /* a signal frame was */
	uint64_t end;
	uintptr_t end_cell; /* 0: none */
};

enum step { STEP_ON, STEP_END, STEP_CUT };

static bool readable(const struct walk *w, uintptr_t at)
{
	return at >= w->start && at <= w->high - sizeof at && at % sizeof at == 0;
}

static bool bp_now(const struct walk *w, uintptr_t bp_at, uintptr_t *ret)
{
	if (bp_at == TIDE_BP_HERE)
		*ret = w->bp_here;
	else if (bp_at != TIDE_BP_GONE && readable(w, bp_at))
		*ret = tide_cell(bp_at);
	else
		return false;
	return true;
}

/* The kernel's frame: all registers are in it, and the interrupted code may run on another stack. */
static enum step step_signal(struct walk *w)
{
	uintptr_t frame = w->sp;
	if (!readable(w, frame) || !readable(w, frame + TIDE_UCONTEXT_PC))
		return STEP_CUT;
	w->pc = tide_cell(frame + TIDE_UCONTEXT_PC);
	w->sp = tide_cell(frame + TIDE_UCONTEXT_SP);
	w->bp_here = tide_cell(frame + TIDE_UCONTEXT_BP);
	w->bp_at = TIDE_BP_HERE;
	w->crossed = w->interrupted = true;
	w->at = 0;
	if (w->sp < frame || w->sp >= w->high) {
		w->high = tide_stack_end(w->u, w->sp);
		w->start = w->sp;
	}
	return w->high && w->sp % sizeof w->sp == 0 ? STEP_ON : STEP_CUT;
}

/* The canonical frame address by a rule that is not sp + constant; 0: cannot be told. */
static uintptr_t cfa_from_bp(struct walk *w, uint64_t rule, struct tide_frame_fresh *f)
{
	uintptr_t bp;
	if ((rule & TIDE_PACKED_KIND) != TIDE_PACKED_STEP_BP || !bp_now(w, w->bp_at, &bp))
		return 0;
	f->bp_value = bp ? bp : 1; /* 1 is no bp of a frame either */
	bp += (uintptr_t)tide_packed_cfa(rule);
	return bp % sizeof bp == 0 ? bp : 0;
}

/* From the frame in hand to the one outside it. */
static inline enum step step(struct walk *w, uint64_t rule)
{
	struct tide_frame_fresh *f = &w->u->fresh[w->fresh++];
	*f = (struct tide_frame_fresh){w->pc, w->sp, rule, 0};
	uintptr_t cfa = w->sp + (uintptr_t)tide_packed_cfa(rule);
	if (__builtin_expect((rule & TIDE_PACKED_KIND) != TIDE_PACKED_STEP, 0)) {
		if ((rule & TIDE_PACKED_KIND) == TIDE_PACKED_END)
			return STEP_END;
		if ((rule & TIDE_PACKED_KIND) == TIDE_PACKED_SIGNAL)
			return step_signal(w);
		cfa = cfa_from_bp(w, rule, f);
	}
	if (__builtin_expect(cfa <= w->sp || cfa > w->high, 0))
		return STEP_CUT;
	w->pc = tide_cell(cfa - TIDE_RA_BELOW_CFA);
	w->sp = cfa;
	w->bp_at = tide_bp_outside(w->bp_at, rule, cfa);
	if (__builtin_expect(w->pc != 0, 1))
		return STEP_ON;
	w->end_cell = cfa;
	return STEP_END;
}

static inline bool returns_there(const struct tide_unwinder *u, uint32_t i)
{
	return tide_cell(u->sp[i] - TIDE_RA_BELOW_CFA) == u->pc[i];
}

static bool same_bp(const struct walk *w, uint32_t i, uintptr_t bp_at)
{
	uintptr_t bp;
	if (!tide_needs_bp(w->u->rule[i]))
		return true;
	return bp_now(w, bp_at, &bp) && (bp ? bp : 1) == w->u->bp_value[i];
}

/* verify(), where some rule needs bp: the outermost frame that stands, and whether what is outside it must too. */
static uint32_t verify_with_bp(const struct walk *w, uint32_t from, uint32_t last, bool *ret_outside)
{
	const struct tide_unwinder *u = w->u;
	uintptr_t bp_at = w->bp_at;
	uint32_t i = from;
	bool same;
	while ((same = same_bp(w, i, bp_at)) && i > last && returns_there(u, i - 1)) {
		bp_at = tide_bp_outside(bp_at, u->rule[i], u->sp[i - 1]);
		if (--i == 0)
			break;
	}
	*ret_outside = same;
	return i;
}

/* Frame `from` is where the walk in hand is. True: so is the rest of it, and the end. Otherwise *ret is the outermost frame that
 * must be as remembered. */
static inline bool verify(const struct walk *w, uint32_t from, uint32_t *ret)
{
	const struct tide_unwinder *u = w->u;
	uint32_t i = from, last = u->end_is_cell ? 0 : 1;
	bool whole = true;
	if (__builtin_expect(u->end == TIDE_WORD_CUT_LIMIT, 0)) {
		/* what is outside frame 1 is not known: are there frames enough? */
		whole = w->fresh + from >= w->max;
		last = whole ? w->fresh + from - w->max + 1 : 1;
	}
	if (__builtin_expect(u->bp_innermost != 0, 0)) {
		bool outside;
		i = verify_with_bp(w, from, last, &outside);
		whole = whole && outside;
	} else {
		while (i > last && returns_there(u, i - 1))
			i--;
	}
	*ret = i ? i : 1;
	return i == last && whole;
}

/* Frames `from` to `to` stand and are taken as walked, but for the last, which is now in hand. */
static void jump(struct walk *w, uint32_t from, uint32_t to)
{
	struct tide_unwinder *u = w->u;
	for (uint32_t i = from; i > to && w->fresh < TIDE_STACK_MAX; i--) {
		u->fresh[w->fresh++] = (struct tide_frame_fresh){u->pc[i], u->sp[i], u->rule[i], u->bp_value[i]};
		w->bp_at = tide_bp_outside(w->bp_at, u->rule[i], u->sp[i - 1]);
	}
	w->pc = u->pc[to];
	w->sp = u->sp[to];
	w->at = to - 1;
}

/* True: the rest of the walk is known. */
static inline bool meet(struct walk *w)
{
	const struct tide_unwinder *u = w->u;
	while (w->at > 0 && u->sp[w->at] < w->sp)
		w->at--;
	if (w->at == 0 || u->sp[w->at] != w->sp || u->pc[w->at] != w->pc)
		return false;
	uint32_t from = w->at, to;
	if (verify(w, from, &to)) {
		w->kept = from;
		return true;
	}
	jump(w, from, to);
	return false;
}

static inline void walk_out(struct walk *w)
{
	enum step s = STEP_ON;
	while (s == STEP_ON) {
		if (__builtin_expect(w->fresh >= TIDE_STACK_MAX, 0)) {
			w->end = TIDE_WORD_CUT_LIMIT;
			return;
		}
		if (meet(w))
			return;
		if (__builtin_expect(w->interrupted, 0)) {
			w->interrupted = false;
			s = step(w, tide_rule_search(w->pc, true));
		} else {
			s = step(w, tide_rule_of_call(w->pc));
		}
	}
	w->end = s == STEP_CUT ? TIDE_WORD_CUT_UNKNOWN : 0;
}

/* Drops the outermost remembered frames that leave no room for `fresh` more. */
static void make_room(struct tide_unwinder *u, struct walk *w)
{
	uint32_t drop = w->kept + w->fresh - TIDE_STACK_MAX;
	for (uint32_t i = 1; i + drop <= w->kept; i++) {
		u->pc[i] = u->pc[i + drop];
		u->sp[i] = u->sp[i + drop];
		u->rule[i] = u->rule[i + drop];
		u->bp_value[i] = u->bp_value[i + drop];
	}
	w->kept -= drop;
	w->end = TIDE_WORD_CUT_LIMIT;
	u->first = 0;
}

/* The walk becomes what is remembered. Returns how many outermost frames have the pc they had. */
static inline uint32_t remember(struct walk *w)
{
	struct tide_unwinder *u = w->u;
	uint32_t at = w->kept, shared = w->kept, old = u->depth;
	bool any_bp = false;
	if (w->kept == 0) {
		u->end_is_cell = w->end_cell != 0;
		u->pc[0] = 0;
		u->sp[0] = w->end_cell ? w->end_cell : UINTPTR_MAX;
	}
	for (uint32_t i = w->fresh; i-- > 0;) {
		const struct tide_frame_fresh *f = &u->fresh[i];
		at++;
		shared += shared + 1 == at && at <= old && u->pc[at] == f->pc;
		u->pc[at] = f->pc;
		u->sp[at] = f->sp;
		u->rule[at] = f->rule;
		u->bp_value[at] = f->bp_value;
		any_bp |= tide_needs_bp(f->rule);
	}
	if (__builtin_expect(u->bp_innermost || any_bp, 0)) {
		u->bp_innermost = 0;
		for (uint32_t i = 1; i <= at; i++)
			tide_note_bp(u, i);
	}
	u->depth = at;
	/* without a table of rules there is no quick walk, which goes by `known` */
	bool table = atomic_load_explicit(&tide_rules, memory_order_relaxed) != NULL;
	u->known = w->crossed || !table ? 0 : at;
	return shared < w->changed ? shared : w->changed - 1;
}

/* Words of a stack that is cut at the limit. */
static void tell_cut(struct tide_unwinder *u, unsigned max, uint32_t shared, struct tide_words *ret)
{
	uint32_t drop = u->depth > max ? u->depth - max : 0;
	if (u->end != TIDE_WORD_CUT_LIMIT)
		drop = (drop + TIDE_CUT_STEP - 1) / TIDE_CUT_STEP * TIDE_CUT_STEP;
	if (drop >= u->depth) /* a limit below TIDE_CUT_STEP */
		drop = u->depth - max;
	uint32_t depth = u->depth - drop;
	u->cut[0] = TIDE_WORD_CUT_LIMIT;
	memcpy(u->cut + 1, u->pc + 1 + drop, depth * sizeof *u->cut);
	*ret = (struct tide_words){u->cut, depth + 1, 0};
	if (u->first == drop + 1 && shared > drop)
		ret->shared = shared - drop + 1;
	u->first = drop + 1;
}

void tide_walk_tell(struct tide_unwinder *u, unsigned max, uint32_t shared, uint64_t last_end, struct tide_words *ret)
{
	if (__builtin_expect(u->depth > max || u->end == TIDE_WORD_CUT_LIMIT, 0)) {
		tell_cut(u, max, shared, ret);
		return;
	}
	uint32_t cut = u->end != 0;
	if (__builtin_expect(u->first != 1 || u->end != last_end, 0)) {
		*ret = (struct tide_words){u->pc + 1 - cut, u->depth + cut, 0};
		u->first = 1;
	} else {
		*ret = (struct tide_words){u->pc + 1 - cut, u->depth + cut, shared + cut};
	}
	u->pc[0] = u->end;
}

void tide_walk(struct tide_unwinder *u, const struct tide_regs *regs, unsigned max, uint32_t changed,
	       struct tide_words *ret)
{
	struct walk w = {.u = u,
			 .pc = regs->pc,
			 .sp = regs->sp,
			 .bp_here = regs->bp,
			 .start = regs->sp,
			 .high = u->stack.high,
			 .at = u->known,
			 .max = max,
			 .changed = changed,
			 .end = u->end};
	uint64_t last_end = u->end;
	walk_out(&w);
	if (__builtin_expect(w.kept + w.fresh > TIDE_STACK_MAX, 0))
		make_room(u, &w);
	u->end = w.end;
	tide_walk_tell(u, max, remember(&w), last_end, ret);
}
