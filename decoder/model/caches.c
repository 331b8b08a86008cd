#include "model/caches.h"

#include <stdlib.h>

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

#define BINS TIDE_CACHE_BINS
#define DEEPEST TIDE_CACHE_DEEPEST

struct block {
	uint64_t addr, size;
};

struct tide_cache_thread {
	uint32_t tid, number;
	struct block moving; /* what its realloc gave up, until it is known where it went */
	uint8_t count[BINS]; /* of chunks in each bin */
	bool used[BINS];     /* ever */
	uint64_t addr[BINS][DEEPEST];
	UT_hash_handle hh;
};

struct tide_cache_place {
	uint64_t addr;        /* 0: free */
	uint32_t thread, bin; /* number of the thread */
};

struct tide_cache_arena {
	uint64_t key;
	int64_t fast;    /* chunks freed into fastbins and not taken again, about */
	uint64_t lowest; /* address of a block that has no mapping of its own; 0: none was */
	UT_hash_handle hh;
};

#define MMAPPED UINT64_C(0x700000000000) /* mappings are above, the brk heap is below */
#define BIG_REQUEST 1008u                /* _int_malloc merges what the fastbins hold before it serves one */
#define BIG_FREE (UINT64_C(64) << 10)
#define FIRST_PLACES 4096u /* a thread's cache holds 448 chunks at most, before 2.43 */

/* A thread heap by its 64 MiB, the brk heap as a whole. */
static uint64_t arena_key(uint64_t addr)
{
	return addr >= MMAPPED ? addr / TIDE_HEAP_MAX : 0;
}

static struct tide_cache_arena *arena_of(struct tide_caches *c, uint64_t addr)
{
	uint64_t key = arena_key(addr);
	struct tide_cache_arena *a = c->last_arena;
	if (a && a->key == key)
		return a;
	HASH_FIND(hh, c->arena, &key, sizeof key, a);
	if (!a) {
		a = calloc(1, sizeof *a);
		if (!a)
			return NULL;
		a->key = key;
		HASH_ADD(hh, c->arena, key, sizeof a->key, a);
		if (!a->hh.tbl) {
			free(a);
			return NULL;
		}
	}
	return c->last_arena = a;
}

uint64_t tide_caches_fast(const struct tide_caches *c, uint64_t addr)
{
	uint64_t key = arena_key(addr);
	struct tide_cache_arena *a;
	HASH_FIND(hh, c->arena, &key, sizeof key, a);
	return a && a->fast > 0 ? (uint64_t)a->fast : 0;
}

/* An allocation that no cache served. */
static bool take_from_arena(struct tide_caches *c, const struct block *e)
{
	struct tide_cache_arena *a = e->size < TIDE_MMAP_THRESHOLD ? arena_of(c, e->addr) : NULL;
	if (a && (!a->lowest || e->addr < a->lowest))
		a->lowest = e->addr;
	if (a && e->size >= BIG_REQUEST)
		a->fast = 0;
	else if (a && tide_chunk_of(e->size) <= c->glibc.fast_most && a->fast > 0)
		a->fast--;
	return a || e->size >= TIDE_MMAP_THRESHOLD;
}

static bool give_to_arena(struct tide_caches *c, const struct block *b)
{
	struct tide_cache_arena *a = arena_of(c, b->addr);
	if (a && b->size >= BIG_FREE)
		a->fast = 0;
	else if (a && tide_chunk_of(b->size) <= c->glibc.fast_most)
		a->fast++;
	return a != NULL;
}

void tide_caches_init(struct tide_caches *c, const struct tide_glibc *glibc)
{
	*c = (struct tide_caches){.glibc = *glibc, .trim_threshold = TIDE_TRIM_THRESHOLD};
	if (c->glibc.tcache_count > DEEPEST)
		c->glibc.tcache_count = DEEPEST;
}

