/*
 * Who holds memory that nothing uses: groups of sites whose live blocks sit in pymalloc's arenas, on pages of malloc's heaps, or
 * at their tops. What goes back when a whole group dies is computed for the group, not added up from its blocks.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/join.h"

struct chunk { /* one that stays, in a heap */
	uint64_t start, end;
	uint32_t group; /* TIDE_NO_GROUP: in a thread's cache, or of no known site */
};

struct gather {
	struct tide_join *j;
	struct tide_pin *pin;  /* by group */
	uint64_t *live;        /* by group: bytes of its blocks that go with what it releases */
	uint64_t *most_blocks; /* by group, of the site that `pin.site` is */
	uint32_t *in_arena;    /* by group: blocks in the arena in hand */
	uint64_t *by_site;     /* blocks by site */
	struct chunk *chunk;   /* of the heap in hand */
	size_t chunks;
};

static bool gather_init(struct gather *g, struct tide_join *j)
{
	size_t groups = j->a->groups + 1ull;
	*g = (struct gather){.j = j};
	g->pin = calloc(groups, sizeof *g->pin);
	g->live = calloc(groups, sizeof *g->live);
	g->most_blocks = calloc(groups, sizeof *g->most_blocks);
	g->in_arena = calloc(groups, sizeof *g->in_arena);
	g->by_site = calloc(j->state->sites + 1ull, sizeof *g->by_site);
	g->chunk = malloc((j->blocks + j->cached.count + 1) * sizeof *g->chunk);
	return g->pin && g->live && g->most_blocks && g->in_arena && g->by_site && g->chunk;
}

static void gather_release(struct gather *g)
{
	free(g->pin);
	free(g->live);
	free(g->most_blocks);
	free(g->in_arena);
	free(g->by_site);
	free(g->chunk);
}

/* ---- pymalloc ---- */

/* Counts the blocks in an arena by group; how many blocks are known, and in how many groups. */
static uint64_t count_groups(struct gather *g, size_t first, uint64_t end, uint32_t *ret_groups)
{
	uint64_t known = 0;
	*ret_groups = 0;
	for (size_t i = first; i < g->j->blocks && g->j->block[i].addr < end; i++) {
		uint32_t group = tide_join_group(g->j, &g->j->block[i]);
		if (group == TIDE_NO_GROUP)
			continue;
		*ret_groups += g->in_arena[group]++ == 0;
		known++;
	}
	return known;
}

static void arena_pins(struct gather *g, struct tide_arena *arena)
{
	struct tide_join *j = g->j;
	uint64_t end = arena->base + arena->reserved;
	size_t first = tide_join_block(j, arena->base);
	uint32_t groups;
	uint64_t known = count_groups(g, first, end, &groups);
	bool whole = known >= arena->live_blocks; /* else blocks of unknown sites hold it too */
	arena->holders = whole ? groups : 0;
	for (size_t i = first; i < j->blocks && j->block[i].addr < end; i++) {
		uint32_t group = tide_join_group(j, &j->block[i]);
		if (group == TIDE_NO_GROUP || g->in_arena[group] == 0)
			continue;
		struct tide_pin *p = &g->pin[group];
		p->arenas++;
		p->pins_bytes += arena->stranded;
		if (whole && groups == 1) {
			p->releases_bytes += arena->resident;
			p->returns_bytes += arena->resident;
			g->live[group] += arena->resident - arena->stranded;
		}
		g->in_arena[group] = 0;
	}
}

/* ---- malloc heaps ---- */

static void add_chunk(struct gather *g, uint64_t start, uint64_t end, uint32_t group)
{
	struct chunk *last = g->chunks ? &g->chunk[g->chunks - 1] : NULL;
	if (last && start < last->end)
		start = last->end;
	if (last && start - last->end < TIDE_CHUNK_MIN)
		last->end = start; /* too small to be a chunk of its own */
	if (end > start)
		g->chunk[g->chunks++] = (struct chunk){start, end, group};
}

