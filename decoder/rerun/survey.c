#include "rerun/survey.h"

#include <stdlib.h>

#include "model/space.h"
#include "replay/replay.h"
#include "rerun/moments.h"

#define BIGS_MOST (UINT32_C(1) << 22)
#define PROT_WRITABLE 2u
#define PRIVATE 2u /* MAP_PRIVATE */
#define NORESERVE 0x4000u
#define DONTNEED 4u /* MADV_DONTNEED */
#define GUARD_MOST (UINT64_C(1) << 20)
#define HEAP_MAX (UINT64_C(64) << 20) /* glibc, arena.c: thread heaps lie at multiples of it */

struct pass {
	struct tide_survey *s;
	struct tide_log *log;
	struct tide_replay replay;
	struct tide_blocks big; /* live big blocks: site = number in s->big */
	struct tide_mappings maps;
	uint32_t *lane_thread; /* number + 1 of the thread that wrote last, by lane */
	uint32_t lanes, shared_lanes;
	uint64_t mapped; /* bytes of mappings that are live */
	enum tide_status status;
};

void tide_survey_release(struct tide_survey *s)
{
	free(s->big);
	free(s->thread);
	free(s->thread_slot);
	free(s->recorded);
	*s = (struct tide_survey){0};
}

/* ---- threads ---- */

static uint32_t slot_of(const struct tide_survey *s, uint32_t tid)
{
	uint32_t i = tid * UINT32_C(0x9e3779b1) & (s->slot_count - 1);
	while (s->thread_slot[i] && s->thread[s->thread_slot[i] - 1].tid != tid)
		i = (i + 1) & (s->slot_count - 1);
	return i;
}

uint32_t tide_survey_thread(const struct tide_survey *s, uint32_t tid)
{
	return s->slot_count ? s->thread_slot[slot_of(s, tid)] - 1 : UINT32_MAX;
}

static bool grow_threads(struct tide_survey *s)
{
	uint32_t cap = s->thread_cap ? 2 * s->thread_cap : 64;
	struct tide_rerun_thread *thread = realloc(s->thread, cap * sizeof *thread);
	if (thread)
		s->thread = thread;
	uint32_t *slot = calloc(2 * (size_t)cap, sizeof *slot);
	if (!thread || !slot) {
		free(slot);
		return false;
	}
	free(s->thread_slot);
	s->thread_slot = slot;
	s->thread_cap = cap;
	s->slot_count = 2 * cap;
	for (uint32_t i = 0; i < s->threads; i++)
		s->thread_slot[slot_of(s, s->thread[i].tid)] = i + 1;
	return true;
}

static struct tide_rerun_thread *thread_of(struct tide_survey *s, uint32_t tid)
{
	if (s->threads == s->thread_cap && !grow_threads(s))
		return NULL;
	uint32_t *slot = &s->thread_slot[slot_of(s, tid)];
	if (!*slot) {
		s->thread[s->threads] = (struct tide_rerun_thread){.tid = tid};
		*slot = ++s->threads;
	}
	return &s->thread[*slot - 1];
}

/* A lane of its own goes from one thread to another only when the first has ended (shim, lane.c). */
static bool note_thread(struct pass *p, const struct tide_event *e)
{
	struct tide_rerun_thread *t = thread_of(p->s, e->tid);
	if (!t)
		return false;
	uint32_t number = (uint32_t)(t - p->s->thread) + 1;
	t->last_index = e->index;
	if (e->lane >= p->lanes || e->lane < p->shared_lanes)
		return true;
	uint32_t before = p->lane_thread[e->lane];
	if (before && before != number)
		p->s->thread[before - 1].ended = true;
	t->ended = false; /* it goes on; a number of the kernel's may also have come back */
	p->lane_thread[e->lane] = number;
	return true;
}

/* ---- big blocks and mappings ---- */

/* Its number; UINT32_MAX: no room for more. */
static uint32_t add_big(struct pass *p, uint64_t index, bool reserved)
{
	struct tide_survey *s = p->s;
	if (s->bigs == BIGS_MOST)
		return UINT32_MAX;
	if (s->bigs == s->big_cap) {
		size_t cap = s->big_cap ? 2 * s->big_cap : 256;
		struct tide_big *more = realloc(s->big, cap * sizeof *more);
		if (!more) {
			p->status = TIDE_ERR_NOMEM;
			return UINT32_MAX;
		}
		s->big = more;
		s->big_cap = cap;
	}
	s->big[s->bigs] =
		(struct tide_big){.index = index, .resident = reserved ? 0 : TIDE_NOT_SEEN, .reserved = reserved};
	return (uint32_t)s->bigs++;
}

