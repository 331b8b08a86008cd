#include "python/stack.h"

#include <stdatomic.h>
#include <string.h>

#include "format/items.h"
#include "python/compare.h"
#include "python/interp.h"

#define DEPTH_MOST 1000000u /* a chain that long is no stack */
#define ENTERED (UINT64_C(1) << 63)

static enum tide_py_how how_of(const struct tide_py_version *v, const struct tide_py_stack *s)
{
	if (!v->instructions)
		return TIDE_PY_BY_INDEX;
	if (v->entered < 0)
		return TIDE_PY_BY_ADDRESS;
	bool paired = v->back == TIDE_PY_PAIR_AT && v->instruction == TIDE_PY_PAIR_AT + 8;
	return s->alone && paired ? TIDE_PY_BY_PAIR : TIDE_PY_BY_FLAGGED;
}

static uint32_t place_of(const uint8_t *frame)
{
	return (uint32_t)((uintptr_t)frame >> 4) & (TIDE_PY_PLACES - 1);
}

/* How many outermost frames of a stack this deep are left out. */
static uint32_t base_for(uint32_t depth, uint32_t limit)
{
	if (__builtin_expect(depth <= limit, 1))
		return 0;
	uint32_t step = limit > 1 ? limit / 2 : 1;
	return (depth - limit + step - 1) / step * step;
}

/* Numbers that no frame has from the interpreter (-1), nor from another stack of ours. */
static int32_t new_mark(void)
{
	static _Atomic uint32_t given;
	return -2 - (int32_t)(atomic_fetch_add_explicit(&given, 1, memory_order_relaxed) & INT32_MAX / 2);
}

void tide_py_stack_doubt(struct tide_py_stack *s)
{
	s->mark = new_mark();
}

/* Adds the `count` frames of s->fresh inside of what is kept. */
static void append(struct tide_py_stack *s, uint32_t count)
{
	const struct tide_py_version *v = tide_py.version;
	enum tide_py_how how = (enum tide_py_how)s->how;
	struct tide_py_places p = tide_py_places_of(v, how);
	while (count-- > 0) {
		const uint8_t *frame = s->fresh[count];
		s->place[place_of(frame)] = (uint16_t)s->depth;
		s->empty[s->depth] = v->owner >= 0 && frame[v->owner] == v->owner_skipped;
		if (v->cframe_back == 0)
			s->loop[s->depth] = s->empty[s->depth] ? frame : s->depth ? s->loop[s->depth - 1] : NULL;
		s->seen[s->depth] = (struct tide_py_seen){frame, (uintptr_t)tide_py_pointer_at(frame, p.back),
							  tide_py_at_of(p, frame, how)};
		s->depth++;
		tide_py_put_mark(s, frame, how);
	}
}

/* 3.11: of frames `from` and further in, which call of the evaluation loop runs them. */
static void find_loops(struct tide_py_stack *s, uint32_t from)
{
	const struct tide_py_version *v = tide_py.version;
	const uint8_t *loop = s->innermost_loop;
	bool innermost = true; /* of its call */
	for (uint32_t i = s->depth; i-- > from;) {
		const uint8_t *frame = s->seen[i].frame;
		if (innermost && loop && tide_py_pointer_at(loop, (size_t)v->cframe_frame) != frame)
			loop = NULL;
		s->loop[i] = loop;
		innermost = frame[v->entered] != 0;
		if (innermost && loop)
			loop = tide_py_pointer_at(loop, v->cframe_back);
	}
}

static uint32_t walk_anew(struct tide_py_stack *s, const uint8_t *frame, uint32_t limit)
{
	const struct tide_py_version *v = tide_py.version;
	uint32_t depth = 0, kept;
	for (const uint8_t *f = frame; f && depth < DEPTH_MOST; f = tide_py_pointer_at(f, v->back))
		depth++;
	s->base = base_for(depth, limit);
	s->depth = s->standing = 0;
	for (kept = 0; kept < depth - s->base; kept++, frame = tide_py_pointer_at(frame, v->back))
		s->fresh[kept] = frame;
	append(s, kept);
	if (s->innermost_loop)
		find_loops(s, 0);
	return 0;
}

TIDE_PY_INLINE uint32_t walk_as(struct tide_py_stack *s, const uint8_t *first, uint32_t limit, enum tide_py_how how)
{
	const struct tide_py_version *v = tide_py.version;
	uint32_t fresh = 0, same;
	s->standing = 0;
	for (const uint8_t *frame = first; frame && fresh < limit; frame = tide_py_pointer_at(frame, v->back)) {
		uint32_t i = s->place[place_of(frame)];
		if (i >= s->depth || s->seen[i].frame != frame) {
			s->fresh[fresh++] = frame;
			continue;
		}
		if (base_for(s->base + i + 1 + fresh, limit) != s->base || !tide_py_verify(v, s, i, &same, how))
			break;
		s->depth = i + 1;
		tide_py_put_mark(s, frame, how);
		append(s, fresh);
		if (how == TIDE_PY_BY_FLAGGED && s->innermost_loop)
			find_loops(s, i);
		return same;
	}
	return walk_anew(s, first, limit);
}

uint32_t tide_py_stack_walk(struct tide_py_stack *s, const uint8_t *first, uint32_t limit)
{
	switch ((enum tide_py_how)s->how) {
	case TIDE_PY_BY_INDEX:
		return walk_as(s, first, limit, TIDE_PY_BY_INDEX);
	case TIDE_PY_BY_PAIR:
		return walk_as(s, first, limit, TIDE_PY_BY_PAIR);
	case TIDE_PY_BY_FLAGGED:
		return walk_as(s, first, limit, TIDE_PY_BY_FLAGGED);
	case TIDE_PY_BY_ADDRESS:
		return walk_as(s, first, limit, TIDE_PY_BY_ADDRESS);
	default:
		s->how = (uint8_t)how_of(tide_py.version, s);
		if (s->how != TIDE_PY_BY_INDEX)
			tide_py_stack_doubt(s);
		return walk_anew(s, first, limit);
	}
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
		return s->seen[i].frame[v->entered] != 0;
	if (v->owner < 0)
		return true;
	return i > 0 ? s->empty[i - 1] : !s->base;
}

const uint8_t *tide_py_stack_code(const struct tide_py_stack *s, uint32_t i)
{
	return s->empty[i] ? NULL : tide_py_pointer_at(s->seen[i].frame, tide_py.version->code);
}

uint64_t tide_py_stack_word(const struct tide_py_stack *s, uint32_t i)
{
	const struct tide_py_version *v = tide_py.version;
	const uint8_t *code = tide_py_stack_code(s, i);
	if (!code)
		return 0;
	uint64_t entered = is_entered(v, s, i) ? TIDE_WORD_PYTHON_ENTERED : 0;
	return TIDE_WORD_PYTHON | entered | (uint64_t)tide_py_code_id(code) << 24 | offset_of(v, code, s->seen[i].at);
}
