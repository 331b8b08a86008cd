/*
 * The calling thread's Python stack by raw offsets: no lock, no allocation, no GIL. Its own frames are changed by nobody
 * else, and the walk is bounded. A word's offset is that of the current instruction, in units of 2 bytes from the code's begin.
 */
#include <string.h>

#include "format/items.h"
#include "python/interp.h"

static const uint8_t *pointer_at(const uint8_t *object, size_t offset)
{
	const uint8_t *value;
	memcpy(&value, object + offset, sizeof value);
	return value;
}

static const uint8_t *first_frame(const struct tide_py_version *v, const uint8_t *state)
{
	const uint8_t *frame = pointer_at(state, v->frame_of_state);
	return frame && v->cframe_frame >= 0 ? pointer_at(frame, (size_t)v->cframe_frame) : frame;
}

static uint32_t offset_of(const struct tide_py_version *v, const uint8_t *frame, const uint8_t *code)
{
	int32_t last;
	if (v->instructions) {
		intptr_t bytes = pointer_at(frame, v->instruction) - (code + v->instructions);
		return bytes > 0 && bytes / 2 <= (intptr_t)TIDE_WORD_PYTHON_OFFSET ? (uint32_t)(bytes / 2) : 0;
	}
	memcpy(&last, frame + v->instruction, sizeof last);
	return last > 0 ? (uint32_t)last * v->lasti_bytes / 2 & TIDE_WORD_PYTHON_OFFSET : 0;
}

unsigned tide_python_frames(uint64_t *words, unsigned max)
{
	const struct tide_py_version *v = tide_py.version;
	const uint8_t *state = v ? tide_py.thread_state() : NULL;
	const uint8_t *frame = state ? first_frame(v, state) : NULL;
	unsigned n = 0;
	for (; frame; frame = pointer_at(frame, v->back)) {
		const uint8_t *code = pointer_at(frame, v->code);
		if (!code || (v->owner >= 0 && frame[v->owner] == v->owner_skipped))
			continue;
		if (n == max) {
			words[n++] = TIDE_WORD_CUT_LIMIT;
			break;
		}
		words[n++] = TIDE_WORD_PYTHON | (uint64_t)tide_py_code_id(code) << 24 | offset_of(v, frame, code);
	}
	return n;
}
