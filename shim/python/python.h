/*
 * python.h - what the rest of the shim asks of its Python side: hooks, frames, pools. Everything is found by symbol and
 * by tables of offsets per CPython version (versions.h); without a usable interpreter all of it is inert.
 */
#ifndef TIDE_PYTHON_PYTHON_H
#define TIDE_PYTHON_PYTHON_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "format/encode.h"
#include "format/layout.h"
#include "python/stack.h"
#include "unwind/unwind.h"

struct tide_census_writer;
struct tide_unwind_module;

/* A module was met: the main program at start-up, any other as soon as one of its addresses is on a stack. If it is an
 * interpreter, writes the PYTHON definition and installs the arena hook as `mode` asks. Reads the module's symbol table
 * in memory; takes no lock, calls nothing but CPython's PyObject_*ArenaAllocator and Py_GetVersion. */
void tide_python_module(const struct tide_unwind_module *, enum tide_python_mode mode);

/* There is an interpreter whose frames can be read. */
extern atomic_bool tide_python_usable;

/* Frame words of the calling thread's Python stack, outermost first, at most max (1 to TIDE_STACK_MAX); if there are more, and
 * before them, TIDE_WORD_CUT_LIMIT. No words outside Python. New code objects are defined on the way. No GIL, no
 * allocation. The stack and what is kept are the caller's memory of the last walk; one thread at a time. *ret is valid until the
 * next walk, and `shared` relative to the one before. */
uintptr_t tide_python_words(struct tide_py_stack *, struct tide_kept *, unsigned max, struct tide_words *ret,
			    const struct tide_unwinder *, const struct tide_regs *);
/* Returns what tide_unwind with these registers needs not look at, cells of the native stack from this one up: they are as they were
 * at the last walk of both stacks (native.h). UINTPTR_MAX: all may have changed. regs NULL: no native walk follows, and none
 * can be gone by the next time. After it, or instead of it, what both know is of one time: */
static inline void tide_python_walked(struct tide_py_stack *s)
{
	s->version = s->version_now;
}

/* True once the interpreter has begun to finalize; two loads. */
bool tide_python_finalizing(void);

/* PYARENA records of every arena in the registry; in `sites` mode, if the calling thread has the GIL, the sites of their blocks. */
void tide_python_census(struct tide_census_writer *);
/* A census by this thread would lack what one by a thread with the GIL has. */
bool tide_python_census_is_poor(void);

/* Ids of code objects up to this one are defined in this process' log. */
uint32_t tide_python_last_code(void);

/* The child has a log of its own: PYTHON is defined again, sites will be. Arenas stay, marked inherited. */
void tide_python_fork_child(void);

#endif
