#include "outside/census.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/layout.h"
#include "format/wire.h"
#include "outside/payload.h"
#include "read/census.h"

#define PIECE_PAGES 8192u
/* Reservations beyond this are told without residency: reading their page map would take seconds. */
#define BIGGEST_PAGES (UINT64_C(64) << 30 >> 12)
#define APART_MOST (UINT64_C(64) << 10) /* between pages and RSS, of a process that stands still: none */

/* /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst */
#define PAGE_PRESENT (UINT64_C(1) << 63)
#define PAGE_SWAPPED (UINT64_C(1) << 62)
#define PAGE_FILE (UINT64_C(1) << 61)

struct taking {
	const struct tide_outside *process;
	struct tide_outside_census *census;
	struct tide_payload out;
	struct tide_beacon beacon;
	struct tide_beacon_range own[TIDE_BEACON_OWN_MOST + 1];
	unsigned owns;
	int pagemap;
	uint64_t pages[PIECE_PAGES];
	uint64_t resident; /* bytes seen so far */
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t tide_outside_rss(int pid)
{
	char text[128];
	unsigned long pages = 0;
	if (!tide_outside_text(pid, "statm", text, sizeof text) || sscanf(text, "%*s %lu", &pages) != 1)
		return 0;
	return pages * (uint64_t)TIDE_PAGE;
}

/* ---- what the shim lets be found ---- */

static bool read_memory(const struct taking *t, uint64_t addr, void *buf, size_t len)
{
	return tide_outside_read(t->process->pid, t->pagemap, addr, buf, len);
}

static uint64_t page_up(uint64_t at)
{
	return (at + TIDE_PAGE - 1) / TIDE_PAGE * TIDE_PAGE;
}

static void read_own(struct taking *t)
{
	const struct tide_beacon *b = &t->beacon;
	unsigned most = b->own_most < TIDE_BEACON_OWN_MOST ? b->own_most : TIDE_BEACON_OWN_MOST;
	if (!read_memory(t, b->own, t->own, most * sizeof *t->own))
		most = 0;
	for (unsigned i = 0; i < most; i++) /* a part of a page is nobody's: regions are cut at these edges */
		if (t->own[i].end > t->own[i].start && t->own[i].start % TIDE_PAGE == 0 &&
		    t->own[i].end % TIDE_PAGE == 0)
			t->own[t->owns++] = t->own[i];
	t->own[t->owns++] = (struct tide_beacon_range){page_up(b->bss), page_up(b->bss_end)};
}

/* Whether `at` is tidemark's own; *ret_until: how far that answer holds, at most to `end`. */
static bool own_until(const struct taking *t, uint64_t at, uint64_t end, uint64_t *ret_until)
{
	bool ours = false;
	*ret_until = end;
	for (unsigned i = 0; i < t->owns; i++) {
		const struct tide_beacon_range *r = &t->own[i];
		uint64_t edge = at < r->start ? r->start : at < r->end ? r->end : end;
		ours = ours || (at >= r->start && at < r->end);
		if (edge < *ret_until)
			*ret_until = edge;
	}
	return ours;
}

/* ---- mappings and their pages ---- */

static enum tide_page_state state_of(uint64_t entry)
{
	if (entry & PAGE_PRESENT)
		return entry & PAGE_FILE ? TIDE_PAGE_FILE : TIDE_PAGE_ANON;
	return entry & PAGE_SWAPPED ? TIDE_PAGE_SWAPPED : TIDE_PAGE_ABSENT;
}

/* A run that goes on over the pieces in which the page map is read. */
struct run {
	uint64_t pages;
	enum tide_page_state state;
};

static void end_run(struct taking *t, struct run *run)
{
	if (run->pages)
		tide_payload_varint(&t->out, run->pages * 4 + run->state);
	if (run->state == TIDE_PAGE_ANON || run->state == TIDE_PAGE_FILE)
		t->resident += run->pages * TIDE_PAGE;
	run->pages = 0;
}

static void add_page(struct taking *t, struct run *run, enum tide_page_state state)
{
	if (run->pages && run->state != state)
		end_run(t, run);
	run->state = state;
	run->pages++;
}

/* Where the page map cannot be read, the region is told without runs. */
static void put_runs(struct taking *t, uint64_t start, uint64_t end)
{
	struct run run = {0};
	size_t before = t->out.len;
	uint64_t resident = t->resident;
	for (uint64_t at = start; at < end;) {
		uint64_t pages = (end - at) / TIDE_PAGE < PIECE_PAGES ? (end - at) / TIDE_PAGE : PIECE_PAGES;
		if (!tide_outside_residency(t->pagemap, at, t->pages, (unsigned)pages)) {
			t->out.len = before;
			t->resident = resident;
			return;
		}
		for (uint64_t i = 0; i < pages; i++)
			add_page(t, &run, state_of(t->pages[i]));
		at += pages * TIDE_PAGE;
	}
	end_run(t, &run);
}

/* vvar's pages are the kernel's, present and not counted in RSS; so is vsyscall, which has no page map. */
static bool is_kernels(const struct tide_outside_map *m)
{
	return strncmp(m->path, "[vvar", 5) == 0 || strcmp(m->path, "[vsyscall]") == 0;
}

static void put_piece(struct taking *t, const struct tide_outside_map *m, uint64_t start, uint64_t end, bool ours)
{
	bool is_log = m->start == t->beacon.log && t->beacon.log;
	uint64_t resident = t->resident;
	size_t path = is_log ? 0 : strlen(m->path);
	size_t mark = tide_payload_begin(&t->out, TIDE_RECORD_REGION);
	tide_payload_varint(&t->out, start / TIDE_PAGE);
	tide_payload_varint(&t->out, (end - start) / TIDE_PAGE);
	tide_payload_u8(&t->out, (uint8_t)(m->flags | (ours || is_log ? TIDE_REGION_OURS : 0)));
	tide_payload_varint(&t->out, (m->offset + (m->inode ? start - m->start : 0)) / TIDE_PAGE);
	tide_payload_varint(&t->out, m->inode);
	tide_payload_string(&t->out, m->path, path < 255 ? path : 255);
	if (!(m->flags & (TIDE_REGION_READ | TIDE_REGION_WRITE | TIDE_REGION_EXEC)))
		tide_payload_varint(&t->out, (end - start) / TIDE_PAGE * 4 + TIDE_PAGE_ABSENT);
	else if ((end - start) / TIDE_PAGE <= BIGGEST_PAGES)
		put_runs(t, start, end);
	if (is_kernels(m))
		t->resident = resident;
	tide_payload_end(&t->out, mark);
}

static void put_region(struct taking *t, const struct tide_outside_map *m)
{
	for (uint64_t at = m->start, end; at < m->end; at = end) {
		bool ours = own_until(t, at, m->end, &end);
		put_piece(t, m, at, end, ours);
	}
	if (m->start == t->beacon.log && m->inode)
		t->census->log_inode = m->inode;
	if (tide_outside_is_shim(m))
		t->census->shim = true;
}

static bool put_regions(struct taking *t)
{
	FILE *maps = tide_outside_file(t->process->pid, "maps");
	struct tide_outside_map m;
	char *line = NULL;
	size_t cap = 0;
	bool any = false;
	while (maps && getline(&line, &cap, maps) > 0)
		if (tide_outside_map(line, &m)) {
			put_region(t, &m);
			any = true;
		}
	free(line);
	if (maps)
		fclose(maps);
	return any;
}

/* ---- Python's pools ---- */

/* Objects/obmalloc.c, struct pool_header, 3.8 to 3.13 */
struct pool {
	uint32_t count, reserved;
	uint64_t free_block, next, previous;
	uint32_t arena_index, size_class, next_offset, max_next_offset;
};
_Static_assert(sizeof(struct pool) == 48, "pool header");
enum { POOLS_MOST = TIDE_OUTSIDE_PIECES, CLASSES = 32, ALIGNMENT = 16 };

/* Headers of those pools whose first page is resident; the rest is as never used. False: the arena is gone. */
static bool read_pools(struct taking *t, uint64_t first, uint32_t pools, struct pool *pool)
{
	struct tide_outside_piece piece[POOLS_MOST];
	unsigned n = 0, step = t->beacon.pool_bytes / TIDE_PAGE;
	memset(pool, 0, pools * sizeof *pool);
	if (!tide_outside_residency(t->pagemap, first, t->pages, pools * step))
		return false;
	for (uint32_t i = 0; i < pools; i++) {
		uint64_t at = first + i * (uint64_t)t->beacon.pool_bytes;
		if (!tide_outside_is_resident(t->pages[i * step]))
			continue;
		piece[n++] = (struct tide_outside_piece){at, &pool[i], sizeof *pool};
	}
	return tide_outside_read_pieces(t->process->pid, piece, n);
}

static void put_pool(struct taking *t, const struct pool *p)
{
	if (p->next_offset == 0 || p->size_class >= CLASSES || p->count > t->beacon.pool_bytes / ALIGNMENT) {
		tide_payload_u8(&t->out, 0);
	} else if (p->count == 0) {
		tide_payload_u8(&t->out, 255);
	} else {
		tide_payload_u8(&t->out, (uint8_t)(p->size_class + 1));
		tide_payload_varint(&t->out, p->count);
	}
}

static void put_arena(struct taking *t, const struct tide_beacon_arena *a)
{
	struct pool pool[POOLS_MOST];
	uint64_t unit = t->beacon.pool_bytes, first = (a->base + unit - 1) / unit * unit;
	if (a->base % TIDE_PAGE || a->base >= UINT64_C(1) << 47 || first > a->base + a->bytes ||
	    (a->base + a->bytes - first) / unit > POOLS_MOST)
		return;
	uint32_t pools = (uint32_t)((a->base + a->bytes - first) / unit);
	if (!read_pools(t, first, pools, pool))
		return;
	size_t mark = tide_payload_begin(&t->out, TIDE_RECORD_PYARENA);
	tide_payload_varint(&t->out, a->base / TIDE_PAGE);
	tide_payload_varint(&t->out, a->bytes);
	tide_payload_u8(&t->out, a->inherited & 1);
	tide_payload_varint(&t->out, unit);
	tide_payload_varint(&t->out, pools);
	for (uint32_t i = 0; i < pools; i++)
		put_pool(t, &pool[i]);
	tide_payload_end(&t->out, mark);
	t->census->arenas++;
}

static int by_base(const void *a, const void *b)
{
	const struct tide_beacon_arena *x = a, *y = b;
	return x->base < y->base ? -1 : x->base > y->base;
}

/* Every slot in use, sorted; slots that overlap are no arenas. */
static void put_arenas(struct taking *t, const uint32_t *number, uint32_t count, struct tide_beacon_arena *slot)
{
	const struct tide_beacon *b = &t->beacon;
	size_t len = b->arena_slots * sizeof *slot;
	uint32_t n = 0;
	uint64_t end = 0;
	struct tide_beacon_arena *all = slot + b->arena_slots;
	if (!read_memory(t, b->arenas, slot, len))
		return;
	for (uint32_t i = 0; i < count; i++)
		if (number[i] < b->arena_slots && slot[number[i]].base > 1)
			all[n++] = slot[number[i]];
	qsort(all, n, sizeof *all, by_base);
	for (uint32_t i = 0; i < n; i++) {
		if (all[i].base < end)
			continue;
		put_arena(t, &all[i]);
		end = all[i].base + all[i].bytes;
	}
}

static void put_python(struct taking *t)
{
	const struct tide_beacon *b = &t->beacon;
	uint32_t count = 0;
	bool sound = b->arenas && (b->pool_bytes == 4096 || b->pool_bytes == 16384) &&
		     b->arena_slots <= 4 * TIDE_BEACON_ARENAS_MOST;
	if (!sound || !read_memory(t, b->used_slots_count, &count, sizeof count) || count == 0 ||
	    count > TIDE_BEACON_ARENAS_MOST)
		return;
	uint32_t *number = calloc(count, sizeof *number);
	struct tide_beacon_arena *slot = calloc(b->arena_slots + (size_t)count, sizeof *slot);
	size_t len = count * sizeof *number;
	if (number && slot && read_memory(t, b->used_slots, number, len))
		put_arenas(t, number, count, slot);
	free(number);
	free(slot);
}

/* ---- the whole ---- */

static void put_threads(struct taking *t)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", t->process->pid);
	DIR *dir = opendir(path);
	struct dirent *e;
	if (!dir)
		return;
	size_t mark = tide_payload_begin(&t->out, TIDE_RECORD_THREADS);
	t->census->threads = 0;
	while ((e = readdir(dir))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		tide_payload_varint(&t->out, strtoul(e->d_name, NULL, 10));
		t->census->threads++;
	}
	tide_payload_end(&t->out, mark);
	closedir(dir);
}

