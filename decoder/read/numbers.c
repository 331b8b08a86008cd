#include "read/numbers.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 256u

void tide_numbers_release(struct tide_numbers *t)
{
	free(t->slot);
	*t = (struct tide_numbers){0};
}

static uint32_t home(const struct tide_numbers *t, uint64_t key)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & t->mask;
}

void tide_numbers_forget(struct tide_numbers *t)
{
	t->count = 0;
	if (++t->block == 0 && t->slot) { /* after 2^32 blocks: old marks would be valid again */
		memset(t->slot, 0, ((size_t)t->mask + 1) * sizeof *t->slot);
		t->block = 1;
	}
}

static bool grow(struct tide_numbers *t)
{
	struct tide_numbers bigger = {
		.mask = t->slot ? 2 * t->mask + 1 : FIRST_SLOTS - 1, .count = t->count, .block = 1};
	bigger.slot = calloc((size_t)bigger.mask + 1, sizeof *bigger.slot);
	if (!bigger.slot)
		return false;
	for (uint32_t i = 0; t->slot && i <= t->mask; i++) {
		if (t->slot[i].block != t->block)
			continue;
		uint32_t at = home(&bigger, t->slot[i].key);
		while (bigger.slot[at].block)
			at = (at + 1) & bigger.mask;
		bigger.slot[at] = (struct tide_number){t->slot[i].key, t->slot[i].number, 1};
	}
	free(t->slot);
	*t = bigger;
	return true;
}

uint32_t tide_number_of(struct tide_numbers *t, uint32_t a, uint32_t b, bool *ret_new)
{
	uint64_t key = (uint64_t)a << 32 | b;
	if ((!t->slot || t->count > t->mask / 2) && !grow(t))
		return 0;
	uint32_t i = home(t, key);
	for (; t->slot[i].block == t->block; i = (i + 1) & t->mask)
		if (t->slot[i].key == key)
			return t->slot[i].number;
	*ret_new = true;
	t->slot[i] = (struct tide_number){key, ++t->count, t->block};
	return t->count;
}
