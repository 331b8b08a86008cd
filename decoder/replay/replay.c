#include "replay/replay.h"

#include <stdlib.h>
#include <string.h>

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

#include "replay/amount.h"
#include "replay/step.h"

/* Does a realloc of the thread run: its old block is gone, and the new one not there yet. */
struct tide_pending {
	uint64_t thread; /* tid << 1 | python */
	bool runs;
	struct tide_block_live old; /* addr 0: was not known */
	UT_hash_handle hh;
};

/* What tide_replay_finish goes back to. */
struct tide_frozen {
	struct tide_replay was;       /* numbers, and a copy of its sites; no other table */
	struct tide_block_live *gone; /* blocks of then that were freed since */
	size_t gone_count, gone_cap;
};

void tide_replay_release(struct tide_replay *r)
{
	struct tide_pending *p, *next;
	HASH_ITER(hh, r->pending, p, next)
	{
		HASH_DEL(r->pending, p);
		free(p);
	}
	if (r->frozen) {
		free(r->frozen->was.site);
		free(r->frozen->gone);
		free(r->frozen);
	}
	tide_blocks_release(&r->blocks);
	free(r->site);
	free(r->slots);
	free(r->site_of);
	*r = (struct tide_replay){0};
}

/* ---- blocks come and go ---- */

static bool keep_gone(struct tide_frozen *f, const struct tide_block_live *b)
{
	if (f->gone_count == f->gone_cap) {
		size_t cap = f->gone_cap ? 2 * f->gone_cap : 1024;
		struct tide_block_live *gone = realloc(f->gone, cap * sizeof *gone);
		if (!gone)
			return false;
		f->gone = gone;
		f->gone_cap = cap;
	}
	f->gone[f->gone_count++] = *b;
	return true;
}

static void add(struct tide_replay *r, const struct tide_block_live *b)
{
	struct tide_site *s = tide_replay_changing(r, b->site);
	struct tide_amount a = tide_amount_of(r->sample_bytes, b);
	s->live_bytes += a.bytes;
	s->live_blocks += a.blocks;
	r->live_bytes += a.bytes;
	r->live_blocks += a.blocks;
	if (b->flags & TIDE_BLOCK_PYTHON)
		r->python_bytes += a.bytes;
	if (b->flags & TIDE_BLOCK_INHERITED) {
		s->inherited_bytes += a.bytes;
		s->inherited_blocks += a.blocks;
		r->inherited_bytes += a.bytes;
		r->inherited_blocks += a.blocks;
	}
	if (b->flags & TIDE_BLOCK_COUNTED) {
		s->counted_bytes += a.bytes;
		r->counted_bytes += a.bytes;
	}
}

/* False: no memory. */
static bool subtract(struct tide_replay *r, const struct tide_block_live *b)
{
	struct tide_site *s = tide_replay_changing(r, b->site);
	struct tide_amount a = tide_amount_of(r->sample_bytes, b);
	s->frees += a.blocks;
	s->live_bytes -= a.bytes;
	s->live_blocks -= a.blocks;
	r->live_bytes -= a.bytes;
	r->live_blocks -= a.blocks;
	if (b->flags & TIDE_BLOCK_PYTHON)
		r->python_bytes -= a.bytes;
	if (b->flags & TIDE_BLOCK_INHERITED) {
		s->inherited_bytes -= a.bytes;
		s->inherited_blocks -= a.blocks;
		r->inherited_bytes -= a.bytes;
		r->inherited_blocks -= a.blocks;
	}
	if (b->flags & TIDE_BLOCK_COUNTED) {
		s->counted_bytes -= a.bytes;
		r->counted_bytes -= a.bytes;
	}
	return !r->frozen || b->flags & TIDE_BLOCK_LATER || keep_gone(r->frozen, b);
}

static enum tide_status put(struct tide_replay *r, const struct tide_block_live *b)
{
	struct tide_block_live old;
	if (!tide_blocks_put(&r->blocks, b, &old))
		return TIDE_ERR_NOMEM;
	if (old.addr) {
		/* the free of a carried block may have been overwritten a moment late */
		r->doubled += !(old.flags & TIDE_BLOCK_CARRIED) && !(old.flags & TIDE_BLOCK_INHERITED && r->unsure);
		if (!subtract(r, &old))
			return TIDE_ERR_NOMEM;
	}
	add(r, b);
	return TIDE_OK;
}

