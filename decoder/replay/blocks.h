/*
 * blocks.h - the live blocks at one point of a replay: address -> block. A table of our own because there are tens of
 * millions of them, and 24 bytes each is what they may cost.
 */
#ifndef TIDE_REPLAY_BLOCKS_H
#define TIDE_REPLAY_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_block_live {
	uint64_t addr; /* not 0 */
	uint64_t size; /* bytes asked for; at most TIDE_BLOCK_SIZE_MAX */
	uint64_t time_ns;
	uint32_t site;
	uint32_t flags; /* enum tide_block_flag */
};
#define TIDE_BLOCK_SIZE_MAX ((UINT64_C(1) << 56) - 1)
enum tide_block_flag {
	TIDE_BLOCK_PYTHON = 1,    /* inside a pymalloc pool */
	TIDE_BLOCK_CARRIED = 2,   /* its events were overwritten */
	TIDE_BLOCK_COUNTED = 4,   /* from a census: it lives, but its address, though in the right arena, is made up */
	TIDE_BLOCK_INHERITED = 8, /* a forked child's, from before the fork */
	TIDE_BLOCK_LATER = 128    /* allocated after tide_replay_freeze */
};

struct tide_block_slot {
	uint64_t addr;           /* 0: free */
	uint64_t size_and_flags; /* size * 256 + flags */
	uint32_t site, time;
};
_Static_assert(sizeof(struct tide_block_slot) == 24, "what a live block costs");

struct tide_blocks {
	struct tide_block_slot *slot;
	size_t slots, used, most; /* used == most: the next one makes the table grow */
	/* times are kept in units of 2^time_shift ns from time_base on, so that those of the whole log fit 32 bits */
	uint64_t time_base;
	unsigned time_shift;
};

void tide_blocks_release(struct tide_blocks *); /* zero is a valid empty table, with times to 2^15 ns from 0 on */
/* Times will lie between these; others are clipped. Before anything is put. */
void tide_blocks_window(struct tide_blocks *, uint64_t first_ns, uint64_t last_ns);
/* Adds, or replaces what was live there: *ret_old gets it (addr 0: nothing was). False: no memory. */
bool tide_blocks_put(struct tide_blocks *, const struct tide_block_live *, struct tide_block_live *ret_old);
/* Removes; false: not live. */
bool tide_blocks_take(struct tide_blocks *, uint64_t addr, struct tide_block_live *ret);
/* Every block, in an order of no meaning: begin with *at = 0. False: no more. The table must not change meanwhile. */
bool tide_blocks_next(const struct tide_blocks *, size_t *at, struct tide_block_live *ret);

/* Removes every block that has one of these flags. */
void tide_blocks_drop(struct tide_blocks *, uint32_t flags);

static inline size_t tide_blocks_home(const struct tide_blocks *b, uint64_t addr)
{
	return (size_t)(((addr >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (b->slots - 1);
}
/* The slot of addr, or the free one where it belongs. Not in an empty table, which has no slots. */
static inline size_t tide_blocks_find(const struct tide_blocks *b, uint64_t addr)
{
	size_t i = tide_blocks_home(b, addr);
	while (b->slot[i].addr && b->slot[i].addr != addr)
		i = (i + 1) & (b->slots - 1);
	return i;
}
/* A time as slots hold it, and back. */
static inline uint32_t tide_blocks_time(const struct tide_blocks *b, uint64_t time_ns)
{
	uint64_t time = time_ns > b->time_base ? (time_ns - b->time_base) >> b->time_shift : 0;
	return time > UINT32_MAX ? UINT32_MAX : (uint32_t)time;
}
static inline uint64_t tide_blocks_ns(const struct tide_blocks *b, uint32_t time)
{
	return b->time_base + ((uint64_t)time << b->time_shift);
}
/* Slot i, which is not free, becomes so: what comes after it in its run may move. */
void tide_blocks_close(struct tide_blocks *, size_t i);
static inline void tide_blocks_remove(struct tide_blocks *b, size_t i)
{
	b->used--;
	if (b->slot[(i + 1) & (b->slots - 1)].addr)
		tide_blocks_close(b, i);
	else
		b->slot[i].addr = 0;
}
/* An event on addr comes soon. */
static inline void tide_blocks_prefetch(const struct tide_blocks *b, uint64_t addr)
{
	if (b->slots)
		__builtin_prefetch(&b->slot[tide_blocks_home(b, addr)]);
}

#endif
