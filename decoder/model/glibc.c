#include "model/glibc.h"

#include <stdlib.h>
#include <string.h>

#define PAGE TIDE_SPACE_PAGE
#define FREE_HEAD 48u /* sizeof (struct malloc_chunk): mtrim leaves the links of a free chunk alone */
#define MAPPINGS UINT64_C(0x700000000000) /* the kernel maps above, unless an address is asked for */
#define BIG (UINT64_C(64) << 10)          /* FASTBIN_CONSOLIDATION_THRESHOLD: frees that look at the top are as big */

/*
 * What differs by release. Sizes are worked out from the structures, for x86-64: heap_info and malloc_state (arena.c, malloc.c),
 * tcache_perthread_struct with its chunk's head. They were read in these versions of the files, in the git mirror bminor/glibc on
 * GitHub, by the commit in which a version stands:
 *   malloc.c 011293b4 (before 2.34): malloc_state of 2200 with have_fastchunks and ten fastbins, 64 bins in the cache, 7 chunks in each
 *   malloc.c 2fb12bbd (2.38): the same
 *   arena.c 00cd4dad: heap_info of 32; arena.c 66f3e921: of 48, with `pagesize` and its padding
 *   malloc.c 26420023: calloc takes from the cache
 *   malloc.c 56549264 (of free_aligned_sized, so after 2.42): the cache counts slots left, 7 a bin, and there are fastbins
 *   malloc.c 66f3e921 (its copyright says 2026: 2.43, or soon after): no fastbins nor have_fastchunks, so malloc_state is of 2112; 76 bins, of which
 *   the 64 small ones are in use by default (tcache_max_bytes), 16 chunks in each
 * That 2.35 was the first with `pagesize`, 2.41 the first whose calloc takes from the cache, 2.42 the first with the bins for large
 * chunks, and 2.43 the first without fastbins, is from the project's release notes and descriptions of the releases: only 2.36 was run.
 */
static const struct tide_glibc table[] = {
	{.minor = 31,
	 .tcache_count = 7,
	 .tcache_most = 1040,
	 .fast_most = 128,
	 .heap_info = 32,
	 .arena = 2200,
	 .tcache_chunk = 656},
	{.minor = 35,
	 .tcache_count = 7,
	 .tcache_most = 1040,
	 .fast_most = 128,
	 .heap_info = 48,
	 .arena = 2200,
	 .tcache_chunk = 656},
	{.minor = 41,
	 .tcache_count = 7,
	 .tcache_most = 1040,
	 .calloc_cached = true,
	 .fast_most = 128,
	 .heap_info = 48,
	 .arena = 2200,
	 .tcache_chunk = 656},
	{.minor = 42,
	 .tcache_count = 7,
	 .tcache_most = 1040,
	 .calloc_cached = true,
	 .fast_most = 128,
	 .heap_info = 48,
	 .arena = 2200,
	 .tcache_chunk = 768},
	{.minor = 43,
	 .tcache_count = 16,
	 .tcache_most = 1040,
	 .calloc_cached = true,
	 .fast_most = 0,
	 .heap_info = 48,
	 .arena = 2112,
	 .tcache_chunk = 768},
};
#define NEWEST 43u

bool tide_glibc_of(const char *allocator, struct tide_glibc *ret)
{
	char *end;
	size_t i = sizeof table / sizeof *table;
	if (strncmp(allocator, "glibc 2.", 8) != 0)
		return false;
	unsigned long minor = strtoul(allocator + 8, &end, 10);
	if (end == allocator + 8 || minor < table[0].minor || minor > 999)
		return false;
	while (table[i - 1].minor > minor)
		i--;
	*ret = table[i - 1];
	ret->minor = (uint16_t)minor;
	ret->exact = minor <= NEWEST;
	return true;
}

static uint64_t down(uint64_t at)
{
	return at / PAGE * PAGE;
}
static uint64_t up(uint64_t at)
{
	return (at + PAGE - 1) / PAGE * PAGE;
}

void tide_heap_chunk(const struct tide_heap *heap, const struct tide_block_live *b, uint64_t *ret_start,
		     uint64_t *ret_end)
{
	uint64_t start = b->addr - TIDE_CHUNK_HEAD, end = start + tide_chunk_of(b->size);
	if (heap->kind == TIDE_HEAP_MAPPED) { /* sysmalloc_mmap: the chunk is its mapping */
		start = heap->start;
		end = heap->end;
	}
	*ret_start = start;
	*ret_end = end;
}

/* ---- which heaps are there ---- */