static enum tide_status on_alloc(struct tide_replay *r, const struct tide_step *e, bool python)
{
	if (!e->addr)
		return TIDE_OK;
	struct tide_site *s = &r->site[e->site];
	struct tide_block_live b = {
		.addr = e->addr,
		.size = e->size < TIDE_BLOCK_SIZE_MAX ? e->size : TIDE_BLOCK_SIZE_MAX,
		.time_ns = e->time_ns,
		.site = e->site,
		.flags = (python ? TIDE_BLOCK_PYTHON : 0u) | (r->frozen ? TIDE_BLOCK_LATER : 0u),
	};
	struct tide_amount a = tide_amount_of(r->sample_bytes, &b);
	s->allocs += a.blocks;
	s->alloc_bytes += a.bytes;
	r->allocs += a.blocks;
	r->alloc_bytes += a.bytes;
	enum tide_status status = put(r, &b);
	if (r->live_bytes - r->counted_bytes > r->peak_bytes) {
		r->peak_bytes = r->live_bytes - r->counted_bytes;
		r->peak_ns = e->time_ns;
		r->peak_index = e->index;
		r->peaks++;
	}
	return status;
}

/* ret->addr is 0 if nothing was live there. */
static enum tide_status on_free(struct tide_replay *r, const struct tide_step *e, struct tide_block_live *ret)
{
	if (!tide_blocks_take(&r->blocks, e->addr, ret)) {
		r->frees++;
		bool missing = !r->carried || e->unknown;
		r->inherited_frees += missing && r->forked;
		r->unmatched_frees += missing && !r->forked;
		ret->addr = 0;
		return TIDE_OK;
	}
	uint64_t blocks = tide_amount_of(r->sample_bytes, ret).blocks;
	r->frees += blocks;
	r->inherited_frees += ret->flags & TIDE_BLOCK_INHERITED ? blocks : 0;
	if (e->time_ns > ret->time_ns)
		r->site[ret->site].lifetime_ns += (e->time_ns - ret->time_ns) * blocks;
	return subtract(r, ret) ? TIDE_OK : TIDE_ERR_NOMEM;
}

/* ---- realloc: the old block is gone from the real call's beginning, and comes back if it fails ---- */

static struct tide_pending *pending_of(struct tide_replay *r, const struct tide_step *e, bool python)
{
	uint64_t thread = (uint64_t)e->tid << 1 | python;
	struct tide_pending *p;
	HASH_FIND(hh, r->pending, &thread, sizeof thread, p);
	return p;
}

static enum tide_status begin_realloc(struct tide_replay *r, const struct tide_step *e, bool python)
{
	struct tide_pending *p = pending_of(r, e, python);
	if (!p) {
		p = calloc(1, sizeof *p);
		if (!p)
			return TIDE_ERR_NOMEM;
		p->thread = (uint64_t)e->tid << 1 | python;
		HASH_ADD(hh, r->pending, thread, sizeof p->thread, p);
		if (!p->hh.tbl) {
			free(p);
			return TIDE_ERR_NOMEM;
		}
	}
	p->runs = true;
	enum tide_status status = on_free(r, e, &r->freed);
	p->old = r->freed;
	return status;
}

static enum tide_status end_realloc(struct tide_replay *r, const struct tide_step *e, bool python, bool failed)
{
	struct tide_pending *p = pending_of(r, e, python);
	if (!p || !p->runs)
		return TIDE_OK;
	p->runs = false;
	if (!failed || !p->old.addr)
		return TIDE_OK;
	uint64_t blocks = tide_amount_of(r->sample_bytes, &p->old).blocks;
	r->frees -= blocks;
	r->inherited_frees -= p->old.flags & TIDE_BLOCK_INHERITED ? blocks : 0;
	r->site[p->old.site].frees -= blocks;
	if (r->frozen)
		p->old.flags |= TIDE_BLOCK_LATER;
	return put(r, &p->old);
}

