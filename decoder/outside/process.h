/*
 * process.h - a process of this machine, looked at through /proc. Nothing here stops it, attaches to it, or writes into it.
 *
 * Who may look is the kernel's rule (ptrace(2), access mode checking): the same user or root; for its memory also Yama's. A process may
 * end at any moment: then every function here fails.
 */
#ifndef TIDE_OUTSIDE_PROCESS_H
#define TIDE_OUTSIDE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/beacon.h"
#include "format/status.h"
#include "outside/access.h"

struct tide_outside {
	int pid, ppid;        /* in our pid namespace; ppid 0: unknown */
	char name[64];        /* hostile: the executable's, or what the process calls itself */
	char exe[256];        /* hostile; "" unknown */
	uint64_t start_ticks; /* field 22 of /proc/PID/stat */
	uint64_t start_ns;    /* the same on CLOCK_MONOTONIC, to 10 ms; 0 unknown */
};

/* TIDE_ERR_IO: there is no such process, it has no memory, or it is not ours to look into; *err says which. */
enum tide_status tide_outside_init(struct tide_outside *ret, int pid, struct tide_error *err);
/* Whether it is still the process that was looked at. */
bool tide_outside_stands(const struct tide_outside *);

/* One line of /proc/PID/maps. */
struct tide_outside_map {
	uint64_t start, end, offset, inode;
	uint8_t flags;    /* enum tide_region_flag, but for OURS */
	const char *path; /* hostile; of the caller's line */
};
/* Cuts the line's end off. False: not such a line. */
bool tide_outside_map(char *line, struct tide_outside_map *ret);
/* Whether that is libtidemark.so. */
bool tide_outside_is_shim(const struct tide_outside_map *);

/* What the shim lets be found. False: no shim, of another version, or its memory may not be read (*ret_refused). */
bool tide_outside_beacon(int pid, int pagemap, struct tide_beacon *ret, bool *ret_refused);

#endif
