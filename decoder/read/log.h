/*
 * log.h - a .tide file as a stream of events in one order that could have happened.
 *
 * Reads untrusted bytes with pread; never maps the file, never prints, never exits. What is damaged is skipped and
 * counted in struct tide_losses: losses are data, not errors. Memory is bounded by what is open at one time (one
 * block a lane) plus definitions and distinct stacks, not by the length of the log; but the log of a process that goes on
 * is copied first, up to 1 GiB of it (snapshot.h).
 *
 * Order (FORMAT.md 7): that of merge.h.
 *
 * Life cycle: tide_log_open .. tide_log_free. Everything a log hands out belongs to it and lives until tide_log_free,
 * unless said otherwise. One log is used by one thread at a time.
 */
#ifndef TIDE_READ_LOG_H
#define TIDE_READ_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "format/carry.h"
#include "format/items.h"
#include "format/layout.h"
#include "format/status.h"

struct tide_log;

/* One event. Stacks are node numbers in the log's frame tree (stacks.h); 0 is the empty stack. */
struct tide_event {
	enum tide_kind kind;
	uint32_t lane;
	uint32_t tid;
	uint32_t native;                    /* innermost node; for kinds with a stack */
	uint32_t python;                    /* innermost node; 0 without Python frames */
	uint32_t pair;                      /* number of the two (tide_log_pair) */
	uint64_t time_ns;                   /* CLOCK_MONOTONIC, interpolated; not after the event */
	uint64_t index;                     /* 0, 1, 2 ... in merged order */
	uint64_t addr, size, value, value2; /* as in struct tide_item */
	bool unknown;                       /* a free: of a block that was never recorded */
};

/* The same, many at a time and as they are stored: one event without what is common to its batch. */
struct tide_op {
	uint64_t addr;
	uint64_t size;
	uint32_t pair; /* of stacks: batch->pair[pair] is its number in the log */
	uint16_t word; /* tide_word_of(addr); 0 for kinds without an addr field */
	uint8_t kind;  /* enum tide_kind */
	bool unknown;  /* a free: of a block that was never recorded */
};
_Static_assert(sizeof(struct tide_op) == 24, "what is unpacked is mostly these");
struct tide_extra {
	uint64_t value, value2;
};
struct tide_batch {
	const struct tide_op *op; /* `count` of them, and `ahead` more that are likely to come soon */
	uint32_t count, ahead;
	const struct tide_extra *extra; /* of those operations whose kind has TIDE_F_VALUE, in their order ... */
	bool has_extra;                 /* ... if there may be any */
	const uint32_t *pair;           /* numbers for tide_log_pair */
	uint32_t lane, tid;
	uint64_t time_ns;
	uint64_t index; /* of the first */
};

/* Opens and indexes (superblock, definitions, frames, staging blocks). On failure *ret is untouched.
 * TIDE_OK, also when the file is damaged but something could be kept; TIDE_ERR_IO, _NOT_A_LOG, _TOO_NEW, _NOMEM, _BAD
 * (nothing in it can be used). */
enum tide_status tide_log_open(const char *path, struct tide_log **ret, struct tide_error *err);
void tide_log_free(struct tide_log *); /* NULL is fine */

/* Reads ahead with so many threads from now on; 0: none, as it is at first. Events, their order and all else are the same. Rewinds. */
void tide_log_threads(struct tide_log *, unsigned threads);
unsigned tide_log_thread_count(const struct tide_log *);
/* Do they have nothing to do, because so much is read that was not asked for yet? */
bool tide_log_is_ahead(const struct tide_log *);

/* 1: *ret is the next event. 0: the end. <0: a tide_status (out of memory). Damage is not an error here. */
int tide_log_next(struct tide_log *, struct tide_event *ret);
/* The same for the next events of one lane that belong together, at least one; *ret is valid until the next call of any function
 * here. A log is read by one of the two, from the beginning or from tide_log_rewind on. */
int tide_log_batch(struct tide_log *, struct tide_batch *ret);
/* Takes the first event out of a batch that is not empty. */
void tide_log_expand(const struct tide_log *, struct tide_batch *, struct tide_event *ret);
/* Back to the first event; stacks keep their numbers. */
void tide_log_rewind(struct tide_log *);
/* From now on, tide_log_next ends each lane after `events` of it ever written (evicted ones counted); for the
 * inherited state of a forked child: limits are those of its LINEAGE. NULL: no limits. Rewinds. Copies `events`. */
