#include "read/stacks.h"

#include <stdbool.h>
#include <stdlib.h>

#define FIRST_CAP 1024u
#define FIRST_PAIRS 256u
#define COUNT_MAX (UINT32_MAX / 4) /* the slots of a table this big still have 32-bit numbers */

/* The slot of a pair, or the free one where it belongs. */
static uint32_t pair_slot(const struct tide_stacks *s, uint32_t native, uint32_t python)
{
	uint32_t i = tide_stacks_hash(native, python) & s->pair_mask;
	while (s->pair_slot[i]) {
		const struct tide_pair *p = &s->pair[s->pair_slot[i]];
		if (p->native == native && p->python == python)
			break;
		i = (i + 1) & s->pair_mask;
	}
	return i;
}

static bool grow_pairs(struct tide_stacks *s)
{
	if (s->pairs_cap > COUNT_MAX)
		return false;
	uint32_t cap = s->pairs_cap ? 2 * s->pairs_cap : FIRST_PAIRS;
	struct tide_pair *pair = realloc(s->pair, cap * sizeof *pair);
	if (!pair)
		return false;
	s->pair = pair;
	s->pair[0] = (struct tide_pair){0, 0};
	uint32_t *slot = calloc(2 * (size_t)cap, sizeof *slot);
	if (!slot)
		return false;
	free(s->pair_slot);
	s->pair_slot = slot;
	s->pairs_cap = cap;
	s->pair_mask = 2 * cap - 1;
	for (uint32_t i = 1; i < s->pairs; i++)
		s->pair_slot[pair_slot(s, s->pair[i].native, s->pair[i].python)] = i;
	return true;
}

uint32_t tide_stacks_pair(struct tide_stacks *s, uint32_t native, uint32_t python)
{
	if (native == 0 && python == 0)
		return 0;
	if (s->pairs == s->pairs_cap && !grow_pairs(s))
		return UINT32_MAX;
	uint32_t slot = pair_slot(s, native, python);
	if (s->pair_slot[slot] == 0) {
		s->pair[s->pairs] = (struct tide_pair){native, python};
		s->pair_slot[slot] = s->pairs++;
	}
	return s->pair_slot[slot];
}

int tide_stacks_init(struct tide_stacks *s)
{
	*s = (struct tide_stacks){.cap = FIRST_CAP, .count = 1, .mask = 2 * FIRST_CAP - 1};
	s->node = calloc(s->cap, sizeof *s->node);
	s->slot = calloc((size_t)s->mask + 1, sizeof *s->slot);
	if (s->node && s->slot && grow_pairs(s)) {
		s->pairs = 1;
		return 0;
	}
	tide_stacks_release(s);
	return -1;
}

void tide_stacks_release(struct tide_stacks *s)
{
	free(s->node);
	free(s->slot);
	free(s->pair);
	free(s->pair_slot);
	*s = (struct tide_stacks){0};
}

static void insert(struct tide_stacks *s, uint32_t node)
{
	uint32_t i = s->node[node].hash & s->mask;
	while (s->slot[i])
		i = (i + 1) & s->mask;
	s->slot[i] = node;
}

/* Doubles both: there are always twice as many slots as nodes. */
static int grow(struct tide_stacks *s)
{
	if (s->cap > COUNT_MAX)
		return -1;
	struct tide_node *node = realloc(s->node, 2 * (size_t)s->cap * sizeof *node);
	if (!node)
		return -1;
	s->node = node;
	uint32_t *slot = calloc(4 * (size_t)s->cap, sizeof *slot);
	if (!slot)
		return -1;
	free(s->slot);
	s->slot = slot;
	s->cap *= 2;
	s->mask = 2 * s->cap - 1;
	for (uint32_t i = 1; i < s->count; i++)
		insert(s, i);
	return 0;
}

uint32_t tide_stacks_add(struct tide_stacks *s, uint32_t parent, uint64_t word, uint32_t hash)
{
	if (s->count == s->cap && grow(s) != 0)
		return 0;
	uint32_t node = s->count++;
	s->node[node] = (struct tide_node){word, parent, hash};
	insert(s, node);
	return node;
}
