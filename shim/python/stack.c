#include "python/stack.h"

#include <stdatomic.h>
#include <string.h>

#include "format/items.h"
#include "python/interp.h"

#define DEPTH_MOST 1000000u /* a chain that long is no stack */
#define ENTERED (UINT64_C(1) << 63)
#define INLINE static inline __attribute__((always_inline))

INLINE const uint8_t *pointer_at(const uint8_t *object, size_t offset)
{
	const uint8_t *value;
	memcpy(&value, object + offset, sizeof value);
	return value;
}

/* How a version tells where a frame is. Known when compiling, so that the loop over frames does not ask. */
enum how {
	BY_INDEX,   /* up to 3.10: the code object, and the index of the instruction */
	BY_FLAGGED, /* 3.11: the instruction's address, and whether the loop was entered with the frame */
	BY_ADDRESS  /* later: the address; that the loop was entered shows in the chain */
};

/* Of a version, in registers: a store to what is kept might change the table, for all that the compiler knows. */
struct places {
	size_t back, code, instruction, entered;
};

INLINE struct places places_of(const struct tide_py_version *v)
{
	return (struct places){v->back, v->code, v->instruction, (size_t)v->entered};
}

/* Code and instruction in one word. An address names both. A code object is 16-aligned, below 2^47, and has less than 2^20
 * instructions. */
INLINE uint64_t at_of(struct places p, const uint8_t *frame, enum how how)
{
	uint64_t at;
	int32_t index;
	if (how == BY_INDEX) {
		memcpy(&index, frame + p.instruction, sizeof index);
		return (uintptr_t)pointer_at(frame, p.code) >> 4 | (uint64_t)(uint32_t)index << 43;
	}
	memcpy(&at, frame + p.instruction, sizeof at);
	return how == BY_FLAGGED ? at | (uint64_t)(frame[p.entered] != 0) << 63 : at;
}
_Static_assert(ENTERED == UINT64_C(1) << 63, "as above");

static enum how how_of(const struct tide_py_version *v)
{
	return !v->instructions ? BY_INDEX : v->entered >= 0 ? BY_FLAGGED : BY_ADDRESS;
}

INLINE uint32_t place_of(const uint8_t *frame)
{
	return (uint32_t)((uintptr_t)frame >> 4) & (TIDE_PY_PLACES - 1);
}

/* How many outermost frames of a stack this deep are left out. */
INLINE uint32_t base_for(uint32_t depth, uint32_t limit)
{
	if (__builtin_expect(depth <= limit, 1))
		return 0;
	uint32_t step = limit > 1 ? limit / 2 : 1;
	return (depth - limit + step - 1) / step * step;
}

/* The entries up to `last` against the frames that they are of. False: the chain is another one. *ret_same: as many of the
 * outermost entries stand; changed ones are brought up to date. */
INLINE bool verify_as(const struct tide_py_version *v, struct tide_py_stack *s, uint32_t last, uint32_t *ret_same,
		      enum how how)
{
	uint32_t same = last + 1;
	struct places p = places_of(v);
	struct tide_py_seen *e = &s->seen[last];
	for (; e > s->seen; e--) {
		uint64_t at = at_of(p, e->frame, how);
		if (__builtin_expect(at != e->at, 0)) {
			e->at = at;
			same = (uint32_t)(e - s->seen);
		}
		if (__builtin_expect(pointer_at(e->frame, p.back) != e[-1].frame, 0))
			return false;
	}
	uint64_t at = at_of(p, e->frame, how);
	if (at != e->at) {
		e->at = at;
		same = 0;
	}
	*ret_same = same;
	return !pointer_at(e->frame, p.back) == !s->base;
}

static bool verify(const struct tide_py_version *v, struct tide_py_stack *s, uint32_t last, uint32_t *ret_same)
{
	switch (how_of(v)) {
	case BY_INDEX:
		return verify_as(v, s, last, ret_same, BY_INDEX);
	case BY_FLAGGED:
		return verify_as(v, s, last, ret_same, BY_FLAGGED);
	default:
		return verify_as(v, s, last, ret_same, BY_ADDRESS);
	}
}

