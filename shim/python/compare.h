/*
 * compare.h - the common path of stack.h, to be part of its two callers: whether the last walk still stands, frame by frame. In
 * the mode `sites` this is most of what an allocation costs.
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
	TIDE_PY_BY_PAIR,    /* 3.11, without the latter: the address, at a place known when compiling */
	TIDE_PY_BY_ADDRESS  /* later: the address; that the loop was entered shows in the chain */
};
enum { TIDE_PY_PAIR_AT = 48 }; /* in a frame of 3.11: the caller, then the instruction */

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

TIDE_PY_INLINE int32_t tide_py_running(const uint8_t *frame)
{
	int32_t value;
	memcpy(&value, frame + TIDE_PY_RUNNING_AT, sizeof value);
	return value;
}

/* What tells the instruction of a frame with no flags, from 3.11 on. */
TIDE_PY_INLINE uint64_t tide_py_instruction(const uint8_t *frame)
{
	uint64_t at;
	memcpy(&at, frame + TIDE_PY_PAIR_AT + 8, sizeof at);
	return at;
}

/* A frame that runs is marked. All outside it is up to date. */
TIDE_PY_INLINE void tide_py_put_mark(const struct tide_py_stack *s, const uint8_t *frame, enum tide_py_how how)
{
	/* a frame of ours is written to by nobody else, and its readers ask only whether it is negative */
	if (how != TIDE_PY_BY_INDEX && tide_py_running(frame) < 0)
		memcpy((uint8_t *)(uintptr_t)frame + TIDE_PY_RUNNING_AT, &s->mark, sizeof s->mark);
}

/* The entries up to `last`, whose frame is one of the stack's, against the frames that they are of, from the inside: only what is
 * still the caller of one that stands is read. False: the chain is another one. *ret_same: as many of the outermost entries
 * stand; changed ones are brought up to date. */
TIDE_PY_INLINE bool tide_py_verify(const struct tide_py_version *v, struct tide_py_stack *s, uint32_t last,
				   uint32_t *ret_same, enum tide_py_how how)
{
	struct tide_py_places p = tide_py_places_of(v, how);
	uint32_t same = last + 1;
	for (uint32_t i = last + 1; i-- > 0;) {
		struct tide_py_seen *e = &s->seen[i];
		uint64_t at = tide_py_at_of(p, e->frame, how);
		if (__builtin_expect((uintptr_t)tide_py_pointer_at(e->frame, p.back) != e->back, 0))
			return false;
		if (at != e->at) {
			e->at = at;
			same = i;
		}
		if (how != TIDE_PY_BY_INDEX && tide_py_running(e->frame) == s->mark) {
			s->standing = i + 1;
			break;
		}
	}
	*ret_same = same;
	return true;
}

TIDE_PY_INLINE uint32_t tide_py_stack_update_as(struct tide_py_stack *s, const uint8_t *frame, uint32_t limit,
						enum tide_py_how how)
{
	struct tide_py_seen *e = &s->seen[s->depth - 1];
	/* mostly the innermost frame is the one that it was, in the call that it was in */
	if (__builtin_expect(how != TIDE_PY_BY_INDEX && s->depth && frame == e->frame, 1) &&
	    __builtin_expect(tide_py_running(frame) == s->mark, 1)) {
		uint64_t at = tide_py_at_of(tide_py_places_of(tide_py.version, how), frame, how);
		uint32_t same = s->depth - (at != e->at);
		e->at = at;
		if (how != TIDE_PY_BY_PAIR)
			s->standing = s->depth;
		return same;
	}
	return tide_py_stack_walk(s, frame, limit);
}

/* The innermost frame of a thread state; NULL: none, or no state. */
TIDE_PY_INLINE const uint8_t *tide_py_frame_of(const uint8_t *state)
{
	const struct tide_py_version *v = tide_py.version;
	const uint8_t *frame = state ? tide_py_pointer_at(state, v->frame_of_state) : NULL;
	return frame && v->cframe_frame >= 0 ? tide_py_pointer_at(frame, (size_t)v->cframe_frame) : frame;
}

/* Brings *s up to date with the stack that ends in `frame`, the calling thread's own; NULL: no stack. At most `limit` frames (1 to
 * TIDE_STACK_MAX) are kept: of a deeper stack the innermost ones, more than limit / 2, and which ones depends on its depth
 * alone. Returns how many of the outermost entries are as they were; the others' `known` has to be made anew. */
TIDE_PY_INLINE uint32_t tide_py_stack_update(struct tide_py_stack *s, const uint8_t *frame, uint32_t limit)
{
	uint32_t deaths = atomic_load_explicit(&tide_py.code_deaths, memory_order_relaxed);
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
