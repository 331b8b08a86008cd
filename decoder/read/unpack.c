#include "read/unpack.h"

#include <stdlib.h>
#include <string.h>

#define NODES_AN_ITEM (2 * (TIDE_STACK_MAX + 2u)) /* new ones that it can bring: two stacks */
#define FIRST_WORDS 256u
#define APART 128u /* bytes: two lines, which are fetched together */

static const uint32_t known_kinds =
#define TIDE_ITEM_BIT(id, number, text, what) UINT32_C(1) << (number) |
	TIDE_ITEMS(TIDE_ITEM_BIT) 0;
#undef TIDE_ITEM_BIT
_Static_assert(TIDE_KINDS == 32, "a bit a kind");

/* ---- chunks ---- */

static size_t aligned(size_t bytes)
{
	return (bytes + APART - 1) / APART * APART;
}

/* One piece of memory, for no line of a chunk may be in use by two threads. */
struct tide_chunk *tide_chunk_new(uint32_t cap)
{
	size_t op = aligned(sizeof(struct tide_chunk)), run = op + aligned(cap * sizeof(struct tide_op));
	size_t extra = run + aligned(cap * sizeof(struct tide_run));
	size_t pair = extra + aligned(cap * sizeof(struct tide_extra));
	size_t node = pair + aligned(cap * sizeof(struct tide_new_pair));
	size_t end = node + aligned((cap + (size_t)NODES_AN_ITEM) * sizeof(struct tide_new_node));
	char *at = aligned_alloc(APART, end);
	struct tide_chunk *c = (struct tide_chunk *)at;
	if (c)
		*c = (struct tide_chunk){.op = (struct tide_op *)(at + op),
					 .run = (struct tide_run *)(at + run),
					 .extra = (struct tide_extra *)(at + extra),
					 .pair = (struct tide_new_pair *)(at + pair),
					 .node = (struct tide_new_node *)(at + node),
					 .cap = cap};
	return c;
}

void tide_chunk_free(struct tide_chunk *c)
{
	free(c);
}

