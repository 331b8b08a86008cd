#include <stdlib.h>
#include <string.h>

#include "read/log_internal.h"

/* A census of a process with a terabyte of scattered pages is smaller; a decompression bomb is not. */
#define CENSUS_MAX (UINT64_C(64) << 20)

/* The frames of a census follow each other, sorted by part. Without part 0 nothing of it can be read: it is left out. */
static bool census_at(const struct tide_frame_at *f, size_t first, size_t frames, struct tide_census_at *ret,
		      size_t *ret_next)
{
	size_t end = first;
	ret->first = first;
	ret->time_ns = f[first].head.mono_ns;
	while (end < frames && f[end].head.block_seq == f[first].head.block_seq)
		end++;
	*ret_next = end;
	while (first + ret->parts < end && f[first + ret->parts].head.lane == ret->parts && !ret->complete) {
		ret->complete = f[first + ret->parts].head.events == 1;
		ret->parts++;
	}
	return ret->parts > 0;
}

/* Those from outside that say to be of a time after the process' end are of what came after it, or false. */
static bool is_of_its_life(const struct tide_log *log, const struct tide_census_at *at)
{
	return log->defs.end == TIDE_END_NONE || at->time_ns <= log->defs.end_ns;
}

static int by_time(const void *a, const void *b)
{
	const struct tide_census_at *x = a, *y = b;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static const struct tide_frame_at *frames_of(const struct tide_log *log, const struct tide_census_at *at)
{
	return at->source == TIDE_CENSUS_BESIDE ? log->beside.frame : log->ring.frame;
}

bool tide_log_index_censuses(struct tide_log *log)
{
	const struct tide_ring *ring = &log->ring;
	const struct tide_beside *beside = &log->beside;
	log->census = calloc(ring->carry_first - ring->events_count + beside->frames + 1, sizeof *log->census);
	if (!log->census)
		return false;
	for (size_t i = ring->events_count; i < ring->carry_first;)
		log->censuses += census_at(ring->frame, i, ring->carry_first, &log->census[log->censuses], &i);
	for (size_t i = 0; i < beside->frames;) {
		struct tide_census_at *at = &log->census[log->censuses];
		*at = (struct tide_census_at){.source = TIDE_CENSUS_BESIDE};
		bool found = census_at(beside->frame, i, beside->frames, at, &i);
		log->censuses += found && is_of_its_life(log, at);
	}
	if (beside->frames)
		qsort(log->census, log->censuses, sizeof *log->census, by_time);
	if (beside->gap_len)
		tide_damage_add(&log->damages, beside->gap_offset, beside->gap_len, "file of censuses beside the log");
	return true;
}

void tide_log_release_censuses(struct tide_log *log)
{
	for (uint32_t i = 0; i < log->censuses; i++)
		free(log->census[i].added);
	free(log->census);
	free(log->census_bytes);
}

enum tide_status tide_log_add_census(struct tide_log *log, uint64_t time_ns, const void *bytes, uint64_t len)
{
	struct tide_census_at *more = realloc(log->census, (log->censuses + 2ull) * sizeof *more);
	if (!more)
		return TIDE_ERR_NOMEM;
	log->census = more;
	uint8_t *copy = malloc(len + 1);
	if (!copy)
		return TIDE_ERR_NOMEM;
	memcpy(copy, bytes, len);
	uint32_t at = log->censuses++;
	for (; at > 0 && more[at - 1].time_ns > time_ns; at--)
		more[at] = more[at - 1];
	more[at] = (struct tide_census_at){
		.source = TIDE_CENSUS_ADDED, .time_ns = time_ns, .added = copy, .added_len = len, .complete = true};
	if (time_ns > log->process.end_ns && log->running)
		log->process.end_ns = time_ns;
	return TIDE_OK;
}

uint32_t tide_log_census_count(const struct tide_log *log)
{
	return log->censuses;
}

enum tide_census_source tide_log_census_source(const struct tide_log *log, uint32_t i)
{
	return log->census[i].source;
}

static void count_bad(struct tide_log *log, struct tide_census_at *at, const struct tide_frame_at *frame, bool gone)
{
	if (at->bad || gone)
		return;
	at->bad = true;
	log->env.bad_frames++;
	tide_damage_add(&log->damages, frame->offset, frame->head.header_len + (uint64_t)frame->head.stored_len,
			"frame %llu: payload; census %llu, part %u", (unsigned long long)frame->head.frame_seq,
			(unsigned long long)frame->head.block_seq, frame->head.lane);
}

/* Parts one after the other, as far as they are good; *ret_len bytes of log->census_bytes then hold them. */
static enum tide_status load_parts(struct tide_log *log, struct tide_census_at *at, uint64_t *ret_len, bool *ret_whole)
{
	uint64_t len = 0;
	struct tide_feed_env env = log->env.feed;
	if (at->source == TIDE_CENSUS_BESIDE)
		env.file = &log->beside.file;
	*ret_whole = false;
	for (uint32_t i = 0; i < at->parts; i++) {
		const struct tide_frame_at *f = &frames_of(log, at)[at->first + i];
		if (len + f->head.raw_len > CENSUS_MAX)
			return TIDE_OK;
		uint8_t *bytes = realloc(log->census_bytes, len + f->head.raw_len + 1);
		if (!bytes)
			return TIDE_ERR_NOMEM;
		log->census_bytes = bytes;
		enum tide_load load = tide_frame_load(f, &env, &log->env.scratch, bytes + len);
		if (load == TIDE_LOAD_NOMEM)
			return TIDE_ERR_NOMEM;
		if (load != TIDE_LOAD_OK) {
			count_bad(log, at, f, load == TIDE_LOAD_GONE);
			return TIDE_OK;
		}
		len += f->head.raw_len;
		*ret_len = len;
	}
	*ret_whole = true;
	return TIDE_OK;
}

enum tide_status tide_log_census(struct tide_log *log, uint32_t i, struct tide_census_blob *ret)
{
	if (i >= log->censuses)
		return TIDE_ERR_BAD;
	struct tide_census_at *at = &log->census[i];
	if (at->added) {
		*ret = (struct tide_census_blob){at->source, UINT64_MAX, at->time_ns, true, at->added, at->added_len};
		return TIDE_OK;
	}
	const struct tide_frame *head = &frames_of(log, at)[at->first].head;
	uint64_t len = 0;
	bool whole;
	enum tide_status status = load_parts(log, at, &len, &whole);
	if (status != TIDE_OK)
		return status;
	if (len == 0)
		return TIDE_ERR_BAD;
	*ret = (struct tide_census_blob){
		at->source, head->block_seq, head->mono_ns, at->complete && whole, log->census_bytes, len};
	return TIDE_OK;
}
