/*
 * blocks.h - the live blocks at one point of a replay: address -> block. A table of our own because there are tens of
 * millions of them, and 40 bytes each is what they may cost.
 */
#ifndef TIDE_REPLAY_BLOCKS_H
#define TIDE_REPLAY_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_block_live {
	uint64_t addr; /* 0: the slot is free */
	uint64_t size; /* bytes asked for */
	uint64_t time_ns;
	uint32_t site;
	uint32_t flags; /* enum tide_block_flag */
};
enum tide_block_flag {
	TIDE_BLOCK_PYTHON = 1,  /* inside a pymalloc pool */
	TIDE_BLOCK_CARRIED = 2, /* its events were overwritten */
	TIDE_BLOCK_COUNTED = 4  /* from a census: it lives, but its address, though in the right arena, is made up */
};

struct tide_blocks {
	struct tide_block_live *slot;
	size_t slots, used;
};

void tide_blocks_release(struct tide_blocks *); /* zero is a valid empty table */
/* Adds, or replaces what was live there: *ret_old gets it (addr 0: nothing was). False: no memory. */
bool tide_blocks_put(struct tide_blocks *, const struct tide_block_live *, struct tide_block_live *ret_old);
/* Removes; false: not live. */
bool tide_blocks_take(struct tide_blocks *, uint64_t addr, struct tide_block_live *ret);

#endif
