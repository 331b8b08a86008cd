/*
 * space.h - one census in memory: the mappings, which of their pages are resident, RSS, pymalloc's arenas. Addresses are the
 * traced process'; everything is sorted by address, and pieces of one mapping are joined again.
 */
#ifndef TIDE_MODEL_SPACE_H
#define TIDE_MODEL_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "format/status.h"
#include "read/census.h"
#include "read/log.h"

#define TIDE_SPACE_PAGE UINT64_C(4096)

struct tide_space_run { /* resident pages of one state; [start, end) */
	uint64_t start, end;
	bool file; /* of a file or shared memory, otherwise anonymous */
};

struct tide_space_region {
	uint64_t start, end;
	uint64_t inode;
	uint8_t flags;    /* enum tide_region_flag */
	bool counted;     /* residency is known */
	char name[32];    /* the end of the path, or "[heap]" and the like; hostile */
	uint64_t swapped; /* bytes */
};

struct tide_space_pool {
	uint8_t size_class; /* blocks of (size_class + 1) * 16 bytes */
	bool never_used, free_pool;
	uint16_t live;
};

struct tide_space_arena {                 /* pymalloc's */
	uint64_t base, bytes, first_pool; /* first_pool: address */
	uint32_t pool_bytes, pools;
	uint32_t pool; /* index in tide_space.pool */
	bool inherited;
};

struct tide_space {
	uint64_t at_ns;
	uint32_t reason; /* enum tide_census_why */
	bool has_rss;
	struct tide_census_rss rss;
	struct tide_space_region *region;
	uint32_t regions;
	struct tide_space_run *run;
	uint32_t runs;
	struct tide_space_arena *arena;
	uint32_t arenas;
	struct tide_space_pool *pool;
	uint32_t pools;
	uint32_t *thread; /* kernel thread ids; NULL: not told */
	uint32_t threads;
};

/* TIDE_OK; TIDE_ERR_BAD: not a census, or damaged; TIDE_ERR_NOMEM. On failure nothing is held. */
enum tide_status tide_space_init(struct tide_space *, const struct tide_census_blob *);
void tide_space_release(struct tide_space *);

/* The region that holds the address, or NULL. */
const struct tide_space_region *tide_space_find(const struct tide_space *, uint64_t addr);
/* Resident bytes of [start, end): anonymous, or of files and shared memory. */
uint64_t tide_space_anon(const struct tide_space *, uint64_t start, uint64_t end);
uint64_t tide_space_file(const struct tide_space *, uint64_t start, uint64_t end);
/* A private anonymous writable mapping, or the brk heap: where an allocator's memory may lie. */
bool tide_space_is_anonymous(const struct tide_space_region *);

#endif
