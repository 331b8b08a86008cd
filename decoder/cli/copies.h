/*
 * copies.h - logs that are one process' log, copied (while it ran, perhaps): only one of them is to be counted.
 */
#ifndef TIDE_CLI_COPIES_H
#define TIDE_CLI_COPIES_H

#include "cli/paths.h"

/* ret_instead[i], of `paths->count`: NULL, or the path that is read instead of path i: of all copies the one with the most events, the first
 * of equal ones. The texts stay the paths'. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_copies_find(const struct tide_paths *paths, const char **ret_instead);

#endif
