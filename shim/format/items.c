#include "format/items.h"

#include <string.h>

static const char *const names[TIDE_KINDS] = {
#define TIDE_ITEM_NAME(id, number, text, what) [number] = (text),
	TIDE_ITEMS(TIDE_ITEM_NAME)
#undef TIDE_ITEM_NAME
};

const uint16_t tide_kinds_fields[TIDE_KINDS] = {
#define TIDE_ITEM_FIELDS(id, number, text, what) [number] = (what),
	TIDE_ITEMS(TIDE_ITEM_FIELDS)
#undef TIDE_ITEM_FIELDS
};

const char *tide_kind_name(unsigned kind)
{
	return kind < TIDE_KINDS ? names[kind] : NULL;
}

void tide_items_init(struct tide_items *d, enum tide_encoding encoding, const void *payload, size_t len, uint64_t ticks,
		     uint64_t *words, uint32_t cap)
{
	memset(d, 0, sizeof *d);
	d->first = encoding == TIDE_ENCODING_FIRST;
	d->in = tide_in_of(payload, len);
	d->ticks = ticks;
	d->words = words;
	d->pushed_from = cap;
	d->told[0].path[0] = d->told[1].path[0] = TIDE_PATH_NONE;
}

static uint64_t get_word(struct tide_items *d, uint64_t caller, uint64_t *last)
{
	uint64_t id = tide_get_varint(&d->in), told = tide_word_told(d->first);
	uint32_t *expected = &d->callee[tide_callee_of(caller)];
	if (id == TIDE_WORD_NEW) {
		*last += (uint64_t)tide_unzigzag(tide_get_varint(&d->in));
		if (d->dict_len < d->pushed_from)
			d->words[d->dict_len++] = *last;
		else
			d->in.bad = true;
		*expected = d->dict_len;
		return *last;
	}
	uint64_t place = id < told ? *expected : id - told + 1;
	if (place == 0 || place > d->dict_len) {
		d->in.bad = true;
		return 0;
	}
	*expected = (uint32_t)place;
	return d->words[place - 1];
}

static uint64_t get_count(struct tide_items *d, unsigned nibble)
{
	return nibble < 15 ? nibble : 15 + tide_get_varint(&d->in);
}

/* Pushed words go into the buffer from the right: the last delta read is the leftmost. */
static void get_delta(struct tide_items *d, unsigned sort, struct tide_stack_delta *ret)
{
	uint8_t counts = tide_get_u8(&d->in);
	uint64_t pop = get_count(d, counts >> 4), push = get_count(d, counts & 15), depth = d->told[sort].depth;
	if (pop > depth || push > TIDE_STACK_MAX + 2 || depth - pop + push > TIDE_STACK_MAX + 2 ||
	    push > d->pushed_from - d->dict_len) {
		d->in.bad = true;
		return;
	}
	uint32_t at = d->pushed_from - (uint32_t)push;
	d->pushed_from = at;
	uint64_t caller = d->word[sort][depth - pop];
	for (uint32_t i = 0; i < push && !d->in.bad; i++)
		d->words[at + i] = caller = get_word(d, caller, &d->last[sort]);
	*ret = (struct tide_stack_delta){(uint32_t)pop, (uint32_t)push, d->words + at};
}

static bool apply_delta(struct tide_items *d, unsigned sort, const struct tide_stack_delta *delta)
{
	struct tide_stack_told *t = &d->told[sort];
	if (delta->pop > t->depth || t->depth - delta->pop + delta->push > TIDE_STACK_MAX + 2)
		return false;
	uint32_t depth = t->depth - delta->pop;
	for (uint32_t i = 0; i < delta->push; i++, depth++)
		t->path[depth + 1] = tide_path(t->path[depth], d->word[sort][depth + 1] = delta->words[i]);
	t->depth = depth;
	return true;
}

static uint64_t site_now(const struct tide_items *d, bool both)
{
	const struct tide_stack_told *native = &d->told[0], *python = &d->told[1];
	return tide_site(both ? native->path[native->depth] : TIDE_PATH_NONE, python->path[python->depth]);
}

/* The two deltas of the successor of `before`. */
static void get_next(struct tide_items *d, const struct tide_told_next *next, uint64_t before, bool both,
		     struct tide_item *item)
{
	if (next->before != before || next->words == 0 || (!both && next->pop[0] + next->push[0])) {
		d->in.bad = true;
		return;
	}
	const uint64_t *words = d->words + next->words;
	item->native = (struct tide_stack_delta){next->pop[0], next->push[0], words};
	item->python = (struct tide_stack_delta){next->pop[1], next->push[1], words - next->push[1]};
}

/* Both stacks, or with PYSTACK the Python one. Returns the site. */
static uint64_t get_stacks(struct tide_items *d, uint8_t tag, bool both, struct tide_item *item)
{
	uint64_t before = site_now(d, both);
	uint64_t key = tide_next_key(&d->model, before, d->first);
	struct tide_told_next *next = &d->next[key & (TIDE_NEXTS - 1)];
	if (tag & TIDE_TAG_SAME) {
		d->in.bad = d->in.bad || tag & TIDE_TAG_NEXT;
		return before;
	}
	if (tag & TIDE_TAG_NEXT) {
		get_next(d, next, key, both, item);
	} else {
		if (both)
			get_delta(d, 0, &item->native);
		uint32_t words = d->pushed_from;
		get_delta(d, 1, &item->python);
		*next = (struct tide_told_next){key,
						words,
						{(uint16_t)item->native.pop, (uint16_t)item->python.pop},
						{(uint16_t)item->native.push, (uint16_t)item->python.push}};
	}
	if (d->in.bad || !apply_delta(d, 0, &item->native) || !apply_delta(d, 1, &item->python)) {
		d->in.bad = true;
		return before;
	}
	return site_now(d, both);
}

