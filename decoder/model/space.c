#include "model/space.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more element in an array whose capacity is the next power of two of its count. */
static bool room(void **array, uint32_t count, size_t size)
{
	if (count & (count - 1) || (count && count < 16))
		return true;
	if (count > UINT32_MAX / 4)
		return false;
	void *more = realloc(*array, (count ? (size_t)count * 2 : 16) * size);
	if (!more)
		return false;
	*array = more;
	return true;
}

static void name_of(const struct tide_census_region *r, char ret[32])
{
	const char *from = r->path;
	size_t len = r->path_len;
	const char *slash = len ? memrchr(from, '/', len) : NULL;
	if (slash) {
		len -= (size_t)(slash + 1 - from);
		from = slash + 1;
	}
	if (len > 31)
		len = 31;
	memcpy(ret, from, len);
	ret[len] = '\0';
}

static bool same_mapping(const struct tide_space_region *a, const struct tide_space_region *b)
{
	return a->end == b->start && a->flags == b->flags && a->inode == b->inode && a->counted == b->counted &&
	       strcmp(a->name, b->name) == 0;
}

static bool add_run(struct tide_space *s, uint64_t start, uint64_t end, bool file)
{
	if (!room((void **)&s->run, s->runs, sizeof *s->run))
		return false;
	s->run[s->runs++] = (struct tide_space_run){start, end, file};
	return true;
}

static bool add_region(struct tide_space *s, struct tide_census_region *r)
{
	struct tide_space_region region = {
		.start = r->start,
		.end = r->start + r->pages * TIDE_SPACE_PAGE,
		.inode = r->inode,
		.flags = r->flags,
		.counted = r->has_runs,
	};
	uint64_t at = r->start, pages;
	enum tide_page_state state;
	name_of(r, region.name);
	/* vvar's pages are the kernel's, present and not counted in RSS */
	bool kernels = memmem(r->path, r->path_len, "[vvar", 5) || memmem(r->path, r->path_len, "[vsyscall]", 10);
	for (; tide_region_run(r, &pages, &state); at += pages * TIDE_SPACE_PAGE) {
		uint64_t end = at + pages * TIDE_SPACE_PAGE;
		bool resident = state == TIDE_PAGE_ANON || state == TIDE_PAGE_FILE;
		if (state == TIDE_PAGE_SWAPPED)
			region.swapped += end - at;
		if (resident && !kernels && !add_run(s, at, end, state == TIDE_PAGE_FILE))
			return false;
	}
	if (!room((void **)&s->region, s->regions, sizeof *s->region))
		return false;
	s->region[s->regions++] = region;
	return true;
}

static bool add_arena(struct tide_space *s, struct tide_census_pyarena *a)
{
	struct tide_census_pool pool;
	struct tide_space_arena arena = {
		.base = a->base,
		.bytes = a->bytes,
		.pool_bytes = a->pool_bytes,
		.pool = s->pools,
		.inherited = a->inherited,
	};
	if (a->pool_bytes)
		arena.first_pool = (a->base + a->pool_bytes - 1) / a->pool_bytes * a->pool_bytes;
	while (tide_pyarena_pool(a, &pool)) {
		if (!room((void **)&s->pool, s->pools, sizeof *s->pool))
			return false;
		s->pool[s->pools++] = (struct tide_space_pool){
			.size_class = pool.size_class,
			.never_used = pool.never_used,
			.free_pool = pool.free_pool,
			.live = (uint16_t)(pool.live < UINT16_MAX ? pool.live : UINT16_MAX),
		};
		arena.pools++;
	}
	if (!room((void **)&s->arena, s->arenas, sizeof *s->arena))
		return false;
	s->arena[s->arenas++] = arena;
	return true;
}

static bool add_threads(struct tide_space *s, struct tide_census_threads *t)
{
	uint32_t tid;
	while (tide_threads_next(t, &tid)) {
		if (!room((void **)&s->thread, s->threads, sizeof *s->thread))
			return false;
		s->thread[s->threads++] = tid;
	}
	return true;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}
static int by_region(const void *a, const void *b)
{
	return compare(((const struct tide_space_region *)a)->start, ((const struct tide_space_region *)b)->start);
}
static int by_run(const void *a, const void *b)
{
	return compare(((const struct tide_space_run *)a)->start, ((const struct tide_space_run *)b)->start);
}
static int by_arena(const void *a, const void *b)
{
	return compare(((const struct tide_space_arena *)a)->base, ((const struct tide_space_arena *)b)->base);
}

