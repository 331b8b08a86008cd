/*
 * census.h - a census of a running process, taken from outside: the same records as its own (FORMAT.md 9, reason 6), but for what only
 * the interpreter's lock makes readable: which sites' blocks live in its pools.
 *
 * No page of the process is touched that is not resident already. Its pages and RSS are read one after the other while it
 * goes on: what moved between the two is in the ledger's unexplained row. If much did, the census is taken again.
 */
#ifndef TIDE_OUTSIDE_CENSUS_H
#define TIDE_OUTSIDE_CENSUS_H

#include "outside/process.h"

struct tide_outside_census {
	uint64_t at_ns;   /* CLOCK_MONOTONIC, when it was begun */
	uint64_t took_ns; /* for the last try */
	uint64_t rss;
	uint8_t *bytes; /* owned */
	size_t len;
	uint32_t threads, arenas; /* arenas: of Python, whose pools were read */
	bool shim;                /* libtidemark.so is loaded ... */
	bool beacon;  /* ... and its tables could be read: tidemark's own memory and Python's arenas are told apart */
	bool refused; /* its memory may not be read */
	uint64_t log_inode; /* of the file that the shim writes its log into; 0: none */
};

/* `tries`, at least 1: how often it may be taken until no more than moving pages differ. TIDE_OK, TIDE_ERR_IO (the process has ended, or is not
 * ours), TIDE_ERR_NOMEM; on failure nothing is held. */
enum tide_status tide_outside_census_init(struct tide_outside_census *ret, const struct tide_outside *, unsigned tries,
					  struct tide_error *err);
void tide_outside_census_release(struct tide_outside_census *);

/* Resident bytes as /proc/PID/statm has them: cheap, and to some pages. 0: unknown. */
uint64_t tide_outside_rss(int pid);

#endif
