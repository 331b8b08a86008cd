#include "rerun/plan.h"

#include <stdlib.h>
#include <string.h>

#include "replay/blocks.h"
#include "rerun/moments.h"
#include "rerun/slots.h"
#include "rerun/writer.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

#define TIME_STEP_NS UINT64_C(10000000) /* TIME operations tell of 10 ms and more */
#define EVEN_SAMPLES 200u
#define RECORDED_SAMPLES (TIDE_SAMPLES_MOST / 2)
#define DISCARDS(advice) ((advice) == 4) /* MADV_DONTNEED */
#define NO_THREAD UINT32_MAX

/* A realloc between its two events. */
struct half {
	uint64_t thread; /* tid << 1 | python */
	struct tide_block_live old;
	UT_hash_handle hh;
};

struct planner {
	struct tide_plan *plan;
	const struct tide_survey *survey;
	struct tide_act_writer *out;
	struct tide_blocks blocks; /* site = slot */
	struct half *half;
	struct tide_slots block_slots, map_slots, thread_slots;
	struct tide_mappings maps;
	uint64_t *map_left; /* bytes that a mapping still has, by slot */
	size_t map_left_cap;
	size_t next_big;  /* in survey->big */
	uint32_t *number; /* thread of the runner, by number of the survey; NO_THREAD: not there yet */
	uint32_t running; /* thread of the runner */
	uint64_t told_ns; /* TIME was told up to here */
	uint64_t even_ns, next_even_ns;
	uint32_t next_recorded, recorded_step;
	uint64_t live, sampled_live; /* bytes of blocks and mappings; at the last sample of a high water */
	bool rising;
	enum tide_status status;
};

static void emit(struct planner *p, struct tide_act op)
{
	tide_act_write(p->out, &op);
}

/* ---- where memory is looked at ---- */

/* Half of the room is kept for the censuses. */
static void sample(struct planner *p, uint64_t at_ns, int32_t recorded)
{
	uint64_t left = TIDE_SAMPLES_MOST - p->plan->head.samples;
	if (left == 0 ||
	    (recorded < 0 && left <= RECORDED_SAMPLES + 2 - (uint64_t)(p->next_recorded / p->recorded_step)))
		return;
	p->plan->sample[p->plan->head.samples++] = (struct tide_sample_at){at_ns, recorded};
	emit(p, (struct tide_act){.kind = TIDE_ACT_SAMPLE});
}

static void pass_time(struct planner *p, uint64_t now)
{
	if (now >= p->next_even_ns) {
		sample(p, now, -1);
		p->next_even_ns = now + p->even_ns;
	}
	if (now >= p->told_ns + TIME_STEP_NS) {
		emit(p, (struct tide_act){.kind = TIDE_ACT_TIME, .size = (now - p->told_ns) / 1000000});
		p->told_ns = now;
	}
}

static void at_census(struct planner *p, uint32_t census)
{
	const struct tide_survey *s = p->survey;
	if (p->next_recorded == s->recordeds || s->recorded[p->next_recorded].census != census)
		return; /* one that says nothing of RSS */
	if (p->next_recorded % p->recorded_step == 0 || p->next_recorded == s->recordeds - 1)
		sample(p, s->recorded[p->next_recorded].at_ns, (int32_t)p->next_recorded);
	p->next_recorded++;
}

/* Before memory goes: a high water that is a fiftieth above the last one that was looked at is looked at. */
static void going_down(struct planner *p, uint64_t now)
{
	if (p->rising && p->live > p->sampled_live + p->sampled_live / 50) {
		p->sampled_live = p->live;
		sample(p, now, -1);
	}
	p->rising = false;
}

static void grow(struct planner *p, uint64_t bytes)
{
	p->live += bytes;
	p->rising = true;
}

/* ---- threads ---- */

