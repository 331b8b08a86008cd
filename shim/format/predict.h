/*
 * predict.h - what both sides of the log expect of a payload's next item (FORMAT.md 6): the reader repeats, from the items,
 * what the writer did, so that an item that comes as expected says so with one bit. All of it begins from zero in every payload.
 * Writers expect what encoding 2 says; `first`: of encoding 1, which is only read.
 *
 * Units are addresses / 16. Nothing here checks or trusts anything: every index is masked, every value is any value.
 */
#ifndef TIDE_FORMAT_PREDICT_H
#define TIDE_FORMAT_PREDICT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "format/layout.h"

#define TIDE_BINS 128u      /* of free blocks by size: last in, first out, as allocators give them out again */
#define TIDE_BINS_POOL 96u  /* from this one on: blocks in pymalloc pools */
#define TIDE_BIN_DEPTH 7u   /* glibc's tcache_count */
#define TIDE_FAST_BINS 9u   /* bins 0 to 8 go on in a second stack, glibc's fastbins (global_max_fast is 128 bytes) */
#define TIDE_FAST_DEPTH 16u /* of it: as many more as pay */
#define TIDE_LARGE_UNITS \
	66u /* a block of so many empties the fastbins: not tcache's (tcache_max_bytes), and of a large bin */
#define TIDE_RECENT 1024u   /* allocations that a free can name by distance */
#define TIDE_SIZES 1024u    /* by stack: the last size asked for there */
#define TIDE_DISTANCES 512u /* by stack and frees since: the last free's distance */
#define TIDE_CALLEES 1024u  /* by word of a stack: the last word told after it */
#define TIDE_NEXTS 512u     /* by stack: the stack that came after it */

struct tide_bin {
	uint64_t unit[TIDE_BIN_DEPTH];
	uint32_t count;
	uint32_t missed; /* the last allocation was not its top one */
};

struct tide_model {
	uint64_t last_alloc, last_free; /* units */
	uint64_t frontier[2];           /* unit after the last block that came from no bin: malloc, pymalloc */
	uint64_t site;                  /* stack of the last item with addr and size */
	uint32_t allocs;                /* of them */
	uint32_t frees_since;
	uint32_t last_place;             /* in `recent`, of the last free that was told by it */
	uint8_t fast_len[TIDE_BINS];     /* 0 from TIDE_FAST_BINS on */
	uint8_t fast_at[TIDE_FAST_BINS]; /* pushes less pops: the top is before it, modulo the depth */
	struct tide_bin bin[TIDE_BINS];
	uint64_t fast[TIDE_FAST_BINS][TIDE_FAST_DEPTH];
	uint64_t recent[TIDE_RECENT]; /* unit * 256 + bin */
	uint32_t size[TIDE_SIZES];
	uint16_t distance[TIDE_DISTANCES];
};

