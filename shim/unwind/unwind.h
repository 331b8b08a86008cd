/*
 * unwind.h - native stacks: return addresses by call frame information, looked up once per address.
 *
 * A rule for a return address is found by module, .eh_frame_hdr and one FDE (cfi.h), and kept for ever in a table
 * shared by all threads (rules.h). A walk then is three loads a frame. The last walk of a lane is remembered: when a new
 * one comes to a frame with the same (pc, sp), the cells that the outer return addresses were read from are compared instead
 * of being walked, and so are the cells of the frame pointer where a rule needs it. That is exact, because a walk is a
 * function of those cells.
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

/* A frame of the walk in hand. */
struct tide_frame_fresh {
	uintptr_t pc, sp;
	uint64_t rule;      /* packed (rules.h): where it keeps its caller's bp */
	uintptr_t bp_value; /* if its rule needs bp: what it was; 0: it does not */
};

/* Memory of one lane. All zero is the initial state. */
struct tide_unwinder {
	struct tide_stack_range stack; /* of the last walk */
	uint32_t depth;                /* frames of the last walk, in [1] (outermost) .. [depth] */
	uint32_t known;                /* `depth`, or 0 if the walk must not be gone by: it crossed a signal frame */
	/* those of them that have a rule that needs bp lie between these; innermost 0: there is none */
	uint32_t bp_outermost, bp_innermost;
	uint32_t generation;
	uint64_t end;     /* 0, or the TIDE_WORD_CUT_* that stands for what is outside frame [1] */
	bool end_is_cell; /* frame [1] returns to 0; sp[0] is behind the cell. Otherwise sp[0] is above all addresses */
	uint32_t first;   /* outermost frame told; > 1: those before it were too many */
	uint64_t pc[TIDE_STACK_MAX + 2];
	uintptr_t sp[TIDE_STACK_MAX + 2];
	uint64_t rule[TIDE_STACK_MAX + 2];
	uintptr_t bp_value[TIDE_STACK_MAX + 2];
	struct tide_frame_fresh fresh[TIDE_STACK_MAX + 2]; /* innermost first */
	uint64_t cut[TIDE_STACK_MAX + 2];                  /* words of a stack that was too deep */
	struct tide_stack_range range[TIDE_STACKS_KEPT];
	uint32_t ranges;  /* ever stored; the newest is at (ranges - 1) mod TIDE_STACKS_KEPT */
	uint32_t lookups; /* stack switches since a mapping was last looked up */
};

/* The caller's stack, beginning with regs->pc. If it has more than `max` (1 .. TIDE_STACK_MAX) frames, outermost ones are left
 * out: as few multiples of TIDE_CUT_STEP as make it fit, so that stacks of like depth are cut at the same frame. */
#define TIDE_CUT_STEP 16u
/* Cells from `stands` up are known to be what they were at the last walk, if its stack was the same; UINTPTR_MAX: none is known to be.
 * *ret: outermost first, valid until the next walk; `shared` is relative to the walk before. */
void tide_unwind(struct tide_unwinder *, const struct tide_regs *, unsigned max, uintptr_t stands,
		 struct tide_words *ret);

/* Another thread has the lane now: what is known of stacks is void. */
void tide_unwinder_forget(struct tide_unwinder *);
/* Objects may have gone, their addresses may come back as something else. */
void tide_unwind_flush(void);
/* A forked child has one thread; it may have been forked while another held a lock of ours. */
void tide_unwind_fork_child(void);

#endif
