/*
 * logfile.h - the mapped file: creating it, its parts, its counters. FORMAT.md 3.
 *
 * The mapping's address never changes: a forked child first writes to private memory laid out like the file
 * and gets a file of its own, mapped over that memory, once it has recorded enough to matter (fork-and-exec leaves none).
 */
#ifndef TIDE_LOGFILE_H
#define TIDE_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "format/layout.h"

struct tide_logfile {
	uint8_t *base; /* NULL: no log */
	struct tide_geometry geometry;
	uint64_t file_uid;
	bool is_private; /* memory of a forked child, not yet a file */
	bool dir_kept;   /* dir below is absolute */
	char dir[1024];
};
extern struct tide_logfile tide_logfile;

/* Creates, sizes, maps and closes the file. False: none could be made; told on standard error if `loud`. */
bool tide_logfile_create(const struct tide_config *, bool loud);
/* A forked child: leaves the parent's mapping, takes private memory of the same shape at the same address, a new uid, and
 * `parent_uid`. False: no memory. */
bool tide_logfile_leave_parent(const struct tide_config *);
/* Gives the private image a file. False: none can be made, and will not be tried again. */
bool tide_logfile_promote(const struct tide_config *);

/* The ring is going to be written, page after page. Asks for big pages: a first touch costs 1 us for 4 KiB then, and some 20 us
 * without (ext4, Linux 6.18). One system call; nothing is lost if it fails. */
void tide_logfile_is_filling(void);
/* The ring's pages leave the program's RSS; the file keeps them, whoever writes meanwhile, and what is written next comes back a page at
 * a time. Else RSS would grow by the whole log in time. Not while the log is private memory. One system call; errno unchanged. */
void tide_logfile_rest(void);

static inline void *tide_logfile_at(uint64_t offset)
{
	return tide_logfile.base + offset;
}
/* Adds to both copies of a counter of the control page. */
void tide_control_add(enum tide_control_word, uint64_t);
uint64_t tide_control_get(enum tide_control_word);

#endif
