/*
 * stack.h - a thread's Python stack by raw offsets: no lock, no allocation, no GIL. Its own frames are changed by nobody else.
 *
 * The last walk is kept. When a new one comes to a frame that was in it, the frames outside that one are compared (which
 * frame, which code, which instruction) instead of being looked up again. That is exact: all that is kept of a frame is a
 * function of what is compared, as long as no code object has died, and then everything is forgotten (codes.c).
 *
 * From 3.11 on most of that is spared by marks. A frame has the place of its stack's top, which the interpreter keeps in a register
 * while the frame runs, calls of C functions included; meanwhile the frame says -1, or anything negative: that is all that
 * its readers (the garbage collector) ask. The interpreter stores a place, not negative, when it makes the frame, and whenever
 * the frame calls Python code without leaving the evaluation loop, yields, or ends; it stores -1 whenever the frame goes on after
 * that (Python/ceval.c: SET_LOCALS_FROM_FRAME; pycore_frame.h: _PyFrame_SetStackPointer, _PyFrame_InitializeSpecials). So we
 * store a number of our own, negative and no other stack's, in a frame that runs: as long as it is there, the frame
 * is in the call that it was in, and none of the frames outside it can have moved. They need not be looked at. The one exception is a
 * trace function that assigns f_lineno of the frame it was called for: what it allocates after that, before it returns, is told
 * with the line of before.
 */
#ifndef TIDE_PYTHON_STACK_H
#define TIDE_PYTHON_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "format/layout.h"

#define TIDE_PY_PLACES 256u

struct tide_py_seen {
	const uint8_t *frame;
	uint64_t back; /* the frame that called it, as the frame itself has it */
	uint64_t at;   /* code and instruction in one: tide_py_at_of() in compare.h */
};

/* All zero is the initial state. */
struct tide_py_stack {
	uint32_t depth; /* frames that are kept, outermost first */
	uint32_t base;  /* frames outside of these */
	uint32_t deaths;
	uint8_t how;  /* enum tide_py_how, chosen at the first walk */
	bool whole;   /* the user's: the stack's words are known[0 .. depth) */
	int32_t mark; /* ours, in frames, negative; 0 with versions that have no place for it */
	bool alone; /* the user's: no native stack is told with this one, so what only their merge needs is not compared */
	uint32_t standing; /* after an update: the innermost entry that was found marked, + 1; 0: none was */
	/* the native side (native.h); all NULL and 0 if it is not asked for */
	const uint8_t *innermost_loop; /* the user's, 3.11: the innermost _PyCFrame */
	uint64_t version,
		version_now; /* context_ver at the last update that a native walk followed, and at the last one */
	const uint8_t
		*loop[TIDE_STACK_MAX];  /* what the call of the evaluation loop that runs an entry has on the C stack */
	uint16_t place[TIDE_PY_PLACES]; /* by a frame's address: where it may be kept */
	struct tide_py_seen seen[TIDE_STACK_MAX];
	bool empty[TIDE_STACK_MAX];           /* runs no code of its own */
	uint64_t known[TIDE_STACK_MAX];       /* the user's: what it made of the stack up to here */
	const uint8_t *fresh[TIDE_STACK_MAX]; /* of the walk in hand, innermost first */
};

/* What tide_py_stack_update (compare.h) leaves: the innermost frame is not the one that it was, or its callers are others. */
uint32_t tide_py_stack_walk(struct tide_py_stack *, const uint8_t *frame, uint32_t limit);
/* Kept frames are to be looked at one and all the next time. */
void tide_py_stack_doubt(struct tide_py_stack *);

/* The code object of entry i; NULL: runs none. */
const uint8_t *tide_py_stack_code(const struct tide_py_stack *s, uint32_t i);

/* The frame word (FORMAT.md 6) of entry i; defines the code object at its first sight. 0: runs no code. */
uint64_t tide_py_stack_word(const struct tide_py_stack *s, uint32_t i);

#endif