/* Numbers above the runner's limit are shared out among those it has. */
static uint32_t thread_for(struct planner *p, const struct tide_event *e, uint32_t main_tid)
{
	uint32_t known = tide_survey_thread(p->survey, e->tid);
	if (e->tid == main_tid || known == UINT32_MAX)
		return 0;
	if (p->number[known] == NO_THREAD) {
		uint64_t slot = tide_slots_take(&p->thread_slots);
		p->plan->shared_threads += slot + 1 >= TIDE_RERUN_THREADS;
		p->number[known] = slot + 1 < TIDE_RERUN_THREADS ? (uint32_t)slot + 1
								 : 1 + (uint32_t)(slot % (TIDE_RERUN_THREADS - 1));
	}
	return p->number[known];
}

static void run_as(struct planner *p, uint32_t thread)
{
	if (thread == p->running)
		return;
	emit(p, (struct tide_act){.kind = TIDE_ACT_THREAD, .slot = thread});
	p->running = thread;
}

/* Shared ones never end; neither does main. */
static void end_thread(struct planner *p, const struct tide_event *e, uint32_t thread)
{
	uint32_t known = tide_survey_thread(p->survey, e->tid);
	if (thread == 0 || known == UINT32_MAX || p->plan->shared_threads || !p->survey->thread[known].ended ||
	    p->survey->thread[known].last_index != e->index)
		return;
	emit(p, (struct tide_act){.kind = TIDE_ACT_THREAD_END});
	p->running = 0;
	if (!tide_slots_give(&p->thread_slots, thread - 1))
		p->status = TIDE_ERR_NOMEM;
	p->number[known] = NO_THREAD;
}

/* ---- blocks ---- */

/* How much of the event's block or mapping was seen resident; false: nobody looked. */
static bool seen(struct planner *p, uint64_t index, uint64_t *ret_touch, bool *ret_python)
{
	const struct tide_survey *s = p->survey;
	while (p->next_big < s->bigs && s->big[p->next_big].index < index)
		p->next_big++;
	if (p->next_big == s->bigs || s->big[p->next_big].index != index)
		return false;
	*ret_python = s->big[p->next_big].python;
	*ret_touch = s->big[p->next_big].resident;
	return *ret_touch != TIDE_NOT_SEEN;
}

static void drop(struct planner *p, const struct tide_block_live *b)
{
	bool python = b->flags & TIDE_BLOCK_PYTHON;
	emit(p, (struct tide_act){.kind = TIDE_ACT_FREE, .python = python, .slot = b->site});
	p->live -= python ? 0 : b->size;
	if (!tide_slots_give(&p->block_slots, b->site))
		p->status = TIDE_ERR_NOMEM;
}

static void keep(struct planner *p, const struct tide_block_live *b)
{
	struct tide_block_live old;
	if (!tide_blocks_put(&p->blocks, b, &old)) {
		p->status = TIDE_ERR_NOMEM;
		return;
	}
	if (old.addr) /* its free was not recorded, but the address is another block's now */
		drop(p, &old);
	if (!(b->flags & TIDE_BLOCK_PYTHON))
		grow(p, b->size);
}

/* `slot`: of the block that a realloc resizes; NULL: a new one. */
static void allocate(struct planner *p, const struct tide_event *e, bool python, const uint64_t *slot)
{
	struct tide_act op = {.kind = TIDE_ACT_MALLOC, .python = python, .size = e->size};
	struct tide_block_live b = {.addr = e->addr, .size = e->size, .flags = python ? TIDE_BLOCK_PYTHON : 0};
	bool arena;
	if (e->kind == TIDE_KIND_CALLOC)
		op.kind = TIDE_ACT_CALLOC;
	if (e->kind == TIDE_KIND_ALIGNED && e->value >= 8 && (e->value & (e->value - 1)) == 0) {
		op.kind = TIDE_ACT_ALIGNED;
		op.extra = e->value;
	}
	if (slot)
		op.kind = TIDE_ACT_REALLOC;
	if (e->size > TIDE_RERUN_SIZE_MAX || op.extra > TIDE_RERUN_SIZE_MAX) {
		p->plan->left_out++;
		return;
	}
	op.slot = slot ? *slot : tide_slots_take(&p->block_slots);
	if (op.slot > UINT32_MAX) {
		p->status = TIDE_ERR_NOMEM;
		return;
	}
	op.has_touch = !python && e->size >= TIDE_RERUN_BIG && seen(p, e->index, &op.touch, &arena);
	b.site = (uint32_t)op.slot;
	emit(p, op);
	keep(p, &b);
}

