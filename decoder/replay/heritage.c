#include "replay/heritage.h"

#include <stdlib.h>

#include "read/import.h"
#include "replay/replay.h"

#define GENERATIONS 32u /* a file that says it is its own ancestor must not be believed */

struct search {
	tide_find_log *find;
	void *arg;
};

static enum tide_status inherit(const struct search *s, struct tide_log *child, unsigned generation,
				struct tide_heritage *ret);

const char *tide_heir_text(enum tide_heir heir)
{
	static const char *const texts[] = {
		[TIDE_HEIR_NONE] = "",
		[TIDE_HEIR_WHOLE] = "",
		[TIDE_HEIR_STAYED] =
			"the parent's log was overwritten past the fork: what it has freed since then is not told of",
		[TIDE_HEIR_UNSURE] = "an ancestor's log is missing, or lacks events from before the fork",
		[TIDE_HEIR_NO_LOG] = "the parent's log is not here",
		[TIDE_HEIR_UNREADABLE] = "the parent's log cannot be read",
		[TIDE_HEIR_OVERWRITTEN] = "the parent's log was overwritten past the fork",
		[TIDE_HEIR_NO_LINEAGE] = "this log lost where the fork was",
	};
	return texts[heir];
}

void tide_heritage_release(struct tide_heritage *h)
{
	free(h->block);
	*h = (struct tide_heritage){0};
}

static bool has_dropped(const struct tide_log *log)
{
	const struct tide_losses *l = tide_log_losses(log);
	const struct tide_carried *c = tide_log_carried(log);
	return l->dropped[TIDE_LOSS_REENTRANT] || l->dropped[TIDE_LOSS_NO_SPACE] ||
	       (c->epoch && (c->incomplete || c->totals.unknown || c->totals.dropped || c->totals.sample_bytes));
}

static enum tide_status prime(struct tide_replay *r, const struct tide_log *log, const struct tide_heritage *h)
{
	enum tide_status status = TIDE_OK;
	for (size_t i = 0; i < h->blocks && !status; i++) {
		uint32_t native, python;
		if (tide_carried_is_gone(tide_log_carried(log), h->block[i].addr))
			continue;
		tide_log_pair(log, h->block[i].site, &native, &python);
		status = tide_replay_inherit(r, &h->block[i], native, python);
	}
	return status;
}

/* Replays the parent up to the fork. *ret_events: how many events there were. */
static enum tide_status replay_until(struct tide_log *parent, const struct tide_lineage *lineage, struct tide_replay *r,
				     uint64_t *ret_events)
{
	struct tide_batch batch;
	int more = 1;
	enum tide_status status = tide_log_limit(parent, lineage->events, lineage->lanes);
	if (!status)
		status = tide_replay_carried(r, tide_log_carried(parent));
	*ret_events = 0;
	while (!status && (more = tide_log_batch(parent, &batch)) == 1) {
		*ret_events += batch.count;
		status = tide_replay_batch(r, &batch, parent, NULL);
	}
	return more < 0 ? (enum tide_status)more : status;
}

/* The state's blocks that were there by then, with stacks of the child's log. */
static enum tide_status collect(struct tide_replay *r, struct tide_import *import, uint64_t until_ns,
				struct tide_heritage *ret)
{
	uint32_t *pair = calloc(r->sites + 1ull, sizeof *pair); /* by site, plus one */
	struct tide_block_live *block = malloc((r->blocks.used + 1) * sizeof *block);
	size_t count = 0;
	bool ok = pair && block;
	ret->first_ns = UINT64_MAX;
	for (size_t at = 0; ok && tide_blocks_next(&r->blocks, &at, &block[count]);) {
		struct tide_block_live *b = &block[count];
		if (b->time_ns > until_ns)
			continue;
		count++;
		const struct tide_site *site = &r->site[b->site];
		if (!pair[b->site])
			pair[b->site] = tide_import_pair(import, site->native, site->python) + 1;
		ok = pair[b->site] != 0;
		b->site = pair[b->site] - 1;
		b->flags = (b->flags & TIDE_BLOCK_PYTHON) | TIDE_BLOCK_INHERITED;
		ret->bytes += b->size;
		ret->first_ns = b->time_ns < ret->first_ns ? b->time_ns : ret->first_ns;
	}
	free(pair);
	if (!ok) {
		free(block);
		return TIDE_ERR_NOMEM;
	}
	ret->block = block;
	ret->blocks = count;
	return TIDE_OK;
}

static enum tide_status hand_over(struct tide_log *child, struct tide_log *parent, struct tide_replay *r,
				  uint64_t until_ns, struct tide_heritage *ret)
{
	struct tide_import import;
	enum tide_status status = tide_replay_finish(r, NULL);
	ret->in_flight_bytes += r->in_flight_bytes;
	if (!status)
		status = tide_import_init(&import, child, parent);
	if (status)
		return status;
	status = collect(r, &import, until_ns, ret);
	if (!status)
		status = tide_import_definitions(&import, tide_log_process(child)->start_ns);
	tide_import_release(&import);
	return status;
}

