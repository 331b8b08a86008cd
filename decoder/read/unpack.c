#include "read/unpack.h"

#include <stdlib.h>

/* New nodes that one item can bring: two stacks. */
#define NODES_AN_ITEM (2 * (TIDE_STACK_MAX + 2u))
#define FIRST_SLOTS 256u
#define FIRST_WORDS 256u

static const uint16_t fields_of[TIDE_KINDS] = {
#define TIDE_ITEM_FIELDS(id, number, text, what) [number] = (what),
	TIDE_ITEMS(TIDE_ITEM_FIELDS)
#undef TIDE_ITEM_FIELDS
};

/* ---- chunks ---- */

struct tide_chunk *tide_chunk_new(uint32_t cap)
{
	struct tide_chunk *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->cap = cap;
	c->op = malloc(cap * sizeof *c->op);
	c->run = malloc(cap * sizeof *c->run);
	c->extra = malloc(cap * sizeof *c->extra);
	c->pair = malloc(cap * sizeof *c->pair);
	c->node = malloc((cap + (size_t)NODES_AN_ITEM) * sizeof *c->node);
	if (c->op && c->run && c->extra && c->pair && c->node)
		return c;
	tide_chunk_free(c);
	return NULL;
}

void tide_chunk_free(struct tide_chunk *c)
{
	if (!c)
		return;
	free(c->op);
	free(c->run);
	free(c->extra);
	free(c->pair);
	free(c->node);
	free(c);
}

/* ---- numbers ---- */

static uint32_t home(const struct tide_numbers *t, uint64_t key)
{
	return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & t->mask;
}

static void forget_numbers(struct tide_numbers *t)
{
	t->count = 0;
	if (++t->block == 0 && t->slot) { /* after 2^32 blocks: old marks would be valid again */
		memset(t->slot, 0, ((size_t)t->mask + 1) * sizeof *t->slot);
		t->block = 1;
	}
}

static bool grow_numbers(struct tide_numbers *t)
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

/* The number of a pair: 1, 2 ... in the order in which they come; 0: no memory. *ret_new: it is a new one. */
static uint32_t number_of(struct tide_numbers *t, uint32_t a, uint32_t b, bool *ret_new)
{
	uint64_t key = (uint64_t)a << 32 | b;
	if ((!t->slot || t->count > t->mask / 2) && !grow_numbers(t))
		return 0;
	uint32_t i = home(t, key);
	for (; t->slot[i].block == t->block; i = (i + 1) & t->mask)
		if (t->slot[i].key == key)
			return t->slot[i].number;
	*ret_new = true;
	t->slot[i] = (struct tide_number){key, ++t->count, t->block};
	return t->count;
}

/* ---- fields ---- */

static inline uint64_t get(struct tide_in *in)
{
	if (__builtin_expect(tide_in_left(in) < TIDE_VARINT_MAX, 0))
		return tide_get_varint(in);
	const uint8_t *at = in->at;
	uint64_t value = at[0];
	if (value < 0x80) {
		in->at = at + 1;
		return value;
	}
	value = (value & 0x7f) | (uint64_t)at[1] << 7;
	if (at[1] < 0x80) {
		in->at = at + 2;
		return value;
	}
	return tide_get_varint(in);
}

/* False: the bytes are no items, or (chunk->load) no memory. */
static bool get_word(struct tide_unpack *u, struct tide_chunk *c, uint64_t *last, uint32_t *ret)
{
	uint64_t id = get(&u->in);
	if (id > 0) {
		*ret = (uint32_t)(id - 1);
		return id <= u->dict_len;
	}
	*last += (uint64_t)tide_unzigzag(get(&u->in));
	if (u->dict_len == u->dict_cap) {
		uint32_t cap = u->dict_cap ? 2 * u->dict_cap : FIRST_WORDS;
		uint64_t *dict = realloc(u->dict, cap * sizeof *dict);
		if (!dict) {
			c->load = TIDE_LOAD_NOMEM;
			return false;
		}
		u->dict = dict;
		u->dict_cap = cap;
	}
	u->dict[u->dict_len] = *last;
	*ret = u->dict_len++;
	return true;
}