static void release(struct planner *p, const struct tide_event *e)
{
	struct tide_block_live b;
	if (!tide_blocks_take(&p->blocks, e->addr, &b))
		return;
	going_down(p, e->time_ns);
	drop(p, &b);
}

static struct half *half_of(struct planner *p, const struct tide_event *e, bool python, bool make)
{
	uint64_t thread = (uint64_t)e->tid << 1 | python;
	struct half *h;
	HASH_FIND(hh, p->half, &thread, sizeof thread, h);
	if (h || !make)
		return h;
	h = calloc(1, sizeof *h);
	if (!h) {
		p->status = TIDE_ERR_NOMEM;
		return NULL;
	}
	h->thread = thread;
	HASH_ADD(hh, p->half, thread, sizeof thread, h);
	if (!h->hh.tbl) {
		free(h);
		p->status = TIDE_ERR_NOMEM;
		return NULL;
	}
	return h;
}

static void begin_realloc(struct planner *p, const struct tide_event *e, bool python)
{
	struct half *h = half_of(p, e, python, true);
	if (!h)
		return;
	if (h->old.addr) /* the one before it was never completed: its block is gone */
		drop(p, &h->old);
	h->old = (struct tide_block_live){0};
	if (tide_blocks_take(&p->blocks, e->addr, &h->old) && !python)
		going_down(p, e->time_ns);
}

static void end_realloc(struct planner *p, const struct tide_event *e, bool python)
{
	struct half *h = half_of(p, e, python, false);
	struct tide_block_live old = h ? h->old : (struct tide_block_live){0};
	uint64_t slot = old.site;
	if (h)
		h->old = (struct tide_block_live){0};
	if (old.addr && !python)
		p->live -= old.size;
	if (e->kind == TIDE_KIND_REALLOC_ALLOC || e->kind == TIDE_KIND_PYREALLOC_ALLOC)
		allocate(p, e, python, old.addr ? &slot : NULL);
	else if (old.addr && (e->kind == TIDE_KIND_PYREALLOC_GONE || e->kind == TIDE_KIND_REALLOC_GONE))
		drop(p, &old);
	else if (old.addr)
		keep(p, &old);
}

/* ---- mappings ---- */

static void unmap(void *arg, const struct tide_piece *part)
{
	struct planner *p = arg;
	uint64_t len = part->end - part->start;
	emit(p, (struct tide_act){
			.kind = TIDE_ACT_UNMAP, .slot = part->id, .size = len, .extra = part->start - part->base});
	p->live -= len;
	p->map_left[part->id] -= len;
	if (p->map_left[part->id] == 0 && !tide_slots_give(&p->map_slots, part->id))
		p->status = TIDE_ERR_NOMEM;
}

static void discard(void *arg, const struct tide_piece *part)
{
	emit(arg, (struct tide_act){.kind = TIDE_ACT_DISCARD,
				    .slot = part->id,
				    .size = part->end - part->start,
				    .extra = part->start - part->base});
}

static bool map_room(struct planner *p, uint64_t slot)
{
	if (slot < p->map_left_cap)
		return true;
	size_t cap = p->map_left_cap ? 2 * p->map_left_cap : 256;
	uint64_t *more = realloc(p->map_left, cap * sizeof *more);
	if (!more)
		return false;
	p->map_left = more;
	p->map_left_cap = cap;
	return true;
}

