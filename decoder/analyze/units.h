/*
 * units.h - what holds stranded memory, as sets of sites. A unit is a pymalloc arena, or a page of a malloc heap: its free bytes go
 * back when the blocks of all its sites are gone. Units with the same sites are one. Internal to analyze/.
 */
#ifndef TIDE_ANALYZE_UNITS_H
#define TIDE_ANALYZE_UNITS_H

#include "analyze/join.h"

#define TIDE_UNIT_SITES 64u /* what more sites hold together is counted, and not planned for */

struct tide_unit {
	uint32_t first, count; /* sites: tide_units.site[first .. first + count), ascending */
	uint64_t bytes;        /* stranded */
	bool released;
};

struct tide_unit_index;
struct tide_units {
	struct tide_unit *unit;
	uint32_t units, cap;
	uint32_t *site;
	uint32_t sites, sites_cap;
	struct tide_unit_index *index;
	uint64_t total; /* stranded bytes that some live block holds, units or not */
};

/* After the ledger. TIDE_OK or TIDE_ERR_NOMEM; on failure nothing is held. */
enum tide_status tide_units_init(struct tide_units *, struct tide_join *);
void tide_units_release(struct tide_units *);

#endif