/* A stack's identity: outermost word first, path = tide_path(path, word), from TIDE_PATH_NONE. */
#define TIDE_PATH_NONE UINT64_C(0x5851f42d4c957f2d)
static inline uint64_t tide_path(uint64_t path, uint64_t word)
{
	unsigned __int128 product = (unsigned __int128)(path ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}
/* Of an item's two stacks; native TIDE_PATH_NONE for items with a Python stack only. */
static inline uint64_t tide_site(uint64_t native, uint64_t python)
{
	return native + (python << 32 | python >> 32);
}
/* What the successor table holds of a pair of sites. */
static inline uint64_t tide_site_pair(uint64_t before, uint64_t after)
{
	return before * UINT64_C(0x9e3779b97f4a7c15) + after;
}

struct tide_class {
	uint64_t units; /* of the block, as the allocator rounds */
	uint32_t bin;
	bool pool;   /* inside a pymalloc pool */
	bool cached; /* from the bin itself: calloc, realloc and aligned ones do not look into tcache */
	bool large;  /* empties the fastbins */
};
/* `malloc`: by malloc itself. */
static inline struct tide_class tide_class_of(uint64_t size, bool pool, bool malloc, bool first)
{
	if (pool) {
		uint64_t units = (size + 15) >> 4;
		return (struct tide_class){units, TIDE_BINS_POOL + (units & 31), true, true, false};
	}
	uint64_t units = size <= 24 ? 2 : (size + 23) >> 4;
	bool large = units >= TIDE_LARGE_UNITS;
	return (struct tide_class){units, (uint32_t)(large ? 66 + units % 30 : units), false, malloc || first,
				   large && !first};
}

static inline uint64_t *tide_fast_top(struct tide_model *m, uint32_t bin)
{
	return &m->fast[bin][(m->fast_at[bin] - 1u) & (TIDE_FAST_DEPTH - 1)];
}
static inline uint64_t tide_fast_pop(struct tide_model *m, uint32_t bin)
{
	uint64_t unit = *tide_fast_top(m, bin);
	m->fast_at[bin]--;
	m->fast_len[bin]--;
	return unit;
}

/* Where the next block of that class is expected. */
static inline uint64_t tide_expect_unit(struct tide_model *m, struct tide_class c)
{
	const struct tide_bin *b = &m->bin[c.bin];
	if (c.cached && b->count)
		return b->unit[b->count - 1];
	return m->fast_len[c.bin] ? *tide_fast_top(m, c.bin) : m->frontier[c.pool];
}

/* The top of the fastbin was handed out; glibc moves what else is in it into tcache. It would not have looked there while tcache
 * had any. */
static inline void tide_learn_fast(struct tide_model *m, struct tide_class c)
{
	struct tide_bin *b = &m->bin[c.bin];
	if (c.cached)
		b->count = 0;
	b->missed = 0;
	tide_fast_pop(m, c.bin);
	while (b->count < TIDE_BIN_DEPTH && m->fast_len[c.bin])
		b->unit[b->count++] = tide_fast_pop(m, c.bin);
}

/* It was none of the tops. */
static inline void tide_learn_miss(struct tide_model *m, struct tide_class c, uint64_t unit)
{
	struct tide_bin *b = &m->bin[c.bin];
	m->frontier[c.pool] = unit + c.units;
	if (b->missed && c.cached && b->count)
		b->count--;
	else if (b->missed && m->fast_len[c.bin])
		tide_fast_pop(m, c.bin);
	b->missed ^= 1;
}

static inline bool tide_learn_tops(struct tide_model *m, struct tide_class c, uint64_t unit)
{
	struct tide_bin *b = &m->bin[c.bin];
	bool top_is_expected = c.cached && b->count;
	if (top_is_expected && b->unit[b->count - 1] == unit) {
		b->count--;
		b->missed = 0;
		return true;
	}
	bool expected = !top_is_expected;
	if (m->fast_len[c.bin] && *tide_fast_top(m, c.bin) == unit) {
		tide_learn_fast(m, c);
		return expected;
	}
	expected = expected && !m->fast_len[c.bin] && unit == m->frontier[c.pool];
	tide_learn_miss(m, c, unit);
	return expected;
}

/* Whole stores: a pass reads both while an encoder adds to them (tide_lane_in_hand). */
static inline void tide_learn_recent(struct tide_model *m, struct tide_class c, uint64_t unit)
{
	uint32_t allocs = m->allocs;
	__atomic_store_n(&m->recent[allocs & (TIDE_RECENT - 1)], unit << 8 | c.bin, __ATOMIC_RELAXED);
	__atomic_store_n(&m->allocs, allocs + 1, __ATOMIC_RELAXED);
}

/* True: where tide_expect_unit said. */
static inline bool tide_learn_alloc(struct tide_model *m, struct tide_class c, uint64_t unit)
{
	if (c.large)
		memset(m->fast_len, 0, TIDE_FAST_BINS);
	bool expected = tide_learn_tops(m, c, unit);
	tide_learn_recent(m, c, unit);
	return expected;
}

/* Learns the block that tide_expect_unit would name, and names it: what bins hold has 56 bits. */
static inline uint64_t tide_learn_expected(struct tide_model *m, struct tide_class c)
{
	struct tide_bin *b = &m->bin[c.bin];
	uint64_t unit;
	if (c.large)
		memset(m->fast_len, 0, TIDE_FAST_BINS);
	if (c.cached && b->count) {
		unit = b->unit[--b->count];
		b->missed = 0;
	} else if (m->fast_len[c.bin]) {
		unit = *tide_fast_top(m, c.bin);
		tide_learn_fast(m, c);
	} else {
		unit = m->frontier[c.pool] & (UINT64_MAX >> 4);
		tide_learn_miss(m, c, unit);
	}
	tide_learn_recent(m, c, unit);
	return unit;
}

static inline uint16_t *tide_expect_distance(struct tide_model *m)
{
	return &m->distance[(m->site + m->frees_since * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (TIDE_DISTANCES - 1)];
}
/* How a place in `recent` is told: by the way from the last one. */
static inline uint32_t tide_place_step(const struct tide_model *m, uint32_t place)
{
	uint32_t up = (place - m->last_place) & (TIDE_RECENT - 1);
	return up < TIDE_RECENT / 2 ? 2 * up : 2 * (TIDE_RECENT - up) - 1;
}
static inline uint32_t tide_place_after(const struct tide_model *m, uint64_t step)
{
	return (m->last_place + (uint32_t)(step >> 1 ^ -(step & 1))) & (TIDE_RECENT - 1);
}

/* The block at a place in `recent` was freed. */
static inline void tide_learn_free(struct tide_model *m, uint32_t place, bool first)
{
	uint64_t recent = m->recent[place];
	uint32_t bin = recent & (TIDE_BINS - 1);
	struct tide_bin *b = &m->bin[bin];
	m->last_place = place;
	if (b->count < TIDE_BIN_DEPTH) {
		b->unit[b->count++] = recent >> 8;
	} else if (bin < TIDE_FAST_BINS && !first) {
		m->fast[bin][m->fast_at[bin]++ & (TIDE_FAST_DEPTH - 1)] = recent >> 8;
		m->fast_len[bin] += m->fast_len[bin] < TIDE_FAST_DEPTH;
	}
}

/* Where stacks' successors are kept, and with what name: those after a free are others. */
static inline uint64_t tide_next_key(const struct tide_model *m, uint64_t site, bool first)
{
	return site + (!first && m->frees_since);
}
static inline uint32_t tide_callee_of(uint64_t word)
{
	return (uint32_t)((word * UINT64_C(0x9e3779b97f4a7c15)) >> 54);
}

#endif
