/*
 * encode.h - writing items (FORMAT.md 6). Inline: this is the hot path of every allocation.
 *
 * The caller guarantees room: tide_item_bound() bytes. Nothing here checks it again.
 */
#ifndef TIDE_FORMAT_ENCODE_H
#define TIDE_FORMAT_ENCODE_H

#include "format/items.h"
#include "format/predict.h"

#define TIDE_DICT_BITS 10u /* slots of the dictionary, direct-mapped; a collision only costs a second literal */
#define TIDE_WHERE_BITS 11u

/* Allocations whose site and size are kept aside for who sums them up (digest.h). */
#define TIDE_PENDING 32u

#define TIDE_KEPT (TIDE_STACK_MAX + 2u)

struct tide_dict_slot {
	uint64_t word;
	uint32_t epoch; /* valid only in the block that wrote it */
	uint32_t id;
};

/* Encoder state of one lane, private memory. A new block: tide_encode_reset(). */
struct tide_encoder {
	uint64_t ticks;
	uint64_t last_native, last_python;
	uint32_t dict_len;
	uint32_t epoch; /* 0: never reset */
	uint32_t odd;   /* allocations whose address was not a multiple of 16: the model does not know them */
	uint64_t last_odd;
	struct tide_model model;
	uint64_t pending_site[TIDE_PENDING], pending_size[TIDE_PENDING]; /* of the last, by model.allocs */
	uint64_t next[TIDE_NEXTS];                                       /* tide_site_pair by the first of the two */
	uint64_t callee[TIDE_CALLEES];                                   /* word + 1; 0: none */
	uint16_t where[1u << TIDE_WHERE_BITS]; /* of a unit's hash: its place in model.recent */
	struct tide_dict_slot slot[1u << TIDE_DICT_BITS];
	struct tide_stack_told native, python;
};

/* Makes tide_words of stacks that come innermost first and whole. Zero is the initial state. */
struct tide_kept {
	uint32_t depth;
	uint64_t word[TIDE_KEPT];
};
static inline struct tide_words tide_keep(struct tide_kept *k, const uint64_t *innermost_first, uint32_t len)
{
	uint32_t most = len < k->depth ? len : k->depth, shared = 0;
	while (shared < most && k->word[shared] == innermost_first[len - 1 - shared])
		shared++;
	for (uint32_t i = shared; i < len; i++)
		k->word[i] = innermost_first[len - 1 - i];
	k->depth = len;
	return (struct tide_words){k->word, len, shared};
}

static inline void tide_encode_reset(struct tide_encoder *e, uint64_t ticks)
{
	if (e->epoch++) {
		memset(&e->model, 0, sizeof e->model);
		memset(e->next, 0, sizeof e->next);
		memset(e->callee, 0, sizeof e->callee);
	}
	e->ticks = ticks;
	e->last_native = e->last_python = 0;
	e->dict_len = 0;
	e->odd = 0;
	e->native.depth = e->native.agreed = e->python.depth = e->python.agreed = 0;
	e->native.path[0] = e->python.path[0] = TIDE_PATH_NONE;
}

/* Upper bound of one item with two stacks of these depths, with all that may stand before it. */
static inline size_t tide_item_bound(uint32_t native, uint32_t python)
{
	return 128 + (size_t)(native + python) * (TIDE_VARINT_MAX + 1);
}

/* The tag, flags clear; *ret_tag is where flags go. */
static inline uint8_t *tide_put_tag(uint8_t *out, enum tide_kind kind)
{
	*out++ = kind < TIDE_TAG_KINDS ? (uint8_t)kind : 0;
	if (kind >= TIDE_TAG_KINDS)
		*out++ = (uint8_t)kind;
	return out;
}

/* Ticks since the last ones told. */
static inline uint8_t *tide_put_ticks(uint8_t *out, struct tide_encoder *e, uint64_t ticks)
{
	uint64_t step = ticks > e->ticks ? ticks - e->ticks : 0;
	__atomic_store_n(&e->ticks, e->ticks + step, __ATOMIC_RELAXED); /* tide_lane_in_hand */
	return tide_put_varint(out, step);
}
/* A TICK, whole. */
static inline uint8_t *tide_put_tick(uint8_t *out, struct tide_encoder *e, uint64_t ticks)
{
	uint64_t step = ticks > e->ticks ? (ticks - e->ticks) >> TIDE_TICK_SHIFT : 0;
	__atomic_store_n(&e->ticks, e->ticks + (step << TIDE_TICK_SHIFT), __ATOMIC_RELAXED);
	return tide_put_varint(tide_put_tag(out, TIDE_KIND_TICK), step);
}

