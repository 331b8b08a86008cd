#include "read/stacks.h"

#include <stdlib.h>

#define FIRST_CAP 1024u
#define COUNT_MAX (UINT32_MAX / 4) /* the slots of a table this big still have 32-bit numbers */

int tide_stacks_init(struct tide_stacks *s)
{
	*s = (struct tide_stacks){.cap = FIRST_CAP, .count = 1, .mask = 2 * FIRST_CAP - 1};
	s->node = calloc(s->cap, sizeof *s->node);
	s->slot = calloc((size_t)s->mask + 1, sizeof *s->slot);
	if (s->node && s->slot)
		return 0;
	tide_stacks_release(s);
	return -1;
}

void tide_stacks_release(struct tide_stacks *s)
{
	free(s->node);
	free(s->slot);
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