enum tide_status tide_log_limit(struct tide_log *, const uint64_t *events, uint32_t lanes);
/* Whether the state after these events can be had from this log: no lane was overwritten past them. *ret_expected: as many will
 * tide_log_next show under that limit, unless some are lost. */
bool tide_log_reaches(const struct tide_log *, const uint64_t *events, uint32_t lanes, uint64_t *ret_expected);

/* ---- what the file says of itself ---- */
enum tide_end_seen { TIDE_SEEN_EXIT, TIDE_SEEN_EXEC, TIDE_SEEN_KILLED, TIDE_SEEN_RUNNING };
struct tide_process {
	const char *path;      /* the file's */
	const char *exe;       /* path of the executable as the process saw it; "" unknown */
	const char *name;      /* last part of exe */
	const char *build_id;  /* hex, "" unknown */
	const char *boot_id;   /* as in /proc/sys/kernel/random/boot_id */
	const char *allocator; /* "glibc 2.36"; "" unknown */
	const char *allocator_path;
	const char *python;                 /* "3.11.2", NULL when no interpreter was seen */
	bool python_usable;                 /* false: a version or build that tidemark has no table for; native only */
	uint32_t python_arena, python_pool; /* bytes; 0 unknown */
	enum tide_end_seen end;
	uint32_t end_status;
	uint64_t start_ns, end_ns; /* CLOCK_MONOTONIC; end_ns: of END, or when it was last seen alive */
	struct tide_superblock super;
	struct tide_geometry geometry;
};
const struct tide_process *tide_log_process(const struct tide_log *);

/* Modules, in the order of their definitions; `segment` ranges are run-time addresses. */
struct tide_module {
	const char *path;
	uint64_t base;                   /* load bias: address - base is the address in the ELF file */
	uint64_t start, end;             /* [start, end) covers all its PT_LOAD segments */
	uint64_t loaded_ns, unloaded_ns; /* unloaded_ns UINT64_MAX: still there */
	uint8_t build_id[32];
	uint32_t build_id_len; /* 0: none */
};
uint32_t tide_log_modules(const struct tide_log *, const struct tide_module **ret);

/* A Python code object. Line table kinds: see shim/python. */
struct tide_code {
	uint32_t id;
	uint32_t first_line;
	uint32_t table_kind; /* enum tide_line_table */
	uint32_t table_len;
	const uint8_t *table;
	const char *file;     /* UTF-8, NUL-terminated, hostile */
	const char *function; /* qualified name where the version has it */
};
enum tide_line_table { TIDE_LINES_NONE = 0, TIDE_LINES_LNOTAB = 1, TIDE_LINES_PEP626 = 2, TIDE_LINES_LOCATIONS = 3 };
/* NULL: not defined (lost, or id 0). */
const struct tide_code *tide_log_code(const struct tide_log *, uint32_t id);

/* The Python stack of a site that censuses name. False: not defined. */
bool tide_log_pystack(const struct tide_log *, uint32_t site, uint32_t *ret_node);

/* Forked child: events of each lane of the parent that belong to what was inherited. */
struct tide_lineage {
	uint64_t parent_uid; /* 0: not a forked child */
	int32_t parent_pid;
	uint32_t lanes;
	const uint64_t *events; /* NULL: lost */
	uint64_t ticks;         /* what the parent did after the fork has no less; 0 unknown */
};
const struct tide_lineage *tide_log_lineage(const struct tide_log *);
/* In CLOCK_MONOTONIC. */
uint64_t tide_log_time(struct tide_log *, uint64_t ticks);

/* ---- frame tree: a node is (parent, word); node 0 is the root, with no word ---- */
uint32_t tide_log_node_parent(const struct tide_log *, uint32_t node);
uint64_t tide_log_node_word(const struct tide_log *, uint32_t node);
uint32_t tide_log_node_count(const struct tide_log *);
/* A pair of stacks: their innermost nodes. Number 0 is two empty stacks. */
void tide_log_pair(const struct tide_log *, uint32_t pair, uint32_t *ret_native, uint32_t *ret_python);
uint32_t tide_log_pair_count(const struct tide_log *);

