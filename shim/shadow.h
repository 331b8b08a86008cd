/*
 * shadow.h - one byte for every granule of the heap: in which epoch was the block that begins there allocated, or carried?
 *
 * An epoch is the time in which one segment of the ring was filled (FORMAT.md 8). When the events of an epoch are overwritten, an
 * allocation among them lives exactly if its byte still names that epoch (survive.h). A granule is as long as the allocator's
 * alignment, so that no two blocks begin in one. Bytes are stored by whoever allocates, cleared by whoever frees; the
 * allocator's own synchronization orders the two, so plain bytes do. Only the carrier changes bytes of blocks that are
 * not its own: by compare and exchange, against the exchange in tide_shadow_take.
 *
 * Memory: a 1 MiB chunk of address space per 2^20 granules, made when first needed; only pages of it that are stored to are
 * ever real. A forked child keeps what it inherited.
 *
 * Tags of a forked child are not those of the process it was forked from, so a free knows a block that was inherited. There are two sets,
 * so a grandchild's are its grandparent's again: when it gets a log of its own, what still has one of those is given a tag of its
 * parent's set (tide_shadow_settle). Until then it has a tag of its own for all it allocates, the young one.
 */
#ifndef TIDE_SHADOW_H
#define TIDE_SHADOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what a byte says ---- */
enum tide_tag_family { TIDE_TAG_FRESH = 0, TIDE_TAG_CARRIED = 1 };
#define TIDE_TAG_NONE 0u
#define TIDE_TAG_DROPPED 254u /* lives, but was not kept when its epoch was overwritten: the log holds a sample only */
#define TIDE_TAG_YOUNG 252u   /* and the next: of a child's child that has no log yet, alternating as sets do */
/* Epochs that can be told apart; more than a ring has segments, so that those of one lap, and some late ones, are. */
#define TIDE_TAG_EPOCHS 62u

extern struct tide_shadow {
	_Atomic(_Atomic(uint8_t *) *) top[4096];
	unsigned shift; /* log2 of a granule's bytes */
	uint8_t base;   /* tags of this process image; those of the process it was forked from are others, */
	uint8_t others; /* from this one on */
	uint8_t young;  /* what is allocated before there is a log has this tag; 0: it has the usual one */
} tide_shadow;

static inline uint8_t tide_tag(uint32_t epoch, enum tide_tag_family family)
{
	return (uint8_t)(tide_shadow.base + 1 + (unsigned)family * TIDE_TAG_EPOCHS + epoch % TIDE_TAG_EPOCHS);
}
/* Of the set that begins with `first`. */
static inline bool tide_tag_is_of(uint8_t tag, uint8_t first)
{
	return (uint8_t)(tag - first) < 2 * TIDE_TAG_EPOCHS;
}
/* Of a block from before the fork. */
static inline bool tide_tag_inherited(uint8_t tag)
{
	return tide_tag_is_of(tag, tide_shadow.others);
}

/* ---- the bytes ---- */
/* Before anything is traced; `alignment` is the least of the allocator's. */
void tide_shadow_init(unsigned alignment);
/* A forked child: its own tags from now on; the bytes stay. */
void tide_shadow_fork_child(void);
/* Of a block that this process' log knows. */
static inline bool tide_tag_is_own(uint8_t tag)
{
	return tide_tag_is_of(tag, (uint8_t)(tide_shadow.base + 1));
}
/* Before it gets a log: whatever was inherited has an inherited tag. False: it is being done by what this call has interrupted. */
bool tide_shadow_settle(void);

/* The byte, made if need be. NULL: no memory, or no such address. */
_Atomic uint8_t *tide_shadow_make(uintptr_t addr);

/* The byte, or NULL: nothing was ever stored near it. */
static inline _Atomic uint8_t *tide_shadow_find(uintptr_t addr)
{
	uintptr_t granule = addr >> tide_shadow.shift;
	if (granule >> 44)
		return NULL;
	_Atomic(uint8_t *) *middle = atomic_load_explicit(&tide_shadow.top[granule >> 32], memory_order_acquire);
	if (!middle)
		return NULL;
	uint8_t *chunk = atomic_load_explicit(&middle[granule >> 20 & 4095], memory_order_acquire);
	return chunk ? (_Atomic uint8_t *)(chunk + (granule & 0xfffff)) : NULL;
}

/* The block at `addr` was allocated. */
static inline void tide_shadow_set(const void *addr, uint8_t tag)
{
	_Atomic uint8_t *at = tide_shadow_find((uintptr_t)addr);
	if (__builtin_expect(!at, 0))
		at = tide_shadow_make((uintptr_t)addr);
	if (at)
		atomic_store_explicit(at, tag, memory_order_release); /* pairs with tide_shadow_change */
}

/* What was known of the block at `addr`, which is going to be freed by a lane whose last event has tag `tag`. The carrier may be
 * changing any byte but one of the current epoch; one that it changes between the load and the plain store was of a past epoch, so
 * the lane's next event, this free, will be seen to be of a later one than the copy. */
static inline uint8_t tide_shadow_take(const void *addr, uint8_t tag)
{
	_Atomic uint8_t *at = tide_shadow_find((uintptr_t)addr);
	if (__builtin_expect(!at, 0))
		return TIDE_TAG_NONE;
	uint8_t found = atomic_load_explicit(at, memory_order_relaxed);
	if (found == tag)
		atomic_store_explicit(at, TIDE_TAG_NONE, memory_order_relaxed);
	else if (found != TIDE_TAG_NONE)
		found = atomic_exchange_explicit(at, TIDE_TAG_NONE, memory_order_relaxed);
	return found;
}

/* For realloc, whose block comes back if the call fails. */
static inline uint8_t tide_shadow_peek(const void *addr)
{
	_Atomic uint8_t *at = tide_shadow_find((uintptr_t)addr);
	return at ? atomic_load_explicit(at, memory_order_relaxed) : TIDE_TAG_NONE;
}

/* The carrier's: `from` becomes `to`; false: it was something else. True: what `from` was stored by had encoded its event before that,
 * and this can be seen (tide_lane_in_hand). */
static inline bool tide_shadow_change(uint64_t addr, uint8_t from, uint8_t to)
{
	_Atomic uint8_t *at = tide_shadow_find((uintptr_t)addr);
	return at && atomic_compare_exchange_strong_explicit(at, &from, to, memory_order_acquire, memory_order_relaxed);
}

#endif