static void list_chunks(struct gather *g, const struct tide_heap *heap)
{
	const struct tide_join *j = g->j;
	size_t cached = 0, end = heap->first + heap->count;
	g->chunks = 0;
	while (cached < j->cached.count && j->cached.addr[cached] < heap->start)
		cached++;
	for (size_t i = heap->first; i < end || (cached < j->cached.count && j->cached.addr[cached] < heap->end);) {
		bool more = cached < j->cached.count && j->cached.addr[cached] < heap->end;
		uint64_t from, to;
		if (i < end && (!more || j->block[i].addr <= j->cached.addr[cached])) {
			tide_heap_chunk(heap, &j->block[i], &from, &to);
			if (!(j->block[i].flags & TIDE_BLOCK_PYTHON))
				add_chunk(g, from, to, tide_join_group(j, &j->block[i]));
			i++;
		} else {
			from = j->cached.addr[cached] - TIDE_CHUNK_HEAD;
			add_chunk(g, from, from + j->cached.size[cached], TIDE_NO_GROUP);
			cached++;
		}
	}
}

/* malloc_trim's share of the stretch, with the top's rule at the top of the brk heap; a thread heap's top stays. */
static uint64_t gap(const struct gather *g, const struct tide_heap *heap, uint64_t start, uint64_t end)
{
	uint64_t page = TIDE_SPACE_PAGE;
	if (end < heap->end || heap->kind == TIDE_HEAP_SEGMENT)
		return tide_gap_trim(&g->j->space, start, end);
	if (heap->kind != TIDE_HEAP_MAIN)
		return 0;
	uint64_t keep = (start + TIDE_CHUNK_MIN + 1 + page - 1) / page * page;
	return end > keep ? tide_space_anon(&g->j->space, keep, end) : 0;
}

/* What free() itself gives back when the top grows down to `start`. */
static uint64_t top_cut(const struct gather *g, const struct tide_heap *heap, uint64_t start)
{
	uint64_t page = TIDE_SPACE_PAGE, top = heap->end - start, pad = TIDE_TOP_PAD + TIDE_CHUNK_MIN + 1;
	if ((heap->kind != TIDE_HEAP_MAIN && heap->kind != TIDE_HEAP_THREAD) || top < g->j->trim_threshold ||
	    top <= pad)
		return 0;
	uint64_t cut = (top - pad) / page * page;
	return tide_space_anon(&g->j->space, heap->end - cut, heap->end);
}

/* Chunks [first, last] are one group's, next to each other: without them their gaps are one. */
static void run_pins(struct gather *g, const struct tide_heap *heap, size_t first, size_t last)
{
	struct tide_pin *p = &g->pin[g->chunk[first].group];
	uint64_t left = first ? g->chunk[first - 1].end : heap->start + heap->own;
	uint64_t right = last + 1 < g->chunks ? g->chunk[last + 1].start : heap->end, at = left, before = 0, waste = 0;
	const struct tide_space *s = &g->j->space;
	for (size_t i = first; i <= last + 1; i++) {
		uint64_t next = i <= last ? g->chunk[i].start : right;
		before += next > at ? gap(g, heap, at, next) : 0;
		at = i <= last ? g->chunk[i].end : at;
	}
	uint64_t after = right > left ? gap(g, heap, left, right) : 0, cut = 0;
	if (right == heap->end) { /* the run holds the top */
		cut = top_cut(g, heap, left);
		uint64_t now = top_cut(g, heap, g->chunk[last].end);
		cut -= now < cut ? now : cut;
		if (heap->kind == TIDE_HEAP_THREAD)
			after = cut > after ? cut : after;
	}
	for (size_t i = first; i <= last; i++)
		waste += tide_space_anon(s, g->chunk[i].start, g->chunk[i].end);
	p->releases_bytes += after > before ? after - before : 0;
	p->returns_bytes += cut;
	g->live[p->group] += after > before ? (waste < after - before ? waste : after - before) : 0;
}

/* Dead bytes on pages that a chunk touches: before it down to its page's beginning or the chunk before, and likewise behind it. */
static void waste_pins(struct gather *g, const struct tide_heap *heap, size_t i)
{
	uint64_t page = TIDE_SPACE_PAGE;
	const struct chunk *c = &g->chunk[i];
	uint64_t low = c->start / page * page, high = (c->end + page - 1) / page * page;
	uint64_t left = i ? g->chunk[i - 1].end : heap->start + heap->own;
	uint64_t right = i + 1 < g->chunks ? g->chunk[i + 1].start : heap->end;
	bool same = i && g->chunk[i - 1].group == c->group && left / page == c->start / page;
	uint64_t from = low > left ? low : left, to = high < right ? high : right;
	uint64_t bytes = same || from >= c->start ? 0 : tide_space_anon(&g->j->space, from, c->start);
	bytes += to > c->end ? tide_space_anon(&g->j->space, c->end, to) : 0;
	g->pin[c->group].pins_bytes += bytes;
}

