/*
 * stack.h - a thread's Python stack by raw offsets: no lock, no allocation, no GIL. Its own frames are changed by nobody else.
 *
 * The last walk is kept. When a new one comes to a frame that was in it, the frames outside that one are compared (which
 * frame, which code, which instruction) instead of being looked up again. That is exact: all that is kept of a frame is a
 * function of what is compared, as long as no code object has died, and then everything is forgotten (codes.c).
 */
#ifndef TIDE_PYTHON_STACK_H
#define TIDE_PYTHON_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "format/layout.h"

#define TIDE_PY_PLACES 256u

struct tide_py_seen {
	_Alignas(16) const uint8_t *frame;
	uint64_t spare;
	uint64_t back; /* the frame that called it, as the frame itself has it */
	uint64_t at;   /* code and instruction in one: tide_py_at_of() in compare.h */
};

/* All zero is the initial state. */
struct tide_py_stack {
	uint32_t depth; /* frames that are kept, outermost first */
	uint32_t base;  /* frames outside of these */
	uint32_t deaths;
	uint8_t how; /* enum tide_py_how, chosen at the first walk */
	bool whole;  /* the user's: the stack's words are known[0 .. depth) */
	bool alone; /* the user's: no native stack is told with this one, so what only their merge needs is not compared */
	uint16_t place[TIDE_PY_PLACES]; /* by a frame's address: where it may be kept */
	struct tide_py_seen seen[TIDE_STACK_MAX];
	bool empty[TIDE_STACK_MAX];           /* runs no code of its own */
	uint64_t known[TIDE_STACK_MAX];       /* the user's: what it made of the stack up to here */
	const uint8_t *fresh[TIDE_STACK_MAX]; /* of the walk in hand, innermost first */
};

/* What tide_py_stack_update (compare.h) leaves: the innermost frame is not the one that it was, or its callers are others. */
uint32_t tide_py_stack_walk(struct tide_py_stack *, const uint8_t *frame, uint32_t limit);
/* tide_py_verify (compare.h), when some entry further out has changed: one by one. */
bool tide_py_verify_slowly(struct tide_py_stack *, uint32_t last, uint32_t *ret_same);

/* The code object of entry i; NULL: runs none. */
const uint8_t *tide_py_stack_code(const struct tide_py_stack *s, uint32_t i);

/* The frame word (FORMAT.md 6) of entry i; defines the code object at its first sight. 0: runs no code. */
uint64_t tide_py_stack_word(const struct tide_py_stack *s, uint32_t i);

#endif
