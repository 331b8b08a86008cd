/*
 * pagemap.h - which pages of a range are resident, as the runs that a census tells.
 */
#ifndef TIDE_PAGEMAP_H
#define TIDE_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "defs.h"

#define TIDE_PAGEMAP_PAGES 2048u /* of a range at most; a run takes no more bytes in the record than it has pages */

struct tide_page_run { /* struct page_region, linux/fs.h */
	uint64_t start, end, categories;
};

struct tide_pagemap {
	int fd;               /* of /proc/self/pagemap */
	bool cannot_ask;      /* PAGEMAP_SCAN is not there (Linux 6.7) */
	uint64_t from, until; /* what `run` tells of; all else in there is absent */
	uint32_t runs, at;
	union {
		struct tide_page_run run[TIDE_PAGEMAP_PAGES / 3];
		uint64_t entry[TIDE_PAGEMAP_PAGES];
	};
};

/* Appends runs for whole pages, TIDE_PAGEMAP_PAGES at most. False: residency could not be read, and nothing is appended. Ranges that
 * come in ascending order are asked for once for many. */
bool tide_pagemap_put(struct tide_pagemap *, struct tide_out *, uint64_t start, uint64_t end);

#endif
