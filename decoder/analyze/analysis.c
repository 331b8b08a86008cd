#include "analyze/analysis.h"

#include <stdlib.h>

#include "analyze/census_sites.h"
#include "analyze/watch.h"
#include "read/census.h"
#include "replay/amount.h"

#define SAMPLES 256u

static uint64_t outermost_word(const struct tide_log *log, uint32_t node)
{
	uint32_t outermost = 0;
	for (uint32_t n = node; n; n = tide_log_node_parent(log, n))
		outermost = n;
	return outermost ? tide_log_node_word(log, outermost) : 0;
}

static void count_cut_stacks(struct tide_analysis *a, const struct tide_log *log)
{
	for (uint32_t i = 0; i < a->state.sites; i++) {
		const struct tide_site *s = &a->state.site[i];
		uint64_t word = outermost_word(log, s->native);
		a->deep_stacks += word == TIDE_WORD_CUT_LIMIT ? s->allocs : 0;
		a->cut_stacks += word == TIDE_WORD_CUT_LIMIT || word == TIDE_WORD_CUT_UNKNOWN ? s->allocs : 0;
	}
}

static void add_sample(struct tide_analysis *a, const struct tide_batch *b, uint64_t *every)
{
	if (a->samples == SAMPLES) { /* keep every second one, and take half as many from now on */
		for (uint32_t i = 0; i < SAMPLES / 2; i++)
			a->sample[i] = a->sample[2 * i];
		a->samples = SAMPLES / 2;
		*every *= 2;
	}
	a->sample[a->samples++] = (struct tide_sample){b->time_ns, a->state.live_bytes - a->state.counted_bytes};
}

/* What goes along with the pass over the log. */
struct pass {
	struct tide_analysis *a;
	struct tide_log *log;
	struct tide_watch watch;
	uint64_t every; /* events between two samples of the timeline */
	bool answered;  /* past the answer moment */
};

/* The state is the one to answer with. Once. */
static enum tide_status answer(struct pass *p)
{
	p->answered = true;
	enum tide_status status = tide_watch_until(&p->watch, &p->a->state, UINT64_MAX);
	return status ? status : tide_watch_finish(&p->watch, &p->a->state);
}

static enum tide_status ending(struct pass *p, const struct tide_batch *b)
{
	p->a->answer_index = b->index;
	p->a->answer_ns = b->time_ns;
	enum tide_status status = answer(p);
	return status ? status : tide_replay_freeze(&p->a->state);
}

/* For the models that watch. */
static enum tide_status step_watched(struct pass *p, const struct tide_batch *piece)
{
	enum tide_status status = tide_replay_batch(&p->a->state, piece, p->log, tide_watch_room(&p->watch, piece));
	return status ? status : tide_watch_batch(&p->watch, &p->a->state, piece);
}

/* How many of the batch's events can be taken at once: the next is one to be looked at by itself, or sampled after. */
static uint32_t piece_of(const struct pass *p, const struct tide_batch *b)
{
	uint32_t most = b->count;
	uint64_t to_trend = p->answered ? UINT64_MAX : tide_watch_most(&p->watch, b->index);
	uint64_t to_sample = p->every - b->index % p->every;
	if (b->index % p->every == 0)
		most = 1;
	else if (to_sample < most)
		most = (uint32_t)to_sample;
	if (to_trend < most)
		most = (uint32_t)to_trend;
	for (uint32_t i = 1; i < most && b->has_extra; i++)
		if (b->op[i].kind == TIDE_KIND_MARK)
			return i;
	return most;
}

static enum tide_status step(struct pass *p, struct tide_batch *b)
{
	struct tide_batch piece = *b;
	enum tide_status status = TIDE_OK;
	bool mark = b->op->kind == TIDE_KIND_MARK && tide_mark_ends(b->extra->value);
	if (mark && !p->answered)
		status = ending(p, b);
	piece.count = piece_of(p, b);
	piece.ahead += b->count - piece.count;
	if (!status)
		status = p->answered ? tide_replay_batch(&p->a->state, &piece, p->log, NULL) : step_watched(p, &piece);
	if (b->index % p->every == 0)
		add_sample(p->a, b, &p->every);
	for (uint32_t i = 0; i < piece.count && b->has_extra; i++)
		b->extra += (tide_kind_fields(b->op[i].kind) & TIDE_F_VALUE) != 0;
	b->op += piece.count;
	b->index += piece.count;
	b->count -= piece.count;
	return status;
}

