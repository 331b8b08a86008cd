#include "analyze/predict.h"

#include <stdlib.h>

/* Between two of n chunks strewn over a heap there is a gap of 64 KiB, likely, if they are on average 64 KiB / ln(2n) apart: some 8
 * KiB for the n that occur. Three times that, and it is sure. */
#define APART_NEVER (UINT64_C(8) << 10)
#define APART_SURE (UINT64_C(24) << 10)
#define BIG (UINT64_C(64) << 10)

/* What becomes of each block, by index. */
enum { STAYS = 0, GONE = 1 };

struct fate {
	uint8_t *trimmed; /* GONE: is free memory to malloc_trim; else it stays, or a thread's cache takes it */
	uint8_t *merged;  /* GONE: free() merges it with its neighbours; else it also may sit in a fastbin */
	uint64_t cached;
};

/* The oldest blocks of a size are likely to be freed first, and to fill the cache. */
struct oldest {
	size_t block[TIDE_CACHE_DEEPEST];
	uint32_t count, room;
};

static void note_oldest(struct oldest *o, const struct tide_block_live *block, size_t i)
{
	uint32_t at = o->count;
	while (at > 0 && block[o->block[at - 1]].time_ns > block[i].time_ns)
		at--;
	if (at >= o->room)
		return;
	if (o->count < o->room)
		o->count++;
	for (uint32_t k = o->count - 1; k > at; k--)
		o->block[k] = o->block[k - 1];
	o->block[at] = i;
}

static bool fate_init(struct fate *f, const struct tide_join *j, const uint8_t *sites)
{
	struct oldest oldest[TIDE_CACHE_BINS] = {0};
	*f = (struct fate){calloc(j->blocks + 1, 1), calloc(j->blocks + 1, 1), 0};
	if (!f->trimmed || !f->merged)
		return false;
	for (uint32_t i = 0; i < TIDE_CACHE_BINS && j->known_allocator; i++)
		oldest[i].room = j->cached.room[i];
	for (size_t i = 0; i < j->blocks; i++) {
		uint64_t chunk = tide_chunk_of(j->block[i].size), bin = (chunk - TIDE_CHUNK_MIN) / 16;
		bool python = j->block[i].flags & TIDE_BLOCK_PYTHON;
		if (!sites[j->block[i].site])
			continue;
		if (!python && bin < TIDE_CACHE_BINS)
			note_oldest(&oldest[bin], j->block, i);
		f->trimmed[i] = GONE;
		f->merged[i] = python || chunk > j->glibc.fast_most ? GONE : STAYS;
	}
	for (uint32_t bin = 0; bin < TIDE_CACHE_BINS; bin++) {
		for (uint32_t i = 0; i < oldest[bin].count; i++)
			f->trimmed[oldest[bin].block[i]] = f->merged[oldest[bin].block[i]] = STAYS;
		f->cached += oldest[bin].count;
	}
	return true;
}

static void fate_release(struct fate *f)
{
	free(f->trimmed);
	free(f->merged);
}

/* Whether free() ever makes a big chunk of these, the fastbins' chunks lying in between: else no top is cut. */
static bool merges(const struct tide_join *j, const struct tide_heap *heap, const struct tide_heap_sum *now,
		   const struct tide_heap_sum *then, uint64_t *ret_fast)
{
	*ret_fast = j->caches ? tide_caches_fast(j->caches, heap->start) : 0;
	bool top_grows = then->top_size > now->top_size && now->top_size >= BIG;
	return top_grows || *ret_fast * APART_NEVER <= heap->end - heap->start;
}