/* "Name:   123 kB" in a file of /proc; 0: not there. */
static uint64_t kilobytes(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, 10) << 10 : 0;
}

static bool put_rss(struct taking *t)
{
	char rollup[4096], status[8192];
	int pid = t->process->pid;
	if (!tide_outside_text(pid, "smaps_rollup", rollup, sizeof rollup))
		rollup[0] = '\0';
	if (!tide_outside_text(pid, "status", status, sizeof status))
		return false;
	uint64_t exact = kilobytes(rollup, "\nRss:");
	t->census->rss = exact ? exact : kilobytes(status, "\nVmRSS:");
	size_t mark = tide_payload_begin(&t->out, TIDE_RECORD_RSS);
	tide_payload_varint(&t->out, t->census->rss);
	tide_payload_varint(&t->out, kilobytes(status, "\nVmHWM:"));
	tide_payload_varint(&t->out, kilobytes(status, "\nRssAnon:"));
	tide_payload_varint(&t->out, kilobytes(status, "\nRssFile:"));
	tide_payload_varint(&t->out, kilobytes(status, "\nRssShmem:"));
	tide_payload_varint(&t->out, kilobytes(rollup, "\nAnonHugePages:"));
	tide_payload_end(&t->out, mark);
	return t->census->rss > 0;
}

