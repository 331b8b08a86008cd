/*
 * file.h - bytes of a regular file by offset, with pread: the file may shrink or change while we read it.
 */
#ifndef TIDE_READ_FILE_H
#define TIDE_READ_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/status.h"

struct tide_file {
	int fd;
	uint64_t size;    /* when it was opened */
	uint8_t *copy;    /* of all of it, which is read instead (snapshot.h); NULL: there is none */
	bool tells_holes; /* its file system says where nothing was written, pages that are only in memory included */
};

/* Regular files only: anything else is refused before it is opened, for opening a FIFO or a device has effects.
 * TIDE_ERR_IO, TIDE_ERR_NOT_A_LOG; *ret is then untouched. */
enum tide_status tide_file_open(const char *path, struct tide_file *ret, struct tide_error *err);
void tide_file_release(struct tide_file *);

/* Bytes read; fewer than `len` at the end of the file or at a place that the system cannot read. */
size_t tide_file_read(const struct tide_file *, uint64_t offset, void *buf, size_t len);

/* The first place from `offset` on at which something may have been written: all before it reads as zeros. */
uint64_t tide_file_data(const struct tide_file *, uint64_t offset);

/* A moving view for scans. Zero: empty. */
struct tide_window {
	const struct tide_file *file; /* the caller's */
	uint64_t offset;
	uint64_t end; /* nothing behind it is read ahead: the file's end, or the caller's */
	size_t len, cap;
	uint8_t *bytes;
};
void tide_window_init(struct tide_window *, const struct tide_file *);
void tide_window_release(struct tide_window *);
/* `len` bytes at `offset`, valid until the next call; NULL when they are not all there, or (*ret_nomem) no memory. */
const uint8_t *tide_window_get(struct tide_window *, uint64_t offset, size_t len, bool *ret_nomem);

#endif
