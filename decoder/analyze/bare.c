#include "analyze/bare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/join.h"
#include "model/glibc.h"

const char *tide_bare_row_name(enum tide_bare_row row)
{
	static const char *const names[TIDE_BARE_ROWS] = {
		"malloc_main_heap", "malloc_thread_heaps", "anonymous_mappings", "thread_stacks",
		"file_private",     "file_shared",         "tidemark",
	};
	return names[row];
}

static bool add_heap(struct tide_bare *b, const struct tide_bare_heap *heap)
{
	if ((b->heaps & (b->heaps - 1)) == 0) {
		struct tide_bare_heap *more = realloc(b->heap, (b->heaps ? b->heaps * 2ull : 1) * sizeof *more);
		if (!more)
			return false;
		b->heap = more;
	}
	b->heap[b->heaps++] = *heap;
	return true;
}

/* How far the heap of a thread that would begin at `base`, inside region i, is writable; 0: there is none. arena.c, new_heap: HEAP_MAX
 * bytes without access at a multiple of it, made writable from the beginning. */
static uint64_t thread_heap_end(const struct tide_space *s, uint32_t i, uint64_t base)
{
	const struct tide_space_region *r = &s->region[i], *above = i + 1 < s->regions ? r + 1 : NULL;
	uint64_t end = base + TIDE_HEAP_MAX;
	bool none = above && above->start == r->end && above->inode == 0 &&
		    !(above->flags & (TIDE_REGION_READ | TIDE_REGION_WRITE | TIDE_REGION_EXEC));
	if (tide_space_anon(s, base, base + TIDE_SPACE_PAGE) == 0)
		return 0;
	if (r->end >= end)
		return r->end == end || (r->end - base) % TIDE_HEAP_MAX == 0 || none ? end : 0;
	return none && above->end >= end ? r->end : 0;
}

/* *ret_bytes: of thread heaps in region i, resident. False: no memory. */
static bool thread_heaps(struct tide_bare *b, const struct tide_space *s, uint32_t i, uint64_t *ret_bytes)
{
	const struct tide_space_region *r = &s->region[i];
	uint64_t base = (r->start + TIDE_HEAP_MAX - 1) / TIDE_HEAP_MAX * TIDE_HEAP_MAX;
	*ret_bytes = 0;
	for (; base < r->end; base += TIDE_HEAP_MAX) {
		uint64_t end = thread_heap_end(s, i, base);
		if (!end)
			continue;
		struct tide_bare_heap heap = {base, end - base, tide_space_anon(s, base, end), true};
		if (!add_heap(b, &heap))
			return false;
		*ret_bytes += heap.resident;
	}
	return true;
}

static bool add_region(struct tide_bare *b, const struct tide_space *s, uint32_t i)
{
	const struct tide_space_region *r = &s->region[i];
	uint64_t anon = tide_space_anon(s, r->start, r->end), file = tide_space_file(s, r->start, r->end), heaps = 0;
	b->swapped += r->swapped;
	if (r->flags & TIDE_REGION_OURS || strncmp(r->name, "libtidemark.so", 14) == 0) {
		b->row[TIDE_BARE_TIDEMARK] += anon + file;
		return true;
	}
	b->row[TIDE_BARE_FILE_SHARED] += file;
	if (r->flags & TIDE_REGION_HEAP) {
		b->row[TIDE_BARE_HEAP] += anon;
		return add_heap(b, &(struct tide_bare_heap){r->start, r->end - r->start, anon, false});
	}
	if (tide_join_is_stack(s, i))
		b->row[TIDE_BARE_STACKS] += anon;
	else if (r->inode)
		b->row[TIDE_BARE_FILE_PRIVATE] += anon;
	else if (tide_space_is_anonymous(r) && !thread_heaps(b, s, i, &heaps))
		return false;
	else
		b->row[TIDE_BARE_ANONYMOUS] += anon - heaps;
	b->row[TIDE_BARE_THREAD_HEAPS] += heaps;
	return true;
}

/* Libraries that take malloc's place, and the interpreter, by the names they go by. */
static void note_names(struct tide_bare *b, const char *name)
{
	static const char *const others[] = {"libjemalloc", "libtcmalloc", "libmimalloc", "ld-musl", "libc.musl"};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (strncmp(name, others[i], strlen(others[i])) == 0)
			snprintf(b->allocator, sizeof b->allocator, "%s", name);
	if (!*b->allocator && (strncmp(name, "libc.so.6", 9) == 0 || strncmp(name, "libc-2.", 7) == 0))
		snprintf(b->allocator, sizeof b->allocator, "glibc");
	if (strncmp(name, "libpython", 9) == 0 || (!*b->python && strncmp(name, "python", 6) == 0))
		snprintf(b->python, sizeof b->python, "%s", name);
}

enum tide_status tide_bare_init(struct tide_bare *ret, const struct tide_space *s)
{
	struct tide_bare b = {0};
	for (uint32_t i = 0; i < s->regions; i++) {
		if (s->region[i].flags & TIDE_REGION_EXEC)
			note_names(&b, s->region[i].name);
		if (!add_region(&b, s, i)) {
			tide_bare_release(&b);
			return TIDE_ERR_NOMEM;
		}
	}
	*ret = b;
	return TIDE_OK;
}

void tide_bare_release(struct tide_bare *b)
{
	free(b->heap);
	b->heap = NULL;
	b->heaps = 0;
}
