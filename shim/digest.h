/*
 * digest.h - what the block of a lane will be asked when it is overwritten, noted down while its events are recorded: sums by site,
 * and which of its allocations still live. The carrier then need not decode it (survive.h). Kept only once the ring is half
 * full, and only in memory: it is no more than what decoding the block would tell, so nothing is lost with it.
 *
 * A digest is begun with a block and taken over (candidates.h) when it is sealed, if all of the block's events are of one epoch
 * and nothing about it is out of the ordinary; otherwise it is off, and the block is decoded.
 */
#ifndef TIDE_DIGEST_H
#define TIDE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "format/encode.h"

#define TIDE_DIGEST_SITES 768u
#define TIDE_DIGEST_SLOTS 1024u  /* of a hash of those */
#define TIDE_DIGEST_BLOCKS 2048u /* that live, of one staging block */

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

/* One a lane; its thread's, or under the lane's lock. 56 KiB, of which a thread touches what its blocks need. */
struct tide_digest {
	bool on;
	uint8_t tag;                                  /* of the shadow bytes of what was allocated */
	uint32_t taken;                               /* allocations of the encoder's that are noted */
	uint32_t others;                              /* events that are no allocation and no free */
	uint32_t sites;                               /* site[0 .. sites) */
	uint32_t count;                               /* block[0 .. count) */
	uint32_t looked;                              /* block[0 .. looked) were looked through for the dead before */
	uint64_t base;                                /* ticks >> TIDE_CARRY_SHIFT_FRESH */
	uint16_t slot[TIDE_DIGEST_SLOTS];             /* place in `site`, if that says so too */
	uint16_t place[1u << TIDE_DIGEST_PLACE_BITS]; /* by an address' hash: its place in `block`, if that is there */
	struct tide_digest_site site[TIDE_DIGEST_SITES];
	struct tide_digest_block block[TIDE_DIGEST_BLOCKS];
};

/* A block begins; its allocations get shadow bytes `tag`. */
void tide_digest_begin(struct tide_digest *, uint8_t tag, uint64_t ticks);
/* Notes the allocations since the last time; before the encoder's time changes, and every TIDE_PENDING allocations at least. False: there is
 * room for few more, and the block is to be sealed. */
bool tide_digest_note(struct tide_digest *, const struct tide_encoder *);
/* The block is full: what is there is all of it, and the dead are gone. */
void tide_digest_close(struct tide_digest *, const struct tide_encoder *);

#endif
