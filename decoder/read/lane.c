#include "read/lane.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_MOST 2048u
#define CHUNK_LEAST 128u
#define CHUNKS_OPS (UINT32_C(1) << 18) /* of all lanes together */
#define LOOK_CHUNKS 256u               /* how far tide_lane_uses looks */

/* ---- chunks ---- */

uint32_t tide_chunk_ops_for(uint32_t lanes)
{
	uint32_t ops = CHUNKS_OPS / (lanes ? lanes : 1);
	return ops > CHUNK_MOST ? CHUNK_MOST : ops < CHUNK_LEAST ? CHUNK_LEAST : ops;
}

static void give_chunk(struct tide_lane_env *env, struct tide_chunk *c)
{
	c->next = env->spare;
	env->spare = c;
}

/* The lane's next chunk, filled. NULL: no memory. */
static struct tide_chunk *take_chunk(struct tide_lane *lane, struct tide_lane_env *env)
{
	struct tide_chunk *c = env->spare;
	if (env->crew) {
		env->spare = NULL;
		return tide_crew_take(env->crew, &lane->ahead, &env->scratch, c);
	}
	if (c)
		env->spare = c->next;
	else if (!(c = tide_chunk_new(env->chunk_ops ? env->chunk_ops : CHUNK_MOST)))
		return NULL;
	c->next = NULL;
	tide_feed_fill(lane->feed, &env->feed, &env->scratch, c);
	return c;
}

/* The one after *c, or, for NULL, the lane's first. */
static struct tide_chunk *follow_chunk(struct tide_lane *lane, struct tide_lane_env *env, struct tide_chunk *c)
{
	struct tide_chunk **at = c ? &c->next : &lane->chunk;
	if (!*at)
		*at = take_chunk(lane, env);
	return *at;
}

void tide_lane_env_release(struct tide_lane_env *env)
{
	while (env->spare) {
		struct tide_chunk *next = env->spare->next;
		tide_chunk_free(env->spare);
		env->spare = next;
	}
	tide_scratch_release(&env->scratch);
}

/* ---- from numbers of the block to numbers of the log ---- */

static bool reserve(uint32_t **table, uint32_t *cap, uint32_t count)
{
	if (count <= *cap)
		return true;
	uint32_t more = *cap ? *cap : 256;
	while (more < count)
		more *= 2;
	uint32_t *bigger = realloc(*table, more * sizeof *bigger);
	if (!bigger)
		return false;
	*table = bigger;
	*cap = more;
	return true;
}

/* The chunk's new nodes and pairs. False: no memory. */
static bool translate(struct tide_lane *lane, struct tide_stacks *stacks, const struct tide_chunk *c)
{
	if (c->begins)
		lane->nodes = lane->pairs = 1;
	if (!reserve(&lane->node, &lane->nodes_cap, lane->nodes + c->nodes) ||
	    !reserve(&lane->pair, &lane->pairs_cap, lane->pairs + c->pairs))
		return false;
	lane->node[0] = lane->pair[0] = 0;
	for (uint32_t i = 0; i < c->nodes; i++) {
		uint32_t node = tide_stacks_child(stacks, lane->node[c->node[i].parent], c->node[i].word);
		if (node == 0)
			return false;
		lane->node[lane->nodes++] = node;
	}
	for (uint32_t i = 0; i < c->pairs; i++) {
		uint32_t pair = tide_stacks_pair(stacks, lane->node[c->pair[i].native], lane->node[c->pair[i].python]);
		if (pair == UINT32_MAX)
			return false;
		lane->pair[lane->pairs++] = pair;
	}
	return true;
}

/* ---- blocks ---- */

/* `events` of frame i cannot be shown; counted when it is first read. False: no memory. */
static bool count_bad_frame(struct tide_lane *lane, struct tide_lane_env *env, uint32_t i, uint32_t events, bool gone)
{
	const struct tide_frame_at *f = &lane->frame[i];
	struct tide_gap gap = {lane->index, gone, events, f->head.mono_ns, f->head.mono_end_ns};
	if (gone)
		env->evicted += events;
	else
		env->lost += events;
	if (!tide_gap_add(env->gaps, &gap))
		return false;
	if (gone)
		return true;
	env->bad_frames++;
	tide_damage_add(env->damages, f->offset, f->head.header_len + (uint64_t)f->head.stored_len,
			"frame %" PRIu64 ": %" PRIu32 " of %" PRIu32 " events of lane %" PRIu32, f->head.frame_seq,
			events, f->head.events, lane->index);
	return true;
}