static uint64_t get_count(struct tide_in *in, unsigned nibble)
{
	return nibble < 15 ? nibble : 15 + get(in);
}

static bool get_delta(struct tide_unpack *u, struct tide_chunk *c, bool python)
{
	uint32_t *depth = python ? &u->python_depth : &u->native_depth, *nodes = python ? u->python : u->native;
	uint64_t *last = python ? &u->last_python : &u->last_native;
	uint8_t counts = tide_get_u8(&u->in);
	uint64_t pop = get_count(&u->in, counts >> 4), push = get_count(&u->in, counts & 15);
	if (u->in.bad || pop > *depth || push > TIDE_STACK_MAX + 2 || *depth - pop + push > TIDE_STACK_MAX + 2)
		return false;
	uint32_t at = *depth - (uint32_t)pop, word;
	for (uint32_t i = 0; i < push; i++, at++) {
		bool is_new = false;
		if (!get_word(u, c, last, &word) || u->in.bad)
			return false;
		nodes[at + 1] = number_of(&u->nodes, nodes[at], word, &is_new);
		if (nodes[at + 1] == 0) {
			c->load = TIDE_LOAD_NOMEM;
			return false;
		}
		if (is_new)
			c->node[c->nodes++] = (struct tide_new_node){u->dict[word], nodes[at]};
	}
	*depth = at;
	return true;
}

static bool find_pair(struct tide_unpack *u, struct tide_chunk *c, bool with_native, uint32_t *ret)
{
	uint32_t native = with_native ? u->native[u->native_depth] : 0, python = u->python[u->python_depth];
	bool is_new = false;
	*ret = 0;
	if (native == 0 && python == 0)
		return true;
	*ret = number_of(&u->pairs, native, python, &is_new);
	if (*ret == 0)
		c->load = TIDE_LOAD_NOMEM;
	if (is_new)
		c->pair[c->pairs++] = (struct tide_new_pair){native, python};
	return *ret != 0;
}

static bool get_stacks(struct tide_unpack *u, struct tide_chunk *c, uint8_t tag, bool native, uint32_t *ret)
{
	if (!(tag & TIDE_TAG_SAME)) {
		if ((native && !get_delta(u, c, false)) || !get_delta(u, c, true))
			return false;
		u->pair_known = u->python_pair_known = false;
	}
	uint32_t *pair = native ? &u->pair : &u->python_pair;
	bool *known = native ? &u->pair_known : &u->python_pair_known;
	if (!*known && !find_pair(u, c, native, pair))
		return false;
	*known = true;
	*ret = *pair;
	return true;
}

static inline void get_addr(struct tide_unpack *u, uint8_t tag, bool freeing, struct tide_op *op)
{
	uint64_t base = tag & TIDE_TAG_NEAR_FREE ? u->last_free : u->last_alloc;
	uint64_t unit = (base + (uint64_t)tide_unzigzag(get(&u->in))) & (UINT64_MAX >> 4);
	op->addr = unit << 4;
	if (tag & TIDE_TAG_ODD)
		op->addr |= tide_get_u8(&u->in) & 15;
	op->word = (uint16_t)tide_word_of(op->addr);
	if (freeing)
		u->last_free = unit;
	else
		u->last_alloc = unit;
}

/* Not an event: when, whose, who. */
static bool get_context(struct tide_unpack *u, uint8_t kind)
{
	unsigned fields = fields_of[kind];
	uint64_t seq = fields & TIDE_F_SEQ ? get(&u->in) : 0;
	if (fields & TIDE_F_TICKS)
		u->ticks += get(&u->in);
	uint64_t value = fields & TIDE_F_VALUE ? get(&u->in) : 0;
	if (u->in.bad)
		return false;
	if (kind == TIDE_KIND_FOUND) {
		u->unknown = value == 0; /* what the shadow says of a block that was never allocated */
		return true;
	}
	if (kind == TIDE_KIND_SYNC)
		u->seq = seq;
	if (kind == TIDE_KIND_THREAD)
		u->tid = (uint32_t)value;
	u->new_run = true;
	return true;
}

