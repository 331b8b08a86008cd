#include "replay/replay.h"

#include <stdlib.h>

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct tide_site_slot {
	uint32_t site_plus_one;
};

/* A realloc whose old block is gone and whose new one is not there yet. */
struct tide_pending {
	uint64_t thread; /* tid << 1 | python */
	struct tide_block_live old;
	UT_hash_handle hh;
};

void tide_replay_release(struct tide_replay *r)
{
	struct tide_pending *p, *next;
	HASH_ITER(hh, r->pending, p, next)
	{
		HASH_DEL(r->pending, p);
		free(p);
	}
	tide_blocks_release(&r->blocks);
	free(r->site);
	free(r->slots);
	*r = (struct tide_replay){0};
}

static uint32_t slot_of(const struct tide_replay *r, uint32_t native, uint32_t python)
{
	uint64_t key = (uint64_t)native << 32 | python;
	uint32_t i = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (r->slot_count - 1);
	while (r->slots[i].site_plus_one) {
		const struct tide_site *s = &r->site[r->slots[i].site_plus_one - 1];
		if (s->native == native && s->python == python)
			break;
		i = (i + 1) & (r->slot_count - 1);
	}
	return i;
}

static bool grow_sites(struct tide_replay *r)
{
	uint32_t cap = r->sites_cap ? r->sites_cap * 2 : 256;
	struct tide_site *site = realloc(r->site, cap * sizeof *site);
	if (!site)
		return false;
	r->site = site;
	struct tide_site_slot *slots = calloc(cap * 2, sizeof *slots);
	if (!slots)
		return false;
	free(r->slots);
	r->slots = slots;
	r->sites_cap = cap;
	r->slot_count = cap * 2;
	for (uint32_t i = 0; i < r->sites; i++)
		r->slots[slot_of(r, r->site[i].native, r->site[i].python)].site_plus_one = i + 1;
	return true;
}

/* NULL: no memory. */
static struct tide_site *site_for(struct tide_replay *r, uint32_t native, uint32_t python)
{
	if (r->sites == r->sites_cap && !grow_sites(r))
		return NULL;
	uint32_t slot = slot_of(r, native, python);
	if (!r->slots[slot].site_plus_one) {
		r->site[r->sites++] = (struct tide_site){.native = native, .python = python};
		r->slots[slot].site_plus_one = r->sites;
	}
	return &r->site[r->slots[slot].site_plus_one - 1];
}

static void add(struct tide_replay *r, const struct tide_block_live *b)
{
	struct tide_site *s = &r->site[b->site];
	s->live_bytes += b->size;
	s->live_blocks++;
	r->live_bytes += b->size;
	r->live_blocks++;
	if (b->flags & TIDE_BLOCK_PYTHON)
		r->python_bytes += b->size;
}

static void subtract(struct tide_replay *r, const struct tide_block_live *b)
{
	struct tide_site *s = &r->site[b->site];
	s->frees++;
	s->live_bytes -= b->size;
	s->live_blocks--;
	r->live_bytes -= b->size;
	r->live_blocks--;
	if (b->flags & TIDE_BLOCK_PYTHON)
		r->python_bytes -= b->size;
}

static enum tide_status put(struct tide_replay *r, const struct tide_block_live *b)
{
	struct tide_block_live old;
	if (!tide_blocks_put(&r->blocks, b, &old))
		return TIDE_ERR_NOMEM;
	if (old.addr) {
		r->doubled += !(old.flags & TIDE_BLOCK_CARRIED); /* its free may have been overwritten a moment late */
		subtract(r, &old);
	}
	add(r, b);
	return TIDE_OK;
}

uint32_t tide_replay_site(struct tide_replay *r, uint32_t native, uint32_t python)
{
	struct tide_site *s = site_for(r, native, python);
	return s ? (uint32_t)(s - r->site) : UINT32_MAX;
}

enum tide_status tide_replay_add(struct tide_replay *r, const struct tide_block_live *b)
{
	return put(r, b);
}

static enum tide_status on_alloc(struct tide_replay *r, const struct tide_event *e, bool python)
{
	struct tide_site *s = site_for(r, e->native, e->python);
	if (!s)
		return TIDE_ERR_NOMEM;
	struct tide_block_live b = {
		.addr = e->addr,
		.size = e->size,
		.time_ns = e->time_ns,
		.site = (uint32_t)(s - r->site),
		.flags = python ? TIDE_BLOCK_PYTHON : 0,
	};
	s->allocs++;
	s->alloc_bytes += e->size;
	r->allocs++;
	r->alloc_bytes += e->size;
	enum tide_status status = put(r, &b);
	if (r->live_bytes > r->peak_bytes) {
		r->peak_bytes = r->live_bytes;
		r->peak_ns = e->time_ns;
		r->peak_index = e->index;
	}
	return status;
}