/* The block is read: what its header promised and its items did not hold is lost. False: no memory. */
static bool close_block(struct tide_lane *lane, struct tide_lane_env *env, const struct tide_chunk *c)
{
	if (c->block >= lane->frames || lane->fate[c->block] != TIDE_FATE_UNREAD)
		return true;
	lane->fate[c->block] = TIDE_FATE_READ;
	const struct tide_frame *head = &lane->frame[c->block].head;
	uint32_t hidden = lane->from > head->events_before ? (uint32_t)(lane->from - head->events_before) : 0;
	uint32_t missing = head->events - (lane->done > hidden ? lane->done : hidden);
	if (missing == 0 && c->load == TIDE_LOAD_OK)
		return true;
	return count_bad_frame(lane, env, c->block, missing, c->load == TIDE_LOAD_GONE);
}

static void drop_chunks(struct tide_lane *lane, struct tide_lane_env *env)
{
	while (lane->chunk) {
		struct tide_chunk *c = lane->chunk;
		lane->chunk = c->next;
		give_chunk(env, c);
	}
}

static void close_lane(struct tide_lane *lane, struct tide_lane_env *env)
{
	drop_chunks(lane, env);
	if (lane->ahead.ways)
		tide_crew_close(env->crew, &lane->ahead);
	tide_feed_free(lane->feed);
	free(lane->node);
	free(lane->pair);
	lane->feed = NULL;
	lane->node = lane->pair = NULL;
	lane->nodes_cap = lane->pairs_cap = 0;
}

/* Past the current chunk. False: no memory. */
static bool leave_chunk(struct tide_lane *lane, struct tide_lane_env *env)
{
	struct tide_chunk *c = lane->chunk;
	lane->done += c->ops;
	lane->before += c->ops;
	bool ok = !c->ends || close_block(lane, env, c);
	lane->chunk = c->next;
	give_chunk(env, c);
	return ok;
}

/* Into the next chunk. 1: done, though there may be no run in it. 0: the lane has no more. */
static int enter_chunk(struct tide_lane *lane, struct tide_lane_env *env)
{
	struct tide_chunk *c = follow_chunk(lane, env, NULL);
	if (!c || c->load == TIDE_LOAD_NOMEM)
		return TIDE_ERR_NOMEM;
	if (c->last)
		return 0;
	if (c->begins) {
		lane->done = 0;
		lane->before = c->block < lane->frames ? lane->frame[c->block].head.events_before
						       : lane->staging.head.events_before;
	}
	lane->run = lane->extra = 0;
	return translate(lane, env->stacks, c) ? 1 : TIDE_ERR_NOMEM;
}

/* ---- runs ---- */

static uint32_t run_end(const struct tide_chunk *c, uint32_t run)
{
	return run + 1 < c->runs ? c->run[run + 1].first : c->ops;
}

/* The values of operations [from, to) of the chunk are behind. */
static void pass_extras(struct tide_lane *lane, uint32_t from, uint32_t to)
{
	const struct tide_chunk *c = lane->chunk;
	for (uint32_t i = from; i < to && lane->extra < c->extras; i++)
		lane->extra += (tide_kind_fields(c->op[i].kind) & TIDE_F_VALUE) != 0;
}

/* 1: the run is there. 0: it is past the limit. -1: all of it comes before the lane's first event to show. */
static int take_run(struct tide_lane *lane)
{
	const struct tide_chunk *c = lane->chunk;
	const struct tide_run *r = &c->run[lane->run];
	uint64_t allowed = lane->limit > lane->before ? lane->limit - lane->before : 0;
	uint32_t end = run_end(c, lane->run);
	uint64_t hidden = lane->from > lane->before ? lane->from - lane->before : 0;
	if (end <= hidden)
		return -1;
	uint32_t first = r->first > hidden ? r->first : (uint32_t)hidden;
	if (first >= allowed)
		return 0;
	pass_extras(lane, r->first, first);
	lane->op = &c->op[first];
	lane->ops = (end < allowed ? end : (uint32_t)allowed) - first;
	lane->tid = r->tid;
	lane->run_ticks = r->ticks;
	lane->seq = first == r->first ? r->seq : 0;
	return 1;
}