void tide_chunk_copy(struct tide_chunk *to, const struct tide_chunk *from)
{
	struct tide_chunk was = *to;
	*to = *from;
	to->next = NULL;
	to->op = memcpy(was.op, from->op, from->ops * sizeof *from->op);
	to->run = memcpy(was.run, from->run, from->runs * sizeof *from->run);
	to->extra = memcpy(was.extra, from->extra, from->extras * sizeof *from->extra);
	to->node = memcpy(was.node, from->node, from->nodes * sizeof *from->node);
	to->pair = memcpy(was.pair, from->pair, from->pairs * sizeof *from->pair);
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
static bool get_word(struct tide_unpack *u, struct tide_chunk *c, uint64_t caller, uint64_t *last, uint32_t *ret)
{
	uint64_t id = get(&u->in), told = tide_word_told(u->first);
	uint32_t *expected = &u->callee[tide_callee_of(caller)];
	if (id != TIDE_WORD_NEW) {
		uint64_t place = id < told ? *expected : id - told + 1;
		*ret = (uint32_t)place - 1;
		*expected = (uint32_t)place;
		return place - 1 < u->dict_len;
	}
	*last += (uint64_t)tide_unzigzag(get(&u->in));
	if (!room((void **)&u->dict, u->dict_len, &u->dict_cap, sizeof *u->dict, c))
		return false;
	u->dict[u->dict_len] = *last;
	*ret = u->dict_len++;
	*expected = u->dict_len;
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
	uint32_t node = tide_number_of(&u->nodes, parent, word, &is_new);
	if (node == 0)
		c->load = TIDE_LOAD_NOMEM;
	if (!is_new)
		return node;
	if (!room((void **)&u->node, u->nodes_used, &u->node_cap, sizeof *u->node, c))
		return 0;
	/* nodes are numbered in this order */
	u->node[u->nodes_used++] =
		(struct tide_unpack_node){tide_path(u->node[parent].path, u->dict[word]), u->dict[word], 0, 0};
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
		if (!get_word(u, c, u->node[s->node[at]].word, &s->last, &word) || u->in.bad)
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
	return tide_site(native ? u->node[innermost(u, 0)].path : TIDE_PATH_NONE, u->node[innermost(u, 1)].path);
}

static bool find_pair(struct tide_unpack *u, struct tide_chunk *c, bool with_native, uint32_t *ret)
{
	uint32_t native = with_native ? innermost(u, 0) : 0, python = innermost(u, 1);
	bool is_new = false;
	*ret = 0;
	if (native == 0 && python == 0)
		return true;
	*ret = tide_number_of(&u->pairs, native, python, &is_new);
	if (*ret == 0)
		c->load = TIDE_LOAD_NOMEM;
	if (is_new)
		c->pair[c->pairs++] = (struct tide_new_pair){native, python};
	u->node[native].python = python;
	u->node[native].pair = *ret;
	return *ret != 0;
}

/* Stacks change as they did before; the pair they lead to was found then. */
static bool repeat_stacks(struct tide_unpack *u, bool native, uint64_t key)
{
	const struct tide_unpack_next *next = &u->next[key & (TIDE_NEXTS - 1)];
	if (next->before != key || (!native && next->pop[0] + next->push[0]))
		return false;
	if (!repeat_delta(u, 0, next, next->pushed) || !repeat_delta(u, 1, next, next->pushed + next->push[0]))
		return false;
	u->pair_known = u->python_pair_known = u->site_known = false;
	return true;
}

static bool tell_stacks(struct tide_unpack *u, struct tide_chunk *c, bool native, uint64_t key)
{
	struct tide_unpack_next next = {.before = key, .pushed = u->pushed_len};
	if ((native && !get_delta(u, c, 0, &next)) || !get_delta(u, c, 1, &next))
		return false;
	u->next[key & (TIDE_NEXTS - 1)] = next;
	u->pair_known = u->python_pair_known = u->site_known = false;
	return true;
}

static bool get_stacks(struct tide_unpack *u, struct tide_chunk *c, uint8_t tag, bool native, struct tide_op *op,
		       uint64_t *ret_site)
{
	uint64_t before = site_now(u, native), key = tide_next_key(&u->model, before, u->first);
	uint8_t same_next = tag & (TIDE_TAG_SAME | TIDE_TAG_NEXT);
	*ret_site = before;
	if (same_next == (TIDE_TAG_SAME | TIDE_TAG_NEXT))
		return false;
	if (same_next == TIDE_TAG_NEXT && !repeat_stacks(u, native, key))
		return false;
	if (same_next == 0 && !tell_stacks(u, c, native, key))
		return false;
	uint32_t *pair = native ? &u->pair : &u->python_pair;
	bool *known = native ? &u->pair_known : &u->python_pair_known;
	if (!*known && !find_pair(u, c, native, pair))
		return false;
	*known = true;
	op->pair = *pair;
	*ret_site = site_now(u, native);
	if (native) {
		u->site = *ret_site;
		u->site_known = true;
	}
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
	struct tide_class class = tide_class_by(op->kind, op->size, u->first);
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
		uint32_t place = tide_place_told(m, tag, tag & TIDE_TAG_DISTANCE ? get(&u->in) : 0, u->first);
		unit = m->recent[place] >> 8;
		tide_learn_free(m, place, u->first);
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
	free(u->node);
	free(u->pushed);
	tide_numbers_release(&u->nodes);
	tide_numbers_release(&u->pairs);
	tide_unpack_init(u);
}

void tide_unpack_begin(struct tide_unpack *u, enum tide_encoding encoding, const void *payload, size_t len,
		       uint64_t ticks, uint32_t tid, uint32_t events)
{
	u->first = encoding == TIDE_ENCODING_FIRST;
	u->in = tide_in_of(payload, len);
	u->ticks = ticks;
	u->seq = 0;
	u->tid = tid;
	u->events_left = events;
	for (unsigned sort = 0; sort < 2; sort++)
		u->stack[sort].depth = u->stack[sort].node[0] = u->stack[sort].last = 0;
	memset(u->next, 0, sizeof u->next);
	memset(u->callee, 0, sizeof u->callee);
	memset(&u->model, 0, sizeof u->model);
	u->pushed_len = 0;
	u->nodes_used = 0;
	u->pair_known = u->python_pair_known = u->site_known = u->unknown = false;
	u->dict_len = 0;
	tide_numbers_forget(&u->nodes);
	tide_numbers_forget(&u->pairs);
}

static bool begin_nodes(struct tide_unpack *u, struct tide_chunk *c)
{
	if (!room((void **)&u->node, 0, &u->node_cap, sizeof *u->node, c))
		return false;
	u->node[u->nodes_used++] = (struct tide_unpack_node){TIDE_PATH_NONE, 0, 0, 0}; /* the root */
	return true;
}

static void begin_run(struct tide_unpack *u, struct tide_chunk *c)
{
	c->run[c->runs++] = (struct tide_run){u->ticks, u->seq, c->ops, u->tid};
	u->seq = 0;
	u->new_run = false;
}

/* ---- the short way: items as most are, with nothing new about them. It does what get_event does, or nothing at all ---- */

#define SHORT_MOST 32u /* more bytes than such an item has */

/* As get, where nine bytes are certain. False: it is longer. */
static inline bool get_short(const uint8_t **at, uint64_t *ret)
{
	const uint8_t *p = *at;
	uint64_t value = *p & 0x7f;
	for (unsigned shift = 7; *p++ >= 0x80; shift += 7) {
		if (shift > 56)
			return false;
		value |= (uint64_t)(*p & 0x7f) << shift;
	}
	*at = p;
	*ret = value;
	return true;
}

/* As get_far, but for odd addresses. */
static inline bool get_near(const struct tide_model *m, const uint8_t **at, uint64_t frontier, uint64_t *ret)
{
	uint64_t far;
	if (!get_short(at, &far) || (far & 3) == TIDE_ADDR_ODD)
		return false;
	uint64_t base = (far & 3) == TIDE_ADDR_NEAR_FREE ? m->last_free : m->last_alloc;
	base += (uint64_t)tide_unzigzag(far >> 2);
	*ret = ((far & 3) == TIDE_ADDR_FRONTIER ? frontier : base) & (UINT64_MAX >> 4);
	return true;
}

/* What NEXT leads to. */
struct ahead {
	const struct tide_unpack_next *next;
	const struct tide_unpack_node *native;
	uint64_t site;
};

static inline bool look_ahead(const struct tide_unpack *u, struct ahead *ret)
{
	uint64_t key = tide_next_key(&u->model, u->site, u->first);
	const struct tide_unpack_next *next = &u->next[key & (TIDE_NEXTS - 1)];
	const struct tide_unpack_stack *s = u->stack;
	const uint32_t *pushed = u->pushed + next->pushed;
	uint32_t pop = next->pop[0], push = next->push[0];
	if (next->before != key || pop > s->depth || s->depth - pop + push > TIDE_STACK_MAX + 2)
		return false;
	const struct tide_unpack_node *native = &u->node[push ? pushed[push - 1] : s->node[s->depth - pop]];
	pushed += push;
	pop = next->pop[1];
	push = next->push[1];
	s++;
	if (pop > s->depth || s->depth - pop + push > TIDE_STACK_MAX + 2)
		return false;
	uint32_t python = push ? pushed[push - 1] : s->node[s->depth - pop];
	if (native->pair == 0 || native->python != python)
		return false;
	*ret = (struct ahead){next, native, tide_site(native->path, u->node[python].path)};
	return true;
}

static inline void go_ahead(struct tide_unpack *u, const struct ahead *a)
{
	repeat_delta(u, 0, a->next, a->next->pushed);
	if (a->next->pop[1] | a->next->push[1]) {
		repeat_delta(u, 1, a->next, a->next->pushed + a->next->push[0]);
		u->python_pair_known = false;
	}
	u->pair = a->native->pair;
	u->site = a->site;
}

static inline struct tide_op *short_op(struct tide_unpack *u, struct tide_chunk *c, uint8_t kind, uint64_t unit)
{
	struct tide_op *op = &c->op[c->ops];
	uint64_t addr = unit << 4;
	*op = (struct tide_op){.addr = addr, .word = (uint16_t)tide_word_of(addr), .kind = kind, .unknown = u->unknown};
	u->unknown = false;
	return op;
}

/* malloc, calloc and what realloc allocates. */
static inline bool short_block(struct tide_unpack *u, struct tide_chunk *c, uint8_t tag, uint8_t kind)
{
	struct tide_model *m = &u->model;
	const uint8_t *at = u->in.at + 1;
	struct ahead ahead = {.site = u->site};
	uint64_t size, unit;
	bool moves = tag & TIDE_TAG_NEXT;
	if (!u->site_known || !u->pair_known || moves == !!(tag & TIDE_TAG_SAME) || (moves && !look_ahead(u, &ahead)))
		return false;
	uint32_t *expected = &m->size[ahead.site & (TIDE_SIZES - 1)];
	if (tag & TIDE_TAG_SIZE_EXPECTED)
		size = *expected;
	else if (!get_short(&at, &size))
		return false;
	struct tide_class class = tide_class_by(kind, size, u->first);
	if (tag & TIDE_TAG_ADDR_EXPECTED)
		unit = tide_learn_expected(m, class);
	else if (get_near(m, &at, m->frontier[0], &unit))
		tide_learn_alloc(m, class, unit);
	else
		return false;
	if (moves)
		go_ahead(u, &ahead);
	struct tide_op *op = short_op(u, c, kind, unit);
	op->size = size;
	op->pair = u->pair;
	*expected = (uint32_t)size;
	m->last_alloc = unit;
	m->site = ahead.site;
	m->frees_since = 0;
	u->in.at = at;
	return true;
}

/* free, and what realloc frees. */
static inline bool short_gone(struct tide_unpack *u, struct tide_chunk *c, uint8_t tag, uint8_t kind)
{
	struct tide_model *m = &u->model;
	const uint8_t *at = u->in.at + 1;
	uint64_t unit;
	if (tag & (TIDE_TAG_DISTANCE | TIDE_TAG_DISTANCE_EXPECTED)) {
		uint64_t told = 0;
		if (tag & TIDE_TAG_DISTANCE && !get_short(&at, &told))
			return false;
		uint32_t place = tide_place_told(m, tag, told, u->first);
		unit = m->recent[place] >> 8;
		tide_learn_free(m, place, u->first);
	} else if (!get_near(m, &at, 0, &unit)) {
		return false;
	}
	short_op(u, c, kind, unit);
	m->last_free = unit;
	m->frees_since++;
	u->in.at = at;
	return true;
}

static inline bool short_event(struct tide_unpack *u, struct tide_chunk *c)
{
	if (tide_in_left(&u->in) < SHORT_MOST)
		return false;
	uint8_t tag = *u->in.at, kind = tag & (TIDE_TAG_KINDS - 1);
	switch (kind) {
	case TIDE_KIND_ALLOC:
	case TIDE_KIND_CALLOC:
	case TIDE_KIND_REALLOC_ALLOC:
		return short_block(u, c, tag, kind);
	case TIDE_KIND_FREE:
	case TIDE_KIND_REALLOC_FREE:
		return short_gone(u, c, tag, kind);
	default:
		return false;
	}
}

static inline void count_event(struct tide_unpack *u, struct tide_chunk *c)
{
	if (u->new_run)
		begin_run(u, c);
	c->ops++;
	u->events_left--;
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
	if (u->nodes_used == 0 && !begin_nodes(u, c))
		return false;
	if (!tide_kind_is_event(kind))
		return get_context(u, kind);
	if (!get_event(u, c, tag, kind))
		return false;
	count_event(u, c);
	return true;
}

void tide_unpack_chunk(struct tide_unpack *u, struct tide_chunk *c)
{
	c->ops = c->runs = c->extras = c->nodes = c->pairs = 0;
	c->load = TIDE_LOAD_OK;
	u->new_run = true;
	/* an event adds at most one to op, run, extra and pair, so only two of the arrays can be full */
	while (c->ops < c->cap && c->nodes <= c->cap && u->events_left > 0) {
		if (short_event(u, c))
			count_event(u, c);
		else if (!next_item(u, c))
			u->events_left = 0;
	}
	c->ends = u->events_left == 0;
}
