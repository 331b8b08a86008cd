/*
 * pymalloc's arenas: our place in front of its arena allocator, and a registry of what it handed out.
 */
#include <stdatomic.h>
#include <string.h>

#include "census.h"
#include "defs.h"
#include "format/beacon.h"
#include "lock.h"
#include "python/interp.h"
#include "python/marks.h"
#include "record.h"
#include "sys.h"

#define ARENAS_MOST 16384u
#define SLOTS (4 * ARENAS_MOST) /* open addressing by address, so that neighbours share cache lines and pages */
#define UNIT_SHIFT 18

static struct tide_py_arena_allocator next;
static struct tide_py_arena *arena; /* SLOTS entries, touched as used */
static uint32_t *used_slot;         /* the slots ever used, so that a walk touches no others */
static atomic_uint used_slots;
static struct tide_lock lock; /* writers and the census: a census must not read an arena that goes away */
static bool objects_hooked;

static uint32_t home(uintptr_t address)
{
	return (uint32_t)(address >> UNIT_SHIFT) & (SLOTS - 1);
}

static struct tide_py_arena *find(uintptr_t base)
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
	struct tide_py_arena *a = arena ? find(base) : NULL;
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
	if (tide_py.mode == TIDE_PYTHON_SITES)
		tide_py_marks_add((uintptr_t)base, size);
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
	bool known = is_arena(size);
	if (known) {
		if (tide_on())
			tide_record_range(TIDE_KIND_PYARENA_FREE, NULL, base, size, 0, 0);
		take((uintptr_t)base);
	}
	next.free(ctx, base, size);
	if (known && tide_on()) {
		tide_py_marks_drop((uintptr_t)base, size);
		tide_census(TIDE_CENSUS_ARENA);
	}
}

/* For a reader outside: where the registry is. */
static void show(void)
{
	_Static_assert(sizeof *arena == sizeof(struct tide_beacon_arena), "a slot, as it is seen from outside");
	_Static_assert(ARENAS_MOST == TIDE_BEACON_ARENAS_MOST, "as many as a reader takes");
	tide_beacon.used_slots = (uintptr_t)used_slot;
	tide_beacon.used_slots_count = (uintptr_t)&used_slots;
	tide_beacon.arena_slots = SLOTS;
	tide_beacon.pool_bytes = tide_py.version->pool;
	tide_beacon.arenas = (uintptr_t)arena;
}

void tide_py_hook_arenas(void)
{
	used_slot = tide_sys_memory(ARENAS_MOST * sizeof *used_slot);
	arena = used_slot ? tide_sys_memory(SLOTS * sizeof *arena) : NULL;
	if (tide_py.mode == TIDE_PYTHON_SITES && !tide_py_marks_init())
		tide_py.mode = TIDE_PYTHON_ARENAS;
	show();
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

bool tide_py_each_arena(bool (*each)(void *arg, const struct tide_py_arena *), void *arg)
{
	uint32_t used = atomic_load_explicit(&used_slots, memory_order_acquire);
	bool ok = true;
	for (uint32_t i = 0; i < used && ok; i++) {
		struct tide_py_arena *a = &arena[used_slot[i]];
		if (atomic_load_explicit(&a->base, memory_order_relaxed) <= 1)
			continue;
		ok = tide_trylock(&lock);
		if (!ok)
			break;
		if (atomic_load_explicit(&a->base, memory_order_relaxed) > 1)
			ok = each(arg, a);
		tide_unlock(&lock);
	}
	return ok;
}
