/*
 * amount.h - how much a recorded block stands for: itself, or, in a sampled log, itself and those like it that were not
 * recorded (FORMAT.md 6). Bytes and blocks are whole numbers; what is rounded off is decided by the block's address, so sums of blocks
 * are right on average, and a free takes away just what the allocation added.
 */
#ifndef TIDE_REPLAY_AMOUNT_H
#define TIDE_REPLAY_AMOUNT_H

#include <stdint.h>

#include "replay/blocks.h"

struct tide_amount {
	uint64_t bytes, blocks;
};

struct tide_amount tide_amount_in_sample(uint64_t sample_bytes, const struct tide_block_live *);
/* `sample_bytes` 0: every allocation was recorded. */
static inline struct tide_amount tide_amount_of(uint64_t sample_bytes, const struct tide_block_live *b)
{
	if (__builtin_expect(sample_bytes == 0, 1) || b->flags & TIDE_BLOCK_COUNTED)
		return (struct tide_amount){b->size, 1};
	return tide_amount_in_sample(sample_bytes, b);
}
/* Of recorded allocations of which only the sums are known; biased where their sizes differ much around sample_bytes. */
struct tide_amount tide_amount_of_sum(uint64_t sample_bytes, uint64_t bytes, uint64_t blocks);

#endif
