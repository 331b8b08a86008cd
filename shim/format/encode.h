/*
 * encode.h - writing items (FORMAT.md 6). Inline: this is the hot path of every allocation.
 *
 * The caller guarantees room: tide_item_bound() bytes. Nothing here checks it again.
 */
#ifndef TIDE_FORMAT_ENCODE_H
#define TIDE_FORMAT_ENCODE_H

#include "format/items.h"

#define TIDE_DICT_SLOTS 1024u /* direct-mapped; a collision only costs a second literal */

#define TIDE_KEPT (TIDE_STACK_MAX + 2u)

struct tide_dict_slot {
	uint64_t word;
	uint32_t epoch; /* valid only in the block that wrote it */
	uint32_t id;
};

/* Encoder state of one lane, private memory. A new block: tide_encode_reset(). */
struct tide_encoder {
	uint64_t ticks;
	uint64_t last_alloc, last_free;
	uint64_t last_native, last_python;
	uint32_t dict_len;
	uint32_t epoch;
	uint32_t native_depth, python_depth;
	/* the previous stacks, innermost first and right-aligned: the outermost frame stays where it is when the depth changes */
	uint64_t native[TIDE_KEPT];
	uint64_t python[TIDE_KEPT];
	struct tide_dict_slot slot[TIDE_DICT_SLOTS];
};

static inline void tide_encode_reset(struct tide_encoder *e, uint64_t ticks)
{
	e->ticks = ticks;
	e->last_alloc = e->last_free = e->last_native = e->last_python = 0;
	e->dict_len = 0;
	e->epoch++;
	e->native_depth = e->python_depth = 0;
}

/* Upper bound of one item with two stacks of these depths, with a SYNC, a TICK and a THREAD before it. */
static inline size_t tide_item_bound(uint32_t native, uint32_t python)
{
	return 128 + (size_t)(native + python) * (TIDE_VARINT_MAX + 1);
}

static inline uint8_t *tide_put_ticks(uint8_t *out, struct tide_encoder *e, uint64_t ticks)
{
	uint64_t step = ticks > e->ticks ? ticks - e->ticks : 0;
	e->ticks += step;
	return tide_put_varint(out, step);
}

static inline uint8_t *tide_put_word(uint8_t *out, struct tide_encoder *e, uint64_t word, uint64_t *last)
{
	struct tide_dict_slot *s = &e->slot[(word * UINT64_C(0x9e3779b97f4a7c15)) >> 54];
	if (s->word == word && s->epoch == e->epoch)
		return tide_put_varint(out, (uint64_t)s->id + 1);
	*s = (struct tide_dict_slot){word, e->epoch, e->dict_len++};
	*out++ = 0;
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

/* How many outermost frames two stacks (innermost first) share. */
static inline uint32_t tide_stack_shared(const uint64_t *a, uint32_t a_len, const uint64_t *b, uint32_t b_len)
{
	uint32_t most = a_len < b_len ? a_len : b_len, n = 0;
	while (n < most && a[a_len - 1 - n] == b[b_len - 1 - n])
		n++;
	return n;
}
/* The same against the stack that the encoder remembers. */
static inline uint32_t tide_encode_shared(const struct tide_encoder *e, bool python, const uint64_t *now, uint32_t len)
{
	uint32_t depth = python ? e->python_depth : e->native_depth;
	const uint64_t *kept = python ? e->python : e->native;
	return tide_stack_shared(kept + TIDE_KEPT - depth, depth, now, len);
}

/* Writes the delta from the previous stack and keeps `now` as the previous one. `shared`: outermost frames known equal. */
static inline uint8_t *tide_put_stack(uint8_t *out, struct tide_encoder *e, bool python, const uint64_t *now,
				      uint32_t len, uint32_t shared)
{
	uint64_t *kept = python ? e->python : e->native;
	uint32_t *depth = python ? &e->python_depth : &e->native_depth;
	uint64_t *last = python ? &e->last_python : &e->last_native;
	out = tide_put_counts(out, *depth - shared, len - shared);
	for (uint32_t i = len - shared; i-- > 0;)
		out = tide_put_word(out, e, now[i], last);
	memcpy(kept + TIDE_KEPT - len, now, (len - shared) * sizeof *kept);
	*depth = len;
	return out;
}

/* The address field; may set ODD and NEAR_FREE in *tag. `freeing` tells which base moves. */
static inline uint8_t *tide_put_addr(uint8_t *out, uint8_t *tag, struct tide_encoder *e, uint64_t addr, bool freeing)
{
	uint64_t unit = addr >> 4;
	uint64_t a = tide_zigzag((int64_t)(unit - e->last_alloc)), f = tide_zigzag((int64_t)(unit - e->last_free));
	if (f < a) {
		*tag |= TIDE_TAG_NEAR_FREE;
		a = f;
	}
	out = tide_put_varint(out, a);
	if (addr & 15) {
		*tag |= TIDE_TAG_ODD;
		*out++ = (uint8_t)(addr & 15);
	}
	if (freeing)
		e->last_free = unit;
	else
		e->last_alloc = unit;
	return out;
}

#endif
