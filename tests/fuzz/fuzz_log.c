/*
 * A whole file. The first byte says how: bit 0 clear - the rest is the file. Bit 0 set - the rest is a list of edits (three bytes
 * of offset, one of value) to a good log, and bits 1-4 say which checksums are put right again (superblock, staging
 * blocks, frames, definitions), for a checksum stops a fuzzer but not an enemy.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tools/mklog.h"
#include "read/census.h"
#include "read/log.h"

enum { EDITS = 1, FIX_SUPER = 2, FIX_BLOCKS = 4, FIX_FRAMES = 8, FIX_DEFS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix_super(struct mklog *m, uint8_t *file)
{
	for (unsigned i = 0; i < 2; i++) {
		struct tide_superblock *s = (struct tide_superblock *)(file + (i ? m->g.file_size - TIDE_PAGE : 0));
		uint64_t sum = s->header_len <= TIDE_PAGE - 8 ? tide_checksum(s, s->header_len, 0) : 0;
		memcpy((uint8_t *)s + (s->header_len <= TIDE_PAGE - 8 ? s->header_len : TIDE_SUPERBLOCK_LEN), &sum, 8);
	}
}

static void fix_blocks(struct mklog *m, uint8_t *file)
{
	for (uint32_t i = 0; i < m->g.lanes; i++) {
		struct tide_block *b = (struct tide_block *)(file + m->g.staging_off + (uint64_t)i * m->g.block_len);
		mklog_fix_block(m, b);
	}
}

static void fix_frames(struct mklog *m, uint8_t *file)
{
	uint8_t *ring = file + m->g.ring_off;
	for (uint64_t at = 0; at + sizeof(struct tide_frame) <= m->g.ring_len; at += TIDE_FRAME_ALIGN) {
		struct tide_segment *s = (struct tide_segment *)(ring + at);
		struct tide_frame *f = (struct tide_frame *)(ring + at);
		if (at % m->g.segment_len == 0)
			s->checksum = tide_checksum(s, offsetof(struct tide_segment, checksum), m->super.file_uid);
		if (f->magic != TIDE_MAGIC_FRAME)
			continue;
		uint64_t room = m->g.ring_len - at - sizeof *f;
		if (f->stored_len <= room)
			f->payload_checksum = tide_checksum(f + 1, f->stored_len, m->super.file_uid);
		f->header_checksum = tide_checksum(f, TIDE_FRAME_CHECKED, m->super.file_uid);
	}
}

static void fix_defs(struct mklog *m, uint8_t *file)
{
	for (uint64_t at = 0; at + sizeof(struct tide_def) <= m->g.defs_len; at += 16) {
		struct tide_def *d = (struct tide_def *)(file + m->g.defs_off + at);
		if (d->magic != TIDE_MAGIC_DEF || d->len > m->g.defs_len - at)
			continue;
		d->checksum = 0;
		d->checksum = tide_checksum(d, d->len, m->super.file_uid);
	}
}

static void edit(struct mklog *m, uint8_t *file, uint8_t how, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i + 4 <= size; i += 4) {
		size_t offset = data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16;
		file[offset % m->g.file_size] = data[i + 3];
	}
	if (how & FIX_SUPER)
		fix_super(m, file);
	if (how & FIX_BLOCKS)
		fix_blocks(m, file);
	if (how & FIX_FRAMES)
		fix_frames(m, file);
	if (how & FIX_DEFS)
		fix_defs(m, file);
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
	static struct mklog *m;
	static int fd = -1;
	static uint8_t *file;
	static char path[64];
	if (!m) {
		struct mklog_options o = {
			.seed = 12, .size = TIDE_FILE_MIN, .events = 700, .lanes = 3, .depth = 6, .python = true};
		m = mklog_make(&o);
		fd = memfd_create("log", MFD_CLOEXEC);
		file = malloc(m->g.file_size);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	}
	if (size == 0)
		return 0;
	bool edits = data[0] & EDITS;
	size_t len = edits ? m->g.file_size : size - 1;
	if (edits) {
		memcpy(file, m->file, len);
		edit(m, file, data[0], data + 1, size - 1);
	}
	if (ftruncate(fd, (off_t)len) != 0 || pwrite(fd, edits ? file : data + 1, len, 0) != (ssize_t)len)
		abort();
	struct tide_log *log;
	struct tide_error err;
	if (tide_log_open(path, &log, &err) == TIDE_OK) {
		read_whole(log, size % 4 == 1);
		tide_log_free(log);
	}
	return 0;
}
