/*
 * RSS, row by row. What an allocator's model claims is claimed by address; the rest of the resident pages goes by the kind of
 * mapping they are in. The rows come from pages, RSS from the kernel: what is left between them is told as unexplained.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/join.h"

#define BIG_ENOUGH (UINT64_C(16) << 10) /* free memory of an arena below this is nobody's worry */
#define GUARD_MOST (UINT64_C(1) << 20)

const char *tide_row_name(enum tide_row row)
{
	static const char *const names[TIDE_ROWS] = {
		"live",          "allocator_overhead",     "pinned_waste",        "trimmable",
		"pymalloc_live", "pymalloc_free_in_pools", "pymalloc_free_pools", "mmap_direct",
		"thread_stacks", "file_private",           "file_shared",         "tidemark",
	};
	return names[row];
}

const char *tide_consequence_text(enum tide_consequence c)
{
	static const char *const text[] = {
		[TIDE_CONSEQUENCE_UNKNOWN] = "unknown",
		[TIDE_CONSEQUENCE_NOTHING] = "nothing to return",
		[TIDE_CONSEQUENCE_RETURNED] = "returned by itself",
		[TIDE_CONSEQUENCE_TRIM] = "returned by malloc_trim",
		[TIDE_CONSEQUENCE_WHEN_DEAD] = "only when its blocks die",
		[TIDE_CONSEQUENCE_NEVER] = "never",
	};
	return text[c];
}

const char *tide_consequence_name(enum tide_consequence c)
{
	static const char *const name[] = {
		[TIDE_CONSEQUENCE_UNKNOWN] = "unknown",     [TIDE_CONSEQUENCE_NOTHING] = "nothing",
		[TIDE_CONSEQUENCE_RETURNED] = "by_itself",  [TIDE_CONSEQUENCE_TRIM] = "malloc_trim",
		[TIDE_CONSEQUENCE_WHEN_DEAD] = "when_dead", [TIDE_CONSEQUENCE_NEVER] = "never",
	};
	return name[c];
}

bool tide_join_is_stack(const struct tide_space *s, uint32_t region)
{
	const struct tide_space_region *r = &s->region[region], *below = region ? r - 1 : NULL;
	if (r->flags & TIDE_REGION_STACK)
		return true;
	/* allocatestack.c: a mapping without access, made writable but for the guard at its low end */
	return tide_space_is_anonymous(r) && !(r->flags & TIDE_REGION_HEAP) && r->start % TIDE_HEAP_MAX != 0 && below &&
	       below->end == r->start && !(below->flags & (TIDE_REGION_READ | TIDE_REGION_WRITE | TIDE_REGION_EXEC)) &&
	       below->inode == 0 && below->end - below->start <= GUARD_MOST &&
	       below->end - below->start < r->end - r->start;
}

uint64_t tide_join_stacks(const struct tide_space *s)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < s->regions; i++)
		if (tide_join_is_stack(s, i))
			bytes += tide_space_anon(s, s->region[i].start, s->region[i].end);
	return bytes;
}

static bool add_arena(struct tide_analysis *a, const struct tide_arena *arena)
{
	if ((a->arenas & (a->arenas - 1)) == 0) {
		struct tide_arena *more = realloc(a->arena, (a->arenas ? a->arenas * 2ull : 1) * sizeof *more);
		if (!more)
			return false;
		a->arena = more;
	}
	a->arena[a->arenas++] = *arena;
	return true;
}

/* ---- the map of an arena ---- */

/* Live bytes of each part of [base, base + reserved). */
struct cells {
	uint64_t base, reserved, each; /* each: bytes of a part, whole pages */
	uint64_t live[TIDE_ARENA_CELLS];
};

static struct cells cells_of(uint64_t base, uint64_t reserved)
{
	uint64_t pages = (reserved + TIDE_SPACE_PAGE - 1) / TIDE_SPACE_PAGE;
	uint64_t each = (pages + TIDE_ARENA_CELLS - 1) / TIDE_ARENA_CELLS;
	return (struct cells){.base = base, .reserved = reserved, .each = (each ? each : 1) * TIDE_SPACE_PAGE};
}

