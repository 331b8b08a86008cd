/*
 * The items of a block: any bytes decode to events or are refused; stacks stay within their limits; and the unpacker, which
 * reports are made from, finds just what the plain decoder finds.
 */
#include <stdlib.h>

#include "format/items.h"
#include "read/unpack.h"

#define STACK_KEPT (TIDE_STACK_MAX + 2u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct stack {
	uint64_t word[STACK_KEPT + 1];
	uint32_t depth;
};

/* What the unpacker says, chunk by chunk. */
struct unpacked {
	struct tide_unpack unpack;
	struct tide_chunk *chunk;
	uint32_t op, run, extra;
	struct tide_new_node *node; /* of the block; [0] is the root */
	struct tide_new_pair *pair;
	uint32_t nodes, pairs;
};

static void apply(struct stack *s, const struct tide_stack_delta *d)
{
	if (d->pop > s->depth || s->depth - d->pop + d->push > STACK_KEPT)
		abort();
	s->depth -= d->pop;
	for (uint32_t i = 0; i < d->push; i++)
		s->word[s->depth++] = d->words[i];
}

static void same_stack(const struct unpacked *u, uint32_t node, const struct stack *want)
{
	for (uint32_t i = want->depth; i-- > 0; node = u->node[node].parent)
		if (node == 0 || u->node[node].word != want->word[i])
			abort();
	if (node)
		abort();
}

static void next_chunk(struct unpacked *u)
{
	struct tide_chunk *c = u->chunk;
	tide_unpack_chunk(&u->unpack, c);
	if (c->load != TIDE_LOAD_OK || (c->ops == 0 && !c->ends))
		abort();
	for (uint32_t i = 0; i < c->nodes; i++)
		u->node[u->nodes++] = c->node[i];
	for (uint32_t i = 0; i < c->pairs; i++)
		u->pair[u->pairs++] = c->pair[i];
	u->op = u->run = u->extra = 0;
}

static void same_event(struct unpacked *u, const struct tide_item *item, const struct stack *native,
		       const struct stack *python, uint32_t tid, uint64_t seq)
{
	static const struct stack none;
	const struct tide_chunk *c = u->chunk;
	unsigned fields = tide_kind_fields(item->kind);
	while (u->op == c->ops) {
		if (c->ends)
			abort();
		next_chunk(u);
	}
	const struct tide_op *op = &c->op[u->op];
	bool begins = u->run < c->runs && c->run[u->run].first == u->op;
	u->run += begins;
	const struct tide_run *run = &c->run[u->run - 1];
	if (op->kind != item->kind || op->addr != item->addr || op->size != item->size || run->ticks != item->ticks ||
	    run->tid != tid || (begins ? run->seq : 0) != seq)
		abort();
	if (op->word != (fields & TIDE_F_ADDR ? tide_word_of(op->addr) : 0))
		abort();
	if (fields & TIDE_F_VALUE) {
		const struct tide_extra *x = &c->extra[u->extra++];
		if (x->value != item->value || x->value2 != item->value2)
			abort();
	}
	same_stack(u, u->pair[op->pair].native, fields & TIDE_F_STACK ? native : &none);
	same_stack(u, u->pair[op->pair].python, fields & (TIDE_F_STACK | TIDE_F_PYSTACK) ? python : &none);
	u->op++;
}

static void one(enum tide_encoding encoding, const uint8_t *data, size_t size)
{
	static struct tide_items items;
	static struct unpacked u;
	static uint64_t words[2 * TIDE_FRAME_RAW_MAX];
	static struct stack native, python;
	struct tide_item item;
	uint32_t tid = 5;
	uint64_t seq = 0;
	native.depth = python.depth = 0;
	u.chunk = tide_chunk_new(1 + (uint32_t)(size ? data[size - 1] : 0));
	u.node = calloc(size + 1, sizeof *u.node);
	u.pair = calloc(size + 1, sizeof *u.pair);
	u.nodes = u.pairs = 1;
	if (!u.chunk || !u.node || !u.pair)
		abort();
	tide_unpack_begin(&u.unpack, encoding, data, size, 1, tid, UINT32_MAX);
	next_chunk(&u);
	tide_items_init(&items, encoding, data, size, 1, words, tide_items_words(size));
	while (tide_items_next(&items, &item) == 1) {
		if (!tide_kind_name(item.kind))
			abort();
		if (item.kind == TIDE_KIND_THREAD)
			tid = (uint32_t)item.value;
		if (item.kind == TIDE_KIND_SYNC)
			seq = item.seq;
		if (!item.is_event)
			continue;
		apply(&native, &item.native);
		apply(&python, &item.python);
		same_event(&u, &item, &native, &python, tid, seq);
		seq = 0;
	}
	while (!u.chunk->ends && u.op == u.chunk->ops)
		next_chunk(&u);
	if (u.op != u.chunk->ops)
		abort();
	tide_chunk_free(u.chunk);
	free(u.node);
	free(u.pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > TIDE_FRAME_RAW_MAX)
		return 0;
	one(TIDE_ENCODING_FIRST, data, size);
	one(TIDE_ENCODING_ITEMS, data, size);
	return 0;
}