enum tide_status tide_replay_step(struct tide_replay *r, const struct tide_step *e)
{
	switch (e->kind) {
	case TIDE_KIND_ALLOC:
	case TIDE_KIND_CALLOC:
	case TIDE_KIND_ALIGNED:
		return on_alloc(r, e, false);
	case TIDE_KIND_PYALLOC:
		return on_alloc(r, e, true);
	case TIDE_KIND_FREE:
	case TIDE_KIND_PYFREE:
		return on_free(r, e, &r->freed);
	case TIDE_KIND_REALLOC_FREE:
	case TIDE_KIND_PYREALLOC_FREE:
		return begin_realloc(r, e, e->kind == TIDE_KIND_PYREALLOC_FREE);
	case TIDE_KIND_REALLOC_ALLOC:
	case TIDE_KIND_PYREALLOC_ALLOC: {
		bool python = e->kind == TIDE_KIND_PYREALLOC_ALLOC;
		enum tide_status status = end_realloc(r, e, python, false);
		return status ? status : on_alloc(r, e, python);
	}
	case TIDE_KIND_REALLOC_FAILED:
	case TIDE_KIND_PYREALLOC_FAILED:
		return end_realloc(r, e, e->kind == TIDE_KIND_PYREALLOC_FAILED, true);
	case TIDE_KIND_REALLOC_GONE:
	case TIDE_KIND_PYREALLOC_GONE:
		return end_realloc(r, e, e->kind == TIDE_KIND_PYREALLOC_GONE, false);
	default:
		return TIDE_OK;
	}
}

/* ---- before the first event ---- */

enum tide_status tide_replay_add(struct tide_replay *r, const struct tide_block_live *b)
{
	return put(r, b);
}

/* Numbers of the log's sites -> ours. */
static enum tide_status carry_sites(struct tide_replay *r, const struct tide_carried *c, uint32_t *number)
{
	for (uint32_t i = 0; i < c->sites; i++) {
		number[i] = tide_replay_site(r, c->site[i].native, c->site[i].python);
		if (number[i] == UINT32_MAX)
			return TIDE_ERR_NOMEM;
		struct tide_amount a = tide_amount_of_sum(r->sample_bytes, c->site[i].alloc_bytes, c->site[i].allocs);
		r->site[number[i]].allocs += a.blocks;
		r->site[number[i]].alloc_bytes += a.bytes;
	}
	return TIDE_OK;
}

enum tide_status tide_replay_carried(struct tide_replay *r, const struct tide_carried *c)
{
	uint32_t *number = calloc((size_t)c->sites + 1, sizeof *number);
	enum tide_status status = number ? carry_sites(r, c, number) : TIDE_ERR_NOMEM;
	for (size_t i = 0; i < c->blocks && !status; i++) {
		const struct tide_carried_block *b = &c->block[i];
		struct tide_block_live live = {
			.addr = b->addr,
			.size = b->size,
			.time_ns = b->time_ns,
			.site = number[b->site],
			.flags = (b->python ? TIDE_BLOCK_PYTHON : 0u) | TIDE_BLOCK_CARRIED,
		};
		status = put(r, &live);
	}
	free(number);
	struct tide_amount all = tide_amount_of_sum(r->sample_bytes, c->totals.alloc_bytes, c->totals.allocs);
	double weight = c->totals.allocs ? (double)all.blocks / (double)c->totals.allocs : 1;
	r->allocs += all.blocks;
	r->frees += r->sample_bytes ? (uint64_t)((double)c->totals.frees * weight) : c->totals.frees;
	r->alloc_bytes += all.bytes;
	r->peak_bytes = r->live_bytes;
	r->peak_ns = c->cut_ns;
	r->peaks++;
	r->carried = c->epoch > 0;
	if (r->carried)
		r->peak_index = UINT64_MAX; /* before the first event */
	return status;
}

enum tide_status tide_replay_inherit(struct tide_replay *r, const struct tide_block_live *block, uint32_t native,
				     uint32_t python)
{
	struct tide_block_live b = *block;
	b.site = tide_replay_site(r, native, python);
	if (b.site == UINT32_MAX)
		return TIDE_ERR_NOMEM;
	b.flags |= TIDE_BLOCK_INHERITED;
	enum tide_status status = put(r, &b);
	if (r->live_bytes > r->peak_bytes) {
		r->peak_bytes = r->live_bytes;
		r->peaks++;
	}
	r->peak_index = UINT64_MAX; /* before the first event */
	return status;
}

