/*
 * pymalloc.h - CPython's small-object allocator from its pool headers: what its arenas hold, what of that is resident, and what goes back
 * when blocks die. Facts: Objects/obmalloc.c, 3.8 to 3.13. An arena is unmapped when its last pool has become empty, at most one
 * empty arena being kept back; pools are never given back one by one, nor advised away.
 */
#ifndef TIDE_MODEL_PYMALLOC_H
#define TIDE_MODEL_PYMALLOC_H

#include <stdint.h>

#include "model/space.h"

#define TIDE_PY_CLASSES 32u    /* sizes 16, 32 ... 512 */
#define TIDE_PY_POOL_HEAD 48u  /* sizeof (struct pool_header) */
#define TIDE_PY_CLASS_STEP 16u /* ALIGNMENT */

/* As sys._debugmallocstats counts them. */
struct tide_pymalloc_stats {
	uint64_t arenas, arena_bytes;
	struct {
		uint64_t pools, live, available; /* blocks */
	} size_class[TIDE_PY_CLASSES];
	uint64_t live_bytes;      /* bytes in allocated blocks */
	uint64_t available_bytes; /* bytes in available blocks of used pools */
	uint64_t unused_pools;    /* empty, or never used */
	uint64_t head_bytes;      /* lost to pool headers */
	uint64_t quantum_bytes;   /* lost to quantization */
	uint64_t alignment_bytes; /* lost to arena alignment */
};
void tide_pymalloc_stats(const struct tide_space *, struct tide_pymalloc_stats *ret);

struct tide_pymalloc_sum { /* one arena; resident bytes, but for the first line */
	uint64_t live_blocks, live_bytes;
	uint64_t resident;
	uint64_t live;          /* of live blocks */
	uint64_t free_in_pools; /* the rest of pools that hold a live block */
	uint64_t free_pools;    /* pools without, and what no pool uses */
};
void tide_pymalloc_sum(const struct tide_space *, const struct tide_space_arena *, struct tide_pymalloc_sum *ret);

/* Number of the arena that holds the address, or -1. */
int64_t tide_pymalloc_find(const struct tide_space *, uint64_t addr);

#endif
