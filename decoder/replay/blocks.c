#include "replay/blocks.h"

#include <stdlib.h>

#define FIRST_SLOTS 1024u

static size_t home(const struct tide_blocks *b, uint64_t addr)
{
	return (size_t)(((addr >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (b->slots - 1);
}

void tide_blocks_release(struct tide_blocks *b)
{
	free(b->slot);
	*b = (struct tide_blocks){0};
}

/* The slot of addr, or the free one where it belongs. */
static size_t find(const struct tide_blocks *b, uint64_t addr)
{
	size_t i = home(b, addr);
	while (b->slot[i].addr && b->slot[i].addr != addr)
		i = (i + 1) & (b->slots - 1);
	return i;
}

static bool grow(struct tide_blocks *b)
{
	struct tide_blocks bigger = {.slots = b->slots ? b->slots * 2 : FIRST_SLOTS, .used = b->used};
	bigger.slot = calloc(bigger.slots, sizeof *bigger.slot);
	if (!bigger.slot)
		return false;
	for (size_t i = 0; i < b->slots; i++)
		if (b->slot[i].addr)
			bigger.slot[find(&bigger, b->slot[i].addr)] = b->slot[i];
	free(b->slot);
	*b = bigger;
	return true;
}

bool tide_blocks_put(struct tide_blocks *b, const struct tide_block_live *block, struct tide_block_live *ret_old)
{
	if (b->used >= b->slots / 8 * 5 && !grow(b))
		return false;
	size_t i = find(b, block->addr);
	*ret_old = b->slot[i];
	b->used += b->slot[i].addr == 0;
	b->slot[i] = *block;
	return true;
}

/* Moves later entries of the run back, so that no tombstones are needed. */
static void close_gap(struct tide_blocks *b, size_t gap)
{
	size_t mask = b->slots - 1;
	for (size_t i = (gap + 1) & mask; b->slot[i].addr; i = (i + 1) & mask) {
		size_t wanted = home(b, b->slot[i].addr);
		if (((i - wanted) & mask) >= ((i - gap) & mask)) {
			b->slot[gap] = b->slot[i];
			gap = i;
		}
	}
	b->slot[gap].addr = 0;
}

bool tide_blocks_take(struct tide_blocks *b, uint64_t addr, struct tide_block_live *ret)
{
	if (!b->slots)
		return false;
	size_t i = find(b, addr);
	if (!b->slot[i].addr)
		return false;
	*ret = b->slot[i];
	b->used--;
	close_gap(b, i);
	return true;
}
