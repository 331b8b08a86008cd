/*
 * census.h - what is resident, and which pool blocks are live, at one instant, written to the ring as CENSUS frames.
 */
#ifndef TIDE_CENSUS_H
#define TIDE_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tide_census_reason {
	TIDE_CENSUS_INTERVAL = 1,
	TIDE_CENSUS_EXIT = 2,
	TIDE_CENSUS_ARENA = 3,
	TIDE_CENSUS_FINALIZING = 4,
	TIDE_CENSUS_FORK = 5,
	TIDE_CENSUS_OUTSIDE = 6,
	TIDE_CENSUS_ENDING = 7
};
enum tide_census_record {
	TIDE_CENSUS_RSS = 1,
	TIDE_CENSUS_REGION = 2,
	TIDE_CENSUS_PYARENA = 3,
	TIDE_CENSUS_MALLINFO = 4,
	TIDE_CENSUS_THREADS = 5,
	TIDE_CENSUS_PYSITES = 16,
	TIDE_CENSUS_PYTYPE = 17
};

/* Takes a census now if TIDEMARK_CENSUS allows it (EXIT, FINALIZING and ENDING always, and the first of them only), RSS has moved since the last one or that is long
 * ago, nobody else is taking one, and the program has not put itself under seccomp. Costs a handful of raw system calls. errno
 * and descriptors unchanged. */
void tide_census(enum tide_census_reason);

/* The number of the last census that is whole, and the bytes of its frames; UINT64_MAX: there is none. Its frames are written anew before they are
 * overwritten (survive.c): while RSS stays as it is the next one may be many laps of the ring away. */
uint64_t tide_census_last(uint64_t *ret_bytes);
/* That one was not kept: the next is due whether RSS has moved or not. */
void tide_census_is_gone(void);

/* A forked child: census numbers start again, and its first one (FORK) is due as soon as it has a log. */
void tide_census_fork_child(void);

struct tide_census_writer;
/* Appends one record; splits the census into frames as needed. False: given up. */
bool tide_census_put(struct tide_census_writer *, enum tide_census_record, const void *bytes, size_t len);

#endif
