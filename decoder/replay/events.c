#include <stdlib.h>
#include <string.h>

#include "replay/replay.h"
#include "replay/step.h"

#define FIRST_PAIRS 1024u
#define PREFETCH 20u                 /* operations ahead; a table of a million blocks fits no cache */
#define NEAR_SLOTS ((size_t)1 << 13) /* a table that fits the first caches: 192 KiB */

static bool allocates(unsigned kind)
{
	return (tide_kind_fields(kind) & (TIDE_F_ADDR | TIDE_F_SIZE)) == (TIDE_F_ADDR | TIDE_F_SIZE);
}

/* By its stacks, and kept by the pair's number, unless that is 0. UINT32_MAX: no memory. */
static uint32_t find_site(struct tide_replay *r, uint32_t pair, uint32_t native, uint32_t python)
{
	if (pair >= r->pairs_cap) {
		uint32_t cap = r->pairs_cap ? r->pairs_cap : FIRST_PAIRS;
		while (cap <= pair)
			cap *= 2;
		uint32_t *more = realloc(r->site_of, cap * sizeof *more);
		if (!more)
			return UINT32_MAX;
		memset(more + r->pairs_cap, 0, (cap - r->pairs_cap) * sizeof *more);
		r->site_of = more;
		r->pairs_cap = cap;
	}
	uint32_t site = tide_replay_site(r, native, python);
	if (pair)
		r->site_of[pair] = site + 1; /* no memory: 0 */
	return site;
}

enum tide_status tide_replay_event(struct tide_replay *r, const struct tide_event *e)
{
	struct tide_step s = {e->kind, e->tid, 0, e->addr, e->size, e->time_ns, e->index, e->unknown};
	r->freed.addr = 0;
	if (!allocates(e->kind))
		return tide_replay_step(r, &s);
	if (e->pair && e->pair < r->pairs_cap && r->site_of[e->pair])
		s.site = r->site_of[e->pair] - 1;
	else
		s.site = find_site(r, e->pair, e->native, e->python);
	return s.site == UINT32_MAX ? TIDE_ERR_NOMEM : tide_replay_step(r, &s);
}

/* ---- many at a time ---- */

/* What a batch is replayed with. */
struct pass {
	struct tide_replay *r;
	const struct tide_batch *batch;
	const struct tide_log *log;
	uint32_t time; /* of the batch, as slots hold it */
	bool plain; /* nothing is sampled, or frozen: an event counts for itself, and common ones may go the short way */
};

static inline uint32_t site_of(const struct pass *p, uint32_t number)
{
	struct tide_replay *r = p->r;
	uint32_t native, python, pair = p->batch->pair[number];
	if (pair < r->pairs_cap && r->site_of[pair])
		return r->site_of[pair] - 1;
	tide_log_pair(p->log, pair, &native, &python);
	return find_site(r, pair, native, python);
}

/* As tide_replay_step, for an allocation where nothing lives. False: it is not that simple, and nothing was done. */
static inline bool allocate(const struct pass *p, const struct tide_op *op, uint32_t site, uint64_t index)
{
	struct tide_replay *r = p->r;
	struct tide_blocks *b = &r->blocks;
	uint64_t size = op->size, flags = op->kind == TIDE_KIND_PYALLOC ? TIDE_BLOCK_PYTHON : 0;
	if (!op->addr || size > TIDE_BLOCK_SIZE_MAX || b->used >= b->most)
		return false;
	struct tide_block_slot *slot = &b->slot[tide_blocks_find(b, op->addr)];
	if (slot->addr)
		return false;
	*slot = (struct tide_block_slot){op->addr, size << 8 | flags, site, p->time};
	b->used++;
	struct tide_site *s = tide_replay_changing(r, site);
	s->allocs++;
	s->alloc_bytes += size;
	s->live_bytes += size;
	s->live_blocks++;
	r->allocs++;
	r->alloc_bytes += size;
	r->live_bytes += size;
	r->live_blocks++;
	r->python_bytes += flags ? size : 0;
	if (r->live_bytes - r->counted_bytes > r->peak_bytes) {
		r->peak_bytes = r->live_bytes - r->counted_bytes;
		r->peak_ns = p->batch->time_ns;
		r->peak_index = index;
		r->peaks++;
	}
	return true;
}

