/*
 * mappings.h - the mappings that a program made itself and still has, as pieces of what was mapped at once: a partial munmap leaves
 * a piece on each side. Sorted by address.
 */
#ifndef TIDE_RERUN_MAPPINGS_H
#define TIDE_RERUN_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>

#define TIDE_MAPPINGS_MOST 16384u /* pieces; more are left out: a real program has hundreds */

struct tide_piece {
	uint64_t start, end;
	uint64_t base; /* start of the mapping it is a piece of */
	uint32_t id;   /* the caller's name for that mapping */
};
struct tide_mappings {
	struct tide_piece *piece;
	uint32_t pieces, cap;
	uint64_t left_out;
};
void tide_mappings_release(struct tide_mappings *);

/* What an event changes: called for every piece, or part of one, inside [start, end). */
typedef void tide_piece_fn(void *arg, const struct tide_piece *part);
/* Calls `each` (may be NULL) and removes them. */
void tide_mappings_cut(struct tide_mappings *, uint64_t start, uint64_t end, tide_piece_fn *each, void *arg);
void tide_mappings_each(const struct tide_mappings *, uint64_t start, uint64_t end, tide_piece_fn *each, void *arg);
/* Adds; [start, end) must be free (cut before). False: no memory, or full (left_out counts it). */
bool tide_mappings_add(struct tide_mappings *, uint64_t start, uint64_t end, uint32_t id);
/* The mapping that begins at `start` and is whole, or NULL. */
const struct tide_piece *tide_mappings_at(const struct tide_mappings *, uint64_t start);
#endif
