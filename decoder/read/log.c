#include "read/log.h"

#include <stdlib.h>
#include <string.h>

#include "read/account.h"
#include "read/alive.h"
#include "read/clock.h"
#include "read/defs.h"
#include "read/file.h"
#include "read/log_internal.h"
#include "read/merge.h"
#include "read/ring.h"
#include "read/snapshot.h"
#include "read/stacks.h"
#include "read/super.h"

static bool add_anchors(struct tide_log *log)
{
	struct tide_clock *c = &log->clock;
	const struct tide_superblock *s = &log->process.super;
	bool done = tide_clock_add(c, s->ticks, s->mono_ns) == 0;
	for (size_t i = 0; i < log->ring.events_count && done; i++) {
		const struct tide_frame *f = &log->ring.frame[i].head;
		done = tide_clock_add(c, f->ticks, f->mono_ns) == 0 &&
		       tide_clock_add(c, f->ticks_end, f->mono_end_ns) == 0;
	}
	for (uint32_t i = 0; i < log->lanes.count && done; i++) {
		const struct tide_block *b = &log->lanes.lane[i].staging.head;
		if (log->lanes.lane[i].has_block)
			done = tide_clock_add(c, b->ticks, b->mono_ns) == 0;
	}
	if (done && log->defs.end != TIDE_END_NONE)
		done = tide_clock_add(c, log->defs.end_ticks, log->defs.end_ns) == 0;
	tide_clock_finish(c);
	return done;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* When the process is known to have lived, though it left no END: at the last event's anchor, or at a census. */
static uint64_t last_seen_ns(const struct tide_log *log)
{
	const struct tide_clock *c = &log->clock;
	uint64_t last = c->count ? c->anchor[c->count - 1].ns : log->process.super.mono_ns;
	for (uint32_t i = 0; i < log->censuses; i++)
		last = log->census[i].time_ns > last ? log->census[i].time_ns : last;
	return last;
}

static void fill_process(struct tide_log *log)
{
	struct tide_process *p = &log->process;
	const struct tide_defs *d = &log->defs;
	p->path = log->path;
	p->exe = d->exe;
	p->name = *d->exe ? last_part(d->exe) : d->comm;
	p->build_id = d->build_id;
	p->boot_id = log->boot_id;
	p->allocator = d->allocator;
	p->allocator_path = d->allocator_path;
	p->python = d->python;
	p->python_usable = d->python_usable;
	p->python_arena = d->python_arena;
	p->python_pool = d->python_pool;
	p->end = log->running              ? TIDE_SEEN_RUNNING
		 : d->end == TIDE_END_EXIT ? TIDE_SEEN_EXIT
		 : d->end == TIDE_END_EXEC ? TIDE_SEEN_EXEC
					   : TIDE_SEEN_KILLED;
	p->end_status = d->end_status;
	p->start_ns = p->super.mono_ns;
	p->end_ns = d->end != TIDE_END_NONE ? d->end_ns : last_seen_ns(log);
	log->lineage = (struct tide_lineage){p->super.parent_uid, p->super.parent_pid, d->lineage_lanes, d->lineage,
					     d->lineage_ticks};
	if (p->super.parent_uid == 0)
		log->lineage = (struct tide_lineage){0};
}

/* The counters are kept twice: copies apart by more than calls in flight can explain are damage. */
static void check_control(struct tide_log *log)
{
	const struct tide_control_read *c = &log->control;
	uint64_t offset = log->process.geometry.control_off;
	if (!c->valid)
		tide_damage_add(&log->damages, offset, sizeof(struct tide_control), "control page: header");
	for (unsigned i = 0; i < TIDE_CTL_WORDS && !log->running; i++) {
		bool counts_rare = i < TIDE_CTL_EVICTED_FRAMES && i != TIDE_LOSS_TRUNCATED;
		bool counts_events = i == TIDE_CTL_EVICTED_EVENTS || i == TIDE_CTL_DEFS_USED;
		uint64_t apart_max = counts_rare ? 0 : counts_events ? UINT32_MAX : log->process.geometry.lanes;
		if (c->apart[i] > apart_max)
			tide_damage_add(&log->damages, offset, sizeof(struct tide_control), "control page: word %u", i);
	}
}

static bool read_definitions(struct tide_log *log)
{
	bool agree = log->control.apart[TIDE_CTL_DEFS_USED] == 0;
	/* Not the copy of a file that is being written: a record that was unfinished when it was copied is finished there. */
	struct tide_file now = {.fd = log->file.fd, .size = log->file.size};
	struct tide_defs_source source = {&now, &log->process.geometry, log->process.super.file_uid,
					  agree ? log->control.word[TIDE_CTL_DEFS_USED] : 0, log->running};
	return tide_defs_read(&source, &log->damages, &log->defs);
}

static bool read_pystacks(struct tide_log *log)
{
	for (uint32_t i = 0; i < log->defs.pystack_records; i++) {
		const struct tide_def_bytes *d = &log->defs.pystack_record[i];
		int got = tide_pystacks_parse(&log->pystacks, &log->stacks, d->bytes, d->len);
		if (got < 0)
			return false;
		if (got == 0)
			tide_damage_add(&log->damages, log->process.geometry.defs_off, 0,
					"Python stacks, definition %u", i);
	}
	return true;
}

/* Is the writer alive? An END says no without asking; asking costs a look at /proc. */
static bool find_running(struct tide_log *log)
{
	log->running = tide_process_lives(&log->process.super);
	if (!log->running)
		return true;
	struct tide_damages ignored = {0};
	struct tide_defs_source source = {&log->file, &log->process.geometry, log->process.super.file_uid, 0, true};
	struct tide_defs defs;
	if (!tide_defs_read(&source, &ignored, &defs))
		return false;
	log->running = defs.end == TIDE_END_NONE;
	tide_defs_release(&defs);
	return !log->running || tide_snapshot_take(&log->file, &log->process.geometry, log->process.super.file_uid);
}

static void prepare_env(struct tide_log *log)
{
	log->env = (struct tide_lane_env){
		.feed = {&log->file, log->process.super.file_uid, log->running},
		.stacks = &log->stacks,
		.clock = &log->clock,
		.damages = &log->damages,
		.gaps = &log->account.gaps,
	};
}

/* Order matters while the file is being written and could not be copied (snapshot.h): staging blocks before the ring, so that what
 * is sealed meanwhile is found there; definitions last, so that whatever an event refers to has been defined. */
static bool index_file(struct tide_log *log)
{
	const struct tide_geometry *g = &log->process.geometry;
	uint64_t uid = log->process.super.file_uid;
	if (!find_running(log))
		return false;
	struct tide_account_source source = {
		.file = &log->file,
		.geometry = g,
		.file_uid = uid,
		.running = log->running,
		.checked = log->process.super.compat_flags & TIDE_COMPAT_CHECK,
		.damages = &log->damages,
		.carried = &log->carried,
	};
	prepare_env(log);
	tide_control_read(&log->file, g, uid, &log->control);
	check_control(log);
	return tide_staging_read(&source, &log->lanes) &&
	       tide_ring_read(&log->file, g, uid, &log->control, &log->damages, &log->ring) &&
	       tide_carried_read(&log->env, g, &log->ring, &log->carried) &&
	       tide_account_frames(&source, &log->ring, &log->control, &log->lanes, &log->account) &&
	       read_definitions(log) && read_pystacks(log) && add_anchors(log) &&
	       tide_carried_finish(&log->carried, &log->defs, &log->env) &&
	       tide_merge_init(&log->merge, log->lanes.lane, log->lanes.count) &&
	       tide_beside_init(&log->beside, log->path, uid) && tide_log_index_censuses(log);
}

static enum tide_status open_file(struct tide_log *log, const char *path, struct tide_error *err)
{
	enum tide_status status = tide_file_open(path, &log->file, err);
	if (status == TIDE_OK)
		status = tide_super_read(&log->file, path, &log->damages, &log->process.super, &log->process.geometry,
					 err);
	if (status != TIDE_OK)
		return status;
	log->path = strdup(path);
	if (!log->path || tide_stacks_init(&log->stacks) != 0 || !index_file(log))
		return tide_error_set(err, TIDE_ERR_NOMEM, "not enough memory to read '%s'", path);
	tide_boot_id_text(log->process.super.boot_id, log->boot_id);
	fill_process(log);
	return TIDE_OK;
}

enum tide_status tide_log_open(const char *path, struct tide_log **ret, struct tide_error *err)
{
	struct tide_log *log = calloc(1, sizeof *log);
	if (!log)
		return tide_error_set(err, TIDE_ERR_NOMEM, "not enough memory to read '%s'", path);
	log->file.fd = log->beside.file.fd = -1;
	enum tide_status status = open_file(log, path, err);
	if (status != TIDE_OK) {
		tide_log_free(log);
		return status;
	}
	log->env.chunk_ops = tide_chunk_ops_for(log->lanes.count);
	tide_log_rewind(log);
	*ret = log;
	return TIDE_OK;
}

static void end_crew(struct tide_log *log)
{
	for (uint32_t i = 0; i < log->lanes.count; i++)
		tide_lane_rewind(&log->lanes.lane[i], &log->env);
	tide_crew_free(log->env.crew);
	log->env.crew = NULL;
}

void tide_log_threads(struct tide_log *log, unsigned threads)
{
	end_crew(log);
	if (threads)
		log->env.crew = tide_crew_new(threads, &log->env.feed, log->env.chunk_ops, log->lanes.count);
	tide_log_rewind(log);
}

unsigned tide_log_thread_count(const struct tide_log *log)
{
	return log->env.crew ? log->env.crew->threads : 0;
}

bool tide_log_is_ahead(const struct tide_log *log)
{
	return log->env.crew && atomic_load_explicit(&log->env.crew->idle, memory_order_relaxed) > 0;
}

void tide_log_free(struct tide_log *log)
{
	if (!log)
		return;
	if (log->env.crew)
		end_crew(log);
	tide_merge_release(&log->merge);
	tide_lanes_release(&log->lanes);
	tide_lane_env_release(&log->env);
	tide_account_release(&log->account);
	tide_carried_release(&log->carried);
	tide_ring_release(&log->ring);
	tide_defs_release(&log->defs);
	tide_clock_release(&log->clock);
	tide_stacks_release(&log->stacks);
	tide_pystacks_release(&log->pystacks);
	tide_beside_release(&log->beside);
	tide_file_release(&log->file);
	tide_log_release_censuses(log);
	free(log->path);
	free(log);
}

int tide_log_next(struct tide_log *log, struct tide_event *ret)
{
	if (log->failed)
		return TIDE_ERR_NOMEM;
	int got = tide_merge_next(&log->merge, &log->env, ret);
	if (got < 0)
		log->failed = true;
	return got;
}

int tide_log_batch(struct tide_log *log, struct tide_batch *ret)
{
	if (log->failed)
		return TIDE_ERR_NOMEM;
	int got = tide_merge_batch(&log->merge, &log->env, ret);
	if (got < 0)
		log->failed = true;
	return got;
}

void tide_log_expand(const struct tide_log *log, struct tide_batch *batch, struct tide_event *ret)
{
	tide_batch_expand(batch, &log->stacks, ret);
}

/* Lanes whose first blocks were evicted are whole from their first block on. */
static uint64_t whole_from(const struct tide_log *log)
{
	uint64_t from = 0;
	for (uint32_t i = 0; i < log->lanes.count; i++) {
		const struct tide_lane *lane = &log->lanes.lane[i];
		uint64_t begins = tide_lane_begin_ticks(lane);
		if (begins != UINT64_MAX && begins > from && tide_lane_evicted(lane) > 0)
			from = begins;
	}
	return from;
}

static bool is_complete(const struct tide_log *log)
{
	const struct tide_losses *l = tide_log_losses(log);
	return !log->running && !log->limited && !l->damaged && l->lost == 0;
}

void tide_log_rewind(struct tide_log *log)
{
	for (uint32_t i = 0; i < log->lanes.count; i++)
		tide_lane_rewind(&log->lanes.lane[i], &log->env);
	log->failed = false;
	tide_merge_start(&log->merge, whole_from(log), is_complete(log));
}

enum tide_status tide_log_limit(struct tide_log *log, const uint64_t *events, uint32_t lanes)
{
	log->limited = events != NULL;
	for (uint32_t i = 0; i < log->lanes.count; i++) {
		struct tide_lane *lane = &log->lanes.lane[i];
		lane->limit = !events ? UINT64_MAX : lane->index < lanes ? events[lane->index] : 0;
	}
	tide_log_rewind(log);
	return TIDE_OK;
}

/* Events of the lane, from its first, that are not shown by design: carried over, or, in a log without passes, overwritten. */
static uint64_t overwritten(const struct tide_log *log, const struct tide_lane *lane)
{
	bool plain = log->carried.told.epoch == 0 && log->account.evicted > 0;
	return plain ? tide_lane_evicted(lane) : lane->from;
}

bool tide_log_reaches(const struct tide_log *log, const uint64_t *events, uint32_t lanes, uint64_t *ret_expected)
{
	uint64_t expected = 0;
	for (uint32_t i = 0; i < lanes; i++)
		expected = expected + events[i] < expected ? UINT64_MAX : expected + events[i];
	for (uint32_t i = 0; i < log->lanes.count; i++) {
		const struct tide_lane *lane = &log->lanes.lane[i];
		uint64_t all = lane->index < lanes ? events[lane->index] : 0, from = overwritten(log, lane);
		if (all > 0 && from > all)
			return false;
		if (all == 0 && log->carried.told.epoch && from > 0)
			return false; /* what is carried over is of a time when this lane had begun */
		expected -= all > 0 ? from : 0;
	}
	*ret_expected = expected;
	return true;
}

uint64_t tide_log_time(struct tide_log *log, uint64_t ticks)
{
	return tide_clock_ns(&log->clock, ticks);
}

const struct tide_carried *tide_log_carried(const struct tide_log *log)
{
	return &log->carried.told;
}

const struct tide_process *tide_log_process(const struct tide_log *log)
{
	return &log->process;
}

uint32_t tide_log_modules(const struct tide_log *log, const struct tide_module **ret)
{
	*ret = log->defs.module;
	return log->defs.modules;
}

bool tide_log_pystack(const struct tide_log *log, uint32_t site, uint32_t *ret_node)
{
	const uint32_t *nodes = log->pystacks.node_plus_one;
	if (!nodes || site >= TIDE_PYSTACK_NUMBERS || !nodes[site])
		return false;
	*ret_node = nodes[site] - 1;
	return true;
}

const struct tide_code *tide_log_code(const struct tide_log *log, uint32_t id)
{
	return tide_defs_code(&log->defs, id);
}

const struct tide_lineage *tide_log_lineage(const struct tide_log *log)
{
	return &log->lineage;
}

uint32_t tide_log_node_parent(const struct tide_log *log, uint32_t node)
{
	return node < log->stacks.count ? log->stacks.node[node].parent : 0;
}

uint64_t tide_log_node_word(const struct tide_log *log, uint32_t node)
{
	return node < log->stacks.count ? log->stacks.node[node].word : 0;
}

uint32_t tide_log_node_count(const struct tide_log *log)
{
	return log->stacks.count;
}

void tide_log_pair(const struct tide_log *log, uint32_t pair, uint32_t *ret_native, uint32_t *ret_python)
{
	static const struct tide_pair none;
	const struct tide_pair *p = pair < log->stacks.pairs ? &log->stacks.pair[pair] : &none;
	*ret_native = p->native;
	*ret_python = p->python;
}

uint32_t tide_log_pair_count(const struct tide_log *log)
{
	return log->stacks.pairs;
}
