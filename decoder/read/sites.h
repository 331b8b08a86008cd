/*
 * sites.h - a SITES definition (FORMAT.md 4): stacks of events that are no longer in the log.
 */
#ifndef TIDE_READ_SITES_H
#define TIDE_READ_SITES_H

#include "format/layout.h"
#include "format/wire.h"

#define TIDE_SITE_WORDS (TIDE_STACK_MAX + 2u)

/* One stack of a site: outermost first; `keep` of them are those of the site before. */
struct tide_site_stack {
	uint64_t word[TIDE_SITE_WORDS];
	uint64_t last;
	uint32_t len, keep;
};
struct tide_site_reader {
	struct tide_in in;
	uint32_t number; /* of the site that was read last */
	bool any;
	struct tide_site_stack native, python;
};

/* The payload stays the caller's. */
void tide_site_reader_init(struct tide_site_reader *, const uint8_t *payload, size_t len);
/* 1: the stacks are those of site `number`. 0: the end. -1: these bytes are no sites. */
int tide_site_reader_next(struct tide_site_reader *);

#endif
