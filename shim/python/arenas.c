/*
 * pymalloc's arenas: our place in front of its arena allocator, a registry of what it handed out, and the census of
 * the pools in them (layout: Objects/obmalloc.c, struct pool_header, the same from 3.8 to 3.13).
 */
#include <stdatomic.h>
#include <string.h>

#include "census.h"
#include "defs.h"
#include "lock.h"
#include "python/interp.h"
#include "record.h"
#include "sys.h"

#define ARENAS_MOST 16384u
#define SLOTS (4 * ARENAS_MOST) /* open addressing by address, so that neighbours share cache lines and pages */
#define UNIT_SHIFT 18

struct arena {
	_Atomic uintptr_t base; /* 0: free; 1: was used, may be used again */
	uint32_t bytes;
	bool inherited;
};

static struct tide_py_arena_allocator next;
static struct arena *arena; /* SLOTS entries, touched as used */
static uint32_t *used_slot; /* the slots ever used, so that a walk touches no others */
static atomic_uint used_slots;
static struct tide_lock lock; /* writers and the census: a census must not read an arena that goes away */
static bool objects_hooked;

static uint32_t home(uintptr_t address)
{
	return (uint32_t)(address >> UNIT_SHIFT) & (SLOTS - 1);
}

static struct arena *find(uintptr_t base)
{
	for (uint32_t i = home(base), n = 0; n < SLOTS; i = (i + 1) & (SLOTS - 1), n++) {
		uintptr_t there = atomic_load_explicit(&arena[i].base, memory_order_acquire);
		if (there == base)
			return &arena[i];
		if (there == 0)
			return NULL;
	}
	return NULL;
}

/* An arena begins in the block's unit or in one of those before it. */
bool tide_py_in_arena(const void *block)
{
	uintptr_t at = (uintptr_t)block;
	uint32_t bytes = tide_py.version->arena;
	if (!arena)
		return false;
	for (uintptr_t unit = at >> UNIT_SHIFT; unit + (bytes >> UNIT_SHIFT) >= at >> UNIT_SHIFT && unit; unit--) {
		for (uint32_t i = home(unit << UNIT_SHIFT), n = 0; n < SLOTS; i = (i + 1) & (SLOTS - 1), n++) {
			uintptr_t base = atomic_load_explicit(&arena[i].base, memory_order_acquire);
			if (base == 0)
				break;
			if (base >> UNIT_SHIFT == unit && at >= base && at - base < bytes)
				return true;
		}
	}
	return false;
}

static void add(uintptr_t base, size_t bytes)
{
	if (!arena || !tide_lock_within(&lock))
		return;
	for (uint32_t i = home(base), n = 0; n < SLOTS; i = (i + 1) & (SLOTS - 1), n++) {
		uintptr_t there = atomic_load_explicit(&arena[i].base, memory_order_relaxed);
		uint32_t used = atomic_load_explicit(&used_slots, memory_order_relaxed);
		if (there > 1)
			continue;
		if (there == 0 && used == ARENAS_MOST)
			break;
		if (there == 0) {
			used_slot[used] = i;
			atomic_store_explicit(&used_slots, used + 1, memory_order_release);
		}
		arena[i].bytes = (uint32_t)bytes;
		arena[i].inherited = false;
		atomic_store_explicit(&arena[i].base, base, memory_order_release);
		break;
	}
	tide_unlock(&lock);
}

/* Before the memory goes: the census holds the lock while it reads, so wait for it, within bounds. */
static void take(uintptr_t base)
{
	bool locked = arena && tide_lock_within(&lock);
	struct arena *a = arena ? find(base) : NULL;
	if (a)
		atomic_store_explicit(&a->base, 1, memory_order_release);
	if (locked)
		tide_unlock(&lock);
}

static bool is_arena(size_t size)
{
	return size == tide_py.version->arena; /* data-stack chunks of 3.11 and later come here too */
}