static void on_big_block(struct pass *p, const struct tide_event *e)
{
	uint32_t number = add_big(p, e->index, false);
	struct tide_block_live block = {.addr = e->addr, .size = e->size, .site = number}, old;
	if (number != UINT32_MAX && !tide_blocks_put(&p->big, &block, &old))
		p->status = TIDE_ERR_NOMEM;
}

/* What goes was written before, or nobody would have it go; but for the ends of a reservation. */
static void discarded(void *arg, const struct tide_piece *part)
{
	struct pass *p = arg;
	struct tide_big *b = &p->s->big[part->id];
	b->gone += b->reserved ? 0 : part->end - part->start;
}

static void unmapped(void *arg, const struct tide_piece *part)
{
	struct pass *p = arg;
	p->mapped -= part->end - part->start;
	discarded(arg, part);
}

static void on_map(struct pass *p, const struct tide_event *e, uint64_t flags, uint64_t prot)
{
	uint64_t end = e->addr + e->size;
	if (end < e->addr)
		return;
	tide_mappings_cut(&p->maps, e->addr, end, unmapped, p);
	if (!tide_mapping_counts(e))
		return;
	uint32_t number = add_big(p, e->index, flags & NORESERVE || !(prot & PROT_WRITABLE));
	if (number != UINT32_MAX && tide_mappings_add(&p->maps, e->addr, end, number))
		p->mapped += e->size;
}

bool tide_mapping_counts(const struct tide_event *e)
{
	return e->kind == TIDE_KIND_MREMAP || (e->value2 == 0 && e->value >> 8 & PRIVATE);
}

static void on_range(struct pass *p, const struct tide_event *e)
{
	if (e->kind == TIDE_KIND_MMAP) {
		on_map(p, e, e->value >> 8, e->value & 0xff);
	} else if (e->kind == TIDE_KIND_MUNMAP) {
		if (e->addr + e->size >= e->addr)
			tide_mappings_cut(&p->maps, e->addr, e->addr + e->size, unmapped, p);
	} else if (e->kind == TIDE_KIND_MREMAP) {
		if (e->value + e->value2 >= e->value)
			tide_mappings_cut(&p->maps, e->value, e->value + e->value2, unmapped, p);
		on_map(p, e, 0, PROT_WRITABLE);
	} else if (e->kind == TIDE_KIND_MADVISE && e->value == DONTNEED) {
		if (e->addr + e->size >= e->addr)
			tide_mappings_each(&p->maps, e->addr, e->addr + e->size, discarded, p);
	} else if (e->kind == TIDE_KIND_PYARENA) {
		const struct tide_piece *whole = tide_mappings_at(&p->maps, e->addr);
		if (whole)
			p->s->big[whole->id].python = true;
	}
}

/* ---- censuses ---- */

struct look {
	struct pass *pass;
	const struct tide_space *space;
	uint32_t census; /* 1, 2, 3 ... */
};

static void see(struct tide_big *b, uint32_t census, uint64_t resident)
{
	b->now = (b->census == census ? b->now : 0) + resident;
	b->census = census;
	uint64_t bytes = b->now + b->gone;
	b->resident = b->resident == TIDE_NOT_SEEN || bytes > b->resident ? bytes : b->resident;
}

static void see_mapping(void *arg, const struct tide_piece *part)
{
	const struct look *l = arg;
	see(&l->pass->s->big[part->id], l->census, tide_space_anon(l->space, part->start, part->end));
}

/* allocatestack.c: a mapping without access, made writable but for the guard at its low end. The kernel may have joined it with
 * a thread heap behind it. */
static bool is_stack(const struct tide_space *space, uint32_t i)
{
	const struct tide_space_region *r = &space->region[i], *below = i ? r - 1 : NULL;
	unsigned access = TIDE_REGION_READ | TIDE_REGION_WRITE | TIDE_REGION_EXEC;
	return below && below->end == r->start && !(below->flags & access) && below->inode == 0 &&
	       below->end - below->start <= GUARD_MOST && r->start % HEAP_MAX != 0 && !(r->flags & TIDE_REGION_HEAP);
}

