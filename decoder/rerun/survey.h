/*
 * survey.h - what must be known of a log before it is replayed: how much of each big block was really written (the censuses tell),
 * when threads ended, where to stop, and how big it gets.
 */
#ifndef TIDE_RERUN_SURVEY_H
#define TIDE_RERUN_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "read/log.h"
#include "rerun/mappings.h"

#define TIDE_RERUN_BIG (UINT64_C(64) << 10) /* blocks from this size on may be partly written */
#define TIDE_NOT_SEEN UINT64_MAX

/* A big block or a mapping, in the order of their events. */
struct tide_big {
	uint64_t index; /* of the event */
	uint64_t
		resident; /* bytes to write: the most that a census saw, and what was cut off or discarded before; TIDE_NOT_SEEN */
	uint64_t gone; /* of a mapping: bytes cut off or discarded so far */
	uint64_t now;  /* seen so far by the census `census` */
	uint32_t census;
	bool reserved; /* an address range that the program only took, as far as the event tells */
	bool python;   /* an arena of pymalloc */
};

/* A census that can be compared with; bytes. */
struct tide_recorded {
	uint32_t census; /* its number */
	uint64_t at_ns;
	uint64_t recorder; /* tidemark's own log and tables; not in the next two */
	uint64_t rss;      /* all of the program's */
	uint64_t heap; /* of it: anonymous private memory that an allocator or a mapping of the program's may hold */
};

struct tide_rerun_thread {
	uint32_t tid;
	bool ended; /* its lane went to another thread later */
	uint64_t last_index;
};

struct tide_survey {
	struct tide_big *big;
	size_t bigs, big_cap;
	struct tide_rerun_thread *thread; /* by number; find with tide_survey_thread */
	uint32_t threads, thread_cap;
	uint32_t *thread_slot; /* hash of tid */
	uint32_t slot_count;
	struct tide_recorded *recorded;
	uint32_t recordeds;
	uint64_t peak_rss;  /* bytes, less the recorder: the most a census saw, or the kernel's own peak; 0 unknown */
	uint64_t events;    /* up to the last moment */
	uint64_t peak_live; /* bytes asked for, blocks and mappings */
	uint64_t live;      /* at the end */
	uint64_t begin_ns, end_ns;
	uint64_t objects;   /* events of single Python objects */
	uint64_t unmatched; /* frees of blocks that the log does not know */
};

/* Reads the log to its end and rewinds it. TIDE_OK, TIDE_ERR_NOMEM. On failure nothing is held. */
enum tide_status tide_survey_init(struct tide_survey *, struct tide_log *);
void tide_survey_release(struct tide_survey *);
/* A mapping that is replayed: private and anonymous. For MMAP and MREMAP events. */
bool tide_mapping_counts(const struct tide_event *);
/* Its number, or UINT32_MAX. */
uint32_t tide_survey_thread(const struct tide_survey *, uint32_t tid);

#endif