static void add_live_range(struct cells *c, uint64_t start, uint64_t end)
{
	while (start >= c->base && start < end && start - c->base < c->reserved) {
		uint64_t cell = (start - c->base) / c->each, next = c->base + (cell + 1) * c->each;
		uint64_t to = next < end ? next : end;
		if (cell >= TIDE_ARENA_CELLS)
			break;
		c->live[cell] += to - start;
		start = to;
	}
}

static void draw(const struct cells *c, const struct tide_space *s, char *ret)
{
	uint64_t end = c->base + c->reserved, at = c->base;
	unsigned i = 0;
	for (; i < TIDE_ARENA_CELLS && at < end; i++, at += c->each) {
		uint64_t to = at + c->each < end ? at + c->each : end, resident = tide_space_anon(s, at, to);
		ret[i] = resident == 0               ? TIDE_CELL_ABSENT
			 : c->live[i] == 0           ? TIDE_CELL_STRANDED
			 : c->live[i] < resident / 2 ? TIDE_CELL_THIN
						     : TIDE_CELL_LIVE;
	}
	ret[i] = '\0';
}

static void map_pools(const struct tide_space *s, const struct tide_space_arena *p, char *ret)
{
	struct cells c = cells_of(p->base, p->bytes);
	for (uint32_t i = 0; i < p->pools; i++) {
		const struct tide_space_pool *pool = &s->pool[p->pool + i];
		uint64_t at = p->first_pool + (uint64_t)i * p->pool_bytes;
		uint64_t live = pool->never_used || pool->free_pool ? 0 : pool->live * (pool->size_class + 1ull) * 16;
		uint64_t step = p->pool_bytes < c.each ? p->pool_bytes : c.each;
		/* where in a pool its blocks are is not told: they are spread over it */
		for (uint64_t k = 0; k < p->pool_bytes; k += step)
			add_live_range(&c, at + k, at + k + live * step / p->pool_bytes);
	}
	draw(&c, s, ret);
}

static void map_heap(const struct tide_join *j, const struct tide_heap *h, char *ret)
{
	struct cells c = cells_of(h->start, h->end - h->start);
	for (size_t i = h->first; i < h->first + h->count; i++)
		if (!(j->block[i].flags & TIDE_BLOCK_PYTHON))
			add_live_range(&c, j->block[i].addr, j->block[i].addr + j->block[i].size);
	draw(&c, &j->space, ret);
}

/* ---- pymalloc ---- */

static bool pymalloc_rows(struct tide_join *j)
{
	uint64_t *row = j->a->ledger.row;
	struct tide_pymalloc_sum sum;
	for (uint32_t i = 0; i < j->space.arenas; i++) {
		const struct tide_space_arena *p = &j->space.arena[i];
		tide_pymalloc_sum(&j->space, p, &sum);
		row[TIDE_ROW_PY_LIVE] += sum.live;
		row[TIDE_ROW_PY_FREE_IN_POOLS] += sum.free_in_pools;
		row[TIDE_ROW_PY_FREE_POOLS] += sum.free_pools;
		/* pymalloc keeps one arena without an object in it (Objects/obmalloc.c, insert_to_freepool) */
		bool spare = sum.live_blocks == 0 && j->a->ledger.reserve == 0;
		struct tide_arena arena = {
			.kind = "pymalloc",
			.base = p->base,
			.reserved = p->bytes,
			.resident = sum.resident,
			.live_bytes = sum.live_bytes,
			.live_blocks = sum.live_blocks,
			.stranded = spare ? 0 : sum.resident - sum.live,
			.reserve = spare ? sum.resident : 0,
		};
		j->a->ledger.reserve += arena.reserve;
		arena.consequence = arena.stranded + arena.reserve < BIG_ENOUGH ? TIDE_CONSEQUENCE_NOTHING
				    : arena.live_blocks                         ? TIDE_CONSEQUENCE_WHEN_DEAD
										: TIDE_CONSEQUENCE_NEVER;
		map_pools(&j->space, p, arena.map);
		if (!add_arena(j->a, &arena))
			return false;
	}
	return true;
}

