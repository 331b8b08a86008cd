/*
 * A whole file. The first byte says how: bit 0 clear - the rest is the file. Bit 0 set - the rest is a list of edits (three bytes
 * of offset, one of value) to a good log, and bits 1-4 say which checksums are put right again (superblock, staging
 * blocks, frames, definitions), for a checksum stops a fuzzer but not an enemy. Bits 5 and 6 say which log: the large one, or one
 * of three small ones, in which offsets count only what is in use.
 */
#include "memlog.h"

#include "read/census.h"
#include "read/log.h"

enum { EDITS = 1, FIX_SUPER = 2, FIX_BLOCKS = 4, FIX_FRAMES = 8, FIX_DEFS = 16, LOG_SHIFT = 5, LOGS = 4 };
enum { LOG_LARGE, LOG_CARRIED, LOG_CHILD, LOG_ENDED };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the logs ---- */

static struct memlog *make(unsigned which)
{
	static const struct mklog_options options[LOGS] = {
		[LOG_LARGE] = {.seed = 12, .events = 700, .lanes = 3, .depth = 6, .python = true},
		[LOG_CARRIED] = {.seed = 13, .events = 150, .lanes = 2, .depth = 3, .python = true},
		[LOG_CHILD] = {.seed = 14, .events = 150, .lanes = 4, .depth = 3, .child = true, .untidy = true},
		[LOG_ENDED] = {.seed = 15, .events = 150, .lanes = 8, .depth = 2, .slow = 20000, .end = true},
	};
	struct mklog_options o = options[which];
	o.size = TIDE_FILE_MIN;
	o.pid = 4242;
	o.process_start = 99;
	struct mklog *m = mklog_make(&o);
	if (which == LOG_CARRIED)
		memlog_carry(m);
	return memlog_of(m);
}

/* ---- damage ---- */

static void fix_super(struct memlog *l)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t offset = i ? l->m->g.file_size - TIDE_PAGE : 0;
		struct tide_superblock *s = (struct tide_superblock *)(l->file + offset);
		uint64_t sum = s->header_len <= TIDE_PAGE - 8 ? tide_checksum(s, s->header_len, 0) : 0;
		memlog_touch(l, offset, TIDE_PAGE);
		memcpy((uint8_t *)s + (s->header_len <= TIDE_PAGE - 8 ? s->header_len : TIDE_SUPERBLOCK_LEN), &sum, 8);
	}
}

static void fix_frame(struct memlog *l, uint64_t at)
{
	const struct mklog *m = l->m;
	struct tide_segment *s = (struct tide_segment *)(l->file + m->g.ring_off + at);
	struct tide_frame *f = (struct tide_frame *)(l->file + m->g.ring_off + at);
	if (at % m->g.segment_len == 0 && s->magic) {
		memlog_touch(l, m->g.ring_off + at, sizeof *s);
		s->checksum = tide_checksum(s, offsetof(struct tide_segment, checksum), m->super.file_uid);
	}
	if (f->magic != TIDE_MAGIC_FRAME)
		return;
	uint64_t room = m->g.ring_len - at - sizeof *f;
	memlog_touch(l, m->g.ring_off + at, sizeof *f);
	if (f->stored_len <= room)
		f->payload_checksum = tide_checksum(f + 1, f->stored_len, m->super.file_uid);
	f->header_checksum = tide_checksum(f, TIDE_FRAME_CHECKED, m->super.file_uid);
}

static void fix_frames(struct memlog *l)
{
	uint64_t page = l->m->g.ring_off / TIDE_PAGE, len = l->m->g.ring_len;
	for (uint64_t at = 0; at + sizeof(struct tide_frame) <= len; at += TIDE_FRAME_ALIGN) {
		uint64_t here = page + at / TIDE_PAGE;
		if (at % TIDE_PAGE == 0 && !l->holds[here] && !l->touched[here])
			at += TIDE_PAGE - TIDE_FRAME_ALIGN; /* zeros */
		else
			fix_frame(l, at);
	}
}

static void fix_defs(struct memlog *l)
{
	const struct mklog *m = l->m;
	for (uint64_t at = 0; at + sizeof(struct tide_def) <= m->g.defs_len; at += 16) {
		struct tide_def *d = (struct tide_def *)(l->file + m->g.defs_off + at);
		if (d->magic != TIDE_MAGIC_DEF || d->len > m->g.defs_len - at)
			continue;
		memlog_touch(l, m->g.defs_off + at, sizeof *d);
		d->checksum = 0;
		d->checksum = tide_checksum(d, d->len, m->super.file_uid);
	}
}

static void edit(struct memlog *l, uint8_t how, const uint8_t *data, size_t size)
{
	bool all = (how >> LOG_SHIFT) % LOGS == LOG_LARGE;
	for (size_t i = 0; i + 4 <= size; i += 4) {
		size_t offset = data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16;
		if (all)
			memlog_put(l, offset % l->m->g.file_size, data[i + 3]);
		else
			memlog_put_used(l, offset, data[i + 3]);
	}
	if (how & FIX_SUPER)
		fix_super(l);
	if (how & FIX_BLOCKS)
		memlog_fix_blocks(l);
	if (how & FIX_FRAMES)
		fix_frames(l);
	if (how & FIX_DEFS)
		fix_defs(l);
}

static void read_whole(struct tide_log *log, bool again)
{
	struct tide_event e;
	uint64_t seen = 0;
	while (tide_log_next(log, &e) == 1) {
		seen++;
		for (uint32_t n = e.native; n; n = tide_log_node_parent(log, n))
			if (tide_log_node_parent(log, n) >= n)
				abort();
	}
	for (uint32_t i = 0; i < tide_log_census_count(log); i++) {
		struct tide_census_blob blob;
		struct tide_census census;
		struct tide_census_item item;
		if (tide_log_census(log, i, &blob) != TIDE_OK || !tide_census_init(&census, blob.bytes, blob.len))
			continue;
		while (tide_census_next(&census, &item) == 1)
			;
	}
	const struct tide_losses *l = tide_log_losses(log);
	if (seen != l->in_window || l->recorded != l->in_window + l->evicted + l->lost)
		abort();
	if (!again)
		return;
	tide_log_rewind(log);
	while (tide_log_next(log, &e) == 1)
		seen--;
	if (seen != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memlog *made[LOGS];
	if (size == 0)
		return 0;
	unsigned which = (data[0] >> LOG_SHIFT) % LOGS;
	bool edits = data[0] & EDITS;
	for (unsigned i = 0; i < LOGS && !made[LOGS - 1]; i++)
		made[i] = make(i);
	struct memlog *l = made[which];
	if (edits)
		edit(l, data[0], data + 1, size - 1);
	struct tide_log *log;
	struct tide_error err;
	memlog_serve(edits ? l->file : data + 1, edits ? l->m->g.file_size : size - 1);
	if (tide_log_open(MEMLOG_PATH, &log, &err) == TIDE_OK) {
		read_whole(log, size % 4 == 1);
		tide_log_free(log);
	}
	memlog_restore(l);
	return 0;
}
