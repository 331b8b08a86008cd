/*
 * unwind.h - native stacks: return addresses by call frame information, looked up once per address.
 *
 * A rule for a return address is found by module, .eh_frame_hdr and one FDE (cfi.h), and kept for ever in a table
 * shared by all threads (rules.h). A walk then is three loads a frame. The last walk of a lane is remembered: when a new
 * one comes to a frame with the same (pc, sp, bp), the cells that the outer frames were read from are compared instead of
 * being walked, which is exact, because a walk is a function of those cells.
 *
 * Nothing here allocates, locks, or calls the system, but for /proc/self/maps when a stack is seen for the first time.
 * Memory is read only between sp and the end of the mapping that sp lies in.
 */
#ifndef TIDE_UNWIND_UNWIND_H
#define TIDE_UNWIND_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

#include "format/items.h"
#if defined(__x86_64__)
#include "unwind/arch_x86_64.h"
#else
#error "unwinding: add this architecture"
#endif

#define TIDE_STACKS_KEPT 32u

struct tide_stack_range {
	uintptr_t low, high; /* a mapping that a stack pointer was in; high 0: none */
};

/* A frame of the last walk. */
struct tide_frame_seen {
	uintptr_t pc, sp, bp;
	uintptr_t bp_cell;    /* where bp was loaded from when the frame inside was left; 0: it was not */
	bool bp_lost;         /* the value of bp is not known here */
	bool uses_bp;         /* its rule needs bp */
	bool bp_matters;      /* its rule, or one further out before bp is loaded again, needs bp */
	bool was_interrupted; /* reached through a signal frame, not a return address */
};

/* Memory of one lane. All zero is the initial state. */
struct tide_unwinder {
	struct tide_stack_range range[TIDE_STACKS_KEPT];
	uint32_t ranges;  /* ever stored; the newest is at (ranges - 1) mod TIDE_STACKS_KEPT */
	uint32_t current; /* index of the range that fitted last */
	uint32_t lookups; /* walks since a mapping was last looked up */
	uint32_t depth;   /* frames remembered; 0: none */
	uint32_t generation;
	uint64_t last_word;                           /* what ended the remembered walk: 0 or TIDE_WORD_CUT_UNKNOWN */
	struct tide_frame_seen frame[TIDE_STACK_MAX]; /* right-aligned: the outermost is the last entry */
	struct tide_frame_seen fresh[TIDE_STACK_MAX]; /* of the walk in hand, innermost first */
};

/* Return addresses, innermost first, beginning with regs->pc; at most `max` (<= TIDE_STACK_MAX), then, if the walk did not reach
 * the end, one of the words TIDE_WORD_CUT_*. *ret_shared: so many outermost words are those of the last walk. Returns
 * the number of words. */
unsigned tide_unwind(struct tide_unwinder *, const struct tide_regs *, unsigned max, uint64_t *words,
		     unsigned *ret_shared);

/* Objects may have gone, their addresses may come back as something else. */
void tide_unwind_flush(void);
/* A forked child has one thread; it may have been forked while another held a lock of ours. */
void tide_unwind_fork_child(void);

#endif
