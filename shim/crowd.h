/*
 * crowd.h - how many logs a directory holds already. A tree that forks for ever, or a worker that is restarted for weeks, must not
 * fill a disk with logs that nobody prunes: over the limits of TIDEMARK_DIR_FILES and TIDEMARK_DIR_SIZE no further one is made.
 *
 * Nothing is deleted here: `tidemark prune` does that. Two processes that look at the same time may both find room.
 */
#ifndef TIDE_CROWD_H
#define TIDE_CROWD_H

#include <stdbool.h>
#include <stdint.h>

/* Whether a log of `size` bytes may join those (*.tide, regular files) in the open directory: at most `files` with it, of `bytes` in
 * sum; 0: no limit. The first one always may. A directory that cannot be listed has room. Calls the kernel once for 32 KiB of
 * names and once for each log. */
bool tide_crowd_has_room(int dir, uint64_t size, uint64_t files, uint64_t bytes);

#endif
