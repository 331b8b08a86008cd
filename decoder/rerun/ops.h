/*
 * ops.h - what the runner is told to do: a stream of small operations in a file, and the messages between it and its parent.
 *
 * An operation is a byte (kind, and the bits below) and varints, in the order of struct tide_act's members that its kind has. Blocks and
 * mappings are numbers (slots), given anew when free: the runner keeps a table of pointers, not of addresses of another
 * process. Both sides are ours, built together: the format has no version. The runner checks every number all the same.
 */
#ifndef TIDE_RERUN_OPS_H
#define TIDE_RERUN_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "format/wire.h"

enum tide_act_kind {
	TIDE_ACT_END = 0,
	TIDE_ACT_MALLOC = 1,      /* slot, size */
	TIDE_ACT_CALLOC = 2,      /* slot, size */
	TIDE_ACT_ALIGNED = 3,     /* slot, size, extra = alignment */
	TIDE_ACT_FREE = 4,        /* slot */
	TIDE_ACT_REALLOC = 5,     /* slot, size */
	TIDE_ACT_MAP = 6,         /* slot of a mapping, size */
	TIDE_ACT_UNMAP = 7,       /* slot, size, extra = offset */
	TIDE_ACT_DISCARD = 8,     /* slot, size, extra = offset: MADV_DONTNEED */
	TIDE_ACT_THREAD = 9,      /* slot = thread that goes on from here; 0 is the main thread */
	TIDE_ACT_THREAD_END = 10, /* the running thread ends; main goes on */
	TIDE_ACT_SAMPLE = 11,     /* the parent looks at resident memory */
	TIDE_ACT_TIME = 12,       /* size = milliseconds that passed in the traced process */
	TIDE_ACT_TRIM = 13,       /* the program called malloc_trim */
	TIDE_ACT_KINDS
};
#define TIDE_ACT_KIND 0x0fu
#define TIDE_ACT_TOUCH 0x40u  /* `touch` follows: so many bytes were seen resident; otherwise all of `size` */
#define TIDE_ACT_PYTHON 0x80u /* a block in pymalloc's pools, or (MAP) one of its arenas */

struct tide_act {
	uint8_t kind; /* enum tide_act_kind */
	bool python, has_touch;
	uint64_t slot, size, extra, touch;
};
#define TIDE_ACT_MAX (1 + 4 * TIDE_VARINT_MAX)

/* The file begins with this. */
struct tide_ops_head {
	uint64_t magic;
	uint64_t blocks, maps, threads; /* slots of each that are used */
	uint64_t samples;
};
#define TIDE_OPS_MAGIC UINT64_C(0x3130734f65646954)
#define TIDE_RERUN_THREADS 512u                 /* more share, in turn */
#define TIDE_RERUN_SIZE_MAX (UINT64_C(1) << 46) /* greater requests fail with every allocator: not passed on */

static inline bool tide_act_has_size(unsigned kind)
{
	return kind == TIDE_ACT_MALLOC || kind == TIDE_ACT_CALLOC || kind == TIDE_ACT_ALIGNED ||
	       kind == TIDE_ACT_REALLOC || kind == TIDE_ACT_MAP || kind == TIDE_ACT_UNMAP || kind == TIDE_ACT_DISCARD ||
	       kind == TIDE_ACT_TIME;
}
static inline bool tide_act_has_slot(unsigned kind)
{
	return (kind >= TIDE_ACT_MALLOC && kind <= TIDE_ACT_DISCARD) || kind == TIDE_ACT_THREAD;
}
static inline bool tide_act_has_extra(unsigned kind)
{
	return kind == TIDE_ACT_ALIGNED || kind == TIDE_ACT_UNMAP || kind == TIDE_ACT_DISCARD;
}

/* Writes at `out`, which has room for TIDE_ACT_MAX bytes; the byte after. */
static inline uint8_t *tide_act_put(uint8_t *out, const struct tide_act *op)
{
	*out++ = (uint8_t)(op->kind | (op->has_touch ? TIDE_ACT_TOUCH : 0) | (op->python ? TIDE_ACT_PYTHON : 0));
	if (tide_act_has_slot(op->kind))
		out = tide_put_varint(out, op->slot);
	if (tide_act_has_size(op->kind))
		out = tide_put_varint(out, op->size);
	if (tide_act_has_extra(op->kind))
		out = tide_put_varint(out, op->extra);
	if (op->has_touch)
		out = tide_put_varint(out, op->touch);
	return out;
}

/* False: no whole operation there, or no such kind. */
static inline bool tide_act_get(struct tide_in *in, struct tide_act *ret)
{
	uint8_t tag = tide_get_u8(in);
	unsigned kind = tag & TIDE_ACT_KIND;
	*ret = (struct tide_act){
		.kind = (uint8_t)kind, .python = tag & TIDE_ACT_PYTHON, .has_touch = tag & TIDE_ACT_TOUCH};
	if (tide_act_has_slot(kind))
		ret->slot = tide_get_varint(in);
	if (tide_act_has_size(kind))
		ret->size = tide_get_varint(in);
	if (tide_act_has_extra(kind))
		ret->extra = tide_get_varint(in);
	ret->touch = ret->has_touch ? tide_get_varint(in) : ret->size;
	return !in->bad && kind < TIDE_ACT_KINDS;
}

/* From the runner; it then waits for one byte from its parent. */
enum tide_told { TIDE_TOLD_READY = 1, TIDE_TOLD_SAMPLE = 2, TIDE_TOLD_END = 3, TIDE_TOLD_WRONG = 4 };
struct tide_tell {
	uint64_t what;         /* enum tide_told */
	uint64_t failed;       /* allocations that failed */
	uint64_t failed_bytes; /* and what they asked for */
};

#endif
