/*
 * census_sites.h - the live blocks of pymalloc's pools as a census counted them (`sites` mode), when no events tell of them.
 */
#ifndef TIDE_ANALYZE_CENSUS_SITES_H
#define TIDE_ANALYZE_CENSUS_SITES_H

#include "analyze/analysis.h"

/* Adds them to the state, as of the census: one block for each that was counted, in its arena. Notes the types of objects in
 * a->types. *ret_found, false before: whether the census counted sites at all. TIDE_OK, TIDE_ERR_NOMEM, TIDE_ERR_BAD. */
enum tide_status tide_census_sites(struct tide_analysis *a, struct tide_replay *state, const struct tide_log *log,
				   const struct tide_census_blob *blob, bool *ret_found);
void tide_type_counts_release(struct tide_type_counts *);

/* Live bytes of each site at a census that is not the last one: *ret_live (from malloc, the caller's) of *ret_sites sites, which the
 * state then knows. *ret_live is NULL if that census counted none. TIDE_OK, TIDE_ERR_NOMEM, TIDE_ERR_BAD. */
enum tide_status tide_census_site_bytes(struct tide_replay *, const struct tide_log *, const struct tide_census_blob *,
					uint64_t **ret_live, uint32_t *ret_sites);

#endif
