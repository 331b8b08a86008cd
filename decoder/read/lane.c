#include "read/lane.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/wire.h"

#define STACK_KEPT (TIDE_STACK_MAX + 2u)

struct tide_lane_open {
	struct tide_items items;
	uint64_t events_before; /* of the lane, before this block */
	uint32_t events, done;  /* of this block: how many there are to show, and were shown */
	uint32_t native_depth, python_depth;
	uint32_t native[STACK_KEPT + 1]; /* nodes, outermost first; [0] is the root */
	uint32_t python[STACK_KEPT + 1];
	uint8_t *raw;
	uint64_t *dict;
	size_t raw_cap, dict_cap;
	bool reading;
};

static bool grow(void **bytes, size_t *cap, size_t len)
{
	if (len <= *cap)
		return true;
	void *more = malloc(len); /* the old bytes are not needed */
	if (!more)
		return false;
	free(*bytes);
	*bytes = more;
	*cap = len;
	return true;
}

static bool still_there(const struct tide_frame_at *frame, const struct tide_lane_env *env)
{
	struct tide_frame now;
	return tide_file_read(env->file, frame->offset, &now, sizeof now) == sizeof now &&
	       memcmp(&now, &frame->head, sizeof now) == 0;
}

static bool decompress(const struct tide_frame *head, struct tide_lane_env *env, uint8_t *buf)
{
	if (ZSTD_getFrameContentSize(env->stored, head->stored_len) != head->raw_len ||
	    ZSTD_findFrameCompressedSize(env->stored, head->stored_len) != head->stored_len)
		return false;
	return ZSTD_decompressDCtx(env->zstd, buf, head->raw_len, env->stored, head->stored_len) == head->raw_len;
}

int tide_frame_load(const struct tide_frame_at *frame, struct tide_lane_env *env, uint8_t *buf, bool *ret_gone)
{
	const struct tide_frame *head = &frame->head;
	if (!env->zstd && !(env->zstd = ZSTD_createDCtx()))
		return TIDE_ERR_NOMEM;
	if (!grow((void **)&env->stored, &env->stored_cap, head->stored_len))
		return TIDE_ERR_NOMEM;
	uint64_t offset = frame->offset + head->header_len;
	if (tide_file_read(env->file, offset, env->stored, head->stored_len) == head->stored_len &&
	    tide_checksum(env->stored, head->stored_len, env->file_uid) == head->payload_checksum &&
	    decompress(head, env, buf))
		return 1;
	*ret_gone = env->running && !still_there(frame, env);
	return 0;
}

static int begin_items(struct tide_lane *lane, const void *payload, size_t len, uint64_t ticks, uint32_t tid)
{
	struct tide_lane_open *o = lane->open;
	size_t words = len / 2 + 1; /* a new word takes two bytes at least */
	size_t cap = o->dict_cap * sizeof *o->dict;
	if (!grow((void **)&o->dict, &cap, words * sizeof *o->dict))
		return TIDE_ERR_NOMEM;
	o->dict_cap = cap / sizeof *o->dict;
	tide_items_init(&o->items, payload, len, ticks, o->dict, (uint32_t)o->dict_cap);
	o->done = 0;
	o->native_depth = o->python_depth = 0;
	o->native[0] = o->python[0] = 0;
	o->reading = true;
	lane->run_ticks = ticks;
	lane->run_begins = true;
	lane->next.tid = tid;
	return 1;
}

