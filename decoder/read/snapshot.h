/*
 * snapshot.h - the log of a process that goes on writing, as it is at one instant.
 *
 * Whoever reads such a file piece by piece mixes times: while definitions are read a pass ends, and what it carried over is neither
 * where it was nor where it is. So the file is copied first, in an order that leaves one state of the program: the ring, then
 * the staging blocks, then what was sealed between the two; and again if a segment was begun meanwhile.
 */
#ifndef TIDE_READ_SNAPSHOT_H
#define TIDE_READ_SNAPSHOT_H

#include <stdbool.h>

#include "format/layout.h"
#include "read/file.h"

/* From now on tide_file_read reads the copy. Files over 1 GiB, and those whose writer was always faster, stay as they are: they are
 * read piece by piece. False: no memory. */
bool tide_snapshot_take(struct tide_file *, const struct tide_geometry *, uint64_t file_uid);

#endif
