#include "read/unpack.h"

#include <stdlib.h>

/* New nodes that one item can bring: two stacks. */
#define NODES_AN_ITEM (2 * (TIDE_STACK_MAX + 2u))
#define FIRST_SLOTS 256u
#define FIRST_WORDS 256u

static const uint32_t known_kinds =
#define TIDE_ITEM_BIT(id, number, text, what) UINT32_C(1) << (number) |
	TIDE_ITEMS(TIDE_ITEM_BIT) 0;
#undef TIDE_ITEM_BIT
_Static_assert(TIDE_KINDS == 32, "a bit a kind");

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

/* Room for one more element of `size` bytes. False: no memory, and the chunk says so. */
static bool room(void **array, uint32_t len, uint32_t *cap, size_t size, struct tide_chunk *c)
{
	if (len < *cap)
		return true;
	uint32_t more = *cap ? 2 * *cap : FIRST_WORDS;
	void *bigger = realloc(*array, more * size);
	if (!bigger) {
		c->load = TIDE_LOAD_NOMEM;
		return false;
	}
	*array = bigger;
	*cap = more;
	return true;
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
	if (!room((void **)&u->dict, u->dict_len, &u->dict_cap, sizeof *u->dict, c))
		return false;
	u->dict[u->dict_len] = *last;
	*ret = u->dict_len++;
	return true;
}

static uint64_t get_count(struct tide_in *in, unsigned nibble)
{
	return nibble < 15 ? nibble : 15 + get(in);
}

/* The node of a word called from `parent`; 0: no memory. */
static uint32_t child(struct tide_unpack *u, struct tide_chunk *c, uint32_t parent, uint32_t word)
{
	bool is_new = false;
	uint32_t node = number_of(&u->nodes, parent, word, &is_new);
	if (node == 0)
		c->load = TIDE_LOAD_NOMEM;
	if (!is_new)
		return node;
	if (!room((void **)&u->path, u->paths, &u->path_cap, sizeof *u->path, c))
		return 0;
	u->path[u->paths++] = tide_path(u->path[parent], u->dict[word]); /* nodes are numbered in this order */
	c->node[c->nodes++] = (struct tide_new_node){u->dict[word], parent};
	return node;
}

/* Reads a delta, applies it, and keeps it in *next. */
static bool get_delta(struct tide_unpack *u, struct tide_chunk *c, unsigned sort, struct tide_unpack_next *next)
{
	struct tide_unpack_stack *s = &u->stack[sort];
	uint8_t counts = tide_get_u8(&u->in);
	uint64_t pop = get_count(&u->in, counts >> 4), push = get_count(&u->in, counts & 15);
	if (u->in.bad || pop > s->depth || push > TIDE_STACK_MAX + 2 || s->depth - pop + push > TIDE_STACK_MAX + 2)
		return false;
	uint32_t at = s->depth - (uint32_t)pop, word;
	for (uint32_t i = 0; i < push; i++, at++) {
		if (!get_word(u, c, &s->last, &word) || u->in.bad)
			return false;
		s->node[at + 1] = child(u, c, s->node[at], word);
		if (s->node[at + 1] == 0 ||
		    !room((void **)&u->pushed, u->pushed_len, &u->pushed_cap, sizeof *u->pushed, c))
			return false;
		u->pushed[u->pushed_len++] = s->node[at + 1];
	}
	s->depth = at;
	next->pop[sort] = (uint16_t)pop;
	next->push[sort] = (uint16_t)push;
	return true;
}

/* Applies one of the deltas that *next holds; `at`: where its nodes are. */
static bool repeat_delta(struct tide_unpack *u, unsigned sort, const struct tide_unpack_next *next, uint32_t at)
{
	struct tide_unpack_stack *s = &u->stack[sort];
	uint32_t pop = next->pop[sort], push = next->push[sort];
	if (pop > s->depth || s->depth - pop + push > TIDE_STACK_MAX + 2)
		return false;
	s->depth -= pop;
	for (uint32_t i = 0; i < push; i++)
		s->node[++s->depth] = u->pushed[at + i];
	return true;
}