/* ---- malloc heaps ---- */

static const char *kind_of(const struct tide_join *j, const struct tide_heap *h)
{
	switch (h->kind) {
	case TIDE_HEAP_MAIN:
		return "glibc-main";
	case TIDE_HEAP_THREAD:
		return "glibc-thread";
	case TIDE_HEAP_MAPPED:
		return "glibc-mmap";
	default:
		return j->known_allocator ? "glibc-main" : "other";
	}
}

static enum tide_consequence consequence_of(const struct tide_join *j, const struct tide_arena *a,
					    const struct tide_heap_sum *sum)
{
	if (!j->known_allocator)
		return TIDE_CONSEQUENCE_UNKNOWN;
	if (a->stranded < BIG_ENOUGH)
		return TIDE_CONSEQUENCE_NOTHING;
	if (a->by_itself >= a->stranded / 2)
		return TIDE_CONSEQUENCE_RETURNED;
	if (a->trim >= a->stranded / 2)
		return TIDE_CONSEQUENCE_TRIM;
	/* the top of a thread heap: malloc_trim leaves it, free cuts it only above the threshold */
	return sum->top >= a->stranded / 2 ? TIDE_CONSEQUENCE_NEVER : TIDE_CONSEQUENCE_WHEN_DEAD;
}

static void add_rows(struct tide_ledger *l, const struct tide_heap_sum *sum)
{
	l->row[TIDE_ROW_LIVE] += sum->live;
	l->row[TIDE_ROW_OVERHEAD] += sum->overhead;
	l->row[TIDE_ROW_PINNED_WASTE] += sum->pinned_waste;
	l->row[TIDE_ROW_TRIMMABLE] += sum->trimmable;
	l->trim += sum->trim;
}

static struct tide_arena heap_arena(const struct tide_join *j, const struct tide_heap *h,
				    const struct tide_heap_sum *sum)
{
	struct tide_arena a = {
		.kind = kind_of(j, h),
		.base = h->start,
		.reserved = h->end - h->start,
		.resident = sum->live + sum->overhead + sum->pinned_waste + sum->trimmable,
		.live_bytes = sum->live_bytes,
		.live_blocks = sum->live_blocks,
		.stranded = sum->pinned_waste + sum->trimmable,
		.trim = sum->trim,
		.by_itself = tide_heap_cut(&j->space, h, sum->top_size, j->trim_threshold),
		.mappings = h->kind == TIDE_HEAP_MAPPED,
	};
	a.consequence = consequence_of(j, &a, sum);
	if (h->kind != TIDE_HEAP_MAPPED)
		map_heap(j, h, a.map);
	return a;
}

/* Blocks with mappings of their own are one row together: there may be thousands. */
static void merge_mapped(struct tide_arena *all, const struct tide_arena *one)
{
	if (!all->kind) {
		*all = *one;
		return;
	}
	all->reserved += one->reserved;
	all->resident += one->resident;
	all->live_bytes += one->live_bytes;
	all->live_blocks += one->live_blocks;
	all->stranded += one->stranded;
	all->mappings += one->mappings;
}

static bool heap_rows(struct tide_join *j)
{
	struct tide_ledger *l = &j->a->ledger;
	struct tide_arena mapped = {0};
	for (uint32_t i = 0; i < j->heaps.heaps; i++) {
		const struct tide_heap *h = &j->heaps.heap[i];
		struct tide_heap_sum sum;
		tide_heap_sum(&j->heaps, h, NULL, &sum);
		add_rows(l, &sum);
		struct tide_arena arena = heap_arena(j, h, &sum);
		l->by_itself += arena.by_itself;
		if (h->kind == TIDE_HEAP_MAPPED)
			merge_mapped(&mapped, &arena);
		else if (!add_arena(j->a, &arena))
			return false;
	}
	l->trim_known = j->known_allocator;
	l->trim_error = j->cached.error_chunks * TIDE_SPACE_PAGE;
	if (l->trim_error > l->trim)
		l->trim_error = l->trim;
	return !mapped.kind || add_arena(j->a, &mapped);
}

/* ---- everything else ---- */

