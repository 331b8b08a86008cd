/*
 * glibc.h - what glibc's malloc does with such blocks: which heaps they lie in, what lies between them, what malloc_trim
 * gives back, what freeing given blocks gives back, and what never goes back.
 *
 * The log tells every block that is live; all else in a heap is free to glibc, but for chunks that its per-thread caches
 * keep (caches.h) and a few of its own. Rules are those of malloc/malloc.c and malloc/arena.c, x86-64; what changed from
 * release to release is a table in glibc.c, with where each number was read. Settings are taken to be the defaults: the log does not hold the environment,
 * and mallopt is not seen.
 *
 * Nothing here allocates unless said; inputs stay the caller's.
 */
#ifndef TIDE_MODEL_GLIBC_H
#define TIDE_MODEL_GLIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/space.h"
#include "replay/blocks.h"

#define TIDE_HEAP_MAX (UINT64_C(64) << 20)           /* arena.c: thread heaps lie at multiples of HEAP_MAX_SIZE */
#define TIDE_MMAP_THRESHOLD (UINT64_C(128) << 10)    /* malloc.c: DEFAULT_MMAP_THRESHOLD, before it adapts */
#define TIDE_MMAP_THRESHOLD_MAX (UINT64_C(32) << 20) /* DEFAULT_MMAP_THRESHOLD_MAX */
#define TIDE_TRIM_THRESHOLD (UINT64_C(128) << 10)    /* DEFAULT_TRIM_THRESHOLD, before it adapts */
#define TIDE_TOP_PAD (UINT64_C(128) << 10)           /* DEFAULT_TOP_PAD */
#define TIDE_CHUNK_HEAD 16u                          /* from chunk to block */
#define TIDE_CHUNK_MIN 32u                           /* MINSIZE */

struct tide_glibc {
	uint16_t minor; /* release 2.minor */
	bool exact;     /* false: a release newer than the table; the newest row is used */
	uint16_t tcache_count;
	uint16_t tcache_most;  /* largest chunk a thread's cache takes by default */
	bool calloc_cached;    /* calloc takes from the cache */
	uint16_t fast_most;    /* largest chunk kept in a fastbin; 0: there are none */
	uint16_t heap_info;    /* bytes at the beginning of a thread heap */
	uint16_t arena;        /* bytes behind that in an arena's first heap: struct malloc_state */
	uint16_t tcache_chunk; /* the cache's own chunk, the first one its thread takes */
};
/* For an allocator as the log names it ("glibc 2.36"); false: not glibc, or older than 2.31. */
bool tide_glibc_of(const char *allocator, struct tide_glibc *ret);

/* The chunk that a request of so many bytes takes: request2size. */
static inline uint64_t tide_chunk_of(uint64_t size)
{
	uint64_t chunk = (size + 8 + 15) / 16 * 16;
	return chunk < TIDE_CHUNK_MIN ? TIDE_CHUNK_MIN : chunk;
}

enum tide_heap_kind {
	TIDE_HEAP_MAIN,    /* the brk heap: shrinks from its top only */
	TIDE_HEAP_SEGMENT, /* main arena's memory that is not brk's, or another allocator's: no top to trim */
	TIDE_HEAP_THREAD,  /* 64 MiB aligned, of a thread arena */
	TIDE_HEAP_MAPPED   /* one block, a mapping of its own: returned when freed */
};

/* A heap with blocks in it; the brk heap, or a thread's, also without. Blocks are block[first .. first + count). */
struct tide_heap {
	enum tide_heap_kind kind;
	uint64_t start, end; /* [start, end) is the allocator's, writable */
	uint64_t own;        /* bytes at the beginning that are the allocator's own */
	size_t first, count;
};

/* The join: everything that the functions below look at. */
struct tide_heaps {
	const struct tide_space *space;
	const struct tide_glibc *glibc;      /* NULL: another allocator; no heap is modelled beyond who lies where */
	const struct tide_block_live *block; /* sorted by address */
	size_t blocks;
	const uint64_t *cached;      /* addresses (of blocks) that threads' caches hold, sorted */
	const uint32_t *cached_size; /* chunk sizes of them */
	size_t cacheds;
	const uint64_t *
		seen; /* multiples of TIDE_HEAP_MAX, above which malloc has had blocks: thread heaps, if they are there */
	size_t seens;
	bool unseen;            /* not all events were seen: what looks like a thread heap is one */
	struct tide_heap *heap; /* owned; sorted by start */
	uint32_t heaps;
};

/* Finds the heaps. The pointers are set by the caller before. False: no memory. */
bool tide_heaps_init(struct tide_heaps *);
void tide_heaps_release(struct tide_heaps *);

struct tide_heap_sum { /* resident bytes, but for the first line */
	uint64_t live_blocks, live_bytes;
	uint64_t live, overhead;          /* of the live blocks: asked for; rounding, headers, glibc's own */
	uint64_t pinned_waste, trimmable; /* dead: on pages that something live holds; whole pages */
	uint64_t trim;                    /* malloc_trim(0) gives back */
	uint64_t top;                     /* whole dead pages behind the last block */
	uint64_t top_size;                /* bytes behind it, resident or not */
	uint64_t caches;                  /* of `trimmable`, kept only because a thread's cache holds a chunk there */
};
/* `gone`, if not NULL: by index of block, 1 for blocks to be taken as freed. */
void tide_heap_sum(const struct tide_heaps *, const struct tide_heap *, const uint8_t *gone, struct tide_heap_sum *ret);

/* What a free() that looks at the top gives back of it, if so many bytes lie behind the last chunk that stays. */
uint64_t tide_heap_cut(const struct tide_space *, const struct tide_heap *, uint64_t top_size, uint64_t trim_threshold);

/* What goes back without malloc_trim when the blocks marked in `gone` are freed one after the other: mappings, and the tops of
 * heaps, if they then exceed the threshold. `merged`: those of them that free() merges with their neighbours at once.
 * trim_threshold: as it has adapted (caches.h). */
uint64_t tide_heap_returned(const struct tide_heaps *, const struct tide_heap *, const uint8_t *gone,
			    const uint8_t *merged, uint64_t trim_threshold);

/* One stretch between two chunks that stay: [start, end) in chunk addresses. What malloc_trim gives back of it, resident. */
uint64_t tide_gap_trim(const struct tide_space *, uint64_t start, uint64_t end);

/* The chunk of a block in that heap: [*ret_start, *ret_end), chunk addresses. */
void tide_heap_chunk(const struct tide_heap *, const struct tide_block_live *, uint64_t *ret_start, uint64_t *ret_end);

#endif
