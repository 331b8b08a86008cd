/*
 * ring.h - which frames the ring holds, found by scan. Payloads are not looked at here.
 */
#ifndef TIDE_READ_RING_H
#define TIDE_READ_RING_H

#include "format/layout.h"
#include "read/damage.h"
#include "read/file.h"
#include "read/super.h"

struct tide_frame_at {
	uint64_t offset; /* of the header, in the file */
	struct tide_frame head;
};

struct tide_ring {
	/* EVENTS frames by (lane, block_seq), then CENSUS frames by (number, part), then, from carry_first on, CARRY frames by (pass,
	 * part); no two alike */
	struct tide_frame_at *frame;
	size_t count, events_count, carry_first, cap;
	/* Frame numbers that should be there and are not: between the first that the oldest segment may hold and the
	 * last one known. Frames that were being written when the process died are among them. */
	uint64_t missing;
	uint64_t gap_offset; /* the first place where the scan met bytes that are no frame before a frame; 0 none */
};

/* False: no memory. Nothing else fails: what cannot be used is left out. `damages` gets what is surely wrong. */
bool tide_ring_read(const struct tide_file *, const struct tide_geometry *, uint64_t file_uid,
		    const struct tide_control_read *, struct tide_damages *, struct tide_ring *ret);
void tide_ring_release(struct tide_ring *);

/* True if these bytes are a frame header of this file. */
bool tide_frame_valid(const struct tide_frame *, uint64_t file_uid);

#endif
