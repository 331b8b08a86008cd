/*
 * join.h - the live blocks of one moment and the census of that moment, side by side: what ledger, arenas and pins are made of.
 * Internal to analyze/.
 */
#ifndef TIDE_ANALYZE_JOIN_H
#define TIDE_ANALYZE_JOIN_H

#include "analyze/analysis.h"
#include "model/caches.h"
#include "model/glibc.h"
#include "model/pymalloc.h"
#include "model/space.h"

struct tide_join {
	struct tide_analysis *a;
	struct tide_log *log;
	const struct tide_replay *state; /* at the moment of the census */
	struct tide_space space;
	struct tide_block_live *block; /* copies, sorted by address */
	size_t blocks;
	bool known_allocator; /* glibc */
	struct tide_glibc glibc;
	struct tide_cached cached;
	const struct tide_caches *caches; /* NULL: unknown; the caller's */
	uint64_t trim_threshold;
	struct tide_heaps heaps;
};

/* Takes over nothing; on failure nothing is held. `caches` NULL: unknown. */
enum tide_status tide_join_init(struct tide_join *, struct tide_analysis *, struct tide_log *,
				const struct tide_replay *, const struct tide_census_blob *,
				const struct tide_caches *caches);
void tide_join_release(struct tide_join *);
/* Index of the first block at or above the address. */
size_t tide_join_block(const struct tide_join *, uint64_t addr);

/* ledger.c: rows, predictions, arenas. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_join_ledger(struct tide_join *);
/* pins.c: who holds what. After the ledger. */
enum tide_status tide_join_pins(struct tide_join *);

/* Whether the blocks known in an arena are those that its pool headers count: none missing, and not those of another moment, as when
 * an earlier census told of the sites. */
static inline bool tide_join_tells(uint64_t known, uint64_t counted)
{
	return known >= counted && known - counted <= counted / 16 + 16;
}

/* Resident anonymous bytes of thread stacks: the main one, and those that glibc mapped for threads. */
uint64_t tide_join_stacks(const struct tide_space *);
bool tide_join_is_stack(const struct tide_space *, uint32_t region);

#endif
