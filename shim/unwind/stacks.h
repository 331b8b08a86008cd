/*
 * stacks.h - which mapping a stack pointer lies in, so that a walk never reads outside it.
 */
#ifndef TIDE_UNWIND_STACKS_H
#define TIDE_UNWIND_STACKS_H

#include "unwind/unwind.h"

/* The end of the readable mapping that holds sp, 0 if that cannot be told. Remembers the last TIDE_STACKS_KEPT mappings; reads
 * /proc/self/maps for a new one, but not more often than every 64 times once all are in use. */
uintptr_t tide_stack_end(struct tide_unwinder *, uintptr_t sp);
/* Makes that mapping u->stack, {0, 0} if it cannot be told. */
void tide_stack_switch(struct tide_unwinder *, uintptr_t sp);

#endif