/* Anonymous resident bytes of [start, end) that a heap or an arena has accounted for. */
static uint64_t claimed(const struct tide_join *j, uint64_t start, uint64_t end)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < j->heaps.heaps; i++) {
		const struct tide_heap *h = &j->heaps.heap[i];
		if (h->start < end && h->end > start)
			bytes += tide_space_anon(&j->space, h->start > start ? h->start : start,
						 h->end < end ? h->end : end);
	}
	for (uint32_t i = 0; i < j->space.arenas; i++) {
		const struct tide_space_arena *p = &j->space.arena[i];
		uint64_t p_end = p->base + p->bytes;
		if (p->base < end && p_end > start)
			bytes += tide_space_anon(&j->space, p->base > start ? p->base : start,
						 p_end < end ? p_end : end);
	}
	return bytes;
}

/* Static data that begins as zeros: the loader maps it behind the module's writable pages, without a file (binfmt_elf.c; dl-map-segments.h). */
static bool is_static_data(const struct tide_space *s, uint32_t region)
{
	const struct tide_space_region *r = &s->region[region], *below = region ? r - 1 : NULL;
	return tide_space_is_anonymous(r) && !(r->flags & TIDE_REGION_HEAP) && below && below->end == r->start &&
	       below->inode && (below->flags & (TIDE_REGION_WRITE | TIDE_REGION_SHARED)) == TIDE_REGION_WRITE;
}

static enum tide_row row_of(const struct tide_join *j, uint32_t region)
{
	const struct tide_space_region *r = &j->space.region[region];
	if (r->flags & TIDE_REGION_OURS || strncmp(r->name, "libtidemark.so", 14) == 0)
		return TIDE_ROW_TIDEMARK;
	if (tide_join_is_stack(&j->space, region))
		return TIDE_ROW_STACKS;
	return r->inode || is_static_data(&j->space, region) ? TIDE_ROW_FILE_PRIVATE : TIDE_ROW_MMAP_DIRECT;
}

/* A file that is mapped executable somewhere is a program or a library. */
static bool is_data_file(const struct tide_space *s, const struct tide_space_region *r)
{
	if (!r->inode || r->flags & (TIDE_REGION_OURS | TIDE_REGION_EXEC))
		return false;
	for (uint32_t i = 0; i < s->regions; i++)
		if (s->region[i].inode == r->inode && s->region[i].flags & TIDE_REGION_EXEC)
			return false;
	return true;
}

static void region_rows(struct tide_join *j)
{
	uint64_t *row = j->a->ledger.row;
	for (uint32_t i = 0; i < j->space.regions; i++) {
		const struct tide_space_region *r = &j->space.region[i];
		enum tide_row kind = row_of(j, i);
		uint64_t anon = tide_space_anon(&j->space, r->start, r->end);
		uint64_t taken = claimed(j, r->start, r->end);
		row[kind] += anon > taken ? anon - taken : 0;
		row[kind == TIDE_ROW_TIDEMARK ? kind : TIDE_ROW_FILE_SHARED] +=
			tide_space_file(&j->space, r->start, r->end);
		j->a->ledger.swapped += r->swapped;
		if (is_data_file(&j->space, r))
			j->a->ledger.data_files += tide_space_file(&j->space, r->start, r->end);
	}
}

enum tide_status tide_join_ledger(struct tide_join *j)
{
	struct tide_ledger *l = &j->a->ledger;
	*l = (struct tide_ledger){
		.known = j->space.has_rss,
		.at_ns = j->space.at_ns,
		.rss = j->space.rss.resident,
		.peak_rss = j->space.rss.peak,
		.threads = j->space.threads,
	};
	tide_pymalloc_stats(&j->space, &j->a->pymalloc);
	j->a->pools_by_census =
		j->space.arenas > 0 && tide_log_process(j->log)->super.python_mode != TIDE_PYTHON_OBJECTS;
	if (!pymalloc_rows(j) || !heap_rows(j))
		return TIDE_ERR_NOMEM;
	region_rows(j);
	for (uint32_t i = 0; i < j->a->arenas; i++)
		l->stranded += j->a->arena[i].stranded;
	return TIDE_OK;
}