void tide_caches_release(struct tide_caches *c)
{
	struct tide_cache_thread *t, *next_thread;
	struct tide_cache_arena *a, *next_arena;
	free(c->place);
	c->place = NULL;
	c->places = c->places_used = 0;
	free(c->by_number);
	c->by_number = NULL;
	HASH_ITER(hh, c->thread, t, next_thread)
	{
		HASH_DEL(c->thread, t);
		free(t);
	}
	HASH_ITER(hh, c->arena, a, next_arena)
	{
		HASH_DEL(c->arena, a);
		free(a);
	}
	c->last = NULL;
	c->last_arena = NULL;
}

static struct tide_cache_thread *add_thread(struct tide_caches *c, uint32_t tid)
{
	struct tide_cache_thread *t = calloc(1, sizeof *t), **all;
	if (t && c->threads % 64 == 0) {
		all = realloc(c->by_number, (c->threads + 64ull) * sizeof *all);
		c->by_number = all ? all : c->by_number;
		if (!all) {
			free(t);
			return NULL;
		}
	}
	if (!t)
		return NULL;
	t->tid = tid;
	t->number = c->threads;
	HASH_ADD(hh, c->thread, tid, sizeof t->tid, t);
	if (!t->hh.tbl) {
		free(t);
		return NULL;
	}
	c->by_number[c->threads++] = t;
	return t;
}

static struct tide_cache_thread *thread_of(struct tide_caches *c, uint32_t tid)
{
	struct tide_cache_thread *t = c->last;
	if (t && t->tid == tid)
		return t;
	HASH_FIND(hh, c->thread, &tid, sizeof tid, t);
	if (!t)
		t = add_thread(c, tid);
	return c->last = t;
}

/* The bin of a chunk: csize2tidx; BINS: too big. */
static uint32_t bin_of(const struct tide_caches *c, uint64_t chunk)
{
	return chunk <= c->glibc.tcache_most ? (uint32_t)((chunk - TIDE_CHUNK_MIN) / 16) : BINS;
}

/* ---- places ---- */

