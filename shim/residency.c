#include "residency.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "census.h"
#include "defs.h"
#include "logfile.h"
#include "pagemap.h"
#include "sys.h"

/* Reservations beyond this are told without residency: reading their page map would take too long. */
#define BIGGEST_PAGES (UINT64_C(8) << 30 >> 12)
#define PATH_MOST 255u
#define RECORD_CAP (TIDE_PAGEMAP_PAGES + PATH_MOST + 100)

enum { FLAG_R = 1, FLAG_W = 2, FLAG_X = 4, FLAG_SHARED = 8, FLAG_HEAP = 16, FLAG_STACK = 32, FLAG_OURS = 64 };

struct scratch {
	struct tide_pagemap pagemap;
	uint8_t record[RECORD_CAP];
	char text[16384];
};
_Static_assert(sizeof(struct scratch) <= TIDE_RESIDENCY_SCRATCH, "scratch");

struct region {
	uint64_t start, end, offset, inode;
	uint8_t flags;
	const char *path;
	size_t path_len;
};

struct reader {
	struct tide_census_writer *writer;
	struct scratch *scratch;
	bool ok;
};

static void put_residency(struct reader *r, struct tide_out *out, const struct region *piece, bool readable)
{
	if (readable)
		tide_pagemap_put(&r->scratch->pagemap, out, piece->start, piece->end);
	else if (!(piece->flags & (FLAG_R | FLAG_W | FLAG_X)))
		tide_out_varint(out, (piece->end - piece->start) / TIDE_PAGE * 4); /* all absent */
}

static void put_piece(struct reader *r, const struct region *piece, bool readable)
{
	struct tide_out out = tide_out_of(r->scratch->record, sizeof r->scratch->record);
	tide_out_varint(&out, piece->start / TIDE_PAGE);
	tide_out_varint(&out, (piece->end - piece->start) / TIDE_PAGE);
	*out.at++ = piece->flags;
	tide_out_varint(&out, piece->offset / TIDE_PAGE);
	tide_out_varint(&out, piece->inode);
	tide_out_bytes(&out, piece->path, piece->path_len);
	put_residency(r, &out, piece, readable);
	r->ok = r->ok && !out.full && tide_census_put(r->writer, TIDE_CENSUS_REGION, out.begin, tide_out_len(&out));
}

static void put_region(struct reader *r, const struct region *region)
{
	/* without any access right there is nothing resident worth telling, and such reservations can be huge */
	bool readable = region->flags & (FLAG_R | FLAG_W | FLAG_X) &&
			(region->end - region->start) / TIDE_PAGE <= BIGGEST_PAGES;
	struct region piece = *region;
	while (piece.start < region->end && r->ok) {
		uint64_t own_end;
		bool ours = tide_sys_own_until(piece.start, region->end, &own_end);
		piece.end = own_end;
		if (readable && piece.end - piece.start > TIDE_PAGEMAP_PAGES * (uint64_t)TIDE_PAGE)
			piece.end = piece.start + TIDE_PAGEMAP_PAGES * (uint64_t)TIDE_PAGE;
		piece.flags = region->flags | (ours ? FLAG_OURS : 0);
		put_piece(r, &piece, readable);
		if (region->inode)
			piece.offset += piece.end - piece.start;
		piece.start = piece.end;
	}
}

static const char *number(const char *at, unsigned base, uint64_t *ret)
{
	uint64_t value = 0;
	for (;; at++) {
		unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
				 : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a' + 10)
							    : 99;
		if (digit >= base)
			break;
		value = value * base + digit;
	}
	*ret = value;
	return at;
}

/* "start-end rwxp offset major:minor inode    path\n"; at is behind it, or NULL. */
static const char *parse_line(const char *at, const char *end, struct region *ret)
{
	const char *eol = memchr(at, '\n', (size_t)(end - at));
	uint64_t skipped;
	if (!eol)
		return NULL;
	*ret = (struct region){0};
	at = number(at, 16, &ret->start) + 1;
	at = number(at, 16, &ret->end) + 1;
	ret->flags = (uint8_t)((at[0] == 'r' ? FLAG_R : 0) | (at[1] == 'w' ? FLAG_W : 0) | (at[2] == 'x' ? FLAG_X : 0) |
			       (at[3] == 's' ? FLAG_SHARED : 0));
	at = number(at + 5, 16, &ret->offset) + 1;
	at = number(at, 16, &skipped) + 1;
	at = number(at, 16, &skipped) + 1;
	at = number(at, 10, &ret->inode);
	while (at < eol && *at == ' ')
		at++;
	ret->path = at;
	ret->path_len = (size_t)(eol - at) < PATH_MOST ? (size_t)(eol - at) : PATH_MOST;
	if (ret->path_len == 6 && memcmp(at, "[heap]", 6) == 0)
		ret->flags |= FLAG_HEAP;
	if (ret->path_len == 7 && memcmp(at, "[stack]", 7) == 0)
		ret->flags |= FLAG_STACK;
	return eol + 1;
}

