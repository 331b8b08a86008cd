#include "analyze/units.h"

#include <stdlib.h>
#include <string.h>

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

#define UNITS_MOST 30000u /* different sets of sites; the bytes of further ones are counted only */

struct tide_unit_index { /* of a unit, by its sites */
	uint32_t unit;
	UT_hash_handle hh;
	uint32_t site[]; /* the key */
};

/* Distinct sites, ascending; one more than is of use says that there are too many. */
struct holders {
	uint32_t count;
	uint32_t site[TIDE_UNIT_SITES + 1];
};

static void hold(struct holders *h, uint32_t site)
{
	uint32_t low = 0, high = h->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (h->site[middle] < site)
			low = middle + 1;
		else
			high = middle;
	}
	if ((low < h->count && h->site[low] == site) || h->count > TIDE_UNIT_SITES)
		return;
	memmove(h->site + low + 1, h->site + low, (h->count - low) * sizeof *h->site);
	h->site[low] = site;
	h->count++;
}

static bool grow(void **array, uint32_t *cap, uint32_t wanted, size_t size)
{
	uint32_t bigger = *cap ? *cap : 256;
	while (bigger < wanted)
		bigger *= 2;
	if (bigger == *cap)
		return true;
	void *more = realloc(*array, bigger * size);
	if (!more)
		return false;
	*array = more;
	*cap = bigger;
	return true;
}

static struct tide_unit *new_unit(struct tide_units *u, const struct holders *h)
{
	size_t key = h->count * sizeof *h->site;
	struct tide_unit_index *e = calloc(1, sizeof *e + key);
	if (!e || !grow((void **)&u->unit, &u->cap, u->units + 1, sizeof *u->unit) ||
	    !grow((void **)&u->site, &u->sites_cap, u->sites + h->count, sizeof *u->site)) {
		free(e);
		return NULL;
	}
	e->unit = u->units;
	memcpy(e->site, h->site, key);
	HASH_ADD(hh, u->index, site, key, e);
	if (!e->hh.tbl) {
		free(e);
		return NULL;
	}
	memcpy(u->site + u->sites, h->site, key);
	u->unit[u->units] = (struct tide_unit){.first = u->sites, .count = h->count};
	u->sites += h->count;
	return &u->unit[u->units++];
}

/* False: no memory. */
static bool add(struct tide_units *u, const struct holders *h, uint64_t bytes)
{
	struct tide_unit_index *e;
	struct tide_unit *unit;
	u->total += bytes;
	if (bytes == 0 || h->count == 0 || h->count > TIDE_UNIT_SITES)
		return true;
	HASH_FIND(hh, u->index, h->site, h->count * sizeof *h->site, e);
	if (!e && u->units >= UNITS_MOST)
		return true;
	unit = e ? &u->unit[e->unit] : new_unit(u, h);
	if (unit)
		unit->bytes += bytes;
	return unit != NULL;
}

static bool add_arena(struct tide_units *u, struct tide_join *j, struct tide_arena *a)
{
	struct holders h = {0};
	uint64_t known = 0;
	for (size_t i = tide_join_block(j, a->base); i < j->blocks && j->block[i].addr < a->base + a->reserved;
	     i++, known++)
		hold(&h, j->block[i].site);
	if (a->live_blocks == 0)
		return true;
	a->holders = h.count;
	if (!tide_join_tells(known, a->live_blocks)) { /* blocks of unknown sites hold it too */
		a->holders = 0;
		h.count = 0;
	}
	return add(u, &h, a->stranded);
}

struct page {
	uint64_t at; /* address; 0: none in hand */
	uint64_t used;
	struct holders by;
};

static bool close_page(struct tide_units *u, const struct tide_join *j, struct page *p)
{
	bool ok = true;
	if (p->at && p->used < TIDE_SPACE_PAGE && tide_space_anon(&j->space, p->at, p->at + TIDE_SPACE_PAGE))
		ok = add(u, &p->by, TIDE_SPACE_PAGE - p->used);
	p->by.count = 0;
	p->used = 0;
	p->at = 0;
	return ok;
}

static bool touch(struct tide_units *u, const struct tide_join *j, struct page *p, const uint64_t range[2],
		  uint32_t site)
{
	uint64_t at = range[0] / TIDE_SPACE_PAGE * TIDE_SPACE_PAGE;
	bool ok = p->at == at || close_page(u, j, p);
	p->at = at;
	p->used += range[1] - range[0];
	hold(&p->by, site);
	return ok;
}

/* The first and the last page of each block; those in between are all its own. */
static bool add_heap(struct tide_units *u, const struct tide_join *j, const struct tide_heap *heap)
{
	struct page page = {0};
	bool ok = true;
	for (size_t i = heap->first; i < heap->first + heap->count && ok; i++) {
		const struct tide_block_live *b = &j->block[i];
		uint64_t from, to;
		if (b->flags & TIDE_BLOCK_PYTHON)
			continue;
		tide_heap_chunk(heap, b, &from, &to);
		uint64_t next = (from / TIDE_SPACE_PAGE + 1) * TIDE_SPACE_PAGE;
		uint64_t last = (to - 1) / TIDE_SPACE_PAGE * TIDE_SPACE_PAGE;
		ok = touch(u, j, &page, (uint64_t[2]){from, to < next ? to : next}, b->site);
		if (ok && last >= next)
			ok = touch(u, j, &page, (uint64_t[2]){last, to}, b->site);
	}
	return close_page(u, j, &page) && ok;
}

enum tide_status tide_units_init(struct tide_units *u, struct tide_join *j)
{
	*u = (struct tide_units){0};
	bool ok = true;
	for (uint32_t i = 0; i < j->a->arenas && ok; i++)
		if (strcmp(j->a->arena[i].kind, "pymalloc") == 0)
			ok = add_arena(u, j, &j->a->arena[i]);
	for (uint32_t i = 0; i < j->heaps.heaps && ok && j->known_allocator; i++)
		if (j->heaps.heap[i].kind != TIDE_HEAP_MAPPED)
			ok = add_heap(u, j, &j->heaps.heap[i]);
	if (ok)
		return TIDE_OK;
	tide_units_release(u);
	return TIDE_ERR_NOMEM;
}

void tide_units_release(struct tide_units *u)
{
	struct tide_unit_index *e, *next;
	HASH_ITER(hh, u->index, e, next)
	{
		HASH_DEL(u->index, e);
		free(e);
	}
	free(u->unit);
	free(u->site);
	*u = (struct tide_units){0};
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