/* ---- censuses: payloads, decoded by census.h ---- */
enum tide_census_source {
	TIDE_CENSUS_OWN,    /* taken by the process, in its log */
	TIDE_CENSUS_BESIDE, /* from outside while it ran, in the file beside the log */
	TIDE_CENSUS_ADDED   /* tide_log_add_census: now */
};
struct tide_census_blob {
	enum tide_census_source source;
	uint64_t number;
	uint64_t time_ns;
	bool complete;        /* every part is there */
	const uint8_t *bytes; /* valid until the next tide_log_census or tide_log_free */
	uint64_t len;
};
uint32_t tide_log_census_count(const struct tide_log *);
enum tide_census_source tide_log_census_source(const struct tide_log *, uint32_t i);
/* One that is not in the file: from now on it is among the others, at its time. Copies the bytes; they are trusted as little as the file's.
 * TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_log_add_census(struct tide_log *, uint64_t time_ns, const void *bytes, uint64_t len);
/* Number i in order of time. TIDE_OK, TIDE_ERR_NOMEM, TIDE_ERR_BAD. */
enum tide_status tide_log_census(struct tide_log *, uint32_t i, struct tide_census_blob *ret);

/* ---- what outlived its events when the ring wrapped. Live, and summed up, at the moment before the first event that is shown;
 * a block that has died since, but by an event that is shown, is left out already. ---- */
struct tide_carried_site {
	uint32_t native, python;      /* nodes, as of events */
	bool known;                   /* false: its stacks were lost, or there were too many sites; both nodes are 0 */
	uint64_t allocs, alloc_bytes; /* of overwritten events; exact */
};
struct tide_carried_block {
	uint64_t addr, size;
	uint64_t time_ns; /* of its allocation */
	uint32_t site;    /* number in `site` */
	bool python;      /* inside a pymalloc pool */
};
struct tide_carried {
	uint32_t epoch;  /* all events up to this one were overwritten; 0: none was, or nothing was carried over */
	uint64_t cut_ns; /* when the next one began; 0 unknown */
	struct tide_carry_totals totals;
	const struct tide_carried_block *block; /* by address */
	size_t blocks;
	const struct tide_carried_site *site; /* 0: what no site could be told of */
	uint32_t sites;
	const uint64_t *gone; /* addresses of inherited blocks that have died, sorted */
	size_t gone_count;
	uint64_t lost_blocks; /* in damaged frames */
	bool incomplete;      /* blocks, deaths or sums were lost */
};
const struct tide_carried *tide_log_carried(const struct tide_log *);
/* An inherited block at that address was freed in an event that was overwritten. */
bool tide_carried_is_gone(const struct tide_carried *, uint64_t addr);
/* Each such block is told of: those of which nothing is told lived at the moment before the first event that is shown. */
bool tide_carried_tells_deaths(const struct tide_carried *);

/* ---- what is missing. Complete after tide_log_next returned 0 once; structural part right after open. ---- */
struct tide_damage { /* one place in the file */
	uint64_t offset, len;
	char what[80];
};
struct tide_losses {
	uint64_t recorded;    /* events the process recorded: in_window + evicted + lost */
	uint64_t in_window;   /* events this log can show */
	uint64_t evicted;     /* overwritten by design */
	uint64_t lost;        /* should be there and are not: holes, damaged frames */
	uint64_t dropped[16]; /* by enum tide_loss, as the shim counted */
	uint64_t frames, bad_frames, open_blocks;
	uint64_t
		unverified; /* of in_window: events that no checksum covers: the last few of a lane, or, before format 1.1, of a staging block */
	uint64_t frame_events,
		frame_bytes;        /* of the EVENTS frames in the ring: events, and bytes with headers and padding */
	uint64_t order_anomalies;   /* SYNCs whose predecessor never came, or came too late */
	uint64_t first_ns, last_ns; /* the window */
	bool damaged;               /* anything at all is wrong: exit 3 */
	uint32_t damage_count;      /* places in `damage`: the first 64 */
	const struct tide_damage *damage;
	uint64_t damage_places; /* places found */
};
const struct tide_losses *tide_log_losses(const struct tide_log *);

/* Events of a lane that are not there although others around them are. What was allocated before to_ns may have been freed
 * in it. */
struct tide_gap {
	uint32_t lane;
	bool evicted; /* by design, at the beginning of the lane; otherwise lost */
	uint64_t events;
	uint64_t from_ns, to_ns; /* CLOCK_MONOTONIC: of what comes before and after; UINT64_MAX: nothing comes after */
};
/* By lane, then time. Complete as tide_log_losses is. */
uint32_t tide_log_gaps(const struct tide_log *, const struct tide_gap **ret);
/* Name of a reason for JSON and text: "reentrant", "preinit" ... NULL: none. */
const char *tide_loss_name(unsigned reason);

#endif