/* `caller`: the word before it in its stack, 0 before the outermost. */
static inline uint8_t *tide_put_word(uint8_t *out, struct tide_encoder *e, uint64_t caller, uint64_t word,
				     uint64_t *last)
{
	uint64_t *expected = &e->callee[tide_callee_of(caller)];
	uint64_t kept = word + 1; /* 0 is none, and what a stack that was overwritten may hold */
	if (*expected == kept && kept) {
		*out++ = TIDE_WORD_EXPECTED;
		return out;
	}
	*expected = kept;
	struct tide_dict_slot *s = &e->slot[(word * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - TIDE_DICT_BITS)];
	if (s->word == word && s->epoch == e->epoch)
		return tide_put_varint(out, (uint64_t)s->id + TIDE_WORD_TOLD);
	*s = (struct tide_dict_slot){word, e->epoch, e->dict_len++};
	*out++ = TIDE_WORD_NEW;
	out = tide_put_varint(out, tide_zigzag((int64_t)(word - *last)));
	*last = word;
	return out;
}

static inline uint8_t *tide_put_counts(uint8_t *out, uint32_t pop, uint32_t push)
{
	*out++ = (uint8_t)((pop < 15 ? pop : 15) << 4 | (push < 15 ? push : 15));
	if (pop >= 15)
		out = tide_put_varint(out, pop - 15);
	if (push >= 15)
		out = tide_put_varint(out, push - 15);
	return out;
}

/* The delta from a stack of `depth` words. */
static inline uint8_t *tide_put_delta(uint8_t *out, struct tide_encoder *e, uint32_t depth,
				      const struct tide_words *now, uint64_t *last)
{
	out = tide_put_counts(out, depth - now->shared, now->depth - now->shared);
	for (uint32_t i = now->shared; i < now->depth; i++)
		out = tide_put_word(out, e, i ? now->word[i - 1] : 0, now->word[i], last);
	return out;
}

/* Words that were not told are not shared with what was. True: nothing changed. */
static inline bool tide_told_same(const struct tide_stack_told *t, struct tide_words *now)
{
	if (now->shared > t->agreed)
		now->shared = t->agreed;
	return now->shared == t->depth && now->depth == t->depth;
}

static inline void tide_told_now(struct tide_stack_told *t, const struct tide_words *now)
{
	uint64_t path = t->path[now->shared];
	for (uint32_t i = now->shared; i < now->depth; i++)
		t->path[i + 1] = path = tide_path(path, now->word[i]);
	t->depth = t->agreed = now->depth;
}
/* `now` was seen and is not going to be told. */
static inline void tide_told_not(struct tide_stack_told *t, const struct tide_words *now)
{
	if (t->agreed > now->shared)
		t->agreed = now->shared;
}

/* The stack fields; may set SAME or NEXT in *tag. `native` NULL: an item with a Python stack only. Both are clipped to what was
 * told. *ret_site is the site. */
static inline uint8_t *tide_put_stacks(uint8_t *out, uint8_t *tag, struct tide_encoder *e, struct tide_words *native,
				       struct tide_words *python, uint64_t *ret_site)
{
	struct tide_stack_told *n = &e->native, *p = &e->python;
	uint32_t native_depth = n->depth, python_depth = p->depth;
	bool same_python = tide_told_same(p, python), same = (!native || tide_told_same(n, native)) && same_python;
	uint64_t before = tide_site(native ? n->path[n->depth] : TIDE_PATH_NONE, p->path[p->depth]);
	*ret_site = before;
	if (same) {
		*tag |= TIDE_TAG_SAME;
		return out;
	}
	if (native)
		tide_told_now(n, native);
	if (!same_python)
		tide_told_now(p, python);
	*ret_site = tide_site(native ? n->path[n->depth] : TIDE_PATH_NONE, p->path[p->depth]);
	uint64_t key = tide_next_key(&e->model, before, false);
	uint64_t pair = tide_site_pair(key, *ret_site), *next = &e->next[key & (TIDE_NEXTS - 1)];
	if (*next == pair) {
		*tag |= TIDE_TAG_NEXT;
		return out;
	}
	*next = pair;
	if (native)
		out = tide_put_delta(out, e, native_depth, native, &e->last_native);
	return tide_put_delta(out, e, python_depth, python, &e->last_python);
}