static bool get_event(struct tide_unpack *u, struct tide_chunk *c, uint8_t tag, struct tide_op *op)
{
	unsigned fields = fields_of[tag & (TIDE_KINDS - 1)];
	*op = (struct tide_op){.kind = tag & (TIDE_KINDS - 1), .unknown = u->unknown};
	u->unknown = false;
	if (fields & (TIDE_F_STACK | TIDE_F_PYSTACK) && !get_stacks(u, c, tag, fields & TIDE_F_STACK, &op->pair))
		return false;
	if (fields & TIDE_F_ADDR)
		get_addr(u, tag, !(fields & TIDE_F_SIZE), op);
	if (fields & TIDE_F_RANGE)
		op->addr = get(&u->in) * TIDE_PAGE;
	if (fields & (TIDE_F_SIZE | TIDE_F_RANGE))
		op->size = get(&u->in);
	if (fields & TIDE_F_VALUE) {
		struct tide_extra *x = &c->extra[c->extras];
		x->value = get(&u->in);
		x->value2 = fields & TIDE_F_VALUE2 ? get(&u->in) : 0;
		c->extras += !u->in.bad;
	}
	return !u->in.bad;
}

/* ---- the block ---- */

void tide_unpack_release(struct tide_unpack *u)
{
	free(u->dict);
	free(u->nodes.slot);
	free(u->pairs.slot);
	*u = (struct tide_unpack){0};
}

void tide_unpack_begin(struct tide_unpack *u, const void *payload, size_t len, uint64_t ticks, uint32_t tid,
		       uint32_t events)
{
	u->in = tide_in_of(payload, len);
	u->ticks = ticks;
	u->seq = u->last_alloc = u->last_free = u->last_native = u->last_python = 0;
	u->tid = tid;
	u->events_left = events;
	u->native_depth = u->python_depth = 0;
	u->native[0] = u->python[0] = 0;
	u->pair_known = u->python_pair_known = u->unknown = false;
	u->dict_len = 0;
	forget_numbers(&u->nodes);
	forget_numbers(&u->pairs);
}

static void begin_run(struct tide_unpack *u, struct tide_chunk *c)
{
	c->run[c->runs++] = (struct tide_run){u->ticks, u->seq, c->ops, u->tid};
	u->seq = 0;
	u->new_run = false;
}

/* 1: an item was taken. 0: the bytes end here, or are no items. */
static bool next_item(struct tide_unpack *u, struct tide_chunk *c)
{
	if (tide_in_left(&u->in) == 0)
		return false;
	uint8_t tag = *u->in.at++, kind = tag & (TIDE_KINDS - 1);
	if (!fields_of[kind] && !tide_kind_name(kind))
		return false;
	if (!tide_kind_is_event(kind))
		return get_context(u, kind);
	if (!get_event(u, c, tag, &c->op[c->ops]))
		return false;
	if (u->new_run)
		begin_run(u, c);
	c->ops++;
	u->events_left--;
	return true;
}

void tide_unpack_chunk(struct tide_unpack *u, struct tide_chunk *c)
{
	c->ops = c->runs = c->extras = c->nodes = c->pairs = 0;
	c->load = TIDE_LOAD_OK;
	u->new_run = true;
	/* an event adds at most one to op, run, extra and pair, so only two of the arrays can be full */
	while (c->ops < c->cap && c->nodes <= c->cap && u->events_left > 0)
		if (!next_item(u, c)) {
			u->events_left = 0;
			break;
		}
	c->ends = u->events_left == 0;
}