__attribute__((noinline)) static void *on_alloc(void *ctx, size_t size)
{
	struct tide_regs regs = TIDE_REGS_HERE();
	void *base = next.alloc(ctx, size);
	if (!base || !is_arena(size))
		return base;
	add((uintptr_t)base, size);
	if (!objects_hooked && tide_py.mode >= TIDE_PYTHON_SITES) {
		objects_hooked = true;
		tide_py_hook_objects();
	}
	if (tide_on()) {
		tide_record_range(TIDE_KIND_PYARENA, &regs, base, size, 0, 0);
		tide_census(TIDE_CENSUS_ARENA);
	}
	return base;
}

static void on_free(void *ctx, void *base, size_t size)
{
	if (is_arena(size)) {
		if (tide_on()) {
			tide_record_range(TIDE_KIND_PYARENA_FREE, NULL, base, size, 0, 0);
			tide_census(TIDE_CENSUS_ARENA);
		}
		take((uintptr_t)base);
	}
	next.free(ctx, base, size);
}

void tide_py_hook_arenas(void)
{
	used_slot = tide_sys_memory(ARENAS_MOST * sizeof *used_slot);
	arena = used_slot ? tide_sys_memory(SLOTS * sizeof *arena) : NULL;
	tide_py.get_arenas(&next);
	struct tide_py_arena_allocator ours = {next.ctx, on_alloc, on_free};
	tide_py.set_arenas(&ours);
}

void tide_py_arenas_fork_child(void)
{
	tide_unlock(&lock);
	for (uint32_t i = 0; i < atomic_load_explicit(&used_slots, memory_order_relaxed); i++)
		arena[used_slot[i]].inherited = true;
}

/* ---- the census of pools ---- */

struct pool {           /* obmalloc.c, struct pool_header, 48 bytes; the first block follows */
	uint32_t count; /* blocks in use */
	uint32_t reserved;
	void *free_block, *next, *previous;
	uint32_t arena_index, size_class, next_offset, max_next_offset;
};
_Static_assert(sizeof(struct pool) == 48, "pool header");

#define POOLS_MOST 64u
#define CLASSES 32u

static void put_pool(struct tide_out *out, const struct pool *p, uint32_t pool_bytes)
{
	bool used = p->next_offset > 0 && p->size_class < CLASSES && p->count <= pool_bytes / 16;
	if (!used) {
		*out->at++ = 0;
	} else if (p->count == 0) {
		*out->at++ = 255;
	} else {
		*out->at++ = (uint8_t)(p->size_class + 1);
		tide_out_varint(out, p->count);
	}
}

static bool put_arena(struct tide_census_writer *w, const struct arena *a)
{
	uint8_t buf[64 + POOLS_MOST * 4];
	uint32_t pool_bytes = tide_py.version->pool;
	uintptr_t base = atomic_load_explicit(&a->base, memory_order_relaxed);
	uintptr_t first = (base + pool_bytes - 1) / pool_bytes * pool_bytes;
	uint64_t pools = (base + a->bytes - first) / pool_bytes;
	struct tide_out out = tide_out_of(buf, sizeof buf);
	tide_out_varint(&out, base / 4096);
	tide_out_varint(&out, a->bytes);
	*out.at++ = a->inherited;
	tide_out_varint(&out, pool_bytes);
	tide_out_varint(&out, pools);
	for (uint64_t i = 0; i < pools; i++)
		put_pool(&out, (const struct pool *)(first + i * pool_bytes), pool_bytes);
	return tide_census_put(w, TIDE_CENSUS_PYARENA, buf, tide_out_len(&out));
}

void tide_python_census(struct tide_census_writer *w)
{
	bool ok = true;
	if (!tide_py.version || !arena || !tide_trylock(&lock))
		return;
	uint32_t used = atomic_load_explicit(&used_slots, memory_order_acquire);
	for (uint32_t i = 0; i < used && ok; i++)
		if (atomic_load_explicit(&arena[used_slot[i]].base, memory_order_acquire) > 1)
			ok = put_arena(w, &arena[used_slot[i]]);
	tide_unlock(&lock);
}
