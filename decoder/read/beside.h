/*
 * beside.h - the file beside a log that `tidemark record` writes: censuses from outside (FORMAT.md 11). As hostile as the log.
 */
#ifndef TIDE_READ_BESIDE_H
#define TIDE_READ_BESIDE_H

#include "read/feed.h"

/* So much of such a file is read. Its writer keeps it below. */
#define TIDE_BESIDE_MOST (UINT64_C(128) << 20)
/* What its frames have in place of segment and lap: no frame of a ring has lap 0. */
#define TIDE_BESIDE_SEGMENT UINT32_MAX
#define TIDE_BESIDE_LAP 0u

struct tide_beside {
	struct tide_file file;
	struct tide_frame_at *frame; /* those that are whole and of this log, in order */
	size_t frames, cap;
	uint64_t gap_offset,
		gap_len; /* the first bytes between two frames that are no frame; 0: none. A last frame that is not whole
					 is none: its writer was ended */
};

/* "x.census" for "x.tide", for the caller to free; NULL: the log is not called that, or no memory. */
char *tide_beside_path(const char *log);

/* Opens and looks for frames; without such a file there are none. False: no memory. Released in any case. */
bool tide_beside_init(struct tide_beside *, const char *log, uint64_t file_uid);
void tide_beside_release(struct tide_beside *);

#endif
