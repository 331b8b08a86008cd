#include "model/caches.h"

#include <stdlib.h>

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define BINS 64u
#define DEEPEST 16u

struct bin {
	uint8_t count;
	bool used;
	uint64_t addr[DEEPEST];
};

struct tide_cache_thread {
	uint32_t tid;
	struct tide_block_live moving; /* what its realloc gave up, until it is known where it went */
	struct bin bin[BINS];
	UT_hash_handle hh;
};

struct tide_cache_place {
	uint64_t addr;
	struct tide_cache_thread *thread;
	uint32_t bin;
	UT_hash_handle hh;
};

void tide_caches_init(struct tide_caches *c, const struct tide_glibc *glibc)
{
	*c = (struct tide_caches){.glibc = *glibc, .trim_threshold = TIDE_TRIM_THRESHOLD};
	if (c->glibc.tcache_count > DEEPEST)
		c->glibc.tcache_count = DEEPEST;
}

void tide_caches_release(struct tide_caches *c)
{
	struct tide_cache_thread *t, *next_thread;
	struct tide_cache_place *p, *next_place;
	HASH_ITER(hh, c->place, p, next_place)
	{
		HASH_DEL(c->place, p);
		free(p);
	}
	HASH_ITER(hh, c->thread, t, next_thread)
	{
		HASH_DEL(c->thread, t);
		free(t);
	}
	c->last = NULL;
}

static struct tide_cache_thread *thread_of(struct tide_caches *c, uint32_t tid)
{
	struct tide_cache_thread *t = c->last;
	if (t && t->tid == tid)
		return t;
	HASH_FIND(hh, c->thread, &tid, sizeof tid, t);
	if (!t) {
		t = calloc(1, sizeof *t);
		if (!t)
			return NULL;
		t->tid = tid;
		HASH_ADD(hh, c->thread, tid, sizeof t->tid, t);
		if (!t->hh.tbl) {
			free(t);
			return NULL;
		}
	}
	return c->last = t;
}

/* The bin of a chunk: csize2tidx; BINS: too big. */
static uint32_t bin_of(const struct tide_caches *c, uint64_t chunk)
{
	return chunk <= c->glibc.tcache_most ? (uint32_t)((chunk - TIDE_CHUNK_MIN) / 16) : BINS;
}

/* A chunk is freed: into the thread's cache if there is room, else elsewhere. */
static bool push(struct tide_caches *c, struct tide_cache_thread *t, const struct tide_block_live *b)
{
	uint64_t chunk = tide_chunk_of(b->size);
	uint32_t bin = bin_of(c, chunk);
	struct tide_cache_place *p;
	if (b->size >= TIDE_MMAP_THRESHOLD && b->addr % TIDE_SPACE_PAGE == TIDE_CHUNK_HEAD) {
		uint64_t mapped = (b->size + TIDE_CHUNK_HEAD + TIDE_SPACE_PAGE - 1) / TIDE_SPACE_PAGE * TIDE_SPACE_PAGE;
		if (mapped <= TIDE_MMAP_THRESHOLD_MAX && 2 * mapped > c->trim_threshold)
			c->trim_threshold = 2 * mapped;
	}
	if (bin >= BINS)
		return true;
	t->bin[bin].used = true;
	if (t->bin[bin].count >= c->glibc.tcache_count)
		return true;
	HASH_FIND(hh, c->place, &b->addr, sizeof b->addr, p);
	if (p)
		return true;
	p = calloc(1, sizeof *p);
	if (!p)
		return false;
	*p = (struct tide_cache_place){.addr = b->addr, .thread = t, .bin = bin};
	HASH_ADD(hh, c->place, addr, sizeof p->addr, p);
	if (!p->hh.tbl) {
		free(p);
		return false;
	}
	t->bin[bin].addr[t->bin[bin].count++] = b->addr;
	return true;
}

/* The address was handed out: it is in no cache now, and what lay above it in its stack was not what we thought. */
static void pop(struct tide_caches *c, uint64_t addr)
{
	struct tide_cache_place *p, *above;
	HASH_FIND(hh, c->place, &addr, sizeof addr, p);
	if (!p)
		return;
	struct bin *bin = &p->thread->bin[p->bin];
	while (bin->count > 0) {
		uint64_t top = bin->addr[--bin->count];
		HASH_FIND(hh, c->place, &top, sizeof top, above);
		if (above) {
			HASH_DEL(c->place, above);
			free(above);
		}
		if (top == addr)
			break;
	}
}

bool tide_caches_event(struct tide_caches *c, const struct tide_event *e, const struct tide_block_live *freed)
{
	struct tide_cache_thread *t;
	struct tide_block_live moved;
	switch (e->kind) {
	case TIDE_KIND_ALLOC:
	case TIDE_KIND_CALLOC:
	case TIDE_KIND_ALIGNED:
		if (e->size <= c->glibc.tcache_most)
			pop(c, e->addr);
		return true;
	case TIDE_KIND_FREE:
		t = freed->addr ? thread_of(c, e->tid) : NULL;
		return !freed->addr || (t && push(c, t, freed));
	case TIDE_KIND_REALLOC_FREE:
		t = thread_of(c, e->tid);
		if (t)
			t->moving = *freed;
		return t != NULL;
	case TIDE_KIND_REALLOC_ALLOC:
		pop(c, e->addr);
		t = thread_of(c, e->tid);
		if (!t)
			return false;
		moved = t->moving;
		t->moving.addr = 0;
		return !moved.addr || moved.addr == e->addr || push(c, t, &moved);
	default:
		return true;
	}
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

bool tide_caches_list(const struct tide_caches *c, const uint32_t *alive, size_t alives, struct tide_cached *ret)
{
	struct tide_cached list = {0};
	size_t most = HASH_COUNT(c->place);
	struct entry *entry = malloc((most + 1) * sizeof *entry);
	list.addr = malloc((most + 1) * sizeof *list.addr);
	list.size = malloc((most + 1) * sizeof *list.size);
	if (!entry || !list.addr || !list.size) {
		free(entry);
		tide_cached_release(&list);
		return false;
	}
	for (const struct tide_cache_thread *t = c->thread; t; t = t->hh.next) {
		if (!lives(t->tid, alive, alives))
			continue;
		for (uint32_t i = 0; i < BINS; i++) {
			for (uint32_t k = 0; k < t->bin[i].count && list.count < most; k++)
				entry[list.count++] = (struct entry){t->bin[i].addr[k], TIDE_CHUNK_MIN + 16 * i};
			if (t->bin[i].used)
				list.error_chunks += c->glibc.tcache_count - t->bin[i].count;
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
	*l = (struct tide_cached){0};
}
