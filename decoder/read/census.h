/*
 * census.h - the records of one census (FORMAT.md 9), out of bytes that are not trusted.
 *
 * tide_census_init on the bytes of a struct tide_census_blob, then tide_census_next until it does not return 1. Nothing
 * is allocated or copied: pointers in a record point into the caller's bytes. A record of unknown kind, or longer
 * than this reader knows, is no error; one that breaks its own rules ends the census (-1).
 */
#ifndef TIDE_READ_CENSUS_H
#define TIDE_READ_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

#include "format/wire.h"

enum tide_census_kind {
	TIDE_RECORD_RSS = 1,
	TIDE_RECORD_REGION = 2,
	TIDE_RECORD_PYARENA = 3,
	TIDE_RECORD_MALLINFO = 4,
	TIDE_RECORD_THREADS = 5,
	TIDE_RECORD_PYSITES = 16,
	TIDE_RECORD_PYTYPE = 17
};
enum tide_census_why {
	TIDE_WHY_INTERVAL = 1,
	TIDE_WHY_EXIT = 2,
	TIDE_WHY_ARENA = 3,
	TIDE_WHY_FINALIZING = 4,
	TIDE_WHY_FORK = 5,
	TIDE_WHY_OUTSIDE = 6,
	TIDE_WHY_ENDING = 7
};
/* Taken before the program took itself apart. */
static inline bool tide_why_ends(uint64_t reason)
{
	return reason == TIDE_WHY_FINALIZING || reason == TIDE_WHY_ENDING;
}

enum tide_region_flag {
	TIDE_REGION_READ = 1,
	TIDE_REGION_WRITE = 2,
	TIDE_REGION_EXEC = 4,
	TIDE_REGION_SHARED = 8,
	TIDE_REGION_HEAP = 16,
	TIDE_REGION_STACK = 32,
	TIDE_REGION_OURS = 64 /* tidemark's own log and tables */
};
enum tide_page_state { TIDE_PAGE_ABSENT = 0, TIDE_PAGE_ANON = 1, TIDE_PAGE_FILE = 2, TIDE_PAGE_SWAPPED = 3 };

struct tide_census_rss { /* bytes */
	uint64_t resident;
	uint64_t peak; /* 0 unknown */
	uint64_t anon, file, shmem;
	uint64_t huge; /* of anon: in transparent huge pages */
};

#define TIDE_REGION_PAGES_MAX (UINT64_C(1) << 46) /* a region with more is none: no address space is so large */

struct tide_census_region {
	uint64_t start;       /* address */
	uint64_t pages;       /* of 4096 bytes */
	uint8_t flags;        /* enum tide_region_flag */
	uint64_t file_offset; /* bytes */
	uint64_t inode;
	const char *path; /* path_len bytes, not terminated, hostile; never NULL */
	uint32_t path_len;
	bool has_runs; /* residency could be read; the runs then cover exactly `pages` */
	struct tide_in runs;
};

struct tide_census_pyarena {
	uint64_t base;  /* address of the arena */
	uint64_t bytes; /* its size */
	bool inherited; /* made before the fork that made this process */
	uint32_t pool_bytes;
	uint64_t pools; /* exactly so many follow */
	struct tide_in pool_bytes_in;
};
struct tide_census_pool {
	uint8_t size_class; /* meaningful unless never_used or free_pool: blocks of (size_class + 1) * alignment bytes */
	bool never_used;    /* or not known */
	bool free_pool;     /* was used, holds nothing now */
	uint64_t live;      /* blocks */
};

struct tide_census_mallinfo { /* mallinfo2(3), bytes */
	uint64_t arena, hblkhd, uordblks, fordblks, keepcost;
};

/* Which sites' blocks live in an arena; an arena may have several such records, which add up. */
struct tide_census_pysites {
	uint64_t base; /* of the arena */
	struct tide_in entries;
};
struct tide_census_pysite {
	uint32_t site;      /* tide_log_site; 0 unknown, 65535 one too many for the writer */
	uint8_t size_class; /* blocks of (size_class + 1) * 16 bytes */
	uint32_t type;      /* number of a PYTYPE record of this census, from 1; 0: not told */
	uint64_t blocks;    /* at least 1 */
};
/* The name of a type. They are numbered 1, 2, ... in order, and stand before the records that use them. */
struct tide_census_pytype {
	const char *name; /* name_len bytes, not terminated, hostile; never NULL */
	uint32_t name_len;
};
struct tide_census_threads {
	struct tide_in ids; /* kernel thread ids: tide_threads_next */
};

struct tide_census_item {
	enum tide_census_kind kind;
	union {
		struct tide_census_rss rss;
		struct tide_census_region region;
		struct tide_census_pyarena pyarena;
		struct tide_census_mallinfo mallinfo;
		struct tide_census_pysites pysites;
		struct tide_census_pytype pytype;
		struct tide_census_threads threads;
	};
};

struct tide_census {
	uint32_t version;
	uint32_t reason; /* enum tide_census_why, or one that is newer */
	struct tide_in in;
};

/* False: no census, or of a version that this reader does not know. `bytes` stays the caller's and must live on. */
bool tide_census_init(struct tide_census *, const void *bytes, uint64_t len);
/* 1: *ret is the next record of a known kind. 0: the end. -1: damaged from here on. */
int tide_census_next(struct tide_census *, struct tide_census_item *ret);

/* The region's runs, in address order: `state` for the next `pages` pages. False: the end. Checked by
 * tide_census_next before: they add up to region->pages. */
bool tide_region_run(struct tide_census_region *, uint64_t *ret_pages, enum tide_page_state *ret_state);
/* The arena's pools, in address order. False: the end. */
bool tide_pyarena_pool(struct tide_census_pyarena *, struct tide_census_pool *ret);
/* The record's entries. False: the end. */
bool tide_pysites_next(struct tide_census_pysites *, struct tide_census_pysite *ret);
/* Thread ids, in no order. False: the end. */
bool tide_threads_next(struct tide_census_threads *, uint32_t *ret_tid);

#endif
