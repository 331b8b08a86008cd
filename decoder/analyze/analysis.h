/*
 * analysis.h - one log, replayed and summed up: what every command shows parts of.
 *
 * The state that is shown is that at the answer moment: just before the program began to end (the Python interpreter to finalize,
 * exit(), main's return), if it did (what it frees while it takes itself apart would hide what it retained), else the end of the
 * log. Totals count everything.
 */
#ifndef TIDE_ANALYZE_ANALYSIS_H
#define TIDE_ANALYZE_ANALYSIS_H

#include "analyze/trend.h"
#include "model/pymalloc.h"
#include "read/log.h"
#include "replay/heritage.h"
#include "replay/replay.h"

/* What becomes of an arena's free memory. */
enum tide_consequence {
	TIDE_CONSEQUENCE_UNKNOWN,   /* another allocator than the models know */
	TIDE_CONSEQUENCE_NOTHING,   /* no free memory in it worth a page */
	TIDE_CONSEQUENCE_RETURNED,  /* goes back by itself with the next frees */
	TIDE_CONSEQUENCE_TRIM,      /* malloc_trim(0) gives it back */
	TIDE_CONSEQUENCE_WHEN_DEAD, /* only when the blocks that hold it die */
	TIDE_CONSEQUENCE_NEVER      /* not by any call of the program's: the allocator keeps it */
};
const char *tide_consequence_text(enum tide_consequence);
const char *tide_consequence_name(enum tide_consequence); /* one word */

/* One character for an equal part of an arena, in pages: not resident, resident and nothing lives there (stranded), less or more than half
 * of it lives. */
#define TIDE_ARENA_CELLS 256u /* of a pymalloc arena of 1 MiB: a page each */
#define TIDE_CELL_ABSENT ' '
#define TIDE_CELL_STRANDED '-'
#define TIDE_CELL_THIN '+'
#define TIDE_CELL_LIVE '#'

struct tide_arena {
	const char *kind; /* as in CONTRACT: pymalloc, glibc-main, ... */
	uint64_t base, reserved, resident, live_bytes, live_blocks;
	uint64_t stranded;  /* resident and not live, but for: */
	uint64_t reserve;   /* what the allocator keeps free by a rule of its own, whatever dies */
	uint64_t trim;      /* malloc_trim(0) would give back now */
	uint64_t by_itself; /* goes back without it, with the next frees */
	uint32_t holders;   /* sites with live blocks in it (at most 65); 0: none, or not all known */
	uint32_t mappings;  /* glibc-mmap: blocks with a mapping of their own that this row sums up */
	enum tide_consequence consequence;
	char map[TIDE_ARENA_CELLS + 1]; /* by address; "": none, as of rows that sum up several mappings */
};

#define TIDE_PIN_TYPES 6u

/* A place whose live blocks hold memory that nothing uses: a line, function or return address on their stacks, not
 * necessarily the innermost one (analyze/keys.h). */
struct tide_pin {
	uint32_t site;           /* one of its sites: with the place as innermost frame, if there is such a one */
	uint32_t native, python; /* stack from the place outwards: nodes, as in struct tide_site */
	uint32_t made_native,
		made_python; /* from where most of it was made: a line of the application's, if there is one */
	uint32_t sites;
	uint64_t arenas;          /* that hold blocks of it: pymalloc arenas and malloc heaps */
	uint64_t blocks, bytes;   /* live, under the place */
	uint64_t inherited_bytes; /* of these, from before the fork */
	uint64_t
		pins_bytes; /* stranded bytes of the arenas and pages in which its blocks sit, those of pins before it left out */
	/* resident bytes that go back when all its blocks die: those that no malloc_trim would give back before; when nothing else
	 * is done; when malloc_trim(0) is called then, all that this gives back */
	uint64_t releases_bytes, returns_bytes, with_trim_bytes;
	uint64_t error_bytes;  /* these may be off by so much: whose cache takes the freed blocks is not known */
	struct tide_pin_type { /* Python types of its blocks, where they were seen; most first */
		uint32_t type; /* number of a name in tide_analysis.types, from 1 */
		uint64_t blocks;
	} type[TIDE_PIN_TYPES];
	uint32_t types;
};

