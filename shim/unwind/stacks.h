/*
 * stacks.h - which mapping a stack pointer lies in, so that a walk never reads outside it.
 */
#ifndef TIDE_UNWIND_STACKS_H
#define TIDE_UNWIND_STACKS_H

#include "unwind/unwind.h"

/* The end of the readable mapping that holds sp, 0 if that cannot be told. Remembers the last TIDE_STACKS_KEPT mappings; reads
 * /proc/self/maps for a new one, but not more often than every 64 walks once all are in use. */
uintptr_t tide_stack_end(struct tide_unwinder *, uintptr_t sp);

#endif
