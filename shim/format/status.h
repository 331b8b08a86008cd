/*
 * status.h - how library functions say what went wrong: an enum, and detail in the caller's struct. Nobody prints.
 */
#ifndef TIDE_FORMAT_STATUS_H
#define TIDE_FORMAT_STATUS_H

#include <stdint.h>

enum tide_status {
	TIDE_OK = 0,
	TIDE_ERR_IO = -1,        /* the system refused: open, read, write; detail has its words */
	TIDE_ERR_NOT_A_LOG = -2, /* no tidemark file, or not a regular file */
	TIDE_ERR_TOO_NEW = -3,   /* an incompatible flag or major version that this reader does not know */
	TIDE_ERR_BAD = -4,       /* damaged so that nothing could be kept */
	TIDE_ERR_NOMEM = -5,
	TIDE_ERR_USAGE = -6, /* the caller asked for what does not exist */
	TIDE_ERR_UNSUPPORTED = -7
};

/* Owned by the caller; a function that returns non-zero fills it. */
struct tide_error {
	enum tide_status status;
	uint64_t offset; /* in the file, where that makes sense */
	char text[240];  /* lower case, no full stop, subject quoted: cannot open 'x.tide': No such file or directory */
};

/* Fills err (NULL is fine) and returns status. printf-style; not for the shim, which has no stdio. */
enum tide_status tide_error_set(struct tide_error *err, enum tide_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
