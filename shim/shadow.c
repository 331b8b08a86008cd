#include "shadow.h"

#include "lock.h"
#include "sys.h"

#define CHUNK ((size_t)1 << 20)
#define SLAB_CHUNKS_MAX 64u
#define IMAGES 2u /* sets of tags: a child's are not its parent's, a grandchild's are its grandparent's again */
#define A_SET (2 * TIDE_TAG_EPOCHS)

struct tide_shadow tide_shadow = {.shift = 4, .others = 1 + A_SET};
static unsigned generation; /* forks since the program began */
static atomic_bool settling;

/* Chunks are cut from slabs that grow, so that few mappings are made. */
static struct {
	struct tide_lock lock;
	uint8_t *at;
	unsigned chunks; /* left */
	unsigned next;   /* size of the next slab */
} slab;

void tide_shadow_init(unsigned alignment)
{
	tide_shadow.shift = alignment >= 16 ? 4 : 3;
}

void tide_shadow_fork_child(void)
{
	tide_shadow.others = (uint8_t)(tide_shadow.base + 1);
	tide_shadow.base = (uint8_t)((tide_shadow.base / A_SET + 1) % IMAGES * A_SET);
	generation++;
	tide_shadow.young = generation > 1 ? (uint8_t)(TIDE_TAG_YOUNG + generation % 2) : 0;
	atomic_store_explicit(&settling, false, memory_order_relaxed);
	tide_unlock(&slab.lock);
}

/* A byte with a tag of our set is an ancestor's: what we allocated until now is young. So is what has the other young tag. */
static void settle_chunk(_Atomic uint8_t *chunk)
{
	uint8_t theirs = (uint8_t)(2 * TIDE_TAG_YOUNG + 1 - tide_shadow.young), own = (uint8_t)(tide_shadow.base + 1);
	for (size_t i = 0; i < CHUNK; i += sizeof(uint64_t)) {
		uint64_t word = atomic_load_explicit((_Atomic uint64_t *)(chunk + i), memory_order_relaxed);
		for (unsigned k; word; word &= ~(UINT64_C(0xff) << 8 * k)) {
			k = (unsigned)__builtin_ctzll(word) / 8;
			uint8_t tag = (uint8_t)(word >> 8 * k);
			if (tide_tag_is_of(tag, own) || tag == theirs)
				atomic_compare_exchange_strong_explicit(&chunk[i + k], &tag, tide_shadow.others,
									memory_order_relaxed, memory_order_relaxed);
		}
	}
}

bool tide_shadow_settle(void)
{
	if (!tide_shadow.young)
		return true;
	if (atomic_exchange_explicit(&settling, true, memory_order_relaxed))
		return false;
	for (unsigned top = 0; top < 4096; top++) {
		_Atomic(uint8_t *) *middle = atomic_load_explicit(&tide_shadow.top[top], memory_order_acquire);
		for (unsigned i = 0; middle && i < 4096; i++) {
			uint8_t *chunk = atomic_load_explicit(&middle[i], memory_order_acquire);
			if (chunk)
				settle_chunk((_Atomic uint8_t *)chunk);
		}
	}
	return true;
}

static uint8_t *new_chunk(void)
{
	uint8_t *chunk = NULL;
	if (!tide_trylock(&slab.lock))
		return tide_sys_memory(CHUNK);
	if (slab.chunks == 0) {
		unsigned chunks = slab.next ? slab.next : 1;
		slab.at = tide_sys_memory(chunks * CHUNK);
		slab.chunks = slab.at ? chunks : 0;
		slab.next = chunks < SLAB_CHUNKS_MAX ? 2 * chunks : chunks;
	}
	if (slab.chunks > 0) {
		chunk = slab.at;
		slab.at += CHUNK;
		slab.chunks--;
	}
	tide_unlock(&slab.lock);
	return chunk ? chunk : tide_sys_memory(CHUNK);
}

_Atomic uint8_t *tide_shadow_make(uintptr_t addr)
{
	uintptr_t granule = addr >> tide_shadow.shift;
	if (granule >> 44)
		return NULL;
	_Atomic(_Atomic(uint8_t *) *) *top = &tide_shadow.top[granule >> 32];
	_Atomic(uint8_t *) *middle = atomic_load_explicit(top, memory_order_acquire);
	if (!middle) {
		_Atomic(uint8_t *) *fresh = tide_sys_memory(4096 * sizeof *fresh);
		if (!fresh)
			return NULL;
		if (atomic_compare_exchange_strong_explicit(top, &middle, fresh, memory_order_acq_rel,
							    memory_order_acquire))
			middle = fresh;
	}
	_Atomic(uint8_t *) *at = &middle[granule >> 20 & 4095];
	if (!atomic_load_explicit(at, memory_order_acquire)) {
		uint8_t *none = NULL, *fresh = new_chunk();
		if (!fresh)
			return NULL;
		/* who comes second has made one in vain: two threads that meet in the first block of 16 MiB */
		atomic_compare_exchange_strong_explicit(at, &none, fresh, memory_order_acq_rel, memory_order_acquire);
	}
	return tide_shadow_find(addr);
}
