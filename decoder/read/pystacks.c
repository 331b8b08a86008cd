#include "read/pystacks.h"

#include <stdlib.h>

#include "format/layout.h"
#include "format/status.h"
#include "format/wire.h"

#define WORDS_MOST (TIDE_STACK_MAX + 2u)

/* The last site's stack, outermost first: as words, and as the nodes that they lead to. */
struct last {
	uint64_t word[WORDS_MOST];
	uint32_t node[WORDS_MOST];
	uint32_t n;
};

void tide_pystacks_release(struct tide_pystacks *s)
{
	free(s->node_plus_one);
	*s = (struct tide_pystacks){0};
}

static int get_site(struct last *last, struct tide_stacks *stacks, struct tide_in *in)
{
	uint64_t added = tide_get_varint(in), shared = tide_get_varint(in);
	if (in->bad || shared > last->n || added > WORDS_MOST - shared)
		return 0;
	uint64_t word = shared ? last->word[shared - 1] : 0;
	last->n = (uint32_t)shared;
	for (uint64_t i = 0; i < added; i++) {
		word += (uint64_t)tide_unzigzag(tide_get_varint(in));
		if (in->bad)
			return 0;
		uint32_t node = tide_stacks_child(stacks, last->n ? last->node[last->n - 1] : 0, word);
		if (!node)
			return TIDE_ERR_NOMEM;
		last->word[last->n] = word;
		last->node[last->n++] = node;
	}
	return 1;
}

int tide_pystacks_parse(struct tide_pystacks *s, struct tide_stacks *stacks, const uint8_t *payload, size_t len)
{
	struct tide_in in = tide_in_of(payload, len);
	struct last last = {.n = 0};
	uint64_t site = 0;
	int got = 1;
	if (!s->node_plus_one)
		s->node_plus_one = calloc(TIDE_PYSTACK_NUMBERS, sizeof *s->node_plus_one);
	if (!s->node_plus_one)
		return TIDE_ERR_NOMEM;
	while (got == 1 && tide_in_left(&in) > 0) {
		uint64_t step = tide_get_varint(&in);
		site += step < TIDE_PYSTACK_NUMBERS ? step : TIDE_PYSTACK_NUMBERS;
		got = site < TIDE_PYSTACK_NUMBERS ? get_site(&last, stacks, &in) : 0;
		if (got == 1)
			s->node_plus_one[site] = (last.n ? last.node[last.n - 1] : 0) + 1;
	}
	return got;
}
