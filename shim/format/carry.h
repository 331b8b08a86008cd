/*
 * carry.h - what a CARRY frame holds (FORMAT.md 10): blocks that outlived their events, sums by site, marks of lanes.
 *
 * A payload is a list of sections: a byte kind, a varint length, that many bytes. Unknown kinds are skipped.
 * Writing trusts its caller; reading trusts nothing. Nothing here allocates.
 */
#ifndef TIDE_FORMAT_CARRY_H
#define TIDE_FORMAT_CARRY_H

#include "format/wire.h"

enum tide_carry_section {
	TIDE_CARRY_BLOCKS = 1,
	TIDE_CARRY_SUMS = 2,
	TIDE_CARRY_MARKS = 3,
	TIDE_CARRY_TOTALS = 4,
	TIDE_CARRY_GONE = 5
};

enum tide_carry_op {
	TIDE_CARRY_BORN = 0,    /* a block of malloc and its kind lives */
	TIDE_CARRY_BORN_PY = 1, /* a block in a pymalloc pool lives */
	TIDE_CARRY_DIED = 2     /* whatever was born at this address until then has died; not carried on */
};

struct tide_carry_block {
	uint64_t addr;
	uint64_t ticks; /* not after the event, by less than 2^shift and what ticks are known to */
	uint64_t size;
	uint32_t site; /* 0: not known */
	uint8_t op;    /* enum tide_carry_op */
	uint8_t tag;   /* the writer's: what the shadow said; not in the log */
};

/* Precision of times, as powers of two of ticks: of what was just evicted, and of what is carried on. */
#define TIDE_CARRY_SHIFT_FRESH 5u
#define TIDE_CARRY_SHIFT_OLD 24u

/* Most bytes that a section of `count` blocks takes. */
static inline size_t tide_carry_blocks_bound(size_t count)
{
	return 64 + count * (3 * TIDE_VARINT_MAX + 5);
}
/* Writes the section with its head. `block` is sorted by address. Returns the byte after. */
uint8_t *tide_carry_put_blocks(uint8_t *out, const struct tide_carry_block *block, size_t count, unsigned shift);

struct tide_carry_reader {
	struct tide_in addr, size, site, time;
	uint64_t left; /* blocks */
	uint64_t last_addr, last_time;
	unsigned shift;
};
/* False: these bytes are no BLOCKS section. */
bool tide_carry_open_blocks(struct tide_carry_reader *, const uint8_t *bytes, uint64_t len);
/* 1: *ret is the next. 0: the end. -1: nothing after this point can be told. */
int tide_carry_next_block(struct tide_carry_reader *, struct tide_carry_block *ret);

/* Most bytes of a section of `count` addresses. Writes it with its head; `addr` is sorted, with none twice. Returns the byte after. */
static inline size_t tide_carry_gone_bound(size_t count)
{
	return 5 + count * TIDE_VARINT_MAX;
}
uint8_t *tide_carry_put_gone(uint8_t *out, const uint64_t *addr, size_t count);
/* Where an inherited block was that has died. *addr is the last one, 0 at first. 1: *addr is the next. 0, -1 as above. */
int tide_carry_next_gone(struct tide_in *section, uint64_t *addr);

/* The next section of a payload. 1, 0, -1 as above; *ret is what it holds. */
int tide_carry_next_section(struct tide_in *payload, uint8_t *ret_kind, struct tide_in *ret);

/* Of everything that was overwritten since the log began. */
struct tide_carry_totals {
	uint64_t events, allocs, frees, alloc_bytes;
	uint64_t unknown;    /* allocations of which it could not be told whether they live: forgotten if they do */
	uint64_t unreadable; /* events of frames that were damaged when they were to be looked at */
	uint64_t dropped;    /* blocks that live and found no room at all */
	uint64_t
		sample_bytes; /* 0: every block that lives is here. Else a block of size s is with probability min(1, s / this) */
	uint64_t deaths; /* of inherited blocks: enum tide_carry_deaths */
};
enum tide_carry_deaths {
	TIDE_DEATHS_NOT_TOLD = 0, /* by a writer from before 1.3 */
	TIDE_DEATHS_ALL = 1,      /* each is in a GONE section, or its free was not overwritten */
	TIDE_DEATHS_SOME = 2      /* those found no room, or could not be read */
};
#define TIDE_CARRY_TOTALS_MAX (2 + 9 * TIDE_VARINT_MAX)
uint8_t *tide_carry_put_totals(uint8_t *out, const struct tide_carry_totals *);
/* False: cut short. */
bool tide_carry_get_totals(struct tide_in, struct tide_carry_totals *ret);

/* Whether a block is kept when only a sample is; the same answer for the same block, and for a greater mean no only if for a
 * lesser one. */
static inline bool tide_carry_keeps(uint64_t addr, uint64_t size, uint64_t sample_bytes)
{
	if (size >= sample_bytes)
		return true;
	uint64_t u = ((addr >> 3) * UINT64_C(0x9e3779b97f4a7c15)) >> 32; /* uniform in 2^32 */
	return u < (size ? size : 1) * (UINT64_C(1) << 32) / sample_bytes;
}

#endif
