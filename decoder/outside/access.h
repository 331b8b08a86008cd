/*
 * access.h - what the kernel tells of another process: files of /proc/PID, its page map, its memory. Bytes only; a process writes its memory, and some
 * of those files' text, as it likes.
 */
#ifndef TIDE_OUTSIDE_ACCESS_H
#define TIDE_OUTSIDE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A file of /proc/PID, with a NUL behind; false: not there. */
bool tide_outside_text(int pid, const char *file, char *buf, size_t cap);
FILE *tide_outside_file(int pid, const char *file);

/* Its memory, without making any of it resident: pages that are not read as zeros. `pagemap`: /proc/PID/pagemap. False: it has gone, or may not
 * be read. */
bool tide_outside_read(int pid, int pagemap, uint64_t addr, void *buf, size_t len);
/* The page map of so many pages from the one with that address on. */
bool tide_outside_residency(int pagemap, uint64_t addr, uint64_t *entry, unsigned pages);
/* /proc/PID/pagemap, Documentation/admin-guide/mm/pagemap.rst: bit 63, present */
static inline bool tide_outside_is_resident(uint64_t entry)
{
	return entry >> 63;
}

/* Pieces of its memory that are known to be resident, at once. False: one of them cannot be read. */
#define TIDE_OUTSIDE_PIECES 64u
struct tide_outside_piece {
	uint64_t addr;
	void *buf;
	size_t len;
};
bool tide_outside_read_pieces(int pid, const struct tide_outside_piece *, unsigned pieces);

#endif
