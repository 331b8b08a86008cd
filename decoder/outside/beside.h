/*
 * beside.h - writes the file of censuses beside a log (FORMAT.md 11). Never the log.
 */
#ifndef TIDE_OUTSIDE_BESIDE_H
#define TIDE_OUTSIDE_BESIDE_H

#include "outside/census.h"

struct tide_beside_entry {
	uint64_t offset, len; /* of a census: all its frames */
	uint64_t at_ns;
};
struct tide_beside_writer {
	char *path; /* owned */
	uint64_t file_uid, limit;
	int fd; /* -1: not made yet */
	uint64_t len, taken;
	struct tide_beside_entry *entry; /* owned; the censuses in the file, in order */
	uint32_t entries, cap;
	uint64_t apart_ns; /* censuses that stay are as far apart; 0: all stay */
	bool failed;       /* nothing more is written */
};

/* For the log of that name, uid and size in bytes; the file is made with the first census. False: no memory, or the log is not called .tide. */
bool tide_beside_writer_init(struct tide_beside_writer *, const char *log, uint64_t file_uid, uint64_t log_bytes);
void tide_beside_writer_release(struct tide_beside_writer *);

/* Adds one. At the limit every second of the earlier ones goes, and from then on they are kept half as close: a census that comes sooner after
 * the one before takes the place of the last, so that there is always one of just now, and the rest is spread evenly over the time.
 * False: it could not be written, and nothing will be any more; what was is whole. */
bool tide_beside_put(struct tide_beside_writer *, const struct tide_outside_census *);

#endif