/* The first `pins` of tide_analysis.pin, removed together, release `bytes` of pinned_bytes. */
struct tide_pin_set {
	unsigned percent;  /* that was asked for */
	bool reached;      /* false: no set that was tried releases so much */
	uint32_t pins;     /* found by a greedy search ... */
	uint32_t at_least; /* ... and no set of fewer than this can do it */
	uint64_t bytes;
};
#define TIDE_PIN_SETS 3u /* 50, 80, 95 % */

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
	/* predictions for the malloc heaps, glibc only (trim_known) */
	bool trim_known;
	uint64_t trim;       /* malloc_trim(0) gives back */
	uint64_t trim_error; /* but up to so much less: chunks in thread caches that the log cannot show */
	uint64_t by_itself;  /* goes back with the next frees */
	uint64_t swapped;    /* bytes, not part of RSS */
	uint64_t stranded;   /* resident in arenas and heaps, not live, and not in reserve */
	uint64_t reserve;    /* pymalloc's one empty arena, resident */
	uint32_t threads;    /* 0 unknown */
	uint64_t data_files; /* resident, of mapped files that are no executables or libraries; part of two rows */
};

/* Objects by type, of sites whose blocks hold nearly empty arenas (`sites` mode). */
struct tide_type_count {
	uint32_t site;
	uint32_t type; /* name[type - 1] */
	uint64_t blocks;
};
struct tide_type_counts {
	char **name;                   /* hostile */
	struct tide_type_count *count; /* a pair may occur several times */
	uint32_t names, counts, cap;
};

struct tide_sample {
	uint64_t at_ns, live_bytes;
};

/* One census: the kernel's numbers beside the log's at that moment. */
struct tide_moment {
	uint64_t at_ns, rss, live, reserved; /* live: blocks of malloc and of pymalloc's pools */
	uint64_t unseen;                     /* of `live`: blocks in pools that no event tells of */
	uint64_t heap;                       /* resident in malloc heaps and pymalloc arenas, live or not */
	uint64_t mapped;                     /* resident, anonymous, of the program's own mappings */
	uint64_t stacks, files;              /* resident */
	uint32_t reason;                     /* enum tide_census_why */
};

struct tide_analysis {
	struct tide_replay state;            /* at the answer moment */
	uint64_t answer_ns, answer_index;    /* UINT64_MAX: the end */
	bool ended;                          /* the program began to end */
	uint64_t allocs, frees, alloc_bytes; /* of the whole log */
	uint64_t unmatched_frees, doubled;
	uint64_t cut_stacks,
		deep_stacks;      /* allocations whose stack is not whole; of these, cut at TIDEMARK_STACK frames */
	uint64_t inherited_frees; /* a forked child's, of blocks whose allocation is in its parent's log */
	enum tide_heir heir;      /* whether it is known what was inherited, and how much that was */
	bool heir_forgot;         /* that is known, but not what of it was freed in events that were overwritten */
	uint64_t heir_bytes, heir_blocks;
	uint64_t peak_bytes, peak_ns;
	uint64_t uncertain_bytes; /* live, but their free may be in a gap of the log */
	struct tide_ledger ledger;
	struct tide_arena *arena;
	uint32_t arenas;
	struct tide_pin *pin;
	uint32_t pins,
		worthy_pins;   /* the first ones are worth showing: they hold, and release, more than next to nothing */
	uint64_t pinned_bytes; /* stranded, and held by some live block */
	struct tide_pin_set set[TIDE_PIN_SETS];
	struct tide_pymalloc_stats pymalloc;
	bool pools_by_census;       /* what lives in pools is known at censuses only: no event tells of it */
	struct tide_growth *growth; /* by site, of the first `growths` sites */
	uint32_t growths, trend_points;
	struct tide_moment *moment; /* every census up to the answer moment, oldest first */
	uint32_t moments;
	struct tide_sample *sample;
	uint32_t samples;
	struct tide_type_counts types;
	uint64_t
		sites_ns; /* `sites` mode: when a census counted Python's blocks, as which they are shown; 0: none did */
	uint64_t counted_blocks;  /* how many these are: no event tells of them */
	uint64_t siteless_blocks; /* of these: without a site that the log knows */
};

/* Reads the whole log; twice only if its censuses and its events disagree on `ended`. The heritage is a forked child's: NULL if its
 * parent's log was not looked for. On failure *ret is untouched. */
enum tide_status tide_analyze(struct tide_log *, const struct tide_heritage *, struct tide_analysis **ret);
void tide_analysis_free(struct tide_analysis *); /* NULL is fine */

/* Sites by a measure, biggest first: an array of `sites` indices, owned by the caller (free). NULL: no memory. */
enum tide_order { TIDE_BY_LIVE, TIDE_BY_ALLOCATED, TIDE_BY_COUNT, TIDE_BY_PEAK };
uint64_t tide_site_measure(const struct tide_site *, enum tide_order);
uint32_t *tide_sites_by(const struct tide_analysis *, enum tide_order);

#endif