/* As tide_replay_step, for a free of a block that the log told of. False as above. *ret_size: the block's bytes. */
static inline bool release(const struct pass *p, const struct tide_op *op, uint64_t *ret_size)
{
	struct tide_replay *r = p->r;
	struct tide_blocks *b = &r->blocks;
	size_t i = tide_blocks_find(b, op->addr);
	uint64_t flags = b->slot[i].size_and_flags & 255, size = b->slot[i].size_and_flags >> 8;
	if (!op->addr || !b->slot[i].addr || flags & ~(uint64_t)TIDE_BLOCK_PYTHON)
		return false;
	struct tide_site *s = tide_replay_changing(r, b->slot[i].site);
	uint64_t since = tide_blocks_ns(b, b->slot[i].time);
	s->lifetime_ns += p->batch->time_ns > since ? p->batch->time_ns - since : 0;
	s->frees++;
	s->live_bytes -= size;
	s->live_blocks--;
	r->frees++;
	r->live_bytes -= size;
	r->live_blocks--;
	r->python_bytes -= flags ? size : 0;
	tide_blocks_remove(b, i);
	*ret_size = size;
	return true;
}

static enum tide_status any(const struct pass *p, const struct tide_op *op, uint64_t index)
{
	struct tide_step s = {.kind = (enum tide_kind)op->kind,
			      .tid = p->batch->tid,
			      .addr = op->addr,
			      .size = op->size,
			      .time_ns = p->batch->time_ns,
			      .index = index,
			      .unknown = op->unknown};
	p->r->freed.addr = 0;
	if (allocates(op->kind) && (s.site = site_of(p, op->pair)) == UINT32_MAX)
		return TIDE_ERR_NOMEM;
	return tide_replay_step(p->r, &s);
}

/* After `any`. */
static struct tide_change change_by(const struct tide_replay *r, const struct tide_op *op)
{
	uint64_t made = (op->size < TIDE_BLOCK_SIZE_MAX ? op->size : TIDE_BLOCK_SIZE_MAX) << 8;
	uint64_t gone = r->freed.addr ? r->freed.size << 8 : 0;
	switch (op->kind) {
	case TIDE_KIND_ALLOC:
	case TIDE_KIND_CALLOC:
		return (struct tide_change){op->addr, made | TIDE_KIND_ALLOC};
	case TIDE_KIND_ALIGNED:
	case TIDE_KIND_REALLOC_ALLOC:
		return (struct tide_change){op->addr, made | op->kind};
	case TIDE_KIND_FREE:
		return (struct tide_change){r->freed.addr, r->freed.addr ? gone | TIDE_KIND_FREE : 0};
	case TIDE_KIND_REALLOC_FREE:
		return (struct tide_change){r->freed.addr, gone | TIDE_KIND_REALLOC_FREE};
	default:
		return (struct tide_change){0, 0};
	}
}

static enum tide_status one(const struct pass *p, const struct tide_op *op, uint64_t index, struct tide_change *ret)
{
	uint64_t size;
	bool made = op->kind == TIDE_KIND_ALLOC || op->kind == TIDE_KIND_CALLOC || op->kind == TIDE_KIND_PYALLOC;
	bool gone = op->kind == TIDE_KIND_FREE || op->kind == TIDE_KIND_PYFREE;
	if (p->plain && made) {
		uint32_t site = site_of(p, op->pair);
		if (site == UINT32_MAX)
			return TIDE_ERR_NOMEM;
		if (allocate(p, op, site, index)) {
			*ret = (struct tide_change){
				op->addr, op->kind == TIDE_KIND_PYALLOC ? 0 : op->size << 8 | TIDE_KIND_ALLOC};
			return TIDE_OK;
		}
	} else if (p->plain && gone && release(p, op, &size)) {
		*ret = (struct tide_change){op->addr, op->kind == TIDE_KIND_PYFREE ? 0 : size << 8 | TIDE_KIND_FREE};
		return TIDE_OK;
	}
	enum tide_status status = any(p, op, index);
	*ret = change_by(p->r, op);
	return status;
}

enum tide_status tide_replay_batch(struct tide_replay *r, const struct tide_batch *b, const struct tide_log *log,
				   struct tide_change *ret)
{
	struct tide_change unwanted;
	struct pass p = {.r = r, .batch = b, .log = log, .time = tide_blocks_time(&r->blocks, b->time_ns)};
	enum tide_status status = TIDE_OK;
	uint32_t ahead = r->blocks.slots > NEAR_SLOTS ? b->count + b->ahead : 0;
	p.plain = r->blocks.slots && !r->sample_bytes && !r->frozen;
	for (uint32_t i = 0; i < b->count && !status; i++) {
		if (i + PREFETCH < ahead)
			tide_blocks_prefetch(&r->blocks, b->op[i + PREFETCH].addr);
		status = one(&p, &b->op[i], b->index + i, ret ? &ret[i] : &unwanted);
	}
	return status;
}
