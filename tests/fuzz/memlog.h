/*
 * memlog.h - logs that a target damages, reads, and damages anew: what an input changed is put back, and no more is written or copied
 * for it. Included by one file of a program, for which it stands in front of open, stat, pread and lseek: the log's bytes are
 * served from memory.
 */
#ifndef TIDE_FUZZ_MEMLOG_H
#define TIDE_FUZZ_MEMLOG_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../tools/mklog.h"
#include "format/carry.h"

#define MEMLOG_PIECE 64u

struct memlog {
	struct mklog *m; /* m->file stays as it was made */
	uint8_t *file;
	uint8_t *touched, *holds; /* by page: was changed; holds anything but zeros, as it was made */
	uint32_t *used;           /* numbers of pieces of MEMLOG_PIECE bytes that do */
	uint32_t used_count;
};

#define MEMLOG_PATH "/a log in memory"

/* What is read at MEMLOG_PATH. `fd`: a file of zeros, but of the right length. */
static struct {
	int fd, opened;
	size_t len;
	const uint8_t *bytes;
} memlog_served = {.fd = -1, .opened = -1};

static inline struct memlog *memlog_of(struct mklog *m)
{
	static const uint8_t zeros[MEMLOG_PIECE];
	size_t pages = m->g.file_size / TIDE_PAGE, pieces = m->g.file_size / MEMLOG_PIECE;
	struct memlog *l = calloc(1, sizeof *l);
	if (!l || !(l->file = malloc(m->g.file_size)) || !(l->touched = calloc(pages, 1)) ||
	    !(l->holds = calloc(pages, 1)) || !(l->used = calloc(pieces, sizeof *l->used)))
		abort();
	l->m = m;
	memcpy(l->file, m->file, m->g.file_size);
	for (uint32_t i = 0; i < pieces; i++) {
		if (memcmp(m->file + (size_t)i * MEMLOG_PIECE, zeros, MEMLOG_PIECE) == 0)
			continue;
		l->holds[i * MEMLOG_PIECE / TIDE_PAGE] = 1;
		l->used[l->used_count++] = i;
	}
	return l;
}

/* [offset, offset + len) of l->file is going to be changed. */
static inline void memlog_touch(struct memlog *l, uint64_t offset, size_t len)
{
	for (uint64_t page = offset / TIDE_PAGE; page * TIDE_PAGE < offset + len; page++)
		l->touched[page] = 1;
}

static inline void memlog_put(struct memlog *l, uint64_t offset, uint8_t value)
{
	memlog_touch(l, offset, 1);
	l->file[offset] = value;
}

/* As memlog_put, where only pieces that hold something count. */
static inline void memlog_put_used(struct memlog *l, uint64_t offset, uint8_t value)
{
	uint64_t piece = l->used[offset / MEMLOG_PIECE % l->used_count];
	memlog_put(l, piece * MEMLOG_PIECE + offset % MEMLOG_PIECE, value);
}

/* The sums of staging blocks become those of what they hold. */
static inline void memlog_fix_blocks(struct memlog *l)
{
	for (uint32_t i = 0; i < l->m->g.lanes; i++) {
		uint64_t offset = l->m->g.staging_off + (uint64_t)i * l->m->g.block_len;
		memlog_touch(l, offset, sizeof(struct tide_block));
		mklog_fix_block(l->m, (struct tide_block *)(l->file + offset));
	}
}

static inline void memlog_restore(struct memlog *l)
{
	for (size_t i = 0; i < l->m->g.file_size / TIDE_PAGE; i++)
		if (l->touched[i])
			memcpy(l->file + i * TIDE_PAGE, l->m->file + i * TIDE_PAGE, TIDE_PAGE);
	memset(l->touched, 0, l->m->g.file_size / TIDE_PAGE);
}

/* These bytes can be read at MEMLOG_PATH, until the next call. */
static inline void memlog_serve(const uint8_t *bytes, size_t len)
{
	if (memlog_served.fd < 0)
		memlog_served.fd = memfd_create("log", MFD_CLOEXEC);
	if (memlog_served.len != len && ftruncate(memlog_served.fd, (off_t)len) != 0)
		abort();
	memlog_served.bytes = bytes;
	memlog_served.len = len;
}

/* ---- a log that has overwritten, and carried over ---- */

#define MEMLOG_SITES 6u

static inline void memlog_define_sites(struct mklog *m)
{
	uint8_t buf[256], *out = tide_put_varint(buf, 1);
	for (uint32_t i = 0; i < MEMLOG_SITES; i++) {
		out = tide_put_varint(tide_put_varint(out, i ? 1 : 0), 2); /* native: one word kept, two new */
		out = tide_put_varint(tide_put_varint(out, 0x20002000 + 64 * i), 32);
		out = tide_put_varint(tide_put_varint(out, 0), i % 2); /* Python: none kept, one or none new */
		if (i % 2)
			out = tide_put_varint(out, tide_zigzag((int64_t)(TIDE_WORD_PYTHON | UINT64_C(1) << 24 | i)));
	}
	mklog_define(m, TIDE_DEF_SITES, buf, (size_t)(out - buf));
}

