/*
 * paths.h - the logs that a command line names: files, and directories for every log in them, in order of their names.
 */
#ifndef TIDE_CLI_PATHS_H
#define TIDE_CLI_PATHS_H

#include <stddef.h>

#include "format/status.h"

struct tide_paths {
	char **path; /* owned */
	size_t count;
};
enum tide_status tide_paths_init(struct tide_paths *, char **given, int count, struct tide_error *err);
void tide_paths_release(struct tide_paths *);

#endif
