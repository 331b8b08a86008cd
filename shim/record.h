/*
 * record.h - from a hook to an item in the thread's lane.
 *
 * Every function here may be called from any thread, from signal handlers, in a forked or vforked child, before the
 * log exists and after it is closed: it then counts or ignores the call. None changes errno, allocates, or blocks for
 * longer than another thread needs to seal a block.
 *
 * RULE (FORMAT.md 6): what releases an address is recorded before the real call, what hands one out after it.
 */
#ifndef TIDE_RECORD_H
#define TIDE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/items.h"
#include "sample.h"
#include "shadow.h"
#include "unwind/unwind.h"

/* 1 while this process image is traced; 0 before, after, and in a forked child that has not been adopted yet
 * (the page is MADV_WIPEONFORK). Read on every event; tide_slow() decides what 0 means. */
extern struct tide_alive {
	uint32_t on;
	uint8_t rest[4092];
} tide_alive;

/* True: record. False: there is nothing to record to. May adopt a forked child. */
bool tide_wake(void);
static inline bool tide_on(void)
{
	return __builtin_expect(tide_alive.on == 1, 1) || tide_wake();
}

void tide_record_alloc_now(enum tide_kind, const struct tide_regs *, const void *addr, size_t size, uint64_t value);
void tide_record_free_now(enum tide_kind, const void *addr);
/* With TIDEMARK_SAMPLE: an allocation that was drawn; second halves of reallocs, drawn or not; frees that may be of the sample. */
void tide_record_sampled(enum tide_kind, const struct tide_regs *, const void *addr, size_t size, uint64_t value);
void tide_record_sampled_move(enum tide_kind, const struct tide_regs *, const void *addr, size_t size);
uint8_t tide_record_sampled_free(enum tide_kind, const void *addr);

/* ALLOC CALLOC ALIGNED REALLOC_ALLOC PYALLOC PYREALLOC_ALLOC; value: alignment of ALIGNED, else 0. */
static inline void tide_record_alloc(enum tide_kind kind, const struct tide_regs *regs, const void *addr, size_t size,
				     uint64_t value)
{
	if (__builtin_expect(tide_sample_mean == 0, 1))
		tide_record_alloc_now(kind, regs, addr, size, value);
	else if (kind == TIDE_KIND_REALLOC_ALLOC || kind == TIDE_KIND_PYREALLOC_ALLOC)
		tide_record_sampled_move(kind, regs, addr, size);
	else if (tide_sampled(size))
		tide_record_sampled(kind, regs, addr, size, value);
}
/* FREE PYFREE; addr is not NULL. */
static inline void tide_record_free(enum tide_kind kind, const void *addr)
{
	if (__builtin_expect(tide_sample_mean == 0, 1))
		tide_record_free_now(kind, addr);
	else if (tide_sample_may_have(addr))
		tide_record_sampled_free(kind, addr);
}
/* What is known of a block whose realloc's first half was recorded, should that fail. Asked before the event the byte could be another:
 * recording it may seal a block, and carry this one over. */
struct tide_moving {
	uint64_t progress; /* of passes (survive.h) */
	uint8_t known;     /* what its shadow byte said */
};
/* REALLOC_FREE PYREALLOC_FREE. */
struct tide_moving tide_record_moves(enum tide_kind, const void *addr);
/* That realloc failed, and its block lives on. */
void tide_record_stays(const void *addr, struct tide_moving);
/* MMAP MUNMAP MREMAP MADVISE PYARENA PYARENA_FREE; regs NULL for kinds without a stack. */
void tide_record_range(enum tide_kind, const struct tide_regs *, const void *addr, size_t len, uint64_t value,
		       uint64_t value2);
/* REALLOC_FAILED PYREALLOC_FAILED PYREALLOC_GONE FORK MARK; and BRK with regs. */
void tide_record_plain(enum tide_kind, const struct tide_regs *, uint64_t value);

/* For events that are not recorded one by one: is a census due, has the interpreter begun to finalize? Then what is due is done. */
void tide_record_look(void);

/* exit() was called, or main has returned: what lives is told before the program takes it apart. */
void tide_record_ending(void);

/* The kernel is asked to keep from forked children which words are owned: to look at each takes a page fault a page, and maps it. */
void tide_record_init(void);
/* A forked child: no word is owned. */
void tide_record_fork_child(void);

/* Counts `n` under a reason, in both copies. Safe everywhere. */
void tide_count_loss(enum tide_loss, uint64_t n);

#endif