static inline uint32_t tide_where_of(uint64_t unit)
{
	return (uint32_t)((unit * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - TIDE_WHERE_BITS));
}
static inline uint16_t *tide_where(struct tide_encoder *e, uint64_t unit)
{
	return &e->where[tide_where_of(unit)];
}

/* An address that is not told by distance or expectation. */
static inline uint8_t *tide_put_far(uint8_t *out, const struct tide_model *m, uint64_t addr, uint64_t frontier)
{
	uint64_t unit = addr >> 4;
	uint64_t a = tide_zigzag((int64_t)(unit - m->last_alloc)), f = tide_zigzag((int64_t)(unit - m->last_free));
	if (addr & 15) {
		out = tide_put_varint(out, a << 2 | TIDE_ADDR_ODD);
		*out++ = (uint8_t)(addr & 15);
		return out;
	}
	if (unit == frontier)
		return tide_put_varint(out, TIDE_ADDR_FRONTIER);
	return tide_put_varint(out, f < a ? f << 2 | TIDE_ADDR_NEAR_FREE : a << 2 | TIDE_ADDR_NEAR_ALLOC);
}

/* size and addr of an item that has both; may set SIZE_EXPECTED and ADDR_EXPECTED in *tag, which is of that kind. */
static inline uint8_t *tide_put_block(uint8_t *out, uint8_t *tag, struct tide_encoder *e, uint64_t site, uint64_t addr,
				      uint64_t size, enum tide_kind kind)
{
	struct tide_model *m = &e->model;
	struct tide_class c = tide_class_by(kind, size, false);
	uint32_t *expected = &m->size[site & (TIDE_SIZES - 1)];
	uint64_t unit = addr >> 4;
	if (*expected == size) {
		*tag |= TIDE_TAG_SIZE_EXPECTED;
	} else {
		*expected = (uint32_t)size;
		out = tide_put_varint(out, size);
	}
	uint64_t frontier = m->frontier[c.pool];
	bool is_expected = false;
	if (__builtin_expect(!(addr & 15), 1)) {
		*tide_where(e, unit) = (uint16_t)(m->allocs & (TIDE_RECENT - 1));
		e->pending_site[m->allocs & (TIDE_PENDING - 1)] = site;
		e->pending_size[m->allocs & (TIDE_PENDING - 1)] = size;
		is_expected = tide_learn_alloc(m, c, unit);
	} else {
		__atomic_store_n(&e->last_odd, addr, __ATOMIC_RELAXED);
		__atomic_store_n(&e->odd, e->odd + 1, __ATOMIC_RELAXED);
	}
	if (is_expected)
		*tag |= TIDE_TAG_ADDR_EXPECTED;
	else
		out = tide_put_far(out, m, addr, frontier);
	m->last_alloc = unit;
	m->site = site;
	m->frees_since = 0;
	return out;
}

/* addr of an item without size: a block goes. May set DISTANCE or DISTANCE_EXPECTED in *tag. */
static inline uint8_t *tide_put_gone(uint8_t *out, uint8_t *tag, struct tide_encoder *e, uint64_t addr)
{
	struct tide_model *m = &e->model;
	uint64_t unit = addr >> 4;
	uint32_t place = *tide_where(e, unit);
	if (m->recent[place] >> 8 == unit && !(addr & 15)) {
		uint16_t *expected = tide_expect_distance(m);
		uint16_t distance = (uint16_t)((m->allocs - place) & (TIDE_RECENT - 1));
		if (*expected == distance) {
			*tag |= TIDE_TAG_DISTANCE_EXPECTED;
		} else {
			*tag |= TIDE_TAG_DISTANCE;
			out = tide_put_varint(out, tide_place_step(m, place));
			*expected = distance;
		}
		tide_learn_free(m, place, false);
	} else {
		out = tide_put_far(out, m, addr, UINT64_MAX);
	}
	m->last_free = unit;
	m->frees_since++;
	return out;
}

#endif
