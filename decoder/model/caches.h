/*
 * caches.h - what glibc's per-thread caches hold, as far as the order of events tells it: a freed chunk in a cache is not merged
 * with its neighbours, and malloc_trim cannot give its pages back.
 *
 * A cache is a stack of at most `tcache_count` chunks for each chunk size. malloc pops what free pushed, so the model is
 * corrected by every address that malloc returns. It cannot see chunks that malloc itself moves from a bin into the cache, nor
 * what memalign cuts off before an aligned block: error_chunks says how many those may be.
 */
#ifndef TIDE_MODEL_CACHES_H
#define TIDE_MODEL_CACHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/glibc.h"
#include "read/log.h"
#include "replay/replay.h"

#define TIDE_CACHE_BINS 64u /* TCACHE_MAX_BINS: chunks of 32, 48 ... bytes */
#define TIDE_CACHE_DEEPEST 16u

struct tide_cache_thread;
struct tide_cache_arena;

struct tide_caches {
	struct tide_glibc glibc;
	struct tide_cache_thread *thread; /* hash by kernel thread id */
	struct tide_cache_thread *last;   /* of the last event */
	uint32_t tid;                     /* of the operations that come */
	struct tide_cache_thread **by_number;
	uint32_t threads;
	struct tide_cache_place *place; /* what is cached, and where: a hash by address */
	size_t places, places_used;     /* a power of two; 0: no memory was asked for yet */
	struct tide_cache_arena *arena; /* hash by tide_cache_arena_of */
	struct tide_cache_arena *last_arena;
	uint64_t trim_threshold; /* adapts when a mapped chunk is freed: malloc.c, __libc_free */
};

void tide_caches_init(struct tide_caches *, const struct tide_glibc *);
void tide_caches_release(struct tide_caches *);

/* Takes in what events did, as tide_replay_batch tells it, but for ALIGNED, where the size is the alignment. Before those of another thread
 * comes one of kind THREAD, whose addr is its kernel thread id. False: no memory. */
bool tide_caches_take(struct tide_caches *, const struct tide_change *, size_t count);

/* What is cached now: addresses of blocks, sorted, with their chunk sizes; arrays owned by the caller. `alive`, if not NULL: the
 * threads that still run; a dead one's cache has gone back. False: no memory. */
struct tide_cached {
	uint64_t *addr;
	uint32_t *size;
	size_t count;
	uint32_t room[TIDE_CACHE_BINS]; /* what the cache of thread `room_of` still takes, by size */
	uint64_t error_chunks;          /* at most so many more, of sizes that were ever freed */
	uint64_t *heap;                 /* thread heaps as tide_heaps.seen wants them; owned, as the other arrays */
	size_t heaps;
};
bool tide_caches_list(const struct tide_caches *, const uint32_t *alive, size_t alives, uint32_t room_of,
		      struct tide_cached *ret);
void tide_cached_release(struct tide_cached *);

/* About how many chunks the fastbins of the arena hold whose heap the address is in. They lie between their neighbours, unmerged,
 * until something big is allocated or freed: so long no big free chunk forms, and no top is cut. */
uint64_t tide_caches_fast(const struct tide_caches *, uint64_t addr);

#endif