/* The parent's log begins after the fork. What is carried there was live then; what of it was born before the fork, by more than the time
 * may be wrong by, was live at the fork. */
static enum tide_status take_what_stayed(struct tide_log *child, struct tide_log *parent,
					 const struct tide_heritage *own, struct tide_heritage *ret)
{
	const struct tide_carried *carried = tide_log_carried(parent);
	const struct tide_lineage *lineage = tide_log_lineage(child);
	uint64_t rounded = UINT64_C(1) << TIDE_CARRY_SHIFT_OLD, start = tide_log_process(parent)->start_ns;
	struct tide_heritage made = {.heir = TIDE_HEIR_STAYED};
	struct tide_replay r = {.sample_bytes = tide_log_process(parent)->super.sample_bytes};
	ret->heir = TIDE_HEIR_OVERWRITTEN;
	if (lineage->ticks <= rounded || !carried->epoch || carried->incomplete ||
	    (own->heir != TIDE_HEIR_NONE && (own->heir != TIDE_HEIR_WHOLE || !tide_carried_tells_deaths(carried))))
		return TIDE_OK;
	tide_blocks_window(&r.blocks, own->first_ns < start ? own->first_ns : start, tide_log_process(child)->start_ns);
	enum tide_status status = prime(&r, parent, own);
	if (!status)
		status = tide_replay_carried(&r, carried);
	if (!status)
		status = hand_over(child, parent, &r, tide_log_time(parent, lineage->ticks - rounded), &made);
	tide_replay_release(&r);
	if (!status)
		*ret = made;
	return status;
}

/* Of the parent at the fork, which had inherited `own`. */
static enum tide_status take(struct tide_log *child, struct tide_log *parent, const struct tide_heritage *own,
			     struct tide_heritage *ret)
{
	const struct tide_lineage *lineage = tide_log_lineage(child);
	uint64_t expected, events, start = tide_log_process(parent)->start_ns;
	struct tide_heritage made = {.in_flight_bytes = own->in_flight_bytes};
	struct tide_replay r = {.sample_bytes = tide_log_process(parent)->super.sample_bytes};
	if (!tide_log_reaches(parent, lineage->events, lineage->lanes, &expected))
		return take_what_stayed(child, parent, own, ret);
	tide_blocks_window(&r.blocks, own->first_ns < start ? own->first_ns : start, tide_log_process(child)->start_ns);
	enum tide_status status = prime(&r, parent, own);
	if (!status)
		status = replay_until(parent, lineage, &r, &events);
	if (!status)
		status = hand_over(child, parent, &r, UINT64_MAX, &made);
	tide_replay_release(&r);
	if (status)
		return status;
	bool kept = own->heir == TIDE_HEIR_NONE ||
		    (own->heir == TIDE_HEIR_WHOLE && tide_carried_tells_deaths(tide_log_carried(parent)));
	made.heir = kept && events == expected && !has_dropped(parent) ? TIDE_HEIR_WHOLE : TIDE_HEIR_UNSURE;
	*ret = made;
	return TIDE_OK;
}

static enum tide_status from_parent(const struct search *s, struct tide_log *child, const char *path,
				    unsigned generation, struct tide_heritage *ret)
{
	struct tide_log *parent;
	struct tide_error ignored;
	struct tide_heritage own = {0};
	enum tide_status status = tide_log_open(path, &parent, &ignored);
	if (status) {
		ret->heir = TIDE_HEIR_UNREADABLE;
		return status == TIDE_ERR_NOMEM ? status : TIDE_OK;
	}
	tide_log_threads(parent, tide_log_thread_count(child));
	status = inherit(s, parent, generation, &own);
	if (!status)
		status = take(child, parent, &own, ret);
	tide_heritage_release(&own);
	tide_log_free(parent);
	return status;
}

static enum tide_status inherit(const struct search *s, struct tide_log *child, unsigned generation,
				struct tide_heritage *ret)
{
	const struct tide_lineage *lineage = tide_log_lineage(child);
	bool nomem = false;
	*ret = (struct tide_heritage){.heir = TIDE_HEIR_NONE, .first_ns = UINT64_MAX};
	if (lineage->parent_uid == 0)
		return TIDE_OK;
	if (!lineage->events || generation >= GENERATIONS) {
		ret->heir = lineage->events ? TIDE_HEIR_UNREADABLE : TIDE_HEIR_NO_LINEAGE;
		return TIDE_OK;
	}
	const char *path = s->find(s->arg, lineage->parent_uid, &nomem);
	if (path)
		return from_parent(s, child, path, generation + 1, ret);
	ret->heir = TIDE_HEIR_NO_LOG;
	return nomem ? TIDE_ERR_NOMEM : TIDE_OK;
}

enum tide_status tide_heritage_init(struct tide_heritage *h, struct tide_log *child, tide_find_log *find, void *arg)
{
	const struct search s = {find, arg};
	struct tide_heritage made;
	enum tide_status status = inherit(&s, child, 0, &made);
	if (!status)
		*h = made;
	return status;
}
