/*
 * compare.h - the common path of stack.h, to be part of its two callers: whether the last walk still stands, frame by frame. In
 * the mode `sites` this is most of what an allocation costs, so its loops have no branch but their own.
 */
#ifndef TIDE_PYTHON_COMPARE_H
#define TIDE_PYTHON_COMPARE_H

#include <stdatomic.h>
#include <string.h>

#include "python/interp.h"
#include "python/stack.h"

#define TIDE_PY_INLINE static inline __attribute__((always_inline))

/* How a version tells where a frame is. Known when compiling, so that the loop over frames does not ask. */
enum tide_py_how {
	TIDE_PY_UNCHOSEN,
	TIDE_PY_BY_INDEX,   /* up to 3.10: the code object, and the index of the instruction */
	TIDE_PY_BY_FLAGGED, /* 3.11: the instruction's address, and whether the loop was entered with the frame */
	TIDE_PY_BY_PAIR,    /* 3.11, without the latter: the caller and the address, which lie side by side */
	TIDE_PY_BY_ADDRESS  /* later: the address; that the loop was entered shows in the chain */
};
enum { TIDE_PY_PAIR_AT = 48 }; /* in a frame of 3.11: the caller, then the instruction */

typedef uint64_t tide_py_pair __attribute__((vector_size(16), may_alias));
typedef uint64_t tide_py_pair_anywhere __attribute__((vector_size(16), aligned(8), may_alias));

/* Of a version, in registers: a store to what is kept might change the table, for all that the compiler knows. */
struct tide_py_places {
	size_t back, code, instruction, entered;
};

TIDE_PY_INLINE struct tide_py_places tide_py_places_of(const struct tide_py_version *v, enum tide_py_how how)
{
	if (how == TIDE_PY_BY_PAIR)
		return (struct tide_py_places){.back = TIDE_PY_PAIR_AT, .instruction = TIDE_PY_PAIR_AT + 8};
	return (struct tide_py_places){v->back, v->code, v->instruction, (size_t)v->entered};
}

TIDE_PY_INLINE const uint8_t *tide_py_pointer_at(const uint8_t *object, size_t offset)
{
	const uint8_t *value;
	memcpy(&value, object + offset, sizeof value);
	return value;
}

/* Code and instruction in one word. An address names both. A code object is 16-aligned, below 2^47, and has less than 2^20
 * instructions. */
TIDE_PY_INLINE uint64_t tide_py_at_of(struct tide_py_places p, const uint8_t *frame, enum tide_py_how how)
{
	uint64_t at;
	int32_t index;
	if (how == TIDE_PY_BY_INDEX) {
		memcpy(&index, frame + p.instruction, sizeof index);
		return (uintptr_t)tide_py_pointer_at(frame, p.code) >> 4 | (uint64_t)(uint32_t)index << 43;
	}
	memcpy(&at, frame + p.instruction, sizeof at);
	return how == TIDE_PY_BY_FLAGGED ? at | (uint64_t)(frame[p.entered] != 0) << 63 : at;
}

/* Not 0: some of the `count` outermost entries are not as their frames are. */
TIDE_PY_INLINE uint64_t tide_py_differ(struct tide_py_places p, const struct tide_py_stack *s, uint32_t count,
				       enum tide_py_how how)
{
	const struct tide_py_seen *e = s->seen, *end = e + count;
	if (how == TIDE_PY_BY_PAIR) {
		tide_py_pair any = {0, 0};
#pragma GCC unroll 4
		for (; e < end; e++)
			any |= *(const tide_py_pair_anywhere *)(e->frame + p.back) ^ *(const tide_py_pair *)&e->back;
		return any[0] | any[1];
	}
	uint64_t any = 0;
#pragma GCC unroll 4
	for (; e < end; e++)
		any |= ((uintptr_t)tide_py_pointer_at(e->frame, p.back) ^ e->back) |
		       (tide_py_at_of(p, e->frame, how) ^ e->at);
	return any;
}

/* The entries up to `last` against the frames that they are of. False: the chain is another one. *ret_same: as many of the
 * outermost entries stand; changed ones are brought up to date. */
TIDE_PY_INLINE bool tide_py_verify(const struct tide_py_version *v, struct tide_py_stack *s, uint32_t last,
				   uint32_t *ret_same, enum tide_py_how how)
{
	struct tide_py_places p = tide_py_places_of(v, how);
	struct tide_py_seen *e = &s->seen[last];
	uint64_t at = tide_py_at_of(p, e->frame, how);
	if (__builtin_expect((uintptr_t)tide_py_pointer_at(e->frame, p.back) != e->back, 0))
		return false;
	if (__builtin_expect(tide_py_differ(p, s, last, how) != 0, 0))
		return tide_py_verify_slowly(s, last, ret_same);
	*ret_same = last + (at == e->at);
	e->at = at;
	return true;
}

TIDE_PY_INLINE uint32_t tide_py_stack_update_as(struct tide_py_stack *s, const uint8_t *frame, uint32_t limit,
						enum tide_py_how how)
{
	uint32_t same;
	/* mostly the innermost frame is the one that it was */
	if (__builtin_expect(s->depth && frame == s->seen[s->depth - 1].frame, 1) &&
	    __builtin_expect(tide_py_verify(tide_py.version, s, s->depth - 1, &same, how), 1))
		return same;
	return tide_py_stack_walk(s, frame, limit);
}

/* Brings *s up to date with the stack of a thread state, the calling thread's own; NULL: no stack. At most `limit` frames (1 to
 * TIDE_STACK_MAX) are kept: of a deeper stack the innermost ones, more than limit / 2, and which ones depends on its depth
 * alone. Returns how many of the outermost entries are as they were; the others' `known` has to be made anew. */
TIDE_PY_INLINE uint32_t tide_py_stack_update(struct tide_py_stack *s, const uint8_t *state, uint32_t limit)
{
	const struct tide_py_version *v = tide_py.version;
	const uint8_t *frame = state ? tide_py_pointer_at(state, v->frame_of_state) : NULL;
	uint32_t deaths = atomic_load_explicit(&tide_py.code_deaths, memory_order_relaxed);
	if (frame && v->cframe_frame >= 0)
		frame = tide_py_pointer_at(frame, (size_t)v->cframe_frame);
	if (__builtin_expect(s->deaths != deaths, 0)) {
		s->deaths = deaths;
		s->depth = 0;
	}
	if (__builtin_expect(s->how == TIDE_PY_BY_PAIR, 1))
		return tide_py_stack_update_as(s, frame, limit, TIDE_PY_BY_PAIR);
	switch ((enum tide_py_how)s->how) {
	case TIDE_PY_BY_INDEX:
		return tide_py_stack_update_as(s, frame, limit, TIDE_PY_BY_INDEX);
	case TIDE_PY_BY_FLAGGED:
		return tide_py_stack_update_as(s, frame, limit, TIDE_PY_BY_FLAGGED);
	case TIDE_PY_BY_ADDRESS:
		return tide_py_stack_update_as(s, frame, limit, TIDE_PY_BY_ADDRESS);
	default:
		return tide_py_stack_walk(s, frame, limit);
	}
}

#endif