static size_t home(const struct tide_caches *c, uint64_t addr)
{
	return (size_t)(((addr >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (c->places - 1);
}

/* Where the address is, or the free place where it belongs. */
static size_t find(const struct tide_caches *c, uint64_t addr)
{
	size_t i = home(c, addr);
	while (c->place[i].addr && c->place[i].addr != addr)
		i = (i + 1) & (c->places - 1);
	return i;
}

static bool grow(struct tide_caches *c)
{
	struct tide_caches bigger = {.places = c->places ? 2 * c->places : FIRST_PLACES};
	bigger.place = calloc(bigger.places, sizeof *bigger.place);
	if (!bigger.place)
		return false;
	for (size_t i = 0; i < c->places; i++)
		if (c->place[i].addr)
			bigger.place[find(&bigger, c->place[i].addr)] = c->place[i];
	free(c->place);
	c->place = bigger.place;
	c->places = bigger.places;
	return true;
}

/* Later entries of the run move back. */
static void close_gap(struct tide_caches *c, size_t gap)
{
	size_t mask = c->places - 1;
	for (size_t i = (gap + 1) & mask; c->place[i].addr; i = (i + 1) & mask) {
		size_t wanted = home(c, c->place[i].addr);
		if (((i - wanted) & mask) >= ((i - gap) & mask)) {
			c->place[gap] = c->place[i];
			gap = i;
		}
	}
	c->place[gap].addr = 0;
}

static inline void forget(struct tide_caches *c, size_t i)
{
	c->places_used--;
	if (c->place[(i + 1) & (c->places - 1)].addr)
		close_gap(c, i);
	else
		c->place[i].addr = 0;
}

/* ---- chunks come and go ---- */

static void adapt_threshold(struct tide_caches *c, const struct block *b)
{
	uint64_t mapped = (b->size + TIDE_CHUNK_HEAD + TIDE_SPACE_PAGE - 1) / TIDE_SPACE_PAGE * TIDE_SPACE_PAGE;
	if (b->addr % TIDE_SPACE_PAGE == TIDE_CHUNK_HEAD && mapped <= TIDE_MMAP_THRESHOLD_MAX &&
	    2 * mapped > c->trim_threshold)
		c->trim_threshold = 2 * mapped;
}

static inline void put(struct tide_caches *c, struct tide_cache_thread *t, uint32_t bin, uint64_t addr)
{
	struct tide_cache_place *place = &c->place[find(c, addr)];
	if (place->addr) /* it is in a cache already: there it stays */
		return;
	*place = (struct tide_cache_place){addr, t->number, bin};
	c->places_used++;
	t->addr[bin][t->count[bin]++] = addr;
}

/* push and pop as they mostly are: the thread is known, and its cache has room, or has the address on top. False: it is not that
 * simple, and nothing was done. */
static inline bool push_one(struct tide_caches *c, struct tide_cache_thread *t, uint64_t addr, uint64_t size)
{
	uint32_t bin = bin_of(c, tide_chunk_of(size));
	if (bin >= BINS || t->count[bin] >= c->glibc.tcache_count || c->places_used >= c->places / 4)
		return false;
	t->used[bin] = true;
	put(c, t, bin, addr);
	return true;
}

static inline bool pop_one(struct tide_caches *c, struct tide_cache_thread *t, uint64_t addr, uint64_t size)
{
	uint32_t bin = bin_of(c, tide_chunk_of(size));
	if (bin >= BINS || t->count[bin] == 0 || t->addr[bin][t->count[bin] - 1] != addr)
		return false;
	t->count[bin]--;
	forget(c, find(c, addr));
	return true;
}

/* A chunk is freed: into the thread's cache if there is room, else elsewhere. */
static bool push(struct tide_caches *c, struct tide_cache_thread *t, const struct block *b)
{
	uint32_t bin = bin_of(c, tide_chunk_of(b->size));
	if (b->size >= TIDE_MMAP_THRESHOLD)
		adapt_threshold(c, b);
	if (bin >= BINS)
		return give_to_arena(c, b);
	t->used[bin] = true;
	if (t->count[bin] >= c->glibc.tcache_count)
		return give_to_arena(c, b);
	if (c->places_used >= c->places / 4 && !grow(c))
		return false;
	put(c, t, bin, b->addr);
	return true;
}

/* The address was handed out: it is in no cache now, and what lay above it in its stack was not what we thought. False: it was in
 * none. */
static bool pop(struct tide_caches *c, uint64_t addr)
{
	size_t i = c->places ? find(c, addr) : 0;
	if (!addr || !c->places || !c->place[i].addr)
		return false;
	struct tide_cache_thread *t = c->by_number[c->place[i].thread];
	uint32_t bin = c->place[i].bin;
	forget(c, i);
	while (t->count[bin] > 0) {
		uint64_t top = t->addr[bin][--t->count[bin]];
		if (top == addr)
			break;
		i = find(c, top);
		if (c->place[i].addr)
			forget(c, i);
	}
	return true;
}

/* _int_memalign frees the piece before the aligned block: any size up to the alignment. */
static void note_aligned(struct tide_cache_thread *t, uint64_t alignment)
{
	for (uint32_t i = 0; i < BINS && TIDE_CHUNK_MIN + 16 * i <= alignment; i++)
		t->used[i] = true;
}

static bool on_moved(struct tide_caches *c, struct tide_cache_thread *t, uint64_t addr)
{
	struct block moved = t->moving;
	pop(c, addr);
	t->moving.addr = 0;
	return !moved.addr || moved.addr == addr || push(c, t, &moved);
}

/* What is not only an allocation. */
static bool on_thread(struct tide_caches *c, unsigned kind, const struct block *b)
{
	struct tide_cache_thread *t = thread_of(c, c->tid);
	if (!t)
		return false;
	switch (kind) {
	case TIDE_KIND_ALIGNED:
		note_aligned(t, b->size);
		pop(c, b->addr);
		return true;
	case TIDE_KIND_FREE:
		return push(c, t, b);
	case TIDE_KIND_REALLOC_FREE:
		t->moving = *b;
		return true;
	default:
		return on_moved(c, t, b->addr);
	}
}

/* Anything. False: no memory. */
static bool take(struct tide_caches *c, unsigned kind, const struct block *b)
{
	if (kind == TIDE_KIND_THREAD) {
		c->tid = (uint32_t)b->addr;
		return true;
	}
	if (kind == TIDE_KIND_ALLOC)
		return (b->size <= c->glibc.tcache_most && pop(c, b->addr)) || take_from_arena(c, b);
	return kind == 0 || on_thread(c, kind, b);
}

bool tide_caches_take(struct tide_caches *c, const struct tide_change *change, size_t count)
{
	for (const struct tide_change *end = change + count; change < end; change++) {
		struct tide_cache_thread *t = c->last;
		uint64_t addr = change->addr, size = change->size_and_kind >> 8;
		unsigned kind = change->size_and_kind & 255;
		bool known = t && t->tid == c->tid;
		if (known && kind == TIDE_KIND_ALLOC && pop_one(c, t, addr, size))
			continue;
		if (known && kind == TIDE_KIND_FREE && push_one(c, t, addr, size))
			continue;
		struct block b = {addr, size};
		if (!take(c, kind, &b))
			return false;
	}
	return true;
}

struct entry {
	uint64_t addr;
	uint32_t size;
};

static int by_addr(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool lives(uint32_t tid, const uint32_t *alive, size_t alives)
{
	for (size_t i = 0; alive && i < alives; i++)
		if (alive[i] == tid)
			return true;
	return !alive;
}

/* False: no memory. */
static bool list_heaps(const struct tide_caches *c, struct tide_cached *list)
{
	const struct tide_cache_arena *a;
	list->heap = malloc((HASH_COUNT(c->arena) + 1) * sizeof *list->heap);
	for (a = c->arena; list->heap && a; a = a->hh.next)
		if (a->key && a->lowest)
			list->heap[list->heaps++] = a->lowest;
	return list->heap != NULL;
}

bool tide_caches_list(const struct tide_caches *c, const uint32_t *alive, size_t alives, uint32_t room_of,
		      struct tide_cached *ret)
{
	struct tide_cached list = {0};
	size_t most = c->places_used;
	struct entry *entry = malloc((most + 1) * sizeof *entry);
	list.addr = malloc((most + 1) * sizeof *list.addr);
	list.size = malloc((most + 1) * sizeof *list.size);
	if (!entry || !list.addr || !list.size || !list_heaps(c, &list)) {
		free(entry);
		tide_cached_release(&list);
		return false;
	}
	for (uint32_t i = 0; i < BINS; i++)
		list.room[i] = c->glibc.tcache_count;
	for (const struct tide_cache_thread *t = c->thread; t; t = t->hh.next) {
		for (uint32_t i = 0; i < BINS && t->tid == room_of; i++)
			list.room[i] -= t->count[i];
		if (!lives(t->tid, alive, alives))
			continue;
		for (uint32_t i = 0; i < BINS; i++) {
			for (uint32_t k = 0; k < t->count[i] && list.count < most; k++)
				entry[list.count++] = (struct entry){t->addr[i][k], TIDE_CHUNK_MIN + 16 * i};
			if (t->used[i])
				list.error_chunks += c->glibc.tcache_count - t->count[i];
		}
	}
	qsort(entry, list.count, sizeof *entry, by_addr);
	for (size_t i = 0; i < list.count; i++) {
		list.addr[i] = entry[i].addr;
		list.size[i] = entry[i].size;
	}
	free(entry);
	*ret = list;
	return true;
}

void tide_cached_release(struct tide_cached *l)
{
	free(l->addr);
	free(l->size);
	free(l->heap);
	*l = (struct tide_cached){0};
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