/* The zeroed part of an object's data is a mapping without a file. */
static bool is_data(const struct pass *p, uint64_t start)
{
	const struct tide_module *m;
	uint32_t modules = tide_log_modules(p->log, &m);
	for (uint32_t i = 0; i < modules; i++)
		if (start >= m[i].start && start < m[i].end)
			return true;
	return false;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static void compare_with(struct pass *p, const struct tide_space *space, uint32_t census)
{
	struct tide_recorded *r = &p->s->recorded[p->s->recordeds++];
	*r = (struct tide_recorded){.census = census, .at_ns = space->at_ns};
	for (uint32_t i = 0; i < space->regions; i++) {
		const struct tide_space_region *at = &space->region[i];
		uint64_t anon = tide_space_anon(space, at->start, at->end);
		uint64_t heap_from = is_stack(space, i) ? (at->start + HEAP_MAX - 1) / HEAP_MAX * HEAP_MAX : at->start;
		if (at->flags & TIDE_REGION_OURS)
			r->recorder += anon + tide_space_file(space, at->start, at->end);
		else if (tide_space_is_anonymous(at) && !is_data(p, at->start) && heap_from < at->end)
			r->heap += tide_space_anon(space, heap_from, at->end);
	}
	r->rss = minus(space->rss.resident, r->recorder);
	if (r->heap > r->rss)
		r->heap = r->rss;
	uint64_t peak = minus(space->rss.peak, r->recorder);
	if (peak < r->rss)
		peak = r->rss;
	p->s->peak_rss = peak > p->s->peak_rss ? peak : p->s->peak_rss;
}

static void look_at(struct pass *p, uint32_t number)
{
	struct tide_census_blob blob;
	struct tide_space space;
	if (tide_log_census(p->log, number, &blob) != TIDE_OK || !blob.complete)
		return;
	enum tide_status status = tide_space_init(&space, &blob);
	if (status) {
		p->status = status == TIDE_ERR_NOMEM ? status : p->status;
		return;
	}
	struct look look = {p, &space, number + 1};
	struct tide_block_live b;
	for (size_t at = 0; tide_blocks_next(&p->big, &at, &b);)
		see(&p->s->big[b.site], look.census, tide_space_anon(&space, b.addr, b.addr + b.size));
	tide_mappings_each(&p->maps, 0, UINT64_MAX, see_mapping, &look);
	if (space.has_rss)
		compare_with(p, &space, number);
	tide_space_release(&space);
}

/* ---- the pass ---- */

static void on_event(struct pass *p, const struct tide_event *e)
{
	unsigned fields = tide_kind_fields(e->kind);
	bool python = tide_kind_is_python(e->kind);
	enum tide_status status = tide_replay_event(&p->replay, e);
	struct tide_block_live old;
	p->status = status ? status : p->status;
	if (p->replay.freed.addr && p->replay.freed.size >= TIDE_RERUN_BIG)
		tide_blocks_take(&p->big, p->replay.freed.addr, &old);
	if (fields & TIDE_F_SIZE && e->size >= TIDE_RERUN_BIG && !python)
		on_big_block(p, e);
	if (fields & TIDE_F_RANGE)
		on_range(p, e);
	p->s->objects += python;
	uint64_t live = p->replay.live_bytes - p->replay.python_bytes + p->mapped;
	p->s->live = live;
	p->s->peak_live = live > p->s->peak_live ? live : p->s->peak_live;
	if (!note_thread(p, e))
		p->status = TIDE_ERR_NOMEM;
}

static void whole(struct pass *p, struct tide_moments *moments)
{
	struct tide_event e;
	uint32_t census;
	enum tide_moment moment;
	p->s->begin_ns = tide_log_process(p->log)->start_ns;
	p->s->end_ns = p->s->begin_ns;
	while (!p->status && (moment = tide_moments_next(moments, &e, &census)) != TIDE_MOMENT_END) {
		if (moment == TIDE_MOMENT_CENSUS) {
			look_at(p, census);
			continue;
		}
		on_event(p, &e);
		p->s->events++;
		p->s->end_ns = e.time_ns > p->s->end_ns ? e.time_ns : p->s->end_ns;
	}
	p->status = p->status ? p->status : moments->status;
	p->s->unmatched = p->replay.unmatched_frees;
}

enum tide_status tide_survey_init(struct tide_survey *ret, struct tide_log *log)
{
	struct tide_survey s = {0};
	const struct tide_geometry *g = &tide_log_process(log)->geometry;
	struct pass p = {.s = &s, .log = log, .lanes = g->lanes, .shared_lanes = g->shared_lanes};
	struct tide_moments *moments = malloc(sizeof *moments);
	p.lane_thread = calloc(p.lanes + 1, sizeof *p.lane_thread);
	s.recorded = calloc(tide_log_census_count(log) + 1, sizeof *s.recorded);
	if (moments && p.lane_thread && s.recorded) {
		tide_moments_init(moments, log);
		whole(&p, moments);
		tide_moments_release(moments);
		tide_log_rewind(log);
	} else {
		p.status = TIDE_ERR_NOMEM;
	}
	free(moments);
	free(p.lane_thread);
	tide_replay_release(&p.replay);
	tide_blocks_release(&p.big);
	tide_mappings_release(&p.maps);
	if (p.status)
		tide_survey_release(&s);
	else
		*ret = s;
	return p.status;
}
