/*
 * crew.h - threads that fill the chunks of lanes ahead of the merge: read, check, decompress, unpack. What they fill is the same, and
 * comes in the same order within a lane, as if the merge did it; so is every answer. With no thread, it does.
 *
 * Memory is bounded by the chunks ahead, not by the log. One thread, the merge's, calls these functions.
 */
#ifndef TIDE_READ_CREW_H
#define TIDE_READ_CREW_H

#include <pthread.h>

#include "read/feed.h"

/* A lane's share; zero is one that is not begun. */
struct tide_ahead {
	struct tide_feed *feed;
	struct tide_chunk *first, *last; /* filled, and not taken yet */
	uint32_t chunks;
	bool busy;   /* somebody is filling one */
	bool wanted; /* in the list of the crew */
	bool ended;  /* its last chunk was filled */
	struct tide_ahead *next;
};

struct tide_crew {
	pthread_mutex_t lock; /* for all below, and the lanes' shares but feed */
	pthread_cond_t work, filled;
	pthread_t *thread;
	unsigned threads;
	struct tide_ahead *first, *last; /* lanes that want chunks */
	struct tide_chunk *spare;
	const struct tide_feed_env *env;
	uint32_t chunk_ops, chunks_ahead; /* a lane */
	bool ending, waiting;
};

/* As many threads as can be had; none is no failure. `lanes`: that are read at one time. NULL: no memory, or no thread. */
struct tide_crew *tide_crew_new(unsigned threads, const struct tide_feed_env *, uint32_t chunk_ops, uint32_t lanes);
void tide_crew_free(struct tide_crew *); /* after all its lanes were closed; NULL is fine */

/* The next chunk of the lane. `spare`: chunks that are not needed any more, taken over. NULL: no memory. */
struct tide_chunk *tide_crew_take(struct tide_crew *, struct tide_ahead *, struct tide_scratch *,
				  struct tide_chunk *spare);
/* Nobody fills chunks of it any more, and those that were filled are thrown away. The feed is the caller's again. */
void tide_crew_close(struct tide_crew *, struct tide_ahead *);

#endif
