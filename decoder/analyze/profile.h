/*
 * profile.h - sites of any number of logs gathered by what their stacks are in words, not in addresses: so runs, processes of
 * a tree and machines can be added and compared.
 *
 * Two stacks are the same when their keys are. A native stack's key is its frames by (module's name, function, file, line);
 * a frame without a function is (module's name, offset). Lines of a Python function count from its first one, so that code
 * above it may change. A stack with Python frames has those as its key, by (file's last
 * part, function, line), with the innermost native frame, and of the other native frames that the innermost Python frame called
 * those outside the interpreter: how the interpreter came from a line to an allocation differs with its caches. So an
 * object and the growth of the list it is put into are two rows, although one line made both.
 */
#ifndef TIDE_ANALYZE_PROFILE_H
#define TIDE_ANALYZE_PROFILE_H

#include "analyze/analysis.h"
#include "symbols/symbols.h"

enum { TIDE_SIDES = 2 }; /* base and new */

struct tide_measures {
	uint64_t allocs, alloc_bytes, live_bytes, live_blocks, peak_bytes;
	uint64_t judged_bytes;      /* of live_bytes: known whether they grow */
	uint64_t suspect_bytes;     /* live bytes, each by its site's score (trend.h): how much looks like a leak */
	uint64_t uncertain_bytes;   /* of the live ones */
	uint64_t inherited_bytes;   /* of the live ones: from before the fork */
	uint64_t first_ns, last_ns; /* of the live ones; 0: none */
	uint64_t arenas, pins_bytes, releases_bytes; /* as in struct tide_pin */
	uint64_t pin_blocks, pin_bytes;
};

struct tide_profile_row {
	struct tide_measures side[TIDE_SIDES];
	uint32_t key, key_len;     /* frames that it was matched by, innermost first: in `word` */
	uint32_t stack, stack_len; /* frames of the biggest of the stacks gathered here: in `word` */
	uint64_t biggest;          /* weight of that stack; of two sides, the later one's weigh more */
};

struct tide_profile_index;
struct tide_profile {
	struct tide_symbol *frame; /* distinct frames; texts owned */
	uint32_t *match;           /* by frame: the first one that counts as the same; keys are made of those */
	uint32_t frames, frames_cap, matches_cap;
	uint32_t *word; /* frame numbers */
	uint32_t words, words_cap;
	struct tide_profile_row *row;
	uint32_t rows, rows_cap;
	struct tide_profile_index *frame_index, *match_index, *row_index;
};

/* Zero is an empty profile. */
void tide_profile_release(struct tide_profile *);
/* Adds the sites of one analysis for which the measure is not 0; symbols are asked for only for those. TIDE_OK or
 * TIDE_ERR_NOMEM. */
enum tide_status tide_profile_add(struct tide_profile *, const struct tide_analysis *, struct tide_symbols *,
				  bool (*wanted)(const struct tide_analysis *, uint32_t site), unsigned side);
/* Rows of which one side has nothing are joined with those of the other that differ from them only in line numbers, when
 * there is one such row on each side, or when they measure the same: code moved. */
enum tide_status tide_profile_join_moved(struct tide_profile *);

/* The frame that a row is called after: the innermost Python frame that is not the import machinery's, else the innermost
 * native one that is no allocator's or system library's. NULL: no frame at all. */
const struct tide_symbol *tide_profile_place(const struct tide_profile *, const struct tide_profile_row *);

#endif
