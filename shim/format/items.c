#include "format/items.h"

struct kind_info {
	const char *name;
	unsigned fields;
};
static const struct kind_info kinds[TIDE_KINDS] = {
#define TIDE_ITEM_INFO(id, number, text, what) [number] = {text, what},
	TIDE_ITEMS(TIDE_ITEM_INFO)
#undef TIDE_ITEM_INFO
};

const char *tide_kind_name(unsigned kind)
{
	return kind < TIDE_KINDS ? kinds[kind].name : NULL;
}

unsigned tide_kind_fields(unsigned kind)
{
	return kind < TIDE_KINDS ? kinds[kind].fields : 0;
}

void tide_items_init(struct tide_items *d, const void *payload, size_t len, uint64_t ticks, uint64_t *dict,
		     uint32_t dict_cap)
{
	d->in = tide_in_of(payload, len);
	d->ticks = ticks;
	d->last_alloc = d->last_free = d->last_native = d->last_python = 0;
	d->native_depth = d->python_depth = 0;
	d->dict_len = 0;
	d->dict_cap = dict_cap;
	d->dict = dict;
}

static uint64_t get_word(struct tide_items *d, uint64_t *last)
{
	uint64_t id = tide_get_varint(&d->in);
	if (id > 0) {
		if (id - 1 < d->dict_len)
			return d->dict[id - 1];
		d->in.bad = true;
		return 0;
	}
	*last += (uint64_t)tide_unzigzag(tide_get_varint(&d->in));
	if (d->dict_len < d->dict_cap)
		d->dict[d->dict_len++] = *last;
	else
		d->in.bad = true;
	return *last;
}

static uint64_t get_count(struct tide_items *d, unsigned nibble)
{
	return nibble < 15 ? nibble : 15 + tide_get_varint(&d->in);
}

static void get_delta(struct tide_items *d, bool python, struct tide_stack_delta *ret)
{
	uint32_t *depth = python ? &d->python_depth : &d->native_depth;
	uint64_t *words = d->words + (python ? TIDE_STACK_MAX + 4 : 0);
	uint8_t counts = tide_get_u8(&d->in);
	uint64_t pop = get_count(d, counts >> 4), push = get_count(d, counts & 15);
	if (pop > *depth || push > TIDE_STACK_MAX + 2 || *depth - pop + push > TIDE_STACK_MAX + 2) {
		d->in.bad = true;
		return;
	}
	for (uint32_t i = 0; i < push && !d->in.bad; i++)
		words[i] = get_word(d, python ? &d->last_python : &d->last_native);
	*depth += (uint32_t)push - (uint32_t)pop;
	*ret = (struct tide_stack_delta){(uint32_t)pop, (uint32_t)push, words};
}

static void get_addr(struct tide_items *d, uint8_t tag, bool freeing, struct tide_item *item)
{
	uint64_t base = tag & TIDE_TAG_NEAR_FREE ? d->last_free : d->last_alloc;
	uint64_t unit = (base + (uint64_t)tide_unzigzag(tide_get_varint(&d->in))) & (UINT64_MAX >> 4);
	item->addr = unit << 4;
	if (tag & TIDE_TAG_ODD)
		item->addr |= tide_get_u8(&d->in) & 15;
	if (freeing)
		d->last_free = unit;
	else
		d->last_alloc = unit;
}

static void get_fields(struct tide_items *d, uint8_t tag, unsigned fields, struct tide_item *item)
{
	if (fields & TIDE_F_SEQ)
		item->seq = tide_get_varint(&d->in);
	if (fields & TIDE_F_TICKS)
		d->ticks += tide_get_varint(&d->in);
	if (!(tag & TIDE_TAG_SAME)) {
		if (fields & TIDE_F_STACK)
			get_delta(d, false, &item->native);
		if (fields & (TIDE_F_STACK | TIDE_F_PYSTACK))
			get_delta(d, true, &item->python);
	}
	if (fields & TIDE_F_ADDR)
		get_addr(d, tag, !(fields & TIDE_F_SIZE), item);
	if (fields & TIDE_F_RANGE)
		item->addr = tide_get_varint(&d->in) * TIDE_PAGE;
	if (fields & (TIDE_F_SIZE | TIDE_F_RANGE))
		item->size = tide_get_varint(&d->in);
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
	const struct kind_info *info = &kinds[tag & (TIDE_KINDS - 1)];
	if (!info->name) {
		d->in.bad = true;
		return -1;
	}
	*ret = (struct tide_item){.kind = (enum tide_kind)(tag & (TIDE_KINDS - 1))};
	ret->is_event = tide_kind_is_event(ret->kind);
	ret->has_stack = info->fields & (TIDE_F_STACK | TIDE_F_PYSTACK);
	get_fields(d, tag, info->fields, ret);
	ret->ticks = d->ticks;
	return d->in.bad ? -1 : 1;
}