/* ---- the end ---- */

static uint64_t in_flight(const struct tide_replay *r)
{
	uint64_t bytes = 0;
	for (const struct tide_pending *p = r->pending; p; p = p->hh.next)
		bytes += p->runs && p->old.addr ? p->old.size : 0;
	return bytes;
}

enum tide_status tide_replay_freeze(struct tide_replay *r)
{
	struct tide_frozen *f = calloc(1, sizeof *f);
	if (!f)
		return TIDE_ERR_NOMEM;
	f->was = *r;
	f->was.site = malloc((r->sites + (size_t)1) * sizeof *r->site);
	if (!f->was.site) {
		free(f);
		return TIDE_ERR_NOMEM;
	}
	if (r->sites)
		memcpy(f->was.site, r->site, r->sites * sizeof *r->site);
	f->was.in_flight_bytes = in_flight(r);
	r->frozen = f;
	return TIDE_OK;
}

/* Blocks that came later go, those that went since come back. */
static bool restore_blocks(struct tide_replay *r, const struct tide_frozen *f)
{
	struct tide_block_live old;
	bool ok = true;
	tide_blocks_drop(&r->blocks, TIDE_BLOCK_LATER);
	for (size_t i = 0; i < f->gone_count && ok; i++)
		ok = tide_blocks_put(&r->blocks, &f->gone[i], &old);
	return ok;
}

static bool restore(struct tide_replay *r)
{
	struct tide_frozen *f = r->frozen;
	if (!restore_blocks(r, f))
		return false;
	for (uint32_t i = 0; i < r->sites; i++) {
		struct tide_site *s = &r->site[i];
		struct tide_site was = {.native = s->native, .python = s->python}; /* one that came later */
		if (i < f->was.sites)
			was = f->was.site[i];
		was.peak_bytes = s->peak_bytes;
		*s = was;
	}
	r->allocs = f->was.allocs;
	r->frees = f->was.frees;
	r->alloc_bytes = f->was.alloc_bytes;
	r->live_bytes = f->was.live_bytes;
	r->live_blocks = f->was.live_blocks;
	r->python_bytes = f->was.python_bytes;
	r->inherited_bytes = f->was.inherited_bytes;
	r->inherited_blocks = f->was.inherited_blocks;
	r->counted_bytes = f->was.counted_bytes;
	r->unmatched_frees = f->was.unmatched_frees;
	r->inherited_frees = f->was.inherited_frees;
	r->doubled = f->was.doubled;
	r->in_flight_bytes = f->was.in_flight_bytes;
	free(f->was.site);
	free(f->gone);
	free(f);
	r->frozen = NULL;
	return true;
}

/* Blocks that were not carried over, because they had died by then, are dead: what a site allocated and does not live was freed. */
static void count_frees(struct tide_replay *r)
{
	for (uint32_t i = 0; i < r->sites; i++) {
		struct tide_site *s = &r->site[i];
		uint64_t own = s->live_blocks - s->inherited_blocks;
		if (s->allocs >= own) /* not of sites that a census told of */
			s->frees = s->allocs - own;
	}
}

static void find_ages(struct tide_replay *r)
{
	struct tide_block_live b;
	for (size_t at = 0; tide_blocks_next(&r->blocks, &at, &b);) {
		struct tide_site *s = &r->site[b.site];
		if (!s->first_ns || b.time_ns < s->first_ns)
			s->first_ns = b.time_ns;
		if (b.time_ns > s->last_ns)
			s->last_ns = b.time_ns;
	}
}

enum tide_status tide_replay_finish(struct tide_replay *r, struct tide_replay *ret_totals)
{
	for (uint32_t i = 0; i < r->sites; i++)
		tide_replay_changing(r, i);
	r->in_flight_bytes = in_flight(r);
	if (ret_totals) {
		*ret_totals = *r;
		ret_totals->blocks = (struct tide_blocks){0};
		ret_totals->site = NULL;
		ret_totals->slots = NULL;
		ret_totals->site_of = NULL;
		ret_totals->pending = NULL;
		ret_totals->frozen = NULL;
	}
	if (r->frozen && !restore(r))
		return TIDE_ERR_NOMEM;
	if (r->carried)
		count_frees(r);
	find_ages(r);
	return TIDE_OK;
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
