/*
 * digest.h - what the block of a lane will be asked when it is overwritten, noted down while its events are recorded: sums by site,
 * and which of its allocations still live. The carrier then need not decode it (survive.h). Kept only once the ring is half
 * full, and only in memory: it is no more than what decoding the block would tell, so nothing is lost with it.
 *
 * A digest is of events of one epoch. It is begun with a block, and where the epoch changes within one another is begun, for events of two epochs go at
 * different times; both are taken over (candidates.h) when the block is sealed. One is off if there is anything out of the ordinary, or
 * the epoch changes twice; what it would tell is decoded.
 */
#ifndef TIDE_DIGEST_H
#define TIDE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "format/encode.h"

#define TIDE_DIGEST_SITES 768u
#define TIDE_DIGEST_SLOTS 1024u  /* of a hash of those */
#define TIDE_DIGEST_BLOCKS 2048u /* that live */

/* An allocation: 16 bytes. */
struct tide_digest_block {
	uint64_t key; /* address / 16 << 20 | site: its place here, its number in candidates.c */
	uint32_t size;
	uint32_t when; /* ticks >> TIDE_CARRY_SHIFT_FRESH since the base, * 2, + 1 for a block in a pymalloc pool */
};
#define TIDE_DIGEST_SITE_BITS 20u
#define TIDE_DIGEST_PLACE_BITS 11u

struct tide_digest_site {
	uint64_t hash, bytes;
	uint32_t allocs;
	uint32_t slot;
};

/* Two a lane; its thread's, or under the lane's lock. 56 KiB, of which a thread touches what its blocks need. */
struct tide_digest {
	bool on;
	uint8_t tag;                                  /* of the shadow bytes of what was allocated */
	uint32_t epoch;                               /* of all its events */
	uint32_t first, taken;                        /* allocations of the encoder's that are noted: first .. taken */
	uint32_t others;                              /* events that are no allocation and no free */
	uint32_t sites;                               /* site[0 .. sites) */
	uint32_t count;                               /* block[0 .. count) */
	uint32_t looked;                              /* block[0 .. looked) were looked through for the dead before */
	uint32_t unasked;                             /* digests in this place that are not looked through any more */
	uint64_t base;                                /* ticks >> TIDE_CARRY_SHIFT_FRESH */
	uint16_t slot[TIDE_DIGEST_SLOTS];             /* place in `site`, if that says so too */
	uint16_t place[1u << TIDE_DIGEST_PLACE_BITS]; /* by an address' hash: its place in `block`, if that is there */
	struct tide_digest_site site[TIDE_DIGEST_SITES];
	struct tide_digest_block block[TIDE_DIGEST_BLOCKS];
};

/* The encoder's allocations from now on, with shadow bytes `tag`. */
void tide_digest_begin(struct tide_digest *, const struct tide_encoder *, uint32_t epoch, uint8_t tag);
/* Notes the allocations since the last time; before the encoder's time changes, and every TIDE_PENDING allocations at least. False: there is
 * room for few more, and the block is to be sealed. */
bool tide_digest_note(struct tide_digest *, const struct tide_encoder *);
/* What is there is all of it: the dead go, if it is worth while. */
void tide_digest_close(struct tide_digest *);

#endif