static void predict_heap(const struct tide_join *j, const struct tide_heap *heap, const struct fate *f,
			 struct tide_prediction *p)
{
	struct tide_heap_sum now, then;
	uint64_t returned = tide_heap_returned(&j->heaps, heap, f->trimmed, f->merged, j->trim_threshold), fast;
	if (heap->kind == TIDE_HEAP_MAPPED) {
		p->returns += returned;
		p->releases += returned;
		p->with_trim += returned;
		return;
	}
	tide_heap_sum(&j->heaps, heap, NULL, &now);
	tide_heap_sum(&j->heaps, heap, f->trimmed, &then);
	if (!merges(j, heap, &now, &then, &fast))
		returned = 0;
	else if (fast * APART_SURE > heap->end - heap->start)
		p->error += returned;
	/* freed from the top down, the rest of a heap stays as soon as it is below the threshold */
	if (j->trim_threshold > TIDE_TOP_PAD)
		p->error += returned < j->trim_threshold - TIDE_TOP_PAD ? returned : j->trim_threshold - TIDE_TOP_PAD;
	p->returns += returned;
	if (heap->kind == TIDE_HEAP_THREAD) /* its top is cut by free() and not by malloc_trim */
		then.trim += returned;
	p->with_trim += then.trim;
	p->releases += then.trim > now.trim ? then.trim - now.trim : 0;
}

/* What pymalloc's choice depends on. */
struct reserve {
	uint64_t dying_most; /* free pools of an arena that dies, just before its last pool is freed: the most of any */
	uint64_t dying_bytes; /* resident, of the biggest of these */
	uint64_t staying_most;
	bool has_empty;
};

/* Bytes of the arena, if all its blocks die. */
static uint64_t arena_dies(const struct tide_join *j, const struct tide_space_arena *a, const uint8_t *gone,
			   struct reserve *r)
{
	struct tide_pymalloc_sum sum;
	uint64_t dying = 0, free_pools = a->pools;
	tide_pymalloc_sum(&j->space, a, &sum);
	for (size_t b = tide_join_block(j, a->base); b < j->blocks && j->block[b].addr < a->base + a->bytes; b++)
		dying += gone[b];
	for (uint32_t k = 0; k < a->pools; k++)
		free_pools -= j->space.pool[a->pool + k].live > 0;
	if (sum.live_blocks == 0 || !tide_join_tells(dying, sum.live_blocks)) {
		r->has_empty = r->has_empty || sum.live_blocks == 0;
		r->staying_most = free_pools > r->staying_most ? free_pools : r->staying_most;
		return 0;
	}
	if (a->pools - 1 > r->dying_most)
		r->dying_most = a->pools - 1;
	if (sum.resident > r->dying_bytes)
		r->dying_bytes = sum.resident;
	return sum.resident;
}

/* Arenas of which every block dies go back, but for one that is the last in pymalloc's list when its last pool is freed. The list is in
 * order of free pools, and an arena that has as many now as others had before goes in front of these
 * (Objects/obmalloc.c, insert_to_freepool): so one is kept if there is no empty arena yet, and none that stays with as many
 * free pools as it has before its last. Either may change with any allocation between the census and the frees, and who was first
 * among those with all but one pool free at the census is not known: the bar is that one arena. */
static void predict_arenas(const struct tide_join *j, const uint8_t *gone, struct tide_prediction *p)
{
	struct reserve r = {0};
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < j->space.arenas; i++)
		bytes += arena_dies(j, &j->space.arena[i], gone, &r);
	if (!r.has_empty && r.staying_most < r.dying_most)
		bytes -= r.dying_bytes;
	p->releases += bytes;
	p->returns += bytes;
	p->with_trim += bytes;
	p->error += r.dying_bytes;
}

bool tide_predict(const struct tide_join *j, const uint8_t *sites, struct tide_prediction *ret)
{
	struct fate f;
	struct tide_prediction p = {0};
	bool ok = fate_init(&f, j, sites);
	for (uint32_t i = 0; ok && i < j->heaps.heaps && j->known_allocator; i++)
		predict_heap(j, &j->heaps.heap[i], &f, &p);
	if (ok) {
		predict_arenas(j, f.trimmed, &p);
		/* which of them a cache takes is a guess; each holds a page or two */
		p.error += f.cached * 2 * TIDE_SPACE_PAGE;
		*ret = p;
	}
	fate_release(&f);
	return ok;
}
