/*
 * find.h - the log that a running process writes, and the process that writes a log.
 */
#ifndef TIDE_OUTSIDE_FIND_H
#define TIDE_OUTSIDE_FIND_H

#include "format/layout.h"
#include "outside/process.h"

enum tide_outside_found {
	TIDE_FOUND_LOG,
	TIDE_FOUND_NONE,      /* none is mapped */
	TIDE_FOUND_ANOTHERS,  /* only its parent's, which a forked child leaves with its first allocation */
	TIDE_FOUND_UNREADABLE /* one is mapped, but its file cannot be opened from here */
};
/* On LOG, *ret_path is how to open it (owned by the caller, free), if need be through /proc/PID; else NULL. On UNREADABLE it is what the
 * process calls it. Without memory: NONE. */
enum tide_outside_found tide_outside_log(const struct tide_outside *, char **ret_path);

/* The id, in our pid namespace, of the process that the log says it is of, if that lives and still writes it; 0: none.
 * *ret_pid is what the log calls it. TIDE_OK, or why the file is no log. */
enum tide_status tide_outside_writer(const char *path, int *ret_found, int *ret_pid, struct tide_error *err);

#endif