static enum tide_status steps(struct pass *p)
{
	struct tide_batch b;
	enum tide_status status = TIDE_OK;
	int more = 1;
	while (!status && (more = tide_log_batch(p->log, &b)) == 1) {
		if (!p->answered)
			status = tide_watch_until(&p->watch, &p->a->state, b.time_ns);
		while (b.count > 0 && !status)
			status = step(p, &b);
	}
	if (!status && more >= 0 && !p->answered)
		status = answer(p);
	return more < 0 ? (enum tide_status)more : status;
}

/* Totals are of all events, the state is that of the answer moment. */
static enum tide_status sum_up(struct tide_analysis *a, const struct tide_log *log)
{
	struct tide_replay all;
	count_cut_stacks(a, log);
	enum tide_status status = tide_replay_finish(&a->state, &all);
	a->allocs = all.allocs;
	a->frees = all.frees;
	a->alloc_bytes = all.alloc_bytes;
	a->unmatched_frees = all.unmatched_frees;
	a->inherited_frees = all.inherited_frees;
	a->doubled = all.doubled;
	a->peak_bytes = all.peak_bytes;
	a->peak_ns = all.peak_ns;
	return status;
}

/* It was there at the fork, and was freed in an event that is overwritten. */
static void add_gone(struct tide_analysis *a, const struct tide_block_live *b)
{
	struct tide_amount amount = tide_amount_of(a->state.sample_bytes, b);
	a->heir_bytes += amount.bytes;
	a->heir_blocks += amount.blocks;
	a->state.inherited_frees += amount.blocks;
}

/* What a forked child inherited is live before its first event. */
static enum tide_status begin_forked(struct tide_analysis *a, const struct tide_log *log, const struct tide_heritage *h)
{
	enum tide_status status = TIDE_OK;
	const struct tide_carried *carried = tide_log_carried(log);
	bool forked = tide_log_process(log)->super.parent_uid != 0;
	a->heir = h ? h->heir : forked ? TIDE_HEIR_NO_LOG : TIDE_HEIR_NONE;
	a->state.forked = forked && a->heir != TIDE_HEIR_WHOLE;
	a->heir_forgot = a->heir == TIDE_HEIR_WHOLE && !tide_carried_tells_deaths(carried);
	a->state.unsure = a->heir == TIDE_HEIR_UNSURE || a->heir_forgot;
	for (size_t i = 0; h && i < h->blocks && !status; i++) {
		uint32_t native, python;
		if (tide_carried_is_gone(carried, h->block[i].addr)) {
			add_gone(a, &h->block[i]);
			continue;
		}
		tide_log_pair(log, h->block[i].site, &native, &python);
		status = tide_replay_inherit(&a->state, &h->block[i], native, python);
	}
	a->heir_bytes += a->state.inherited_bytes;
	a->heir_blocks += a->state.inherited_blocks;
	return status;
}

static enum tide_status pass(struct tide_analysis *a, struct tide_log *log, const struct tide_heritage *h)
{
	struct pass p = {.a = a, .log = log, .every = 64};
	const struct tide_losses *l = tide_log_losses(log);
	uint64_t start = tide_log_process(log)->start_ns; /* blocks that were carried over are older than the window */
	uint64_t first = l->first_ns < start ? l->first_ns : start;
	first = h && h->first_ns < first ? h->first_ns : first;
	tide_blocks_window(&a->state.blocks, first, l->last_ns);
	a->state.sample_bytes = tide_log_process(log)->super.sample_bytes;
	enum tide_status status = tide_watch_init(&p.watch, a, log);
	if (status)
		return status;
	status = begin_forked(a, log, h);
	if (!status)
		status = tide_replay_carried(&a->state, tide_log_carried(log));
	if (!status)
		status = steps(&p);
	tide_watch_release(&p.watch);
	return status ? status : sum_up(a, log);
}

