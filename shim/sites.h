/*
 * sites.h - the call stacks of events that are overwritten: numbered once, with what was allocated there.
 *
 * A site is a pair of stacks, native and Python, known by a hash of their words. Its stacks are defined once
 * (FORMAT.md 4, SITES) and its sums are written into the ring whenever they have changed or the last copy is about to go.
 * Under the ring's lock.
 */
#ifndef TIDE_SITES_H
#define TIDE_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_site_sum {
	uint64_t hash; /* never 0 */
	uint64_t allocs, bytes;
	uint32_t written;  /* epoch of the segment with the newest copy of the sums; 0: there is none */
	uint32_t page, at; /* candidates.c: where its sum of an epoch is, if it still is */
	bool changed;      /* since then */
};

/* Words outermost first. */
struct tide_site_stacks {
	const uint64_t *native, *python;
	uint32_t native_len, python_len;
};

/* At least `most` sites can be told apart; the rest are summed up as site 0. Once a process; false: no memory. */
bool tide_sites_init(uint32_t most);
/* A forked child has defined none. */
void tide_sites_fork_child(void);

/* The number of a site, 1, 2, ...; 0 when there are too many. */
uint32_t tide_sites_number(uint64_t hash, const struct tide_site_stacks *);
/* The same of a site that was numbered; 0: it was not. */
uint32_t tide_sites_find(uint64_t hash);
/* False: tide_sites_number would number it. */
bool tide_sites_known(uint64_t hash);
/* Writes the definitions of all sites met so far; before anything that names them is published. */
void tide_sites_define(void);

/* Sums of sites 0 .. count - 1. */
struct tide_site_sum *tide_sites_sums(uint32_t *ret_count);

#endif
