/*
 * account.h - lanes made out of frames and staging blocks, and the sum that must come out right (FORMAT.md 8):
 * recorded = in the window + evicted + lost.
 */
#ifndef TIDE_READ_ACCOUNT_H
#define TIDE_READ_ACCOUNT_H

#include "read/carried.h"
#include "read/lane.h"
#include "read/ring.h"
#include "read/super.h"

struct tide_lanes {
	struct tide_lane *lane; /* only those that were ever used */
	uint32_t count;
};

struct tide_account {
	uint64_t recorded, evicted, lost, open_blocks, unverified;
	struct tide_gaps gaps; /* reading adds those that it finds */
};

struct tide_account_source {
	const struct tide_file *file;
	const struct tide_geometry *geometry;
	uint64_t file_uid;
	bool running;
	bool checked; /* staging blocks have check words: format 1.1 */
	struct tide_damages *damages;
	const struct tide_carry_state *carried; /* NULL while staging blocks are read */
};

/* Copies the staging blocks of all lanes in use; before the ring is scanned, so that no block is missed that is sealed
 * meanwhile. False: no memory. */
bool tide_staging_read(const struct tide_account_source *, struct tide_lanes *ret);
/* Gives lanes their frames (tide_lane.frame points into `ring`) and counts. False: no memory. */
bool tide_account_frames(const struct tide_account_source *, struct tide_ring *, const struct tide_control_read *,
			 struct tide_lanes *, struct tide_account *ret);
void tide_lanes_release(struct tide_lanes *);
void tide_account_release(struct tide_account *);

#endif