/* Part `part` of pass `pass`: some blocks that live, some that died, inherited ones that are gone, and sums. `upto` events of
 * each lane are in it; 0: it is not the last part. */
static inline void memlog_put_carried(struct mklog *m, uint32_t pass, uint32_t part, uint64_t upto)
{
	struct tide_carry_block block[24];
	uint8_t buf[2048], sums[128], *out, *s = sums;
	uint32_t count = 0, first = (pass * 7 + part * 3) % 16;
	for (; count < 24; count++)
		block[count] = (struct tide_carry_block){.addr = 0x555500000000 + 0x2000 * (first + count),
							 .ticks = MKLOG_TICKS0 + 32 * (count * 5 % 7),
							 .size = 16 + 100 * count,
							 .site = count % (MEMLOG_SITES + 1),
							 .op = count % 11 == 10 ? TIDE_CARRY_DIED : count % 2};
	out = tide_carry_put_blocks(buf, block, count, TIDE_CARRY_SHIFT_FRESH);
	out = tide_carry_put_gone(out, (uint64_t[]){0x1230, 0x7f0000000010 + pass, 0x7f0000002000}, 3);
	for (uint32_t i = 0; i < MEMLOG_SITES; i++)
		s = tide_put_varint(tide_put_varint(tide_put_varint(s, i != 0), 40 * pass + i), 4000 * pass);
	*out++ = TIDE_CARRY_SUMS;
	out = mklog_bytes(out, sums, (size_t)(s - sums));
	if (upto) {
		s = sums;
		for (uint32_t i = 0; i < m->o.lanes; i++)
			s = tide_put_varint(tide_put_varint(s, i != 0), upto);
		*out++ = TIDE_CARRY_MARKS;
		out = mklog_bytes(out, sums, (size_t)(s - sums));
		struct tide_carry_totals totals = {
			.events = m->o.lanes * upto, .allocs = upto, .frees = upto / 2, .deaths = TIDE_DEATHS_ALL};
		out = tide_carry_put_totals(out, &totals);
	}
	struct tide_frame f = {.kind = TIDE_FRAME_CARRY,
			       .lane = part,
			       .block_seq = pass,
			       .events_before = count,
			       .events = upto != 0,
			       .mono_ns = mklog_ns(m->ticks),
			       .ticks = m->ticks};
	mklog_put_frame(m, &f, buf, (size_t)(out - buf));
}

/* As if two passes had ended and a third had not. A frame of the first is also behind the second, as one that it did not get to. */
static inline void memlog_carry(struct mklog *m)
{
	memlog_define_sites(m);
	for (uint32_t pass = 1; pass <= 3; pass++) {
		mklog_begin_segment(m);
		memlog_put_carried(m, pass, 0, 0);
		memlog_put_carried(m, pass, 1, pass < 3 ? 8 * pass : 0);
	}
	memlog_put_carried(m, 1, 2, 0);
}

/* ---- in front of libc's ---- */

static inline bool memlog_is_path(const char *path)
{
	return memlog_served.fd >= 0 && strcmp(path, MEMLOG_PATH) == 0;
}

int open(const char *path, int flags, ...)
{
	va_list more;
	va_start(more, flags);
	int mode = flags & O_CREAT ? va_arg(more, int) : 0;
	va_end(more);
	if (memlog_is_path(path))
		return memlog_served.opened = fcntl(memlog_served.fd, F_DUPFD_CLOEXEC, 0);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (fd == memlog_served.opened) /* the number is another's now */
		memlog_served.opened = -1;
	return fd;
}

int stat(const char *path, struct stat *ret)
{
	return memlog_is_path(path) ? fstat(memlog_served.fd, ret) : fstatat(AT_FDCWD, path, ret, 0);
}

static inline bool memlog_is_served(int fd)
{
	return fd >= 0 && fd == memlog_served.opened;
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	size_t at = (size_t)offset, all = memlog_served.len;
	if (!memlog_is_served(fd) || offset < 0)
		return syscall(SYS_pread64, fd, buf, len, offset);
	size_t got = at >= all ? 0 : len < all - at ? len : all - at;
	memcpy(buf, memlog_served.bytes + (got ? at : 0), got);
	return (ssize_t)got;
}

/* No holes: a reader looks at zeros as at anything else. */
off_t lseek(int fd, off_t offset, int whence)
{
	if (memlog_is_served(fd) && whence == SEEK_DATA && (size_t)offset < memlog_served.len)
		return offset;
	return syscall(SYS_lseek, fd, offset, whence);
}

#endif