/* The census that is taken when the program begins to end tells before its event does. */
static bool says_ending(struct tide_log *log)
{
	struct tide_census_blob blob;
	struct tide_census census;
	for (uint32_t i = tide_log_census_count(log); i-- > 0;)
		if (!tide_log_census(log, i, &blob) && tide_census_init(&census, blob.bytes, blob.len) &&
		    tide_why_ends(census.reason))
			return true;
	return false;
}

static void clear(struct tide_analysis *a)
{
	struct tide_sample *sample = a->sample;
	tide_replay_release(&a->state);
	free(a->arena);
	free(a->pin);
	free(a->moment);
	free(a->growth);
	tide_type_counts_release(&a->types);
	*a = (struct tide_analysis){.answer_index = UINT64_MAX, .sample = sample};
}

static enum tide_status analyze(struct tide_analysis *a, struct tide_log *log, const struct tide_heritage *h)
{
	bool ended = says_ending(log);
	for (unsigned i = 0; i < 2; i++) {
		clear(a);
		a->ended = ended;
		enum tide_status status = pass(a, log, h);
		if (status)
			return status;
		if (ended == (a->answer_index != UINT64_MAX))
			break;
		ended = !ended;
		tide_log_rewind(log);
	}
	if (a->answer_index == UINT64_MAX)
		a->answer_ns = tide_log_losses(log)->last_ns;
	return TIDE_OK;
}

/* Blocks from before a gap: their free may be in it. */
static uint64_t uncertain(const struct tide_analysis *a, const struct tide_log *log)
{
	const struct tide_losses *losses = tide_log_losses(log);
	const struct tide_carried *carried = tide_log_carried(log);
	bool forgot = carried->epoch ? carried->incomplete || carried->totals.unknown || carried->totals.dropped
				     : losses->evicted > 0;
	bool gaps =
		losses->lost || forgot || losses->dropped[TIDE_LOSS_REENTRANT] || losses->dropped[TIDE_LOSS_NO_SPACE];
	return gaps ? a->state.live_bytes : a->state.in_flight_bytes + (a->state.unsure ? a->state.inherited_bytes : 0);
}

enum tide_status tide_analyze(struct tide_log *log, const struct tide_heritage *heritage, struct tide_analysis **ret)
{
	struct tide_analysis *a = calloc(1, sizeof *a);
	if (!a)
		return TIDE_ERR_NOMEM;
	a->sample = calloc(SAMPLES, sizeof *a->sample);
	enum tide_status status = a->sample ? analyze(a, log, heritage) : TIDE_ERR_NOMEM;
	if (status) {
		tide_analysis_free(a);
		return status;
	}
	a->uncertain_bytes = uncertain(a, log) + (heritage ? heritage->in_flight_bytes : 0);
	*ret = a;
	return TIDE_OK;
}

void tide_analysis_free(struct tide_analysis *a)
{
	if (!a)
		return;
	clear(a);
	free(a->sample);
	free(a);
}

uint64_t tide_site_measure(const struct tide_site *s, enum tide_order order)
{
	switch (order) {
	case TIDE_BY_LIVE:
		return s->live_bytes;
	case TIDE_BY_ALLOCATED:
		return s->alloc_bytes;
	case TIDE_BY_COUNT:
		return s->allocs;
	default:
		return s->peak_bytes;
	}
}

struct ranked {
	uint64_t measure;
	uint32_t site;
};

static int biggest_first(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	if (x->measure != y->measure)
		return x->measure < y->measure ? 1 : -1;
	return x->site < y->site ? -1 : x->site > y->site;
}

uint32_t *tide_sites_by(const struct tide_analysis *a, enum tide_order order)
{
	uint32_t count = a->state.sites;
	struct ranked *ranked = calloc(count + 1, sizeof *ranked);
	uint32_t *site = calloc(count + 1, sizeof *site);
	if (!ranked || !site) {
		free(ranked);
		free(site);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		ranked[i] = (struct ranked){tide_site_measure(&a->state.site[i], order), i};
	qsort(ranked, count, sizeof *ranked, biggest_first);
	for (uint32_t i = 0; i < count; i++)
		site[i] = ranked[i].site;
	free(ranked);
	return site;
}
