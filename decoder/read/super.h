/*
 * super.h - where things are in the file: from either superblock, or from what is found when both are bad.
 */
#ifndef TIDE_READ_SUPER_H
#define TIDE_READ_SUPER_H

#include "format/layout.h"
#include "read/damage.h"
#include "read/file.h"

/* The numbers of *ret_super are used as they stand; those of *ret_geometry have been checked: regions lie in
 * file_size (which may be more than the file still has), in order, and lengths are whole. When no superblock could be
 * used all of *ret_super but file_uid, file_size and page_size is 0.
 * TIDE_ERR_NOT_A_LOG, _TOO_NEW, _UNSUPPORTED, _BAD; the two are then untouched. */
enum tide_status tide_super_read(const struct tide_file *, const char *path, struct tide_damages *,
				 struct tide_superblock *ret_super, struct tide_geometry *ret_geometry,
				 struct tide_error *err);

/* The control page, if it is this file's. A word counts only as far as both of its copies agree. */
struct tide_control_read {
	bool valid;
	uint64_t word[TIDE_CTL_WORDS];  /* the lesser of the two copies */
	uint64_t apart[TIDE_CTL_WORDS]; /* how much they differ */
};
void tide_control_read(const struct tide_file *, const struct tide_geometry *, uint64_t file_uid,
		       struct tide_control_read *ret);

#endif
