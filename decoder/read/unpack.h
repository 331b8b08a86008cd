/*
 * unpack.h - the items of one block (FORMAT.md 6) as arrays of fixed-size operations, a chunk at a time: the fast twin of
 * tide_items_next, which is the reference (tests/fuzz/fuzz_items.c holds them against each other).
 *
 * Stacks are numbered within the block: node 0 is the root, pair 0 is two empty stacks; a chunk tells the nodes and pairs that
 * are new in it. So a block can be unpacked without knowing anything of other blocks, by any thread.
 */
#ifndef TIDE_READ_UNPACK_H
#define TIDE_READ_UNPACK_H

#include <stddef.h>
#include <string.h>

#include "read/log.h"
#include "read/numbers.h"

/* Operations between two of TICK, SYNC, THREAD. Every chunk begins with one. */
struct tide_run {
	uint64_t ticks;
	uint64_t seq;   /* epoch that the first operation begins; 0: none */
	uint32_t first; /* operation */
	uint32_t tid;
};

struct tide_new_node {
	uint64_t word;
	uint32_t parent;
};
struct tide_new_pair {
	uint32_t native, python; /* nodes, innermost */
};

/* How a block came to its end, or did not come at all. */
enum tide_load { TIDE_LOAD_OK, TIDE_LOAD_BAD, TIDE_LOAD_GONE, TIDE_LOAD_NOMEM };

struct tide_chunk {
	struct tide_chunk *next; /* of the same lane, or of a list of spare ones */
	struct tide_op *op;
	struct tide_run *run;
	struct tide_extra *extra;
	struct tide_new_node *node;
	struct tide_new_pair *pair;
	uint32_t ops, runs, extras, nodes, pairs;
	uint32_t cap;        /* of op, run, extra, pair */
	uint32_t block;      /* number within the lane; set by who fills */
	bool begins, ends;   /* the block */
	bool last;           /* of the lane: nothing is in it, and nothing follows */
	enum tide_load load; /* other than OK: the block holds nothing, or memory ran out in it */
};
/* `cap`: operations. NULL: no memory. */
struct tide_chunk *tide_chunk_new(uint32_t cap);
void tide_chunk_free(struct tide_chunk *);
/* Into one of the same `cap`. */
void tide_chunk_copy(struct tide_chunk *to, const struct tide_chunk *from);

struct tide_unpack_node {
	uint64_t path; /* predict.h */
	uint64_t word;
	uint32_t python, pair; /* of this one as a native stack, and of that Python one; pair 0: not known */
};

/* Deltas that an item told, to come again where NEXT says so. */
struct tide_unpack_next {
	uint64_t before; /* site */
	uint32_t pushed; /* place of the native nodes; the Python ones follow */
	uint16_t pop[2], push[2];
};

struct tide_unpack_stack {
	uint32_t depth;
	uint32_t node[TIDE_STACK_MAX + 3]; /* outermost first; [0] is the root */
	uint64_t last;                     /* new word */
};

struct tide_unpack {
	struct tide_in in;
	bool first; /* encoding 1 */
	uint64_t ticks, seq;
	uint32_t tid, events_left;
	bool new_run;               /* the next event begins one */
	bool unknown;               /* the next event frees what was never recorded */
	uint32_t pair, python_pair; /* of the current stacks; of none and the current Python stack */
	bool pair_known, python_pair_known, site_known;
	uint64_t site;  /* of the current stacks */
	uint64_t *dict; /* words */
	uint32_t dict_len, dict_cap;
	struct tide_unpack_node *node; /* by number */
	uint32_t nodes_used, node_cap;
	uint32_t *pushed; /* nodes of all deltas told */
	uint32_t pushed_len, pushed_cap;
	struct tide_numbers nodes, pairs;
	struct tide_unpack_stack stack[2]; /* native, Python */
	uint32_t callee[TIDE_CALLEES];     /* place in `dict` + 1; 0: none */
	struct tide_unpack_next next[TIDE_NEXTS];
	struct tide_model model;
};
/* An unpacker that holds no memory; its large tables are cleared for each block. */
static inline void tide_unpack_init(struct tide_unpack *u)
{
	memset(u, 0, offsetof(struct tide_unpack, stack));
}
void tide_unpack_release(struct tide_unpack *);
/* A new block; `payload` stays the caller's and must live until it is unpacked. At most `events` are taken from it. */
void tide_unpack_begin(struct tide_unpack *, enum tide_encoding, const void *payload, size_t len, uint64_t ticks,
		       uint32_t tid, uint32_t events);
/* The next operations; chunk->begins and what comes after `last` in it are the caller's. chunk->ends: there are no more. */
void tide_unpack_chunk(struct tide_unpack *, struct tide_chunk *);

#endif