static void add_mapping(struct planner *p, const struct tide_event *e)
{
	struct tide_act op = {.kind = TIDE_ACT_MAP, .size = (e->size + 4095) / 4096 * 4096};
	if (!tide_mapping_counts(e))
		return;
	if (e->size == 0 || e->size > TIDE_RERUN_SIZE_MAX) {
		p->plan->left_out++;
		return;
	}
	op.has_touch = seen(p, e->index, &op.touch, &op.python);
	op.slot = tide_slots_take(&p->map_slots);
	if (!map_room(p, op.slot)) {
		p->status = TIDE_ERR_NOMEM;
		return;
	}
	p->map_left[op.slot] = op.size;
	if (tide_mappings_add(&p->maps, e->addr, e->addr + op.size, (uint32_t)op.slot)) {
		emit(p, op);
		grow(p, op.size);
	} else if (!tide_slots_give(&p->map_slots, op.slot)) {
		p->status = TIDE_ERR_NOMEM;
	}
}

static void range(struct planner *p, const struct tide_event *e)
{
	uint64_t start = e->kind == TIDE_KIND_MREMAP ? e->value : e->addr;
	uint64_t len = e->kind == TIDE_KIND_MREMAP ? e->value2 : e->size;
	if (len > UINT64_MAX - 8192 - start || e->size > UINT64_MAX - 8192 - e->addr)
		return;
	len = (len + 4095) / 4096 * 4096;
	if (e->kind == TIDE_KIND_MADVISE) {
		if (DISCARDS(e->value))
			tide_mappings_each(&p->maps, start, start + len, discard, p);
		return;
	}
	if (e->kind == TIDE_KIND_PYARENA || e->kind == TIDE_KIND_PYARENA_FREE)
		return; /* their mmap and munmap are events too */
	if (e->kind != TIDE_KIND_MMAP)
		going_down(p, e->time_ns);
	tide_mappings_cut(&p->maps, start, start + len, unmap, p);
	if (e->kind == TIDE_KIND_MREMAP)
		tide_mappings_cut(&p->maps, e->addr, e->addr + (e->size + 4095) / 4096 * 4096, unmap, p);
	if (e->kind != TIDE_KIND_MUNMAP)
		add_mapping(p, e);
}

/* ---- the pass ---- */

static void on_event(struct planner *p, const struct tide_event *e)
{
	switch (e->kind) {
	case TIDE_KIND_ALLOC:
	case TIDE_KIND_CALLOC:
	case TIDE_KIND_ALIGNED:
	case TIDE_KIND_PYALLOC:
		allocate(p, e, e->kind == TIDE_KIND_PYALLOC, NULL);
		break;
	case TIDE_KIND_FREE:
	case TIDE_KIND_PYFREE:
		release(p, e);
		break;
	case TIDE_KIND_REALLOC_FREE:
	case TIDE_KIND_PYREALLOC_FREE:
		begin_realloc(p, e, e->kind == TIDE_KIND_PYREALLOC_FREE);
		break;
	case TIDE_KIND_REALLOC_ALLOC:
	case TIDE_KIND_REALLOC_FAILED:
	case TIDE_KIND_REALLOC_GONE:
		end_realloc(p, e, false);
		break;
	case TIDE_KIND_PYREALLOC_ALLOC:
	case TIDE_KIND_PYREALLOC_FAILED:
	case TIDE_KIND_PYREALLOC_GONE:
		end_realloc(p, e, true);
		break;
	case TIDE_KIND_MARK:
		if (e->value == TIDE_MARK_TRIM)
			emit(p, (struct tide_act){.kind = TIDE_ACT_TRIM});
		break;
	default:
		if (tide_kind_fields(e->kind) & TIDE_F_RANGE)
			range(p, e);
	}
}

