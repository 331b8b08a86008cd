/*
 * predict.h - what both sides of the log expect of a payload's next item (FORMAT.md 6): the reader repeats, from the items,
 * what the writer did, so that an item that comes as expected says so with one bit. All of it begins from zero in every payload.
 *
 * Units are addresses / 16. Nothing here checks or trusts anything: every index is masked, every value is any value.
 */
#ifndef TIDE_FORMAT_PREDICT_H
#define TIDE_FORMAT_PREDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "format/layout.h"

#define TIDE_BINS 128u      /* of free blocks by size: last in, first out, as allocators give them out again */
#define TIDE_BINS_POOL 96u  /* from this one on: blocks in pymalloc pools */
#define TIDE_BIN_DEPTH 7u   /* glibc's tcache_count */
#define TIDE_RECENT 1024u   /* allocations that a free can name by distance */
#define TIDE_SIZES 1024u    /* by stack: the last size asked for there */
#define TIDE_DISTANCES 512u /* by stack and frees since: the last free's distance */
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
	struct tide_bin bin[TIDE_BINS];
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
	bool pool; /* inside a pymalloc pool */
};
static inline struct tide_class tide_class_of(uint64_t size, bool pool)
{
	if (pool) {
		uint64_t units = (size + 15) >> 4;
		return (struct tide_class){units, TIDE_BINS_POOL + (units & 31), true};
	}
	uint64_t units = size <= 24 ? 2 : (size + 23) >> 4;
	return (struct tide_class){units, (uint32_t)(units < 66 ? units : 66 + units % 30), false};
}

/* Where the next block of that class is expected. */
static inline uint64_t tide_expect_unit(const struct tide_model *m, struct tide_class c)
{
	const struct tide_bin *b = &m->bin[c.bin];
	return b->count ? b->unit[b->count - 1] : m->frontier[c.pool];
}

static inline void tide_learn_alloc(struct tide_model *m, struct tide_class c, uint64_t unit)
{
	struct tide_bin *b = &m->bin[c.bin];
	if (b->count && b->unit[b->count - 1] == unit) {
		b->count--;
		b->missed = 0;
	} else {
		m->frontier[c.pool] = unit + c.units;
		b->count -= b->missed & (b->count != 0);
		b->missed ^= 1;
	}
	m->recent[m->allocs++ & (TIDE_RECENT - 1)] = unit << 8 | c.bin;
}

static inline uint16_t *tide_expect_distance(struct tide_model *m)
{
	return &m->distance[(m->site + m->frees_since * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (TIDE_DISTANCES - 1)];
}
static inline uint64_t tide_recent(const struct tide_model *m, uint64_t distance)
{
	return m->recent[(m->allocs - distance) & (TIDE_RECENT - 1)];
}

/* A block of `recent` was freed. */
static inline void tide_learn_free(struct tide_model *m, uint64_t recent)
{
	struct tide_bin *b = &m->bin[recent & (TIDE_BINS - 1)];
	if (b->count < TIDE_BIN_DEPTH)
		b->unit[b->count++] = recent >> 8;
}

#endif