/* `events` of frame i cannot be shown; counted when it is first read. False: no memory. */
static bool count_bad_frame(struct tide_lane *lane, struct tide_lane_env *env, uint32_t i, uint32_t events, bool gone)
{
	const struct tide_frame_at *f = &lane->frame[i];
	struct tide_gap gap = {lane->index, gone, events, f->head.mono_ns, f->head.mono_end_ns};
	lane->fate[i] = TIDE_FATE_READ;
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

/* 1: its items are next. 0: the frame cannot be used. */
static int open_frame(struct tide_lane *lane, struct tide_lane_env *env, uint32_t i)
{
	struct tide_lane_open *o = lane->open;
	const struct tide_frame *head = &lane->frame[i].head;
	bool gone = false;
	int got = 0;
	if (head->encoding == TIDE_ENCODING_ITEMS) {
		if (!grow((void **)&o->raw, &o->raw_cap, head->raw_len))
			return TIDE_ERR_NOMEM;
		got = tide_frame_load(&lane->frame[i], env, o->raw, &gone);
	}
	if (got == 0 && lane->fate[i] == TIDE_FATE_UNREAD && !count_bad_frame(lane, env, i, head->events, gone))
		return TIDE_ERR_NOMEM;
	if (got == 1) {
		o->events_before = head->events_before;
		o->events = head->events;
		got = begin_items(lane, o->raw, head->raw_len, head->ticks, head->tid);
	}
	return got;
}

static int open_staging(struct tide_lane *lane)
{
	const struct tide_block *head = &lane->staging.head;
	if (!lane->staging.taken)
		return 0;
	lane->open->events_before = head->events_before;
	lane->open->events = head->events;
	return begin_items(lane, lane->staging.payload, head->committed, head->ticks, head->tid);
}

/* The block is read: what its header promised and its items did not hold is lost. False: no memory. */
static bool close_block(struct tide_lane *lane, struct tide_lane_env *env)
{
	struct tide_lane_open *o = lane->open;
	uint32_t i = lane->next_block - 1;
	o->reading = false;
	if (i >= lane->frames || lane->fate[i] != TIDE_FATE_UNREAD)
		return true;
	lane->fate[i] = TIDE_FATE_READ;
	return o->done == o->events || count_bad_frame(lane, env, i, o->events - o->done, false);
}

static void free_open(struct tide_lane *lane)
{
	if (!lane->open)
		return;
	free(lane->open->raw);
	free(lane->open->dict);
	free(lane->open);
	lane->open = NULL;
}

/* 1: a block is open. 0: no more. */
static int open_next(struct tide_lane *lane, struct tide_lane_env *env)
{
	if (!lane->open && !(lane->open = calloc(1, sizeof *lane->open)))
		return TIDE_ERR_NOMEM;
	int got = 0;
	while (got == 0 && lane->next_block <= lane->frames) {
		uint32_t i = lane->next_block;
		got = i < lane->frames ? open_frame(lane, env, i) : open_staging(lane);
		if (got >= 0)
			lane->next_block++;
	}
	if (got == 0)
		free_open(lane);
	return got;
}

static int apply_delta(const struct tide_stack_delta *delta, uint32_t *nodes, uint32_t *depth,
		       struct tide_stacks *stacks)
{
	uint32_t at = *depth - delta->pop;
	for (uint32_t i = 0; i < delta->push; i++, at++) {
		nodes[at + 1] = tide_stacks_child(stacks, nodes[at], delta->words[i]);
		if (nodes[at + 1] == 0)
			return TIDE_ERR_NOMEM;
	}
	*depth = at;
	return 1;
}

static int take_event(struct tide_lane *lane, struct tide_lane_env *env, const struct tide_item *item)
{
	struct tide_lane_open *o = lane->open;
	struct tide_event *e = &lane->next;
	e->kind = item->kind;
	e->lane = lane->index;
	e->native = e->python = 0;
	e->addr = item->addr;
	e->size = item->size;
	e->value = item->value;
	e->value2 = item->value2;
	e->time_ns = tide_clock_ns(env->clock, item->ticks);
	o->done++;
	if (!item->has_stack)
		return 1;
	if (apply_delta(&item->native, o->native, &o->native_depth, env->stacks) < 0 ||
	    apply_delta(&item->python, o->python, &o->python_depth, env->stacks) < 0)
		return TIDE_ERR_NOMEM;
	if (tide_kind_fields(item->kind) & TIDE_F_STACK)
		e->native = o->native[o->native_depth];
	e->python = o->python[o->python_depth];
	return 1;
}

/* 1: an event. 0: the block has no more. */
static int next_in_block(struct tide_lane *lane, struct tide_lane_env *env)
{
	struct tide_lane_open *o = lane->open;
	struct tide_item item;
	while (o->done < o->events && o->events_before + o->done < lane->limit &&
	       tide_items_next(&o->items, &item) == 1) {
		if (item.is_event)
			return take_event(lane, env, &item);
		if (item.kind == TIDE_KIND_THREAD) {
			lane->next.tid = (uint32_t)item.value;
			continue;
		}
		if (item.kind == TIDE_KIND_FOUND) /* of the free after it: says nothing that a replay does not know */
			continue;
		if (item.kind == TIDE_KIND_SYNC)
			lane->seq = item.seq;
		lane->run_ticks = item.ticks;
		lane->run_begins = true;
	}
	return 0;
}

uint64_t tide_lane_begin_ticks(const struct tide_lane *lane)
{
	if (lane->next_block < lane->frames)
		return lane->frame[lane->next_block].head.ticks;
	if (lane->next_block == lane->frames && lane->staging.taken)
		return lane->staging.head.ticks;
	return UINT64_MAX;
}

int tide_lane_advance(struct tide_lane *lane, struct tide_lane_env *env)
{
	lane->run_begins = false;
	lane->seq = 0;
	for (;;) {
		if (lane->open && lane->open->reading) {
			int got = next_in_block(lane, env);
			if (got != 0)
				return got;
			if (lane->open->events_before + lane->open->done >= lane->limit) {
				lane->next_block = lane->frames + 1;
				free_open(lane);
				return 0;
			}
			if (!close_block(lane, env))
				return TIDE_ERR_NOMEM;
		}
		lane->seq = 0; /* a SYNC belongs to an event of its own block */
		int got = open_next(lane, env);
		if (got != 1)
			return got;
	}
}

void tide_lane_rewind(struct tide_lane *lane)
{
	free_open(lane);
	lane->next_block = 0;
}

void tide_lane_release(struct tide_lane *lane)
{
	free_open(lane);
	free(lane->fate);
	free(lane->staging.payload);
}
