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
	const uint8_t *frame;
	uint64_t at; /* code and instruction in one: tide_py_at() in stack.c */
};

/* All zero is the initial state. */
struct tide_py_stack {
	uint32_t depth; /* frames that are kept, outermost first */
	uint32_t base;  /* frames outside of these */
	uint32_t deaths;
	bool whole;                     /* the user's: the stack's words are known[0 .. depth) */
	uint16_t place[TIDE_PY_PLACES]; /* by a frame's address: where it may be kept */
	struct tide_py_seen seen[TIDE_STACK_MAX];
	bool empty[TIDE_STACK_MAX];           /* runs no code of its own */
	uint64_t known[TIDE_STACK_MAX];       /* the user's: what it made of the stack up to here */
	const uint8_t *fresh[TIDE_STACK_MAX]; /* of the walk in hand, innermost first */
};

/* Brings *s up to date with the stack of a thread state, the calling thread's own; NULL: no stack. At most `limit` frames (1 to
 * TIDE_STACK_MAX) are kept: of a deeper stack the innermost ones, more than limit / 2, and which ones depends on its depth
 * alone. Returns how many of the outermost entries are as they were; the others' `known` has to be made anew. */
uint32_t tide_py_stack_update(struct tide_py_stack *s, const uint8_t *state, uint32_t limit);

/* The frame word (FORMAT.md 6) of entry i; defines the code object at its first sight. 0: runs no code. */
uint64_t tide_py_stack_word(const struct tide_py_stack *s, uint32_t i);

#endif
