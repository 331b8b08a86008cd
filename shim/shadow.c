#include "shadow.h"

#include "lock.h"
#include "sys.h"

#define CHUNK ((size_t)1 << 20)
#define SLAB_CHUNKS_MAX 64u
#define IMAGES 2u /* sets of tags: a child's are not its parent's, a grandchild's are its grandparent's again */

struct tide_shadow tide_shadow = {.shift = 4};

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
	unsigned size = 2 * TIDE_TAG_EPOCHS;
	tide_shadow.base = (uint8_t)((tide_shadow.base / size + 1) % IMAGES * size);
	tide_unlock(&slab.lock);
}

bool tide_tag_inherited(uint8_t tag)
{
	unsigned size = 2 * TIDE_TAG_EPOCHS;
	return tag >= 1 && tag <= IMAGES * size && (tag - 1u) / size != tide_shadow.base / size;
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
