/*
 * What is live joined with what is resident: the ledger, the arenas, the pins. The census' regions come in address order within
 * a mapping; the live blocks are sorted by address; both are walked page by page.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/analysis.h"
#include "read/census.h"

#define PAGE UINT64_C(4096)
#define CHUNK_OVERHEAD 8u             /* glibc malloc.c: the size word; blocks are rounded to 16, at least 32 with it */
#define HEAP_MAX (UINT64_C(64) << 20) /* glibc arena.c on 64 bit: thread heaps lie at multiples of this */

struct join {
	struct tide_analysis *a;
	struct tide_block_live *block; /* sorted by address */
	size_t blocks;
	struct tide_arena *pymalloc; /* sorted by base */
	uint32_t pymallocs;
	uint64_t resident_pools_live, pools_free, in_pools_free;
};

const char *tide_row_name(enum tide_row row)
{
	static const char *const names[TIDE_ROWS] = {
		"live",          "allocator_overhead",     "pinned_waste",        "trimmable",
		"pymalloc_live", "pymalloc_free_in_pools", "pymalloc_free_pools", "mmap_direct",
		"thread_stacks", "file_private",           "file_shared",         "tidemark",
	};
	return names[row];
}

static int by_address(const void *a, const void *b)
{
	const struct tide_block_live *x = a, *y = b;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool sort_blocks(struct join *j)
{
	const struct tide_blocks *live = &j->a->state.blocks;
	j->block = malloc((live->used + 1) * sizeof *j->block);
	if (!j->block)
		return false;
	for (size_t i = 0; i < live->slots; i++)
		if (live->slot[i].addr)
			j->block[j->blocks++] = live->slot[i];
	qsort(j->block, j->blocks, sizeof *j->block, by_address);
	return true;
}

/* First block that begins at or after addr. */
static size_t block_from(const struct join *j, uint64_t addr)
{
	size_t low = 0, high = j->blocks;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (j->block[middle].addr < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t chunk_of(uint64_t size)
{
	uint64_t chunk = (size + CHUNK_OVERHEAD + 15) / 16 * 16;
	return chunk < 32 ? 32 : chunk;
}

static uint64_t overlap(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
	uint64_t low = a > b ? a : b, high = a_end < b_end ? a_end : b_end;
	return high > low ? high - low : 0;
}

/* One resident page of a malloc heap. *next: the first block that may reach into it. */
static void heap_page(struct join *j, uint64_t page, size_t *next, struct tide_arena *arena)
{
	uint64_t live = 0, chunks = 0;
	while (*next < j->blocks && j->block[*next].addr - CHUNK_OVERHEAD + chunk_of(j->block[*next].size) <= page)
		++*next;
	for (size_t i = *next; i < j->blocks && j->block[i].addr - CHUNK_OVERHEAD < page + PAGE; i++) {
		const struct tide_block_live *b = &j->block[i];
		uint64_t chunk = b->addr - CHUNK_OVERHEAD;
		live += overlap(b->addr, b->addr + b->size, page, page + PAGE);
		chunks += overlap(chunk, chunk + chunk_of(b->size), page, page + PAGE);
	}
	if (chunks < live)
		chunks = live;
	if (chunks > PAGE) /* sizes of another allocator than this model's */
		chunks = PAGE;
	if (live > chunks)
		live = chunks;
	uint64_t *row = j->a->ledger.row;
	row[TIDE_ROW_LIVE] += live;
	row[TIDE_ROW_OVERHEAD] += chunks - live;
	row[chunks ? TIDE_ROW_PINNED_WASTE : TIDE_ROW_TRIMMABLE] += PAGE - chunks;
	arena->resident += PAGE;
	arena->stranded += PAGE - chunks;
}

static bool in_pymalloc(const struct join *j, uint64_t page)
{
	for (uint32_t i = 0; i < j->pymallocs; i++)
		if (page >= j->pymalloc[i].base && page < j->pymalloc[i].base + j->pymalloc[i].reserved)
			return true;
	return false;
}

static enum tide_row row_of(const struct tide_census_region *r, enum tide_page_state state)
{
	bool library = r->path_len > 0 && memmem(r->path, r->path_len, "libtidemark.so", 14);
	if (r->flags & TIDE_REGION_OURS || library)
		return TIDE_ROW_TIDEMARK;
	if (r->flags & TIDE_REGION_STACK)
		return TIDE_ROW_STACKS;
	if (state == TIDE_PAGE_FILE)
		return TIDE_ROW_FILE_SHARED;
	return r->inode ? TIDE_ROW_FILE_PRIVATE : TIDE_ROW_MMAP_DIRECT;
}

static bool add_arena(struct tide_analysis *a, const struct tide_arena *arena)
{
	struct tide_arena *all = realloc(a->arena, (a->arenas + 1) * sizeof *all);
	if (!all)
		return false;
	a->arena = all;
	a->arena[a->arenas++] = *arena;
	return true;
}

/* A malloc heap: brk, a thread heap, or a mapping that holds blocks. */
static const char *heap_kind(const struct join *j, const struct tide_census_region *r)
{
	uint64_t end = r->start + r->pages * PAGE;
	if (r->flags & TIDE_REGION_HEAP)
		return "glibc-main";
	if (r->inode || r->flags & (TIDE_REGION_OURS | TIDE_REGION_STACK | TIDE_REGION_SHARED))
		return NULL;
	size_t first = block_from(j, r->start);
	bool blocks = first < j->blocks && j->block[first].addr < end && !(j->block[first].flags & TIDE_BLOCK_PYTHON);
	if (blocks && r->start % HEAP_MAX == 0)
		return "glibc-thread";
	return blocks ? "glibc-mmap" : NULL;
}

static bool region(struct join *j, struct tide_census_region *r)
{
	const char *kind = heap_kind(j, r);
	struct tide_arena arena = {.kind = kind, .base = r->start, .reserved = r->pages * PAGE};
	uint64_t page = r->start, pages;
	size_t next = block_from(j, r->start > (1u << 20) ? r->start - (1u << 20) : 0);
	enum tide_page_state state;
	while (tide_region_run(r, &pages, &state)) {
		for (uint64_t i = 0; i < pages; i++, page += PAGE) {
			if (state != TIDE_PAGE_ANON && state != TIDE_PAGE_FILE)
				continue;
			if (state == TIDE_PAGE_ANON && in_pymalloc(j, page))
				j->a->ledger.row[TIDE_ROW_PY_LIVE] += PAGE; /* split by pools afterwards */
			else if (kind && state == TIDE_PAGE_ANON)
				heap_page(j, page, &next, &arena);
			else
				j->a->ledger.row[row_of(r, state)] += PAGE;
		}
	}
	for (size_t i = block_from(j, r->start);
	     kind && i < j->blocks && j->block[i].addr < arena.base + arena.reserved; i++) {
		arena.live_bytes += j->block[i].size;
		arena.live_blocks++;
	}
	return !kind || add_arena(j->a, &arena);
}

/* Pools, from their headers: what is live in them is known without any event. */
static bool pyarena(struct join *j, struct tide_census_pyarena *p)
{
	struct tide_arena arena = {.kind = "pymalloc", .base = p->base, .reserved = p->bytes, .resident = 0};
	struct tide_census_pool pool;
	while (tide_pyarena_pool(p, &pool)) {
		if (pool.never_used)
			continue;
		arena.resident += p->pool_bytes;
		uint64_t live = pool.free_pool ? 0 : pool.live * (pool.size_class + 1u) * 16u;
		if (live > p->pool_bytes)
			live = p->pool_bytes;
		arena.live_bytes += live;
		arena.live_blocks += pool.free_pool ? 0 : pool.live;
		j->resident_pools_live += live;
		if (pool.free_pool)
			j->pools_free += p->pool_bytes;
		else
			j->in_pools_free += p->pool_bytes - live;
	}
	arena.stranded = arena.resident - arena.live_bytes;
	return add_arena(j->a, &arena);
}

/* Pools were told by header, residency by page: the resident bytes are split in the proportion of the pools. */
static void split_pymalloc(struct join *j)
{
	uint64_t *row = j->a->ledger.row, resident = row[TIDE_ROW_PY_LIVE];
	uint64_t live = j->resident_pools_live, in_pools = j->in_pools_free;
	row[TIDE_ROW_PY_LIVE] = live < resident ? live : resident;
	resident -= row[TIDE_ROW_PY_LIVE];
	row[TIDE_ROW_PY_FREE_IN_POOLS] = in_pools < resident ? in_pools : resident;
	row[TIDE_ROW_PY_FREE_POOLS] = resident - row[TIDE_ROW_PY_FREE_IN_POOLS];
}

static enum tide_status walk(struct join *j, const struct tide_census_blob *blob, bool arenas)
{
	struct tide_census census;
	struct tide_census_item item;
	int more = -1;
	if (!tide_census_init(&census, blob->bytes, blob->len))
		return TIDE_ERR_BAD;
	while ((more = tide_census_next(&census, &item)) == 1) {
		bool ok = true;
		if (item.kind == TIDE_RECORD_PYARENA && arenas)
			ok = pyarena(j, &item.pyarena);
		else if (item.kind == TIDE_RECORD_REGION && !arenas)
			ok = region(j, &item.region);
		else if (item.kind == TIDE_RECORD_RSS && !arenas) {
			j->a->ledger.known = true;
			j->a->ledger.rss = item.rss.resident;
			j->a->ledger.peak_rss = item.rss.peak;
		}
		if (!ok)
			return TIDE_ERR_NOMEM;
	}
	return more < 0 ? TIDE_ERR_BAD : TIDE_OK;
}

struct held { /* a site in an arena */
	uint32_t site, arena;
	uint64_t blocks, bytes;
};

static int by_site(const void *a, const void *b)
{
	const struct held *x = a, *y = b;
	return x->site != y->site ? (x->site < y->site ? -1 : 1) : x->arena < y->arena ? -1 : x->arena > y->arena;
}

static int best_first(const void *a, const void *b)
{
	const struct tide_pin *x = a, *y = b;
	if (x->pins_bytes != y->pins_bytes)
		return x->pins_bytes < y->pins_bytes ? 1 : -1;
	if (x->blocks != y->blocks)
		return x->blocks < y->blocks ? -1 : 1;
	return x->site < y->site ? -1 : x->site > y->site;
}

static bool gather_pins(struct tide_analysis *a, const struct held *held, size_t count)
{
	a->pin = calloc(count + 1, sizeof *a->pin);
	if (!a->pin)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct tide_arena *arena = &a->arena[held[i].arena];
		if (a->pins == 0 || a->pin[a->pins - 1].site != held[i].site)
			a->pin[a->pins++] = (struct tide_pin){.site = held[i].site};
		struct tide_pin *p = &a->pin[a->pins - 1];
		p->arenas++;
		p->blocks += held[i].blocks;
		p->bytes += held[i].bytes;
		p->pins_bytes += arena->stranded;
		if (arena->only_site == held[i].site + 1ull)
			p->releases_bytes += arena->resident;
	}
	qsort(a->pin, a->pins, sizeof *a->pin, best_first);
	return true;
}

/* One entry for each (arena, site) with live blocks. Arenas' blocks are few sites each, so a scan finds them. */
static bool pins(struct join *j)
{
	struct tide_analysis *a = j->a;
	struct held *held = malloc((j->blocks + 1) * sizeof *held);
	size_t count = 0;
	if (!held)
		return false;
	for (uint32_t i = 0; i < a->arenas; i++) {
		struct tide_arena *arena = &a->arena[i];
		size_t first = count;
		if (strcmp(arena->kind, "pymalloc") != 0)
			continue;
		for (size_t b = block_from(j, arena->base);
		     b < j->blocks && j->block[b].addr < arena->base + arena->reserved; b++) {
			size_t at = first;
			while (at < count && held[at].site != j->block[b].site)
				at++;
			if (at == count)
				held[count++] = (struct held){.site = j->block[b].site, .arena = i};
			held[at].blocks++;
			held[at].bytes += j->block[b].size;
		}
		arena->only_site = count == first + 1 ? held[first].site + 1ull : 0;
	}
	qsort(held, count, sizeof *held, by_site);
	bool ok = gather_pins(a, held, count);
	free(held);
	return ok;
}

static enum tide_status join(struct join *j, const struct tide_census_blob *blob)
{
	enum tide_status status = walk(j, blob, true);
	if (status)
		return status;
	/* a copy: `arena` grows while regions are walked */
	j->pymallocs = j->a->arenas;
	j->pymalloc = malloc((j->pymallocs + 1) * sizeof *j->pymalloc);
	if (!j->pymalloc)
		return TIDE_ERR_NOMEM;
	if (j->pymallocs)
		memcpy(j->pymalloc, j->a->arena, j->pymallocs * sizeof *j->pymalloc);
	j->a->ledger.at_ns = blob->time_ns;
	status = walk(j, blob, false);
	split_pymalloc(j);
	return !status && !pins(j) ? TIDE_ERR_NOMEM : status;
}

enum tide_status tide_analyze_census(struct tide_analysis *a, struct tide_log *log)
{
	struct tide_census_blob blob;
	struct tide_census census;
	enum tide_status status = TIDE_OK;
	uint32_t count = tide_log_census_count(log), chosen = UINT32_MAX;
	bool finalized = a->answer_index != UINT64_MAX;
	for (uint32_t i = 0; i < count; i++) {
		if (tide_log_census(log, i, &blob) || !blob.complete ||
		    !tide_census_init(&census, blob.bytes, blob.len))
			continue;
		/* the mark that ends the state has a census of its own, taken with it */
		if (finalized && census.reason == TIDE_WHY_EXIT)
			break;
		chosen = i;
		if (finalized && census.reason == TIDE_WHY_FINALIZING)
			break;
	}
	if (chosen == UINT32_MAX || tide_log_census(log, chosen, &blob))
		return TIDE_OK;
	struct join j = {.a = a};
	status = sort_blocks(&j) ? join(&j, &blob) : TIDE_ERR_NOMEM;
	free(j.block);
	free(j.pymalloc);
	if (status == TIDE_ERR_BAD) { /* a damaged census tells nothing, and spoils nothing */
		a->ledger = (struct tide_ledger){0};
		a->arenas = a->pins = 0;
		status = TIDE_OK;
	}
	return status;
}