static bool is_log(const struct region *region)
{
	return region->start == (uintptr_t)tide_logfile.base;
}

/* The log itself comes last, just before RSS is read: writing the census makes it grow. */
static void put_regions(struct reader *r, int maps)
{
	char *text = r->scratch->text;
	struct region region, log = {0};
	size_t have = 0;
	long n;
	while (r->ok && (n = tide_sys_read(maps, text + have, sizeof r->scratch->text - have)) > 0) {
		const char *at = text, *end = text + have + n, *next;
		while (r->ok && (next = parse_line(at, end, &region))) {
			if (is_log(&region))
				log = region;
			else
				put_region(r, &region);
			at = next;
		}
		have = (size_t)(end - at);
		if (have == sizeof r->scratch->text)
			break;
		memmove(text, at, have);
	}
	log.path = "";
	log.path_len = 0;
	log.flags |= FLAG_OURS;
	r->scratch->pagemap.until = 0; /* what was asked before is not asked of a log that has grown */
	if (log.end)
		put_region(r, &log);
}

/* "Name:   123 kB" in a file of /proc; 0: not there. */
static uint64_t kilobytes(const char *text, const char *name)
{
	uint64_t value = 0;
	const char *at = strstr(text, name);
	if (!at)
		return 0;
	at += strlen(name);
	while (*at == ' ' || *at == '\t')
		at++;
	number(at, 10, &value);
	return value << 10;
}

static void put_rss(struct reader *r)
{
	char *text = r->scratch->text;
	uint64_t exact = 0, huge = 0;
	if (tide_sys_slurp("/proc/self/smaps_rollup", text, sizeof r->scratch->text) > 0) {
		exact = kilobytes(text, "\nRss:");
		huge = kilobytes(text, "\nAnonHugePages:");
	}
	if (tide_sys_slurp("/proc/self/status", text, sizeof r->scratch->text) <= 0) {
		r->ok = false;
		return;
	}
	struct tide_out out = tide_out_of(r->scratch->record, sizeof r->scratch->record);
	tide_out_varint(&out, exact ? exact : kilobytes(text, "\nVmRSS:"));
	tide_out_varint(&out, kilobytes(text, "\nVmHWM:"));
	tide_out_varint(&out, kilobytes(text, "\nRssAnon:"));
	tide_out_varint(&out, kilobytes(text, "\nRssFile:"));
	tide_out_varint(&out, kilobytes(text, "\nRssShmem:"));
	tide_out_varint(&out, huge);
	r->ok = tide_census_put(r->writer, TIDE_CENSUS_RSS, out.begin, tide_out_len(&out));
}

struct dirent64 { /* getdents64(2) */
	uint64_t inode, offset;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* The threads that live now: a dead one's stack and cache hold nothing any more. */
static void put_threads(struct reader *r)
{
	char *text = r->scratch->text;
	struct tide_out out = tide_out_of(r->scratch->record, sizeof r->scratch->record);
	int dir = tide_sys_open_high("/proc/self/task");
	long n = 0;
	while (dir >= 0 && (n = tide_syscall(SYS_getdents64, dir, (long)text, sizeof r->scratch->text, 0, 0, 0)) > 0) {
		for (long at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(text + at);
			uint64_t tid = 0;
			number(entry->name, 10, &tid);
			if (tid)
				tide_out_varint(&out, tid);
			at += entry->len;
		}
	}
	if (dir >= 0)
		tide_sys_close(dir);
	if (dir >= 0 && n == 0 && !out.full)
		r->ok = r->ok && tide_census_put(r->writer, TIDE_CENSUS_THREADS, out.begin, tide_out_len(&out));
}

/* Pages of the scratch memory are resident from here on, as RSS will say when it is read last. */
static void touch(struct scratch *scratch)
{
	volatile uint8_t *page = (uint8_t *)scratch;
	for (size_t at = 0; at < sizeof *scratch; at += TIDE_PAGE)
		page[at] = 0;
}

bool tide_residency(struct tide_census_writer *writer, void *scratch)
{
	struct reader r = {.writer = writer, .scratch = scratch, .ok = true};
	touch(scratch);
	put_threads(&r);
	int maps = tide_sys_open_high("/proc/self/maps");
	struct tide_pagemap *pagemap = &r.scratch->pagemap;
	pagemap->fd = tide_sys_open_high("/proc/self/pagemap");
	pagemap->cannot_ask = false;
	pagemap->from = pagemap->until = 0;
	if (maps >= 0)
		put_regions(&r, maps);
	if (r.ok)
		put_rss(&r);
	if (pagemap->fd >= 0)
		tide_sys_close(pagemap->fd);
	if (maps >= 0)
		tide_sys_close(maps);
	return maps >= 0 && r.ok;
}
