/*
 * pystacks.h - writes PYSTACKS definitions (FORMAT.md 4): sites and their stacks, each as what it does not share with the one before, as many
 * in one definition as fit.
 */
#ifndef TIDE_PYTHON_PYSTACKS_H
#define TIDE_PYTHON_PYSTACKS_H

#include "defs.h"
#include "format/encode.h"
#include "format/items.h"

#define TIDE_PYSTACKS_BATCH 65536u /* bytes of one definition */
#define TIDE_PYSTACKS_MEMORY (TIDE_PYSTACKS_BATCH + 2 * (TIDE_STACK_MAX + 2) * sizeof(uint64_t))

struct tide_pystacks {
	uint8_t *memory;
	struct tide_out out;
	uint32_t number;          /* of the site before */
	uint64_t *words, *before; /* of this site, to be filled in by the user, and of the one before it */
	uint32_t n, n_before;
};

static inline void tide_pystacks_end(struct tide_pystacks *b)
{
	struct tide_part part = {b->memory, tide_out_len(&b->out)};
	if (part.len)
		tide_define(TIDE_DEF_PYSTACKS, &part, 1);
	b->out = tide_out_of(b->memory, TIDE_PYSTACKS_BATCH);
	b->number = b->n_before = 0;
}

/* `memory`: TIDE_PYSTACKS_MEMORY bytes. */
static inline void tide_pystacks_begin(struct tide_pystacks *b, uint8_t *memory)
{
	uint64_t *words = (uint64_t *)(memory + TIDE_PYSTACKS_BATCH);
	*b = (struct tide_pystacks){.memory = memory,
				    .out = tide_out_of(memory, TIDE_PYSTACKS_BATCH),
				    .words = words,
				    .before = words + TIDE_STACK_MAX + 2};
}

/* b->words[0 .. b->n) are the site's. */
static inline void tide_pystacks_put(struct tide_pystacks *b, uint32_t site)
{
	if ((size_t)(b->out.end - b->out.at) < (b->n + 4) * (size_t)TIDE_VARINT_MAX)
		tide_pystacks_end(b);
	uint32_t shared = 0;
	uint64_t last = 0;
	tide_out_varint(&b->out, site - b->number);
	b->number = site;
	while (shared < b->n && shared < b->n_before && b->words[shared] == b->before[shared])
		last = b->words[shared++];
	tide_out_varint(&b->out, b->n - shared);
	tide_out_varint(&b->out, shared);
	for (uint32_t i = shared; i < b->n; i++) {
		tide_out_varint(&b->out, tide_zigzag((int64_t)(b->words[i] - last)));
		last = b->words[i];
	}
	uint64_t *swap = b->before;
	b->before = b->words;
	b->n_before = b->n;
	b->words = swap;
}

#endif