/* The unit; the low bits of an odd address go to *odd. */
static uint64_t get_far(struct tide_items *d, uint64_t frontier, unsigned *odd)
{
	uint64_t far = tide_get_varint(&d->in), step = (uint64_t)tide_unzigzag(far >> 2);
	switch (far & 3) {
	case TIDE_ADDR_NEAR_ALLOC:
		return (d->model.last_alloc + step) & (UINT64_MAX >> 4);
	case TIDE_ADDR_NEAR_FREE:
		return (d->model.last_free + step) & (UINT64_MAX >> 4);
	case TIDE_ADDR_FRONTIER:
		return frontier & (UINT64_MAX >> 4);
	default:
		*odd = tide_get_u8(&d->in) & 15;
		return (d->model.last_alloc + step) & (UINT64_MAX >> 4);
	}
}

/* size and addr. */
static void get_block(struct tide_items *d, uint8_t tag, uint64_t site, struct tide_item *item)
{
	struct tide_model *m = &d->model;
	uint32_t *expected = &m->size[site & (TIDE_SIZES - 1)];
	item->size = tag & TIDE_TAG_SIZE_EXPECTED ? *expected : tide_get_varint(&d->in);
	*expected = (uint32_t)item->size;
	struct tide_class c = tide_class_by(item->kind, item->size, d->first);
	unsigned odd = 0;
	uint64_t unit = tag & TIDE_TAG_ADDR_EXPECTED ? tide_expect_unit(m, c) & (UINT64_MAX >> 4)
						     : get_far(d, m->frontier[c.pool], &odd);
	item->addr = unit << 4 | odd;
	if (!odd)
		tide_learn_alloc(m, c, unit);
	m->last_alloc = unit;
	m->site = site;
	m->frees_since = 0;
}

/* addr of a block that goes. */
static void get_gone(struct tide_items *d, uint8_t tag, struct tide_item *item)
{
	struct tide_model *m = &d->model;
	uint64_t unit;
	unsigned odd = 0;
	if (tag & (TIDE_TAG_DISTANCE | TIDE_TAG_DISTANCE_EXPECTED)) {
		uint64_t told = tag & TIDE_TAG_DISTANCE ? tide_get_varint(&d->in) : 0;
		uint32_t place = tide_place_told(m, tag, told, d->first);
		unit = m->recent[place] >> 8;
		tide_learn_free(m, place, d->first);
	} else {
		unit = get_far(d, 0, &odd);
	}
	item->addr = unit << 4 | odd;
	m->last_free = unit;
	m->frees_since++;
}

static void get_fields(struct tide_items *d, uint8_t tag, unsigned fields, struct tide_item *item)
{
	uint64_t site = 0;
	if (fields & TIDE_F_SEQ)
		item->seq = tide_get_varint(&d->in);
	if (fields & TIDE_F_TICKS)
		d->ticks += tide_get_varint(&d->in);
	if (fields & TIDE_F_COARSE)
		d->ticks += tide_get_varint(&d->in) << TIDE_TICK_SHIFT;
	if (fields & (TIDE_F_STACK | TIDE_F_PYSTACK))
		item->site = site = get_stacks(d, tag, fields & TIDE_F_STACK, item);
	if (fields & TIDE_F_ADDR && fields & TIDE_F_SIZE)
		get_block(d, tag, site, item);
	else if (fields & TIDE_F_ADDR)
		get_gone(d, tag, item);
	if (fields & TIDE_F_RANGE) {
		item->addr = tide_get_varint(&d->in) * TIDE_PAGE;
		item->size = tide_get_varint(&d->in);
	}
	if (fields & TIDE_F_VALUE)
		item->value = tide_get_varint(&d->in);
	if (fields & TIDE_F_VALUE2)
		item->value2 = tide_get_varint(&d->in);
}

int tide_items_next(struct tide_items *d, struct tide_item *ret)
{
	if (d->in.bad)
		return -1;
	if (tide_in_left(&d->in) == 0)
		return 0;
	uint8_t tag = tide_get_u8(&d->in);
	unsigned kind = tag & (TIDE_TAG_KINDS - 1);
	if (kind == 0)
		kind = tide_get_u8(&d->in);
	if (kind >= TIDE_KINDS || !names[kind]) {
		d->in.bad = true;
		return -1;
	}
	unsigned fields = tide_kinds_fields[kind];
	/* field by field: a block of zeros of this length costs more than most items */
	ret->kind = (enum tide_kind)kind;
	ret->is_event = tide_kind_is_event(kind);
	ret->addr = ret->size = ret->value = ret->value2 = ret->seq = ret->site = 0;
	ret->native = ret->python = (struct tide_stack_delta){0, 0, NULL};
	ret->has_stack = fields & (TIDE_F_STACK | TIDE_F_PYSTACK);
	get_fields(d, tag, fields, ret);
	ret->ticks = d->ticks;
	return d->in.bad ? -1 : 1;
}
