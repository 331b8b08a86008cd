/*
 * heritage.h - what a forked child had from its parent: the blocks that were live when it began, as the logs of its ancestors tell. An
 * ancestor's log is replayed up to the events that the child's LINEAGE names, each on top of what it had inherited itself.
 *
 * In the child such a block is its own from then on: what the parent does to its copy later is another block's story. Whether the child
 * still shares the page with its parent is a question to the census, not to the blocks.
 */
#ifndef TIDE_REPLAY_HERITAGE_H
#define TIDE_REPLAY_HERITAGE_H

#include "read/log.h"
#include "replay/blocks.h"

enum tide_heir {
	TIDE_HEIR_NONE,  /* not a forked child: it inherited nothing */
	TIDE_HEIR_WHOLE, /* every block is told of */
	TIDE_HEIR_STAYED, /* those are told of that the parent had still when its ring had gone on past the fork: there may be more */
	TIDE_HEIR_UNSURE,      /* events of an ancestor are missing: there may be more, and some may be dead */
	TIDE_HEIR_NO_LOG,      /* from here on nothing is told of. An ancestor's log is not there, */
	TIDE_HEIR_UNREADABLE,  /* or it cannot be read, or there are too many generations, */
	TIDE_HEIR_OVERWRITTEN, /* or its ring has gone on past the fork, */
	TIDE_HEIR_NO_LINEAGE   /* or the child's own log lost where the fork was */
};
const char *tide_heir_text(enum tide_heir);

/* Zero is NONE. */
struct tide_heritage {
	enum tide_heir heir;
	struct tide_block_live
		*block; /* `site` is the number of a pair of stacks in the child's log; flags have INHERITED */
	size_t blocks;
	uint64_t bytes;
	uint64_t first_ns;        /* of the oldest; UINT64_MAX: there is none */
	uint64_t in_flight_bytes; /* of reallocs that other threads of the ancestors were in */
};

/* The path of the log with that number, the callee's, valid until its next call; NULL: none. *ret_nomem is set if memory ran out. */
typedef const char *tide_find_log(void *arg, uint64_t file_uid, bool *ret_nomem);

/* Takes the stacks over into the child's log. TIDE_OK (whatever became of it: `heir` says), or TIDE_ERR_NOMEM; then nothing is held. */
enum tide_status tide_heritage_init(struct tide_heritage *, struct tide_log *child, tide_find_log *find, void *arg);
void tide_heritage_release(struct tide_heritage *);

#endif