static bool take(struct taking *t)
{
	struct tide_outside_census *c = t->census;
	t->out.len = 0;
	t->owns = 0;
	t->resident = 0;
	t->beacon = (struct tide_beacon){0};
	*c = (struct tide_outside_census){.at_ns = now_ns()};
	tide_payload_u8(&t->out, 1); /* version */
	tide_payload_u8(&t->out, TIDE_WHY_OUTSIDE);
	c->beacon = tide_outside_beacon(t->process->pid, t->pagemap, &t->beacon, &c->refused);
	if (c->beacon)
		read_own(t);
	put_threads(t);
	bool ok = put_regions(t) && put_rss(t);
	if (ok && c->beacon)
		put_python(t);
	c->took_ns = now_ns() - c->at_ns;
	return ok;
}

static uint64_t apart(const struct taking *t)
{
	uint64_t rss = t->census->rss;
	return rss > t->resident ? rss - t->resident : t->resident - rss;
}

enum tide_status tide_outside_census_init(struct tide_outside_census *ret, const struct tide_outside *process,
					  unsigned tries, struct tide_error *err)
{
	struct tide_outside_census census = {0};
	struct taking *t = calloc(1, sizeof *t);
	char path[64];
	bool ok = false;
	if (!t)
		return tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	t->process = process;
	t->census = &census;
	snprintf(path, sizeof path, "/proc/%d/pagemap", process->pid);
	t->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	do
		ok = t->pagemap >= 0 && take(t);
	while (ok && --tries > 0 && apart(t) > APART_MOST);
	ok = ok && tide_outside_stands(process);
	if (t->pagemap >= 0)
		close(t->pagemap);
	bool nomem = t->out.nomem;
	census.bytes = t->out.bytes;
	census.len = t->out.len;
	free(t);
	if (ok && !nomem) {
		*ret = census;
		return TIDE_OK;
	}
	free(census.bytes);
	if (nomem)
		return tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	return tide_error_set(err, TIDE_ERR_IO, "process %d cannot be looked into any more: it has ended",
			      process->pid);
}

void tide_outside_census_release(struct tide_outside_census *c)
{
	free(c->bytes);
	*c = (struct tide_outside_census){0};
}
