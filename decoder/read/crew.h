/*
 * crew.h - threads that fill the chunks of lanes ahead of the merge: read, check, decompress, unpack. What they fill is the same, and
 * comes in the same order within a lane, as if the merge did it; so is every answer. With no thread, it does.
 *
 * Memory is bounded by the chunks ahead, not by the log. One thread, the merge's, calls these functions. Where it would have to wait
 * for a chunk that somebody is filling, it fills one of another block instead: a wait costs more than a chunk, and so both have
 * the same to do, whichever of reading and replaying is more.
 */
#ifndef TIDE_READ_CREW_H
#define TIDE_READ_CREW_H

#include <pthread.h>
#include <stdatomic.h>

#include "read/feed.h"

/* Every so manyth block of a lane: its blocks may be filled beside those of the other ways. */
struct tide_way {
	struct tide_feed *feed;
	struct tide_chunk *first, *last; /* filled, and not taken yet */
	uint32_t chunks;
	bool busy;  /* somebody is filling one */
	bool ended; /* its last chunk was filled */
};
#define TIDE_WAYS_MOST 4u

/* A lane's share; zero is one that is not begun. */
struct tide_ahead {
	struct tide_way way[TIDE_WAYS_MOST];
	uint32_t ways; /* 0: not begun */
	uint32_t at;   /* the way of the block that is taken */
	bool wanted;   /* in the list of the crew */
	struct tide_ahead *next;
};

struct tide_crew {
	pthread_mutex_t lock; /* for all below, and the lanes' shares; a busy way's feed is its filler's */
	pthread_cond_t work, filled;
	pthread_t *thread;
	unsigned threads;
	struct tide_ahead *first, *last; /* lanes that want chunks */
	struct tide_chunk *spare;
	const struct tide_feed_env *env;
	uint32_t chunk_ops, ways; /* ways: of a lane */
	uint32_t chunks_ahead;    /* of a way */
	uint32_t enough;          /* so many are waited for */
	int core;                 /* the merge's, when the crew was made */
	bool ending, waiting;
	atomic_uint idle; /* threads that wait for work; read without the lock */
};

/* As many threads as can be had; none is no failure. `lanes`: that are read at one time. NULL: no memory, or no thread. */
struct tide_crew *tide_crew_new(unsigned threads, const struct tide_feed_env *, uint32_t chunk_ops, uint32_t lanes);
void tide_crew_free(struct tide_crew *); /* after all its lanes were closed; NULL is fine */

/* Makes the lane one that is read. False: no memory. */
bool tide_crew_open(struct tide_crew *, struct tide_ahead *, const struct tide_blocks_of *);
/* The next chunk of the lane. `spare`: chunks that are not needed any more, taken over. NULL: no memory. */
struct tide_chunk *tide_crew_take(struct tide_crew *, struct tide_ahead *, struct tide_scratch *,
				  struct tide_chunk *spare);
/* Nobody fills chunks of it any more, and those that were filled are thrown away. */
void tide_crew_close(struct tide_crew *, struct tide_ahead *);

/* A new thread may be left on its maker's core for longer than a log takes to read: away from there, and then wherever it likes. */
void tide_leave_core(int core);

#endif
