#include "model/pymalloc.h"

static uint64_t size_of(const struct tide_space_pool *pool)
{
	return (pool->size_class + 1u) * (uint64_t)TIDE_PY_CLASS_STEP;
}

static bool is_used(const struct tide_space_pool *pool)
{
	return !pool->never_used && !pool->free_pool && pool->live > 0 && pool->size_class < TIDE_PY_CLASSES;
}

static void add_pool(const struct tide_space_pool *pool, uint32_t pool_bytes, struct tide_pymalloc_stats *s)
{
	if (!is_used(pool)) {
		s->unused_pools++;
		return;
	}
	uint64_t size = size_of(pool), blocks = (pool_bytes - TIDE_PY_POOL_HEAD) / size;
	uint64_t live = pool->live < blocks ? pool->live : blocks;
	s->size_class[pool->size_class].pools++;
	s->size_class[pool->size_class].live += live;
	s->size_class[pool->size_class].available += blocks - live;
	s->live_bytes += live * size;
	s->available_bytes += (blocks - live) * size;
	s->head_bytes += TIDE_PY_POOL_HEAD;
	s->quantum_bytes += pool_bytes - TIDE_PY_POOL_HEAD - blocks * size;
}

void tide_pymalloc_stats(const struct tide_space *space, struct tide_pymalloc_stats *ret)
{
	struct tide_pymalloc_stats s = {.arenas = space->arenas};
	for (uint32_t i = 0; i < space->arenas; i++) {
		const struct tide_space_arena *a = &space->arena[i];
		s.arena_bytes += a->bytes;
		/* a base between two pools costs a whole one */
		s.alignment_bytes += a->bytes - (uint64_t)a->pools * a->pool_bytes;
		for (uint32_t k = 0; k < a->pools && a->pool_bytes > TIDE_PY_POOL_HEAD; k++)
			add_pool(&space->pool[a->pool + k], a->pool_bytes, &s);
	}
	*ret = s;
}

void tide_pymalloc_sum(const struct tide_space *space, const struct tide_space_arena *a, struct tide_pymalloc_sum *ret)
{
	struct tide_pymalloc_sum s = {.resident = tide_space_anon(space, a->base, a->base + a->bytes)};
	for (uint32_t i = 0; i < a->pools; i++) {
		const struct tide_space_pool *pool = &space->pool[a->pool + i];
		if (!is_used(pool))
			continue;
		uint64_t at = a->first_pool + (uint64_t)i * a->pool_bytes, live = pool->live * size_of(pool);
		uint64_t resident = tide_space_anon(space, at, at + a->pool_bytes);
		s.live_blocks += pool->live;
		s.live_bytes += live;
		s.live += live < resident ? live : resident;
		s.free_in_pools += live < resident ? resident - live : 0;
	}
	s.free_pools = s.resident - s.live - s.free_in_pools;
	*ret = s;
}

int64_t tide_pymalloc_find(const struct tide_space *space, uint64_t addr)
{
	uint32_t low = 0, high = space->arenas;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (space->arena[middle].base + space->arena[middle].bytes <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < space->arenas && space->arena[low].base <= addr ? (int64_t)low : -1;
}