static int find_run(struct tide_lane *lane, struct tide_lane_env *env)
{
	for (;;) {
		while (lane->chunk && lane->run < lane->chunk->runs) {
			int taken = take_run(lane);
			if (taken >= 0)
				return taken;
			pass_extras(lane, lane->chunk->run[lane->run].first, run_end(lane->chunk, lane->run));
			lane->run++;
		}
		if (lane->chunk && !leave_chunk(lane, env))
			return TIDE_ERR_NOMEM;
		int got = enter_chunk(lane, env);
		if (got != 1)
			return got;
	}
}

uint64_t tide_lane_begin_ticks(const struct tide_lane *lane)
{
	if (lane->frames)
		return lane->frame[0].head.ticks;
	return lane->staging.taken ? lane->staging.head.ticks : UINT64_MAX;
}

uint64_t tide_lane_evicted(const struct tide_lane *lane)
{
	uint64_t before = lane->frames ? lane->frame[0].head.events_before : lane->staging.head.events_before;
	return before > lane->from ? before : lane->from;
}

/* False: no memory. */
static bool open_lane(struct tide_lane *lane, struct tide_lane_env *env)
{
	struct tide_blocks_of blocks = {lane->frame, lane->frames, &lane->staging};
	if (env->crew)
		return lane->ahead.ways || tide_crew_open(env->crew, &lane->ahead, &blocks);
	if (!lane->feed)
		lane->feed = tide_feed_new(&blocks, 0, 1);
	return lane->feed != NULL;
}

int tide_lane_advance(struct tide_lane *lane, struct tide_lane_env *env)
{
	if (!open_lane(lane, env))
		return TIDE_ERR_NOMEM;
	if (lane->chunk && lane->run < lane->chunk->runs) {
		uint32_t first = (uint32_t)(lane->op - lane->chunk->op); /* extras before it are passed already */
		pass_extras(lane, first, run_end(lane->chunk, lane->run));
		lane->run++;
	}
	int got = find_run(lane, env);
	if (got == 0)
		close_lane(lane, env);
	return got;
}

void tide_lane_rewind(struct tide_lane *lane, struct tide_lane_env *env)
{
	close_lane(lane, env);
}

void tide_lane_release(struct tide_lane *lane)
{
	struct tide_lane_env nobody = {0};
	close_lane(lane, &nobody);
	tide_lane_env_release(&nobody);
	free(lane->fate);
	free(lane->staging.payload);
}

/* ---- looking ahead ---- */

/* 1 and 0 as tide_lane_uses; -1: not in this chunk, look further. */
static int chunk_uses(const struct tide_chunk *c, uint32_t run, uint32_t word, uint64_t until)
{
	for (; run < c->runs; run++) {
		const struct tide_run *r = &c->run[run];
		if (r->ticks > until || (r->seq && c->op[r->first].word == word))
			return 0;
		for (uint32_t i = r->first, end = run_end(c, run); i < end; i++)
			if (c->op[i].word == word)
				return 1;
	}
	return c->last ? 0 : -1;
}

int tide_lane_uses(struct tide_lane *lane, struct tide_lane_env *env, uint32_t word, uint64_t until)
{
	struct tide_chunk *c = lane->chunk;
	uint32_t run = lane->run;
	for (unsigned i = 0; i < LOOK_CHUNKS && c; i++, run = 0) {
		int found = chunk_uses(c, run, word, until);
		if (found >= 0)
			return found;
		c = follow_chunk(lane, env, c);
		if (!c || c->load == TIDE_LOAD_NOMEM)
			return TIDE_ERR_NOMEM;
	}
	return c != NULL;
}

bool tide_lane_begins(const struct tide_lane *lane, uint32_t word, uint64_t seq)
{
	uint32_t run = lane->run;
	for (const struct tide_chunk *c = lane->chunk; c; c = c->next, run = 0)
		for (; run < c->runs; run++)
			if (c->run[run].seq == seq && c->op[c->run[run].first].word == word)
				return true;
	return false;
}