static size_t block_from(const struct tide_heaps *h, uint64_t addr)
{
	size_t low = 0, high = h->blocks;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (h->block[middle].addr < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool add(struct tide_heaps *h, const struct tide_heap *heap)
{
	if ((h->heaps & (h->heaps - 1)) == 0) {
		struct tide_heap *more = realloc(h->heap, (h->heaps ? h->heaps * 2ull : 1) * sizeof *more);
		if (!more)
			return false;
		h->heap = more;
	}
	h->heap[h->heaps++] = *heap;
	return true;
}

static bool add_range(struct tide_heaps *h, enum tide_heap_kind kind, uint64_t start, uint64_t end, uint64_t own)
{
	size_t first = block_from(h, start), last = block_from(h, end);
	return add(h, &(struct tide_heap){kind, start, end, own, first, last - first});
}

/* A block that sysmalloc would have given a mapping of its own: its chunk begins a page, and it is not small. Blocks of memalign lie
 * further in, so those are known by size alone. */
static bool may_be_mapped(const struct tide_block_live *b)
{
	return b->size >= PAGE &&
	       ((b->addr % PAGE == TIDE_CHUNK_HEAD && b->size >= 8 * PAGE) || b->size >= TIDE_MMAP_THRESHOLD);
}

/* What an arena's first heap begins with: it, the arena, and the chunk of its thread's cache. */
static uint64_t thread_own(const struct tide_glibc *g)
{
	return (uint64_t)g->heap_info + g->arena + g->tcache_chunk;
}

/* A thread heap, if one begins at the 64 MiB boundary below the block: it has a block there that has no mapping of its own. */
static bool thread_heap(const struct tide_heaps *h, const struct tide_space_region *r, uint64_t addr,
			uint64_t *ret_base)
{
	uint64_t base = addr / TIDE_HEAP_MAX * TIDE_HEAP_MAX;
	if (!h->glibc || base < r->start || !tide_space_anon(h->space, base, base + PAGE))
		return false;
	for (size_t i = block_from(h, base); i < h->blocks && h->block[i].addr < base + TIDE_HEAP_MAX; i++) {
		if (h->block[i].addr >= r->end)
			break;
		if (h->block[i].flags & TIDE_BLOCK_PYTHON)
			continue;
		if (!may_be_mapped(&h->block[i]) && h->block[i].addr >= base + h->glibc->heap_info + TIDE_CHUNK_HEAD) {
			*ret_base = base;
			return true;
		}
	}
	return false;
}

/* Heap of block[i], which is in no heap yet; *next: the first block behind it. */
static bool place(struct tide_heaps *h, size_t i, size_t *next)
{
	const struct tide_block_live *b = &h->block[i];
	const struct tide_space_region *r = tide_space_find(h->space, b->addr);
	uint64_t base;
	*next = i + 1;
	if (!r || b->flags & TIDE_BLOCK_PYTHON || !(r->flags & TIDE_REGION_WRITE) || r->flags & TIDE_REGION_OURS)
		return true;
	if (r->flags & TIDE_REGION_HEAP && h->glibc) {
		*next = block_from(h, r->end);
		return true; /* the brk heap has been added */
	}
	if (thread_heap(h, r, b->addr, &base)) {
		uint64_t end = r->end < base + TIDE_HEAP_MAX ? r->end : base + TIDE_HEAP_MAX;
		*next = block_from(h, end);
		return add_range(h, TIDE_HEAP_THREAD, base, end, thread_own(h->glibc));
	}
	if (h->glibc && may_be_mapped(b)) {
		uint64_t start = down(b->addr - TIDE_CHUNK_HEAD), end = up(b->addr + b->size);
		return add(h, &(struct tide_heap){TIDE_HEAP_MAPPED, start, end, 0, i, 1});
	}
	*next = block_from(h, r->end);
	return add_range(h, TIDE_HEAP_SEGMENT, b->addr / PAGE * PAGE > r->start ? r->start : down(b->addr), r->end, 0);
}

static bool is_placed(const struct tide_heaps *h, uint64_t addr)
{
	for (uint32_t i = 0; i < h->heaps; i++)
		if (h->heap[i].start <= addr && addr < h->heap[i].end)
			return true;
	return false;
}

static bool place_at(struct tide_heaps *h, const struct tide_space_region *r, uint64_t base)
{
	uint64_t end = r->end < base + TIDE_HEAP_MAX ? r->end : base + TIDE_HEAP_MAX;
	if (base < r->start || is_placed(h, base) || !tide_space_anon(h->space, base, base + PAGE))
		return true;
	return add_range(h, TIDE_HEAP_THREAD, base, end, thread_own(h->glibc));
}

/* new_heap, grow_heap: writable from a boundary on, and without access up to the next one. */
static bool ends_as_thread_heap(const struct tide_heaps *h, uint32_t region)
{
	const struct tide_space_region *r = &h->space->region[region], *rest = r + 1;
	unsigned access = TIDE_REGION_READ | TIDE_REGION_WRITE | TIDE_REGION_EXEC;
	return r->start >= MAPPINGS && region + 1 < h->space->regions && rest->start == r->end &&
	       !(rest->flags & access) && rest->inode == 0 && r->end % TIDE_HEAP_MAX != 0 &&
	       rest->end >= r->end / TIDE_HEAP_MAX * TIDE_HEAP_MAX + TIDE_HEAP_MAX;
}

/* Thread heaps in which no block lives any more: their free memory is malloc's all the same. */
static bool place_empty(struct tide_heaps *h, uint32_t region)
{
	const struct tide_space_region *r = &h->space->region[region];
	bool ok = true;
	if (!tide_space_is_anonymous(r) || r->flags & TIDE_REGION_HEAP) /* a stack may end where a heap begins */
		return true;
	for (size_t i = 0; i < h->seens && ok; i++)
		if (h->seen[i] >= r->start && h->seen[i] < r->end)
			ok = place_at(h, r, h->seen[i] / TIDE_HEAP_MAX * TIDE_HEAP_MAX);
	if (ok && h->unseen && ends_as_thread_heap(h, region))
		ok = place_at(h, r, r->end / TIDE_HEAP_MAX * TIDE_HEAP_MAX);
	return ok;
}

static int by_start(const void *a, const void *b)
{
	const struct tide_heap *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

bool tide_heaps_init(struct tide_heaps *h)
{
	bool ok = true;
	h->heap = NULL;
	h->heaps = 0;
	for (uint32_t i = 0; i < h->space->regions && ok && h->glibc; i++) {
		const struct tide_space_region *r = &h->space->region[i];
		if (r->flags & TIDE_REGION_HEAP)
			ok = add_range(h, TIDE_HEAP_MAIN, r->start, r->end, h->glibc->tcache_chunk);
	}
	for (size_t i = 0, next; i < h->blocks && ok; i = next)
		ok = place(h, i, &next);
	for (uint32_t i = 0; i < h->space->regions && ok && h->glibc; i++)
		ok = place_empty(h, i);
	if (!ok) {
		tide_heaps_release(h);
		return false;
	}
	if (h->heaps)
		qsort(h->heap, h->heaps, sizeof *h->heap, by_start);
	return true;
}

void tide_heaps_release(struct tide_heaps *h)
{
	free(h->heap);
	h->heap = NULL;
	h->heaps = 0;
}

/* ---- what lies in a heap ---- */

uint64_t tide_gap_trim(const struct tide_space *space, uint64_t start, uint64_t end)
{
	uint64_t from = up(start + FREE_HEAD), to = down(end);
	return to > from ? tide_space_anon(space, from, to) : 0;
}

/* The walk: chunks that stay, in address order: live blocks and cached ones, merged. */
struct walk {
	const struct tide_heaps *h;
	const struct tide_heap *heap;
	const uint8_t *gone;
	size_t block, block_end, cached;
};
struct chunk {
	uint64_t start, end;
	const struct tide_block_live *live; /* NULL: in a thread's cache */
};

static size_t cached_from(const struct tide_heaps *h, uint64_t addr)
{
	size_t low = 0, high = h->cacheds;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (h->cached[middle] < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct walk walk_of(const struct tide_heaps *h, const struct tide_heap *heap, const uint8_t *gone)
{
	return (struct walk){h, heap, gone, heap->first, heap->first + heap->count, cached_from(h, heap->start)};
}

static bool walk_next(struct walk *w, struct chunk *ret)
{
	const struct tide_heaps *h = w->h;
	while (w->block < w->block_end &&
	       (h->block[w->block].flags & TIDE_BLOCK_PYTHON || (w->gone && w->gone[w->block])))
		w->block++;
	bool live = w->block < w->block_end;
	bool cached = w->cached < h->cacheds && h->cached[w->cached] < w->heap->end;
	if (!live && !cached)
		return false;
	if (live && (!cached || h->block[w->block].addr <= h->cached[w->cached])) {
		ret->live = &h->block[w->block++];
		tide_heap_chunk(w->heap, ret->live, &ret->start, &ret->end);
	} else {
		ret->live = NULL;
		ret->start = h->cached[w->cached] - TIDE_CHUNK_HEAD;
		ret->end = ret->start + h->cached_size[w->cached++];
	}
	return true;
}

/* A dead stretch: its whole pages, and the rest of its first and last page. */
static void dead(const struct tide_space *space, uint64_t start, uint64_t end, struct tide_heap_sum *sum)
{
	uint64_t from = up(start), to = down(end);
	uint64_t all = tide_space_anon(space, start, end);
	uint64_t whole = to > from ? tide_space_anon(space, from, to) : 0;
	sum->trimmable += whole;
	sum->pinned_waste += all - whole;
}

static void add_live(const struct tide_space *space, const struct chunk *c, uint64_t from, struct tide_heap_sum *sum)
{
	const struct tide_block_live *b = c->live;
	uint64_t start = c->start > from ? c->start : from;
	uint64_t chunk = c->end > start ? tide_space_anon(space, start, c->end) : 0;
	uint64_t live = tide_space_anon(space, b->addr, b->addr + b->size);
	if (live > chunk)
		live = chunk;
	sum->live += live;
	sum->overhead += chunk - live;
	sum->live_blocks++;
	sum->live_bytes += b->size;
}

void tide_heap_sum(const struct tide_heaps *h, const struct tide_heap *heap, const uint8_t *gone,
		   struct tide_heap_sum *ret)
{
	struct tide_heap_sum sum = {0};
	struct walk w = walk_of(h, heap, gone);
	struct chunk c;
	uint64_t own = heap->start + heap->own, untrimmed = own, unsummed = own, without_caches = 0;
	bool trims = heap->kind != TIDE_HEAP_MAPPED && h->glibc;
	if (heap->kind != TIDE_HEAP_MAPPED)
		sum.overhead = tide_space_anon(h->space, heap->start, own);
	while (walk_next(&w, &c)) {
		if (trims && c.start > untrimmed)
			sum.trim += tide_gap_trim(h->space, untrimmed, c.start);
		untrimmed = c.end > untrimmed ? c.end : untrimmed;
		if (!c.live)
			continue;
		if (c.start > unsummed && c.start - unsummed < TIDE_CHUNK_MIN)
			sum.overhead +=
				tide_space_anon(h->space, unsummed, c.start); /* a rest too small to be a chunk */
		else if (c.start > unsummed) {
			dead(h->space, unsummed, c.start, &sum);
			without_caches += tide_gap_trim(h->space, unsummed, c.start);
		}
		add_live(h->space, &c, unsummed, &sum);
		unsummed = c.end > unsummed ? c.end : unsummed;
	}
	if (heap->end > unsummed)
		dead(h->space, unsummed, heap->end, &sum);
	sum.top = heap->end > up(untrimmed) ? tide_space_anon(h->space, up(untrimmed), heap->end) : 0;
	sum.top_size = heap->end > untrimmed ? heap->end - untrimmed : 0;
	sum.caches = without_caches > sum.trim ? without_caches - sum.trim : 0;
	if (trims && heap->kind == TIDE_HEAP_MAIN) { /* systrim: all but MINSIZE + 1 bytes, in pages */
		uint64_t keep = up(untrimmed + TIDE_CHUNK_MIN + 1);
		sum.trim += heap->end > keep ? tide_space_anon(h->space, keep, heap->end) : 0;
	}
	*ret = sum;
}

/* Where the last chunk that stays ends, and whether a free() made a big chunk on the way: one as long as that merges what the
 * fastbins hold, and looks at the top. */
static uint64_t top_after(const struct tide_heaps *h, const struct tide_heap *heap, const uint8_t *gone, bool *ret_big)
{
	struct walk w = walk_of(h, heap, gone);
	struct chunk c;
	uint64_t top = heap->start + heap->own;
	size_t i = heap->first, end = heap->first + heap->count;
	bool more = true;
	*ret_big = false;
	while (more) {
		more = walk_next(&w, &c);
		uint64_t next = more ? c.start : heap->end;
		bool freed = false;
		for (; i < end && h->block[i].addr < next; i++)
			freed = freed || gone[i];
		*ret_big = *ret_big || (freed && next - top >= BIG);
		if (more && c.end > top)
			top = c.end;
	}
	return top;
}

uint64_t tide_heap_cut(const struct tide_space *space, const struct tide_heap *heap, uint64_t top_size,
		       uint64_t trim_threshold)
{
	if (heap->kind == TIDE_HEAP_MAPPED || heap->kind == TIDE_HEAP_SEGMENT)
		return 0;
	if (top_size < trim_threshold || top_size <= TIDE_TOP_PAD + TIDE_CHUNK_MIN + 1)
		return 0;
	/* systrim and heap_trim: whole pages of what exceeds MINSIZE + 1 and the pad */
	uint64_t cut = down(top_size - TIDE_CHUNK_MIN - 1 - TIDE_TOP_PAD);
	return tide_space_anon(space, heap->end - cut, heap->end);
}

uint64_t tide_heap_returned(const struct tide_heaps *h, const struct tide_heap *heap, const uint8_t *gone,
			    const uint8_t *merged, uint64_t trim_threshold)
{
	bool big;
	if (!h->glibc)
		return 0;
	if (heap->kind == TIDE_HEAP_MAPPED)
		return gone[heap->first] ? tide_space_anon(h->space, heap->start, heap->end) : 0;
	if (heap->kind == TIDE_HEAP_SEGMENT)
		return 0;
	top_after(h, heap, merged, &big);
	if (!big)
		return 0;
	return tide_heap_cut(h->space, heap, heap->end - top_after(h, heap, gone, &big), trim_threshold);
}
