#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "format/wire.h"
#include "read/defs.h"

#define DEF_ALIGN 16u
/* Checksums of records that prove invalid cost time; a hostile file may hold millions of headers that each claim
 * megabytes. This many bytes a byte of the region are enough for any honest damage. */
#define WASTE_FACTOR 16u

#define LOOKS 5u /* at the definitions of a process that runs; a record takes it microseconds */
#define LOOK_AGAIN_US 2000u
#define SUSPICIOUS_MOST 64u

struct scan {
	const struct tide_defs_source *source;
	struct tide_damages *damages;
	struct tide_window window;
	uint64_t waste; /* bytes that may still be checked in vain */
	bool nomem;
	bool look_again;     /* damage is no news yet: the writer may have been in the middle of it */
	uint32_t suspicious; /* places of damage in this look */
	uint32_t before;     /* and in the one before, if there was one */
	uint64_t at[SUSPICIOUS_MOST], at_before[SUSPICIOUS_MOST];
};

static bool was_there_before(const struct scan *scan, uint64_t at)
{
	for (uint32_t i = 0; i < scan->before && i < SUSPICIOUS_MOST; i++)
		if (scan->at_before[i] == at)
			return true;
	return scan->before > SUSPICIOUS_MOST;
}

/* A process that runs defines on while we look, so only what is damaged in two looks is. */
static void damaged(struct scan *scan, uint64_t at, uint64_t len, const char *what)
{
	if (scan->suspicious < SUSPICIOUS_MOST)
		scan->at[scan->suspicious] = at;
	scan->suspicious++;
	if (!scan->source->running || (!scan->look_again && was_there_before(scan, at)))
		tide_damage_add(scan->damages, at, len, "definitions: %" PRIu64 " bytes%s", len, what);
}

enum record_state { RECORD_NONE, RECORD_UNFINISHED, RECORD_GOOD };

/* What stands at `at`; RECORD_GOOD: *ret_bytes is the whole record, *ret its header. */
static enum record_state record_at(struct scan *scan, uint64_t at, uint64_t end, struct tide_def *ret,
				   const uint8_t **ret_bytes)
{
	const struct tide_defs_source *s = scan->source;
	const uint8_t *bytes = tide_window_get(&scan->window, at, sizeof *ret, &scan->nomem);
	if (!bytes)
		return RECORD_NONE;
	memcpy(ret, bytes, sizeof *ret);
	if (ret->magic != TIDE_MAGIC_DEF || ret->file_uid32 != (uint32_t)s->file_uid || ret->len < sizeof *ret ||
	    ret->len > end - at || ret->len > TIDE_DEF_MAX)
		return RECORD_NONE;
	/* The writer stores the checksum last. */
	if (ret->checksum == 0)
		return RECORD_UNFINISHED;
	if (ret->len > scan->waste || !tide_window_get(&scan->window, at, ret->len, &scan->nomem))
		return RECORD_NONE;
	uint8_t *record = scan->window.bytes + (at - scan->window.offset);
	memset(record + offsetof(struct tide_def, checksum), 0, sizeof ret->checksum);
	bool good = tide_checksum(record, ret->len, s->file_uid) == ret->checksum;
	memcpy(record + offsetof(struct tide_def, checksum), &ret->checksum, sizeof ret->checksum);
	if (!good) {
		scan->waste -= ret->len;
		return RECORD_NONE;
	}
	*ret_bytes = record;
	return RECORD_GOOD;
}

static bool is_zero(struct scan *scan, uint64_t at, uint64_t end)
{
	static const uint8_t zero[DEF_ALIGN];
	size_t len = end - at < DEF_ALIGN ? (size_t)(end - at) : DEF_ALIGN;
	const uint8_t *bytes = tide_window_get(&scan->window, at, len, &scan->nomem);
	return !bytes || memcmp(bytes, zero, len) == 0;
}

/* Bytes that are no record. Zeros are room not handed out, or handed out to a thread that died before it wrote. The
 * latter is never where the region begins, for the first definitions are made before there are threads, and is too little to
 * be a page that was lost. */
struct hole {
	uint64_t from, len;
	uint64_t dirty_len; /* up to the last byte that is not 0 */
};

/* `before`: what lies before this place was handed out. */
static void end_hole(struct scan *scan, struct hole *hole, uint64_t before)
{
	uint64_t len = hole->dirty_len, handed_out = before > hole->from ? before - hole->from : 0;
	bool first = hole->from == scan->source->geometry->defs_off && handed_out > 0;
	if (hole->len > 0 && (first || handed_out >= TIDE_PAGE))
		len = handed_out < hole->len ? handed_out : hole->len;
	if (len > 0)
		damaged(scan, hole->from, len, " are no record");
	*hole = (struct hole){0};
}

static void add_to_hole(struct scan *scan, struct hole *hole, uint64_t at, uint64_t end)
{
	if (hole->len == 0)
		hole->from = at;
	hole->len += DEF_ALIGN;
	if (!is_zero(scan, at, end))
		hole->dirty_len = hole->len;
}

static bool scan_region(struct scan *scan, struct tide_defs *defs)
{
	const struct tide_geometry *g = scan->source->geometry;
	uint64_t at = g->defs_off, end = g->defs_off + g->defs_len;
	uint64_t used = g->defs_off + (scan->source->used < g->defs_len ? scan->source->used : 0);
	struct hole hole = {0};
	if (used > g->defs_off && !scan->source->running)
		end = used; /* nothing was ever written behind it */
	if (end > scan->source->file->size)
		end = scan->source->file->size;
	scan->window.end = end;
	while (at < end && !scan->nomem) {
		struct tide_def head;
		const uint8_t *bytes;
		enum record_state state = record_at(scan, at, end, &head, &bytes);
		if (state == RECORD_NONE && !(scan->source->running && at >= used))
			add_to_hole(scan, &hole, at, end);
		if (state == RECORD_NONE) {
			at += DEF_ALIGN;
			continue;
		}
		end_hole(scan, &hole, at);
		int got = state == RECORD_GOOD
				  ? tide_defs_parse(defs, head.kind, bytes + sizeof head, head.len - sizeof head)
				  : 1;
		if (got < 0)
			return false;
		if (got == 0)
			damaged(scan, at, head.len, " of contents that its kind does not have");
		at += ((uint64_t)head.len + DEF_ALIGN - 1) / DEF_ALIGN * DEF_ALIGN;
	}
	end_hole(scan, &hole, used);
	return !scan->nomem;
}

/* One look at the whole region. */
static bool look(struct scan *scan, struct tide_defs *ret)
{
	scan->waste = WASTE_FACTOR * (scan->source->geometry->defs_len + TIDE_PAGE);
	scan->nomem = false;
	memcpy(scan->at_before, scan->at, sizeof scan->at);
	scan->before = scan->suspicious;
	scan->suspicious = 0;
	tide_window_init(&scan->window, scan->source->file);
	tide_defs_init(ret);
	bool done = scan_region(scan, ret);
	tide_window_release(&scan->window);
	if (!done)
		tide_defs_release(ret);
	return done;
}

bool tide_defs_read(const struct tide_defs_source *source, struct tide_damages *damages, struct tide_defs *ret)
{
	struct scan scan = {.source = source, .damages = damages};
	for (unsigned looks = source->running ? LOOKS : 1; looks > 0; looks--) {
		scan.look_again = looks > 1;
		if (!look(&scan, ret))
			return false;
		if (!scan.suspicious || looks == 1)
			break;
		tide_defs_release(ret);
		usleep(LOOK_AGAIN_US);
	}
	tide_defs_finish(ret);
	return true;
}
