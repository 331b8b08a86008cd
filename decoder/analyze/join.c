#include "analyze/join.h"

#include <stdlib.h>
#include <string.h>

static int by_address(const void *a, const void *b)
{
	const struct tide_block_live *x = a, *y = b;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool sort_blocks(struct tide_join *j)
{
	const struct tide_blocks *live = &j->state->blocks;
	j->block = malloc((live->used + 1) * sizeof *j->block);
	if (!j->block)
		return false;
	for (size_t at = 0; tide_blocks_next(live, &at, &j->block[j->blocks]);)
		j->blocks++;
	qsort(j->block, j->blocks, sizeof *j->block, by_address);
	return true;
}

static void set_heaps(struct tide_join *j)
{
	j->heaps = (struct tide_heaps){
		.space = &j->space,
		.glibc = j->known_allocator ? &j->glibc : NULL,
		.block = j->block,
		.blocks = j->blocks,
		.cached = j->cached.addr,
		.cached_size = j->cached.size,
		.cacheds = j->cached.count,
		.seen = j->cached.heap,
		.seens = j->cached.heaps,
		.unseen = j->state->carried || !j->caches,
	};
}

/* Events that were not seen may have raised the threshold: a top that was not cut shows it, if nothing in fastbins lies on it. */
static void raise_threshold(struct tide_join *j)
{
	for (uint32_t i = 0; i < j->heaps.heaps && j->heaps.unseen && j->known_allocator; i++) {
		const struct tide_heap *heap = &j->heaps.heap[i];
		struct tide_heap_sum sum;
		if (heap->kind == TIDE_HEAP_MAPPED || heap->kind == TIDE_HEAP_SEGMENT ||
		    (j->caches && tide_caches_fast(j->caches, heap->start)))
			continue;
		tide_heap_sum(&j->heaps, heap, NULL, &sum);
		if (sum.top_size >= j->trim_threshold && sum.top_size < 2 * TIDE_MMAP_THRESHOLD_MAX)
			j->trim_threshold = sum.top_size + 1;
	}
}

enum tide_status tide_join_init(struct tide_join *j, struct tide_analysis *a, struct tide_log *log,
				const struct tide_replay *state, const struct tide_census_blob *blob,
				const struct tide_caches *caches)
{
	*j = (struct tide_join){
		.a = a, .log = log, .state = state, .caches = caches, .trim_threshold = TIDE_TRIM_THRESHOLD};
	enum tide_status status = tide_space_init(&j->space, blob);
	if (status)
		return status;
	j->known_allocator = tide_glibc_of(tide_log_process(log)->allocator, &j->glibc);
	if (caches)
		j->trim_threshold = caches->trim_threshold;
	bool ok = sort_blocks(j);
	if (ok && caches)
		ok = tide_caches_list(caches, j->space.thread, j->space.threads,
				      (uint32_t)tide_log_process(log)->super.pid,
				      &j->cached); /* the main thread is the likeliest to free what is dropped */
	set_heaps(j);
	if (!ok || !tide_heaps_init(&j->heaps)) {
		tide_join_release(j);
		return TIDE_ERR_NOMEM;
	}
	raise_threshold(j);
	return TIDE_OK;
}

void tide_join_release(struct tide_join *j)
{
	tide_heaps_release(&j->heaps);
	tide_cached_release(&j->cached);
	tide_space_release(&j->space);
	free(j->block);
	*j = (struct tide_join){0};
}

size_t tide_join_block(const struct tide_join *j, uint64_t addr)
{
	size_t low = 0, high = j->blocks;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (j->block[middle].addr < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
