/*
 * kin.h - which file is the log with that number: a forked child's log names its parent's by file_uid, and both usually lie in
 * one directory.
 */
#ifndef TIDE_READ_KIN_H
#define TIDE_READ_KIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_kin_log {
	uint64_t uid;
	char *path;
};
/* Zero is empty. */
struct tide_kin {
	struct tide_kin_log *log;
	size_t count, cap;
	char **directory; /* that were looked through */
	size_t directories;
};
void tide_kin_release(struct tide_kin *);
/* The number of a log; 0: it is none that could be used. */
uint64_t tide_kin_uid(const char *path);
/* What is no log is passed over. False: no memory. */
bool tide_kin_add(struct tide_kin *, const char *path);
/* The logs (*.tide) beside `path`, unless they were added already. */
bool tide_kin_add_beside(struct tide_kin *, const char *path);
/* NULL: none of them. */
const char *tide_kin_find(const struct tide_kin *, uint64_t uid);

#endif
