/*
 * analysis.h - one log, replayed and summed up: what every command shows parts of.
 *
 * The state that is shown is that at the answer moment: just before the Python interpreter began to finalize, if it did
 * (what it frees while shutting down would hide what it retained), else the end of the log. Totals count everything.
 */
#ifndef TIDE_ANALYZE_ANALYSIS_H
#define TIDE_ANALYZE_ANALYSIS_H

#include "read/log.h"
#include "replay/replay.h"

struct tide_arena {
	const char *kind; /* as in CONTRACT: pymalloc, glibc-main, ... */
	uint64_t base, reserved, resident, live_bytes, live_blocks, stranded;
	uint64_t only_site; /* pymalloc: the one site that holds it, plus 1; 0: several or unknown */
};

/* A site that holds pymalloc arenas. */
struct tide_pin {
	uint32_t site;
	uint64_t arenas, blocks, bytes;
	uint64_t pins_bytes;     /* stranded bytes of the arenas in which its blocks sit */
	uint64_t releases_bytes; /* of the arenas that only its blocks hold */
};

enum tide_row {
	TIDE_ROW_LIVE,
	TIDE_ROW_OVERHEAD,
	TIDE_ROW_PINNED_WASTE,
	TIDE_ROW_TRIMMABLE,
	TIDE_ROW_PY_LIVE,
	TIDE_ROW_PY_FREE_IN_POOLS,
	TIDE_ROW_PY_FREE_POOLS,
	TIDE_ROW_MMAP_DIRECT,
	TIDE_ROW_STACKS,
	TIDE_ROW_FILE_PRIVATE,
	TIDE_ROW_FILE_SHARED,
	TIDE_ROW_TIDEMARK,
	TIDE_ROWS
};
const char *tide_row_name(enum tide_row);

struct tide_ledger {
	bool known; /* false: no census at or before the answer moment */
	uint64_t at_ns, rss, peak_rss, row[TIDE_ROWS];
};

struct tide_sample {
	uint64_t at_ns, live_bytes;
};

struct tide_analysis {
	struct tide_replay state;            /* at the answer moment */
	uint64_t answer_ns, answer_index;    /* UINT64_MAX: the end */
	uint64_t allocs, frees, alloc_bytes; /* of the whole log */
	uint64_t unmatched_frees, doubled, cut_stacks;
	uint64_t peak_bytes, peak_ns;
	uint64_t uncertain_bytes; /* live, but their free may be in a gap of the log */
	struct tide_ledger ledger;
	struct tide_arena *arena;
	uint32_t arenas;
	struct tide_pin *pin;
	uint32_t pins;
	struct tide_sample *sample;
	uint32_t samples;
};

/* Reads the whole log, twice. On failure *ret is untouched. */
enum tide_status tide_analyze(struct tide_log *, struct tide_analysis **ret);
void tide_analysis_free(struct tide_analysis *); /* NULL is fine */

/* Sites by a measure, biggest first: an array of `sites` indices, owned by the caller (free). NULL: no memory. */
enum tide_order { TIDE_BY_LIVE, TIDE_BY_ALLOCATED, TIDE_BY_COUNT, TIDE_BY_PEAK };
uint64_t tide_site_measure(const struct tide_site *, enum tide_order);
uint32_t *tide_sites_by(const struct tide_analysis *, enum tide_order);

/* census_join.c: fills ledger, arenas and pins from the census nearest before the answer moment. */
enum tide_status tide_analyze_census(struct tide_analysis *, struct tide_log *);

#endif
