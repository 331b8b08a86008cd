/*
 * candidates.h - of the frames in the ring that need not be decoded when they are overwritten: what a pass asks of them, by epoch.
 * Sums by site, and those of their allocations that may still live: all that lived when their block was sealed, less
 * what was found dead since. Both lie in pages of one pool; when that is full, blocks are decoded again as without it.
 *
 * All of it under the ring's lock, but for tide_candidates_spoil.
 */
#ifndef TIDE_CANDIDATES_H
#define TIDE_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "digest.h"
#include "format/carry.h"
#include "format/layout.h"

/* Once a process, when the geometry is known. Without memory there are never any. */
void tide_candidates_init(void);
void tide_candidates_fork_child(void);
/* Is it worth while to keep digests: the ring is going to wrap. */
bool tide_candidates_wanted(void);

/* Items of the block that a digest is of. */
struct tide_raw {
	const uint8_t *bytes;
	size_t len;
	uint64_t ticks;
};
/* Before a block is packed: numbers the sites of a digest of it. */
void tide_candidates_learn(const struct tide_digest *, const struct tide_raw *);
/* What has become of the block that a digest is of. */
struct tide_digested {
	const struct tide_frame *frame;
	uint32_t events; /* of the digest's epoch */
	bool is_second;  /* others are of an earlier one */
};
/* Takes over a digest that is closed, if there is room. */
void tide_candidates_add(const struct tide_digest *, const struct tide_digested *);

/* A block with this shadow byte was thought dead for a while: who looked meanwhile was wrong. Any thread. */
void tide_candidates_spoil(uint8_t tag);

/* ---- for a pass ---- */
/* What is known of an epoch can be used. */
bool tide_candidates_usable(uint32_t epoch);
/* Frees and first halves of reallocs among what is known. */
uint64_t tide_candidates_frees(uint32_t epoch);
/* What is in the frame of the epoch that it was begun in is among what is known; of the next epoch that is in it. */
bool tide_candidates_have(const struct tide_frame *);
bool tide_candidates_have_second(const struct tide_frame *);
/* Hands a page of what is known to the pass, and forgets it. False: there is no more. */
struct tide_candidates_use {
	void (*sum)(uint32_t site, uint64_t allocs, uint64_t bytes);
	void (*block)(const struct tide_carry_block *);
};
bool tide_candidates_take(uint32_t epoch, const struct tide_candidates_use *);
/* The epoch is gone. */
void tide_candidates_drop(uint32_t epoch);

#endif