static uint32_t innermost(const struct tide_unpack *u, unsigned sort)
{
	return u->stack[sort].node[u->stack[sort].depth];
}

static uint64_t site_now(const struct tide_unpack *u, bool native)
{
	return tide_site(native ? u->path[innermost(u, 0)] : TIDE_PATH_NONE, u->path[innermost(u, 1)]);
}

static bool find_pair(struct tide_unpack *u, struct tide_chunk *c, bool with_native, uint32_t *ret)
{
	uint32_t native = with_native ? innermost(u, 0) : 0, python = innermost(u, 1);
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

/* Stacks change as they did before; the pair they lead to was found then. */
static bool repeat_stacks(struct tide_unpack *u, bool native, uint64_t before)
{
	const struct tide_unpack_next *next = &u->next[before & (TIDE_NEXTS - 1)];
	if (next->before != before || (!native && next->pop[0] + next->push[0]))
		return false;
	if (!repeat_delta(u, 0, next, next->pushed) || !repeat_delta(u, 1, next, next->pushed + next->push[0]))
		return false;
	u->pair_known = u->python_pair_known = false;
	return true;
}

static bool tell_stacks(struct tide_unpack *u, struct tide_chunk *c, bool native, uint64_t before)
{
	struct tide_unpack_next next = {.before = before, .pushed = u->pushed_len};
	if ((native && !get_delta(u, c, 0, &next)) || !get_delta(u, c, 1, &next))
		return false;
	u->next[before & (TIDE_NEXTS - 1)] = next;
	u->pair_known = u->python_pair_known = false;
	return true;
}

static bool get_stacks(struct tide_unpack *u, struct tide_chunk *c, uint8_t tag, bool native, struct tide_op *op,
		       uint64_t *ret_site)
{
	uint64_t before = site_now(u, native);
	uint8_t same_next = tag & (TIDE_TAG_SAME | TIDE_TAG_NEXT);
	*ret_site = before;
	if (same_next == (TIDE_TAG_SAME | TIDE_TAG_NEXT))
		return false;
	if (same_next == TIDE_TAG_NEXT && !repeat_stacks(u, native, before))
		return false;
	if (same_next == 0 && !tell_stacks(u, c, native, before))
		return false;
	uint32_t *pair = native ? &u->pair : &u->python_pair;
	bool *known = native ? &u->pair_known : &u->python_pair_known;
	if (!*known && !find_pair(u, c, native, pair))
		return false;
	*known = true;
	op->pair = *pair;
	*ret_site = site_now(u, native);
	return true;
}

/* An address that was told; the low bits of an odd one go to *odd. */
static uint64_t get_far(struct tide_unpack *u, uint64_t frontier, unsigned *odd)
{
	uint64_t far = get(&u->in), step = (uint64_t)tide_unzigzag(far >> 2);
	if ((far & 3) == TIDE_ADDR_FRONTIER)
		return frontier & (UINT64_MAX >> 4);
	if ((far & 3) == TIDE_ADDR_ODD)
		*odd = tide_get_u8(&u->in) & 15;
	uint64_t base = (far & 3) == TIDE_ADDR_NEAR_FREE ? u->model.last_free : u->model.last_alloc;
	return (base + step) & (UINT64_MAX >> 4);
}

/* size and addr. */
static inline void get_block(struct tide_unpack *u, uint8_t tag, uint64_t site, struct tide_op *op)
{
	struct tide_model *m = &u->model;
	uint32_t *expected = &m->size[site & (TIDE_SIZES - 1)];
	op->size = tag & TIDE_TAG_SIZE_EXPECTED ? *expected : get(&u->in);
	*expected = (uint32_t)op->size;
	struct tide_class class = tide_class_of(op->size, tide_kind_is_pool(op->kind));
	unsigned odd = 0;
	uint64_t unit = tag & TIDE_TAG_ADDR_EXPECTED ? tide_expect_unit(m, class) & (UINT64_MAX >> 4)
						     : get_far(u, m->frontier[class.pool], &odd);
	op->addr = unit << 4 | odd;
	if (!odd)
		tide_learn_alloc(m, class, unit);
	m->last_alloc = unit;
	m->site = site;
	m->frees_since = 0;
}

/* addr of a block that goes. */
static inline void get_gone(struct tide_unpack *u, uint8_t tag, struct tide_op *op)
{
	struct tide_model *m = &u->model;
	unsigned odd = 0;
	uint64_t unit;
	if (tag & (TIDE_TAG_DISTANCE | TIDE_TAG_DISTANCE_EXPECTED)) {
		uint16_t *expected = tide_expect_distance(m);
		uint64_t distance = tag & TIDE_TAG_DISTANCE ? get(&u->in) : *expected;
		uint64_t recent = tide_recent(m, distance);
		*expected = (uint16_t)distance;
		unit = recent >> 8;
		tide_learn_free(m, recent);
	} else {
		unit = get_far(u, 0, &odd);
	}
	op->addr = unit << 4 | odd;
	m->last_free = unit;
	m->frees_since++;
}

/* Not an event: when, whose, who. */
static bool get_context(struct tide_unpack *u, uint8_t kind)
{
	unsigned fields = tide_kinds_fields[kind];
	uint64_t seq = fields & TIDE_F_SEQ ? get(&u->in) : 0;
	if (fields & TIDE_F_TICKS)
		u->ticks += get(&u->in);
	if (fields & TIDE_F_COARSE)
		u->ticks += get(&u->in) << TIDE_TICK_SHIFT;
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

static bool get_event(struct tide_unpack *u, struct tide_chunk *c, uint8_t tag, uint8_t kind)
{
	struct tide_op *op = &c->op[c->ops];
	unsigned fields = tide_kinds_fields[kind];
	uint64_t site = 0;
	*op = (struct tide_op){.kind = kind, .unknown = u->unknown};
	u->unknown = false;
	if (fields & (TIDE_F_STACK | TIDE_F_PYSTACK) && !get_stacks(u, c, tag, fields & TIDE_F_STACK, op, &site))
		return false;
	if (fields & TIDE_F_ADDR) {
		if (fields & TIDE_F_SIZE)
			get_block(u, tag, site, op);
		else
			get_gone(u, tag, op);
		op->word = (uint16_t)tide_word_of(op->addr);
	}
	if (fields & TIDE_F_RANGE) {
		op->addr = get(&u->in) * TIDE_PAGE;
		op->size = get(&u->in);
	}
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
	free(u->path);
	free(u->pushed);
	free(u->nodes.slot);
	free(u->pairs.slot);
	*u = (struct tide_unpack){0};
}

void tide_unpack_begin(struct tide_unpack *u, const void *payload, size_t len, uint64_t ticks, uint32_t tid,
		       uint32_t events)
{
	u->in = tide_in_of(payload, len);
	u->ticks = ticks;
	u->seq = 0;
	u->tid = tid;
	u->events_left = events;
	for (unsigned sort = 0; sort < 2; sort++)
		u->stack[sort].depth = u->stack[sort].node[0] = u->stack[sort].last = 0;
	memset(u->next, 0, sizeof u->next);
	memset(&u->model, 0, sizeof u->model);
	u->pushed_len = 0;
	u->paths = 0;
	u->pair_known = u->python_pair_known = u->unknown = false;
	u->dict_len = 0;
	forget_numbers(&u->nodes);
	forget_numbers(&u->pairs);
}

/* The root's. */
static bool begin_paths(struct tide_unpack *u, struct tide_chunk *c)
{
	if (!room((void **)&u->path, 0, &u->path_cap, sizeof *u->path, c))
		return false;
	u->path[u->paths++] = TIDE_PATH_NONE;
	return true;
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
	uint8_t tag = *u->in.at++, kind = tag & (TIDE_TAG_KINDS - 1);
	if (kind == 0)
		kind = tide_get_u8(&u->in);
	if (kind >= TIDE_KINDS || !(known_kinds >> kind & 1))
		return false;
	if (u->paths == 0 && !begin_paths(u, c))
		return false;
	if (!tide_kind_is_event(kind))
		return get_context(u, kind);
	if (!get_event(u, c, tag, kind))
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