static void whole(struct planner *p, struct tide_log *log, struct tide_moments *moments)
{
	uint32_t main_tid = (uint32_t)tide_log_process(log)->super.pid;
	const struct tide_survey *s = p->survey;
	struct tide_event e;
	uint32_t census;
	enum tide_moment moment;
	while (!p->status && !p->out->error && (moment = tide_moments_next(moments, &e, &census)) != TIDE_MOMENT_END) {
		if (moment == TIDE_MOMENT_CENSUS) {
			at_census(p, census);
			continue;
		}
		uint32_t thread = thread_for(p, &e, main_tid);
		pass_time(p, e.time_ns);
		run_as(p, thread);
		on_event(p, &e);
		end_thread(p, &e, thread);
	}
	p->status = p->status ? p->status : moments->status;
	if (s->recordeds == 0 || s->recorded[s->recordeds - 1].at_ns < s->end_ns) /* it went on after the last census */
		sample(p, s->end_ns, -1);
	emit(p, (struct tide_act){.kind = TIDE_ACT_END});
}

static void planner_release(struct planner *p)
{
	struct half *h, *next;
	HASH_ITER(hh, p->half, h, next)
	{
		HASH_DEL(p->half, h);
		free(h);
	}
	tide_blocks_release(&p->blocks);
	tide_mappings_release(&p->maps);
	tide_slots_release(&p->block_slots);
	tide_slots_release(&p->map_slots);
	tide_slots_release(&p->thread_slots);
	free(p->map_left);
	free(p->number);
}

static enum tide_status finish(struct planner *p, struct tide_error *err)
{
	struct tide_plan *plan = p->plan;
	plan->head.magic = TIDE_OPS_MAGIC;
	plan->head.blocks = p->block_slots.used;
	plan->head.maps = p->map_slots.used;
	plan->head.threads = p->thread_slots.used + 1;
	plan->ops = p->out->ops;
	plan->left_out += p->maps.left_out;
	if (p->status)
		return tide_error_set(err, p->status, "cannot plan the replay: out of memory");
	if (!tide_act_writer_finish(p->out, &plan->head))
		return tide_error_set(err, TIDE_ERR_IO, "cannot write the operations to a temporary file: %s",
				      strerror(p->out->error));
	return TIDE_OK;
}

enum tide_status tide_plan_init(struct tide_plan *ret, struct tide_log *log, const struct tide_survey *survey, int fd,
				struct tide_error *err)
{
	struct tide_plan plan = {0};
	struct planner p = {.plan = &plan, .survey = survey, .told_ns = survey->begin_ns};
	p.even_ns = (survey->end_ns - survey->begin_ns) / EVEN_SAMPLES + 1;
	p.next_even_ns = survey->begin_ns + p.even_ns;
	p.recorded_step = survey->recordeds / (RECORDED_SAMPLES - 2) + 1;
	struct tide_moments *moments = malloc(sizeof *moments);
	p.out = malloc(sizeof *p.out);
	p.number = malloc((survey->threads + 1) * sizeof *p.number);
	plan.sample = calloc(TIDE_SAMPLES_MOST, sizeof *plan.sample);
	if (moments && p.out && p.number && plan.sample) {
		memset(p.number, 0xff, (survey->threads + 1) * sizeof *p.number);
		tide_act_writer_init(p.out, fd);
		tide_moments_init(moments, log);
		whole(&p, log, moments);
		tide_moments_release(moments);
		tide_log_rewind(log);
	} else {
		p.status = TIDE_ERR_NOMEM;
	}
	enum tide_status status = p.out ? finish(&p, err) : p.status;
	planner_release(&p);
	free(moments);
	free(p.out);
	if (status)
		tide_plan_release(&plan);
	else
		*ret = plan;
	return status;
}

void tide_plan_release(struct tide_plan *plan)
{
	free(plan->sample);
	*plan = (struct tide_plan){0};
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