/* Adds the `count` frames of s->fresh inside of what is kept. */
static void append(const struct tide_py_version *v, struct tide_py_stack *s, uint32_t count)
{
	enum how how = how_of(v);
	while (count-- > 0) {
		const uint8_t *frame = s->fresh[count];
		s->place[place_of(frame)] = (uint16_t)s->depth;
		s->empty[s->depth] = v->owner >= 0 && frame[v->owner] == v->owner_skipped;
		s->seen[s->depth++] = (struct tide_py_seen){frame, at_of(places_of(v), frame, how)};
	}
}

__attribute__((noinline)) static uint32_t walk_anew(const struct tide_py_version *v, struct tide_py_stack *s,
						    const uint8_t *frame, uint32_t limit)
{
	uint32_t depth = 0, kept;
	for (const uint8_t *f = frame; f && depth < DEPTH_MOST; f = pointer_at(f, v->back))
		depth++;
	s->base = base_for(depth, limit);
	s->depth = 0;
	for (kept = 0; kept < depth - s->base; kept++, frame = pointer_at(frame, v->back))
		s->fresh[kept] = frame;
	append(v, s, kept);
	return 0;
}

uint32_t tide_py_stack_update(struct tide_py_stack *s, const uint8_t *state, uint32_t limit)
{
	const struct tide_py_version *v = tide_py.version;
	const uint8_t *frame = state ? pointer_at(state, v->frame_of_state) : NULL;
	uint32_t deaths = atomic_load_explicit(&tide_py.code_deaths, memory_order_relaxed);
	uint32_t fresh = 0, same;
	if (frame && v->cframe_frame >= 0)
		frame = pointer_at(frame, (size_t)v->cframe_frame);
	if (__builtin_expect(s->deaths != deaths, 0)) {
		s->deaths = deaths;
		s->depth = 0;
	}
	/* mostly the innermost frame is the one that it was */
	if (__builtin_expect(s->depth && frame == s->seen[s->depth - 1].frame, 1) && verify(v, s, s->depth - 1, &same))
		return same;
	const uint8_t *first = frame;
	for (; frame && fresh < limit; frame = pointer_at(frame, v->back)) {
		uint32_t i = s->place[place_of(frame)];
		if (i >= s->depth || s->seen[i].frame != frame) {
			s->fresh[fresh++] = frame;
			continue;
		}
		if (base_for(s->base + i + 1 + fresh, limit) != s->base || !verify(v, s, i, &same))
			break;
		s->depth = i + 1;
		append(v, s, fresh);
		return same;
	}
	return walk_anew(v, s, first, limit);
}

static uint32_t offset_of(const struct tide_py_version *v, const uint8_t *code, uint64_t at)
{
	if (v->instructions) {
		int64_t bytes = (int64_t)((at & ~ENTERED) - (uintptr_t)code) - v->instructions;
		return bytes > 0 && bytes / 2 <= (int64_t)TIDE_WORD_PYTHON_OFFSET ? (uint32_t)(bytes / 2) : 0;
	}
	int32_t last = (int32_t)((int64_t)at >> 43);
	return last > 0 ? (uint32_t)last * v->lasti_bytes / 2 & TIDE_WORD_PYTHON_OFFSET : 0;
}

/* Does a call of the evaluation loop begin with this frame? Up to 3.10 each frame has its own; from 3.12 on whoever calls the
 * loop pushes an empty frame first. */
static bool is_entered(const struct tide_py_version *v, const struct tide_py_stack *s, uint32_t i)
{
	if (v->entered >= 0)
		return s->seen[i].at & ENTERED;
	if (v->owner < 0)
		return true;
	return i > 0 ? s->empty[i - 1] : !s->base;
}

uint64_t tide_py_stack_word(const struct tide_py_stack *s, uint32_t i)
{
	const struct tide_py_version *v = tide_py.version;
	const uint8_t *code = s->empty[i] ? NULL : pointer_at(s->seen[i].frame, v->code);
	if (!code)
		return 0;
	uint64_t entered = is_entered(v, s, i) ? TIDE_WORD_PYTHON_ENTERED : 0;
	return TIDE_WORD_PYTHON | entered | (uint64_t)tide_py_code_id(code) << 24 | offset_of(v, code, s->seen[i].at);
}