static void heap_pins(struct gather *g, const struct tide_heap *heap)
{
	struct tide_join *j = g->j;
	if (heap->kind == TIDE_HEAP_MAPPED) {
		uint32_t group = tide_join_group(j, &j->block[heap->first]);
		uint64_t resident = tide_space_anon(&j->space, heap->start, heap->end);
		if (group != TIDE_NO_GROUP) {
			g->pin[group].releases_bytes += resident;
			g->pin[group].returns_bytes += resident;
			g->live[group] += resident;
		}
		return;
	}
	list_chunks(g, heap);
	for (size_t first = 0, last; first < g->chunks; first = last + 1) {
		uint32_t group = g->chunk[first].group;
		for (last = first; last + 1 < g->chunks && g->chunk[last + 1].group == group; last++)
			;
		if (group == TIDE_NO_GROUP)
			continue;
		g->pin[group].group = group;
		run_pins(g, heap, first, last);
		for (size_t i = first; i <= last; i++)
			waste_pins(g, heap, i);
		g->pin[group].arenas += g->in_arena[group]++ == 0;
	}
	for (size_t i = 0; i < g->chunks; i++)
		if (g->chunk[i].group != TIDE_NO_GROUP)
			g->in_arena[g->chunk[i].group] = 0;
}

/* ---- all together ---- */

static void count_blocks(struct gather *g)
{
	const struct tide_join *j = g->j;
	for (size_t i = 0; i < j->blocks; i++) {
		uint32_t group = tide_join_group(j, &j->block[i]);
		if (group == TIDE_NO_GROUP)
			continue;
		struct tide_pin *p = &g->pin[group];
		uint64_t of_site = ++g->by_site[j->block[i].site];
		p->sites += of_site == 1;
		p->blocks++;
		p->bytes += j->block[i].size;
		if (of_site > g->most_blocks[group]) {
			g->most_blocks[group] = of_site;
			p->site = j->block[i].site;
		}
	}
}

/* Dead bytes freed, by block: the square favours few blocks without forgetting how much it is. */
static double worth(const struct tide_pin *p, uint64_t live)
{
	double freed = p->releases_bytes > live ? (double)(p->releases_bytes - live) : 0;
	return p->blocks ? freed * freed / (double)p->blocks : 0;
}

static int best_first(const void *a, const void *b, void *live_of_group)
{
	const struct tide_pin *x = a, *y = b;
	const uint64_t *live = live_of_group;
	double x_worth = worth(x, live[x->group]), y_worth = worth(y, live[y->group]);
	if (x_worth != y_worth)
		return x_worth < y_worth ? 1 : -1;
	if (x->pins_bytes != y->pins_bytes)
		return x->pins_bytes < y->pins_bytes ? 1 : -1;
	return x->group < y->group ? -1 : x->group > y->group;
}

static bool keep_pins(struct gather *g)
{
	struct tide_analysis *a = g->j->a;
	a->pin = malloc((a->groups + 1ull) * sizeof *a->pin);
	if (!a->pin)
		return false;
	for (uint32_t i = 0; i < a->groups; i++) {
		struct tide_pin *p = &g->pin[i];
		p->group = i;
		/* some of its chunks would go into a thread's cache when freed, and hold a page or two each */
		p->error_bytes =
			p->releases_bytes > p->returns_bytes ? g->j->glibc.tcache_count * 2 * TIDE_SPACE_PAGE : 0;
		if (p->pins_bytes > 0)
			a->pin[a->pins++] = *p;
	}
	qsort_r(a->pin, a->pins, sizeof *a->pin, best_first, g->live);
	return true;
}

enum tide_status tide_join_pins(struct tide_join *j)
{
	struct gather g;
	bool ok = gather_init(&g, j);
	if (ok) {
		count_blocks(&g);
		for (uint32_t i = 0; i < j->a->arenas; i++)
			if (strcmp(j->a->arena[i].kind, "pymalloc") == 0)
				arena_pins(&g, &j->a->arena[i]);
		for (uint32_t i = 0; i < j->heaps.heaps && j->known_allocator; i++)
			heap_pins(&g, &j->heaps.heap[i]);
		ok = keep_pins(&g);
	}
	gather_release(&g);
	return ok ? TIDE_OK : TIDE_ERR_NOMEM;
}