static void join_regions(struct tide_space *s)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < s->regions; i++) {
		if (kept && same_mapping(&s->region[kept - 1], &s->region[i])) {
			s->region[kept - 1].end = s->region[i].end;
			s->region[kept - 1].swapped += s->region[i].swapped;
		} else {
			s->region[kept++] = s->region[i];
		}
	}
	s->regions = kept;
}

/* Sorted, and without overlaps: a later run that begins inside an earlier one is cut, so that no page counts twice. */
static void tidy_runs(struct tide_space *s)
{
	uint32_t kept = 0;
	qsort(s->run, s->runs, sizeof *s->run, by_run);
	for (uint32_t i = 0; i < s->runs; i++) {
		struct tide_space_run r = s->run[i];
		struct tide_space_run *last = kept ? &s->run[kept - 1] : NULL;
		if (last && r.start < last->end)
			r.start = last->end;
		if (r.start >= r.end)
			continue;
		if (last && last->end == r.start && last->file == r.file)
			last->end = r.end;
		else
			s->run[kept++] = r;
	}
	s->runs = kept;
}

static enum tide_status fill(struct tide_space *s, struct tide_census *census)
{
	struct tide_census_item item;
	int more;
	while ((more = tide_census_next(census, &item)) == 1) {
		bool ok = true;
		if (item.kind == TIDE_RECORD_REGION)
			ok = add_region(s, &item.region);
		else if (item.kind == TIDE_RECORD_PYARENA)
			ok = add_arena(s, &item.pyarena);
		else if (item.kind == TIDE_RECORD_THREADS)
			ok = add_threads(s, &item.threads);
		else if (item.kind == TIDE_RECORD_RSS) {
			s->has_rss = true;
			s->rss = item.rss;
		}
		if (!ok)
			return TIDE_ERR_NOMEM;
	}
	return more < 0 ? TIDE_ERR_BAD : TIDE_OK;
}

enum tide_status tide_space_init(struct tide_space *ret, const struct tide_census_blob *blob)
{
	struct tide_census census;
	struct tide_space s = {.at_ns = blob->time_ns};
	if (!tide_census_init(&census, blob->bytes, blob->len))
		return TIDE_ERR_BAD;
	s.reason = census.reason;
	enum tide_status status = fill(&s, &census);
	if (status) {
		tide_space_release(&s);
		return status;
	}
	if (s.regions)
		qsort(s.region, s.regions, sizeof *s.region, by_region);
	if (s.arenas)
		qsort(s.arena, s.arenas, sizeof *s.arena, by_arena);
	join_regions(&s);
	if (s.runs)
		tidy_runs(&s);
	*ret = s;
	return TIDE_OK;
}

void tide_space_release(struct tide_space *s)
{
	free(s->region);
	free(s->run);
	free(s->arena);
	free(s->pool);
	free(s->thread);
	*s = (struct tide_space){0};
}

const struct tide_space_region *tide_space_find(const struct tide_space *s, uint64_t addr)
{
	uint32_t low = 0, high = s->regions;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (s->region[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->regions && s->region[low].start <= addr ? &s->region[low] : NULL;
}

static uint64_t resident(const struct tide_space *s, uint64_t start, uint64_t end, bool file)
{
	uint32_t low = 0, high = s->runs;
	uint64_t bytes = 0;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (s->run[middle].end <= start)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < s->runs && s->run[low].start < end; low++) {
		uint64_t from = s->run[low].start > start ? s->run[low].start : start;
		uint64_t to = s->run[low].end < end ? s->run[low].end : end;
		if (s->run[low].file == file && to > from)
			bytes += to - from;
	}
	return bytes;
}

uint64_t tide_space_anon(const struct tide_space *s, uint64_t start, uint64_t end)
{
	return resident(s, start, end, false);
}

uint64_t tide_space_file(const struct tide_space *s, uint64_t start, uint64_t end)
{
	return resident(s, start, end, true);
}

bool tide_space_is_anonymous(const struct tide_space_region *r)
{
	unsigned not = TIDE_REGION_SHARED | TIDE_REGION_OURS | TIDE_REGION_STACK;
	return r->flags & TIDE_REGION_WRITE && !(r->flags & not ) && r->inode == 0;
}
