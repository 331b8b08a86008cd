/*
 * bare.h - RSS, row by row, of a process without a log: by the kind of mapping alone. What of a heap lives is not known then.
 */
#ifndef TIDE_ANALYZE_BARE_H
#define TIDE_ANALYZE_BARE_H

#include "model/space.h"

enum tide_bare_row {
	TIDE_BARE_HEAP,         /* the brk heap */
	TIDE_BARE_THREAD_HEAPS, /* at multiples of HEAP_MAX, as glibc lays them */
	TIDE_BARE_ANONYMOUS, /* the rest that is of no file: malloc's big blocks, Python's arenas, the program's own */
	TIDE_BARE_STACKS,
	TIDE_BARE_FILE_PRIVATE,
	TIDE_BARE_FILE_SHARED,
	TIDE_BARE_TIDEMARK,
	TIDE_BARE_ROWS
};
const char *tide_bare_row_name(enum tide_bare_row);

struct tide_bare_heap {
	uint64_t base, reserved, resident; /* bytes; reserved: what is writable of it */
	bool thread;                       /* a thread's; else the brk heap */
};

struct tide_bare {
	uint64_t row[TIDE_BARE_ROWS], swapped;
	struct tide_bare_heap *heap; /* owned; by address */
	uint32_t heaps;
	char allocator[32]; /* "glibc", or the library that stands before it; "" unknown; hostile */
	char python[32];    /* the executable or library that is Python's; "": none; hostile */
};

/* TIDE_OK or TIDE_ERR_NOMEM; on failure nothing is held. */
enum tide_status tide_bare_init(struct tide_bare *, const struct tide_space *);
void tide_bare_release(struct tide_bare *);

#endif
