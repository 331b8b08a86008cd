/*
 * native.h - which part of the native stack needs not be compared, because a Python frame's mark stands (stack.h).
 *
 * Every call of the evaluation loop has something in its C frame that the interpreter's own list leads to: its _PyCFrame (3.11), or the
 * empty frame that it pushes below the first one that it runs (3.12, 3.13). Call that its place. Claim: if an entry of the last
 * walk is still in the thread's stack and still has our mark, then every cell of the native stack above the place of the loop that
 * runs it is what it was at the last walk, if that one walked the native stack too.
 *
 * Proof. The frame was running when it was marked, at the last walk at the latest, and has not stopped since, for whatever
 * ends that stores a number of the interpreter's into it or takes it out of the thread's stack: return, an exception that passes through
 * it, yield and await, a call of Python code in the same loop (stack.h). A frame runs in one call of the evaluation loop at a time, and a
 * generator comes into another one only by being resumed, which stores -1. So that call is the one it was, it has not returned, and
 * its C frame with its place is where it was. What lies above is its return address and frames of its callers, which wait for it.
 * On a stack that only calls and returns, nobody writes there what an unwinder reads: return addresses are written by calls, and the
 * registers that a frame saved for its caller once before it called anything; the values of a waiting frame's registers do not change either.
 * A frame of the unwinder's whose sp is above the place is one of those. The frame that the place is in has its sp at or below it,
 * and is compared: where it is within the loop does change.
 *
 * greenlet breaks "only calls and returns": it copies parts of stacks to the heap and back, other greenlets' frames have the same addresses
 * meanwhile, and above the part that is a greenlet's own lies whatever its thread's other greenlets have left there. All its switches
 * increase the thread state's context_ver, before they touch anything else of the thread state, and without an allocation between the
 * change of stacks and that (PythonState::operator>>; greenlet has done so in all releases that know CPython 3.11). So what is
 * said above is used only if context_ver is what it was at the last walk. contextvars.Context.run increases it too, which costs a
 * comparison and nothing else.
 *
 * Other cases. Threads: marks, memory of walks and context_ver are one thread's; a lane that goes to another thread forgets its
 * native walk. Coroutines with stacks of their own (not greenlet's): the place is not between sp and the end of the stack, or the
 * walk passes no frame above it. Signal handlers: their walks pass a signal frame, and are made whole. A state that is not the
 * one in use (subinterpreters up to 3.11): its frames wait as C code's callers do; that the place is its own still is
 * compared, since the switches of a greenlet of the other state are not counted in this one. Trace functions, exceptions and
 * sys.settrace run in calls that are further in. longjmp out of Python's frames: not survived by the interpreter.
 */
#ifndef TIDE_PYTHON_NATIVE_H
#define TIDE_PYTHON_NATIVE_H

#include "python/compare.h"
#include "unwind/unwind.h"

/* Before the stack of this thread state is updated. */
static inline void tide_py_native_begin(struct tide_py_stack *s, const uint8_t *state)
{
	const struct tide_py_version *v = tide_py.version;
	s->version_now = 0;
	if (!state || !v->context_version)
		return;
	memcpy(&s->version_now, state + v->context_version, sizeof s->version_now);
	if (v->cframe_back)
		s->innermost_loop = tide_py_pointer_at(state, v->frame_of_state);
}

/* After it. As tide_python_words returns it. */
static inline uintptr_t tide_py_native_stands(struct tide_py_stack *s, const struct tide_unwinder *u,
					      const struct tide_regs *regs)
{
	const struct tide_py_version *v = tide_py.version;
	uint64_t before = s->version;
	/* until the native walk is made: a handler may leave this one by siglongjmp */
	s->version = 0;
	if (!regs) {
		s->version_now = 0;
		return UINTPTR_MAX;
	}
	if (__builtin_expect(!s->standing || !before || before != s->version_now, 0))
		return UINTPTR_MAX;
	const uint8_t *place = s->loop[s->standing - 1];
	uintptr_t at = (uintptr_t)place;
	if (__builtin_expect(regs->sp < u->stack.low || at < regs->sp || at >= u->stack.high, 0))
		return UINTPTR_MAX;
	if (v->cframe_back && tide_py_pointer_at(place, (size_t)v->cframe_frame) != s->seen[s->standing - 1].frame)
		return UINTPTR_MAX;
	return at;
}

#endif
