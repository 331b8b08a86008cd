/*
 * log_internal.h - what a struct tide_log is made of; for log*.c and import.c only.
 */
#ifndef TIDE_READ_LOG_INTERNAL_H
#define TIDE_READ_LOG_INTERNAL_H

#include "read/account.h"
#include "read/beside.h"
#include "read/carried.h"
#include "read/clock.h"
#include "read/defs.h"
#include "read/file.h"
#include "read/lane.h"
#include "read/log.h"
#include "read/merge.h"
#include "read/pystacks.h"
#include "read/ring.h"
#include "read/stacks.h"
#include "read/super.h"

/* One census: parts 0 .. parts - 1 are frames from `first` of the ring, or of the file beside it; or bytes that were added. */
struct tide_census_at {
	enum tide_census_source source;
	uint64_t time_ns;
	uint8_t *added; /* owned; NULL: it is in frames */
	uint64_t added_len;
	size_t first;
	uint32_t parts;
	bool complete; /* the last of them says that it is the last */
	bool bad;      /* found damaged when it was loaded, and counted */
};

struct tide_log {
	char *path;
	char boot_id[37];
	struct tide_file file;
	struct tide_process process;
	struct tide_lineage lineage;
	struct tide_control_read control;
	struct tide_damages damages;
	struct tide_lanes lanes;
	struct tide_ring ring;
	struct tide_beside beside;
	struct tide_carry_state carried;
	struct tide_account account;
	struct tide_defs defs;
	struct tide_clock clock;
	struct tide_stacks stacks;
	struct tide_pystacks pystacks;
	struct tide_lane_env env;
	struct tide_merge merge;
	struct tide_losses losses; /* made up when asked for */
	struct tide_census_at *census;
	uint32_t censuses;
	uint8_t *census_bytes; /* of the last one handed out */
	bool running, limited, failed;
};

/* False: no memory. */
bool tide_log_index_censuses(struct tide_log *);
void tide_log_release_censuses(struct tide_log *);

#endif