enum tide_status tide_replay_carried(struct tide_replay *r, const struct tide_carried *c)
{
	enum tide_status status = TIDE_OK;
	uint32_t *number = calloc((size_t)c->sites + 1, sizeof *number); /* the log's -> ours */
	if (!number)
		return TIDE_ERR_NOMEM;
	for (uint32_t i = 0; i < c->sites && !status; i++) {
		struct tide_site *s = site_for(r, c->site[i].native, c->site[i].python);
		if (!s) {
			status = TIDE_ERR_NOMEM;
			break;
		}
		number[i] = (uint32_t)(s - r->site);
		s->allocs += c->site[i].allocs;
		s->alloc_bytes += c->site[i].alloc_bytes;
	}
	for (size_t i = 0; i < c->blocks && !status; i++) {
		const struct tide_carried_block *b = &c->block[i];
		status = put(r, &(struct tide_block_live){.addr = b->addr,
							  .size = b->size,
							  .time_ns = b->time_ns,
							  .site = number[b->site],
							  .flags = (b->python ? TIDE_BLOCK_PYTHON : 0) |
								   TIDE_BLOCK_CARRIED});
	}
	free(number);
	r->allocs += c->totals.allocs;
	r->frees += c->totals.frees;
	r->alloc_bytes += c->totals.alloc_bytes;
	r->peak_bytes = r->live_bytes;
	r->peak_ns = c->cut_ns;
	r->carried = c->epoch > 0;
	if (r->carried)
		r->peak_index = UINT64_MAX; /* before the first event */
	return status;
}

static bool on_free(struct tide_replay *r, const struct tide_event *e, struct tide_block_live *ret)
{
	r->frees++;
	if (!tide_blocks_take(&r->blocks, e->addr, ret)) {
		r->unmatched_frees += !r->carried || e->unknown;
		return false;
	}
	subtract(r, ret);
	if (e->time_ns > ret->time_ns)
		r->site[ret->site].lifetime_ns += e->time_ns - ret->time_ns;
	r->freed = *ret;
	return true;
}

/* realloc: the old block is gone from the real call's beginning, and comes back if it fails. */
static enum tide_status begin_realloc(struct tide_replay *r, const struct tide_event *e, bool python)
{
	uint64_t thread = (uint64_t)e->tid << 1 | python;
	struct tide_pending *p;
	HASH_FIND(hh, r->pending, &thread, sizeof thread, p);
	if (!p) {
		p = calloc(1, sizeof *p);
		if (!p)
			return TIDE_ERR_NOMEM;
		p->thread = thread;
		HASH_ADD(hh, r->pending, thread, sizeof thread, p);
		if (!p->hh.tbl) {
			free(p);
			return TIDE_ERR_NOMEM;
		}
	}
	if (!on_free(r, e, &p->old))
		p->old = (struct tide_block_live){0};
	return TIDE_OK;
}

static enum tide_status end_realloc(struct tide_replay *r, const struct tide_event *e, bool python, bool failed)
{
	uint64_t thread = (uint64_t)e->tid << 1 | python;
	struct tide_pending *p;
	enum tide_status status = TIDE_OK;
	HASH_FIND(hh, r->pending, &thread, sizeof thread, p);
	if (!p)
		return TIDE_OK;
	if (failed && p->old.addr) {
		r->frees--;
		r->site[p->old.site].frees--;
		status = put(r, &p->old);
	}
	HASH_DEL(r->pending, p);
	free(p);
	return status;
}

enum tide_status tide_replay_event(struct tide_replay *r, const struct tide_event *e)
{
	struct tide_block_live old;
	r->freed.addr = 0;
	switch (e->kind) {
	case TIDE_KIND_ALLOC:
	case TIDE_KIND_CALLOC:
	case TIDE_KIND_ALIGNED:
		return on_alloc(r, e, false);
	case TIDE_KIND_PYALLOC:
		return on_alloc(r, e, true);
	case TIDE_KIND_FREE:
	case TIDE_KIND_PYFREE:
		on_free(r, e, &old);
		return TIDE_OK;
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
	case TIDE_KIND_PYREALLOC_GONE:
		return end_realloc(r, e, true, false);
	default:
		return TIDE_OK;
	}
}

/* Blocks that were not carried over, because they had died by then, are dead: what a site allocated and does not live was freed. */
static void count_frees(struct tide_replay *r)
{
	for (uint32_t i = 0; i < r->sites; i++)
		r->site[i].frees = r->site[i].allocs - r->site[i].live_blocks;
}

void tide_replay_finish(struct tide_replay *r)
{
	if (r->carried)
		count_frees(r);
	for (size_t i = 0; i < r->blocks.slots; i++) {
		const struct tide_block_live *b = &r->blocks.slot[i];
		if (!b->addr)
			continue;
		struct tide_site *s = &r->site[b->site];
		if (!s->first_ns || b->time_ns < s->first_ns)
			s->first_ns = b->time_ns;
		if (b->time_ns > s->last_ns)
			s->last_ns = b->time_ns;
	}
	for (const struct tide_pending *p = r->pending; p; p = p->hh.next)
		r->in_flight_bytes += p->old.size;
}
