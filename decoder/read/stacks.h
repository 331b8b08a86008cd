/*
 * stacks.h - every distinct stack as a node of one tree: (parent, word) -> 32-bit number. Node 0 is the root. And every distinct
 * pair of a native and a Python stack, which is what an allocation has: pair 0 is two empty ones.
 */
#ifndef TIDE_READ_STACKS_H
#define TIDE_READ_STACKS_H

#include <stdint.h>

struct tide_node {
	uint64_t word;
	uint32_t parent;
	uint32_t hash; /* of (parent, word); growing need not look at the words again */
};

struct tide_pair {
	uint32_t native, python; /* nodes, innermost */
};

struct tide_stacks {
	struct tide_node *node; /* node[0] is the root */
	uint32_t count, cap;
	uint32_t *slot; /* 0 free, else a node; open addressing, slots a power of two, twice as many as `cap` */
	uint32_t mask;
	struct tide_pair *pair;
	uint32_t pairs, pairs_cap;
	uint32_t *pair_slot; /* as `slot` */
	uint32_t pair_mask;
};

/* 0, or -1: no memory. */
int tide_stacks_init(struct tide_stacks *);
void tide_stacks_release(struct tide_stacks *);

/* Slow path of tide_stacks_child. 0: no memory (no child is the root). */
uint32_t tide_stacks_add(struct tide_stacks *, uint32_t parent, uint64_t word, uint32_t hash);

/* The number of a pair, made if need be. 0: two empty stacks; UINT32_MAX: no memory. */
uint32_t tide_stacks_pair(struct tide_stacks *, uint32_t native, uint32_t python);

static inline uint32_t tide_stacks_hash(uint32_t parent, uint64_t word)
{
	uint64_t h = (word ^ (uint64_t)parent * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
	return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

/* The node of `word` called from `parent`, made if need be. 0: no memory. */
static inline uint32_t tide_stacks_child(struct tide_stacks *s, uint32_t parent, uint64_t word)
{
	uint32_t hash = tide_stacks_hash(parent, word);
	for (uint32_t i = hash & s->mask; s->slot[i]; i = (i + 1) & s->mask) {
		const struct tide_node *n = &s->node[s->slot[i]];
		if (n->word == word && n->parent == parent)
			return s->slot[i];
	}
	return tide_stacks_add(s, parent, word, hash);
}

#endif
