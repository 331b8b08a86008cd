#include "replay/blocks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_SLOTS 1024u
#define SMALL ((size_t)1 << 17) /* slots: 3 MiB */
#define HUGE_PAGE ((size_t)2 << 20)
#define BIG ((size_t)4 << 20)
#define SHIFT_UNKNOWN 15u /* a log that begins at boot, and lasts a day and a half */

void tide_blocks_release(struct tide_blocks *b)
{
	free(b->slot);
	*b = (struct tide_blocks){0};
}

void tide_blocks_window(struct tide_blocks *b, uint64_t first_ns, uint64_t last_ns)
{
	b->time_base = first_ns;
	b->time_shift = 0;
	while (last_ns > first_ns && (last_ns - first_ns) >> b->time_shift > UINT32_MAX)
		b->time_shift++;
}

static struct tide_block_slot pack(const struct tide_blocks *b, const struct tide_block_live *block)
{
	return (struct tide_block_slot){
		.addr = block->addr,
		.size_and_flags = block->size << 8 | block->flags,
		.site = block->site,
		.time = tide_blocks_time(b, block->time_ns),
	};
}

static void unpack(const struct tide_blocks *b, const struct tide_block_slot *slot, struct tide_block_live *ret)
{
	*ret = (struct tide_block_live){
		.addr = slot->addr,
		.size = slot->size_and_flags >> 8,
		.time_ns = tide_blocks_ns(b, slot->time),
		.site = slot->site,
		.flags = slot->size_and_flags & 255,
	};
}

/* Each event looks at a place of its own in a table that no cache holds: with small pages it would miss the page, too. */
static struct tide_block_slot *new_slots(size_t slots)
{
	struct tide_block_slot *slot;
	size_t bytes = slots * sizeof *slot;
	if (bytes < BIG)
		return calloc(slots, sizeof *slot);
	slot = aligned_alloc(HUGE_PAGE, (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	if (!slot)
		return NULL;
	madvise(slot, bytes, MADV_HUGEPAGE); /* a wish */
	return memset(slot, 0, bytes);
}

static bool grow(struct tide_blocks *b)
{
	struct tide_blocks bigger = *b;
	if (!b->slots && !b->time_base && !b->time_shift)
		bigger.time_shift = SHIFT_UNKNOWN;
	bigger.slots = b->slots ? b->slots * 2 : FIRST_SLOTS;
	/* short runs where it costs little memory */
	bigger.most = bigger.slots < SMALL ? bigger.slots / 4 : bigger.slots / 8 * 5;
	bigger.slot = new_slots(bigger.slots);
	if (!bigger.slot)
		return false;
	for (size_t i = 0; i < b->slots; i++)
		if (b->slot[i].addr)
			bigger.slot[tide_blocks_find(&bigger, b->slot[i].addr)] = b->slot[i];
	free(b->slot);
	*b = bigger;
	return true;
}

bool tide_blocks_put(struct tide_blocks *b, const struct tide_block_live *block, struct tide_block_live *ret_old)
{
	if (b->used >= b->most && !grow(b))
		return false;
	struct tide_block_slot *slot = &b->slot[tide_blocks_find(b, block->addr)];
	if (slot->addr)
		unpack(b, slot, ret_old);
	else
		ret_old->addr = 0;
	b->used += slot->addr == 0;
	*slot = pack(b, block);
	return true;
}

/* Moves later entries of the run back, so that no tombstones are needed. */
void tide_blocks_close(struct tide_blocks *b, size_t gap)
{
	size_t mask = b->slots - 1;
	for (size_t i = (gap + 1) & mask; b->slot[i].addr; i = (i + 1) & mask) {
		size_t wanted = tide_blocks_home(b, b->slot[i].addr);
		if (((i - wanted) & mask) >= ((i - gap) & mask)) {
			b->slot[gap] = b->slot[i];
			gap = i;
		}
	}
	b->slot[gap].addr = 0;
}

bool tide_blocks_take(struct tide_blocks *b, uint64_t addr, struct tide_block_live *ret)
{
	if (!b->slots || !addr)
		return false;
	size_t i = tide_blocks_find(b, addr);
	if (!b->slot[i].addr)
		return false;
	unpack(b, &b->slot[i], ret);
	tide_blocks_remove(b, i);
	return true;
}

bool tide_blocks_next(const struct tide_blocks *b, size_t *at, struct tide_block_live *ret)
{
	while (*at < b->slots && !b->slot[*at].addr)
		++*at;
	if (*at >= b->slots)
		return false;
	unpack(b, &b->slot[(*at)++], ret);
	return true;
}

void tide_blocks_drop(struct tide_blocks *b, uint32_t flags)
{
	/* closing a gap moves only entries that come later, to this place or later ones: look at it again */
	for (size_t i = 0; i < b->slots;) {
		if (!b->slot[i].addr || !(b->slot[i].size_and_flags & flags)) {
			i++;
			continue;
		}
		tide_blocks_remove(b, i);
	}
}
