#include "analyze/analysis.h"

#include <stdlib.h>

#include "analyze/census_sites.h"
#include "analyze/watch.h"

#define SAMPLES 256u

static bool is_cut(const struct tide_log *log, uint32_t node)
{
	uint32_t outermost = 0;
	for (uint32_t n = node; n; n = tide_log_node_parent(log, n))
		outermost = n;
	uint64_t word = outermost ? tide_log_node_word(log, outermost) : 0;
	return word == TIDE_WORD_CUT_LIMIT || word == TIDE_WORD_CUT_UNKNOWN;
}

static void add_sample(struct tide_analysis *a, const struct tide_event *e, uint64_t live, uint64_t *every)
{
	if (e->index % *every)
		return;
	if (a->samples == SAMPLES) { /* keep every second one, and take half as many from now on */
		for (uint32_t i = 0; i < SAMPLES / 2; i++)
			a->sample[i] = a->sample[2 * i];
		a->samples = SAMPLES / 2;
		*every *= 2;
	}
	a->sample[a->samples++] = (struct tide_sample){e->time_ns, live};
}

/* The whole log: totals, the peak, and where the answer moment is. */
static enum tide_status first_pass(struct tide_analysis *a, struct tide_log *log)
{
	struct tide_replay r = {0};
	struct tide_event e;
	uint64_t every = 64;
	enum tide_status status = tide_replay_carried(&r, tide_log_carried(log));
	int more = 1;
	while (!status && (more = tide_log_next(log, &e)) == 1) {
		if (e.kind == TIDE_KIND_MARK && e.value == TIDE_MARK_PYTHON_FINALIZING &&
		    a->answer_index == UINT64_MAX) {
			a->answer_index = e.index;
			a->answer_ns = e.time_ns;
		}
		status = tide_replay_event(&r, &e);
		add_sample(a, &e, r.live_bytes, &every);
	}
	a->allocs = r.allocs;
	a->frees = r.frees;
	a->alloc_bytes = r.alloc_bytes;
	a->unmatched_frees = r.unmatched_frees;
	a->doubled = r.doubled;
	a->peak_bytes = r.peak_bytes;
	a->peak_ns = r.peak_ns;
	a->state.peak_index = r.peak_index;
	for (uint32_t i = 0; i < r.sites; i++)
		if (is_cut(log, r.site[i].native))
			a->cut_stacks += r.site[i].allocs;
	tide_replay_release(&r);
	return more < 0 ? (enum tide_status)more : status;
}

static void note_peak(struct tide_replay *r)
{
	for (uint32_t i = 0; i < r->sites; i++)
		r->site[i].peak_bytes = r->site[i].live_bytes;
}

/* To the answer moment: what is live, and what was live at the peak, by site. The peak may come after the moment. */
static enum tide_status second_pass(struct tide_analysis *a, struct tide_log *log)
{
	struct tide_replay *r = &a->state;
	struct tide_event e;
	struct tide_watch watch;
	uint64_t peak = r->peak_index;
	enum tide_status status = tide_watch_init(&watch, a, log);
	int more = 1;
	if (status)
		return status;
	status = tide_replay_carried(r, tide_log_carried(log));
	if (!status && peak == UINT64_MAX)
		note_peak(r);
	tide_log_rewind(log);
	while (!status && (more = tide_log_next(log, &e)) == 1 && e.index < a->answer_index) {
		status = tide_watch_until(&watch, r, e.time_ns);
		if (!status)
			status = tide_replay_event(r, &e);
		if (!status)
			status = tide_watch_event(&watch, r, &e);
		if (e.index == peak)
			note_peak(r);
	}
	if (!status && more >= 0)
		status = tide_watch_until(&watch, r, UINT64_MAX);
	tide_watch_release(&watch);
	tide_replay_finish(r);
	return more < 0 ? (enum tide_status)more : status;
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
	return gaps ? a->state.live_bytes : a->state.in_flight_bytes;
}

enum tide_status tide_analyze(struct tide_log *log, struct tide_analysis **ret)
{
	struct tide_analysis *a = calloc(1, sizeof *a);
	if (!a)
		return TIDE_ERR_NOMEM;
	a->answer_index = UINT64_MAX;
	a->sample = calloc(SAMPLES, sizeof *a->sample);
	enum tide_status status = a->sample ? first_pass(a, log) : TIDE_ERR_NOMEM;
	if (!status)
		status = second_pass(a, log);
	if (!status && a->answer_index == UINT64_MAX)
		a->answer_ns = tide_log_losses(log)->last_ns;
	if (status) {
		tide_analysis_free(a);
		return status;
	}
	a->uncertain_bytes = uncertain(a, log);
	*ret = a;
	return TIDE_OK;
}

void tide_analysis_free(struct tide_analysis *a)
{
	if (!a)
		return;
	tide_replay_release(&a->state);
	free(a->arena);
	free(a->pin);
	free(a->moment);
	free(a->sample);
	tide_type_counts_release(&a->types);
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
