#include "analyze/verdict.h"

#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define SMALL (4 * MIB) /* below this, nobody asks why */
#define MOMENTS_LEAST 4u

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Resident bytes by who has them. */
static void weigh_rows(const struct tide_analysis *a, struct tide_verdict *v)
{
	const uint64_t *row = a->ledger.row;
	v->live = row[TIDE_ROW_LIVE] + row[TIDE_ROW_OVERHEAD] + row[TIDE_ROW_PY_LIVE];
	v->idle_python = row[TIDE_ROW_PY_FREE_IN_POOLS] + row[TIDE_ROW_PY_FREE_POOLS];
	v->idle = row[TIDE_ROW_PINNED_WASTE] + row[TIDE_ROW_TRIMMABLE] + v->idle_python;
	v->mapped = row[TIDE_ROW_MMAP_DIRECT];
	v->stacks = row[TIDE_ROW_STACKS];
	v->data = a->ledger.data_files;
	v->outside = v->mapped + v->stacks + v->data;
	v->own = v->live + v->idle + v->outside;
	for (uint32_t i = 0; i < a->arenas; i++) {
		const struct tide_arena *r = &a->arena[i];
		if (strcmp(r->kind, "glibc-thread") == 0 && r->stranded >= r->resident / 4) {
			v->thread_arenas++;
			v->thread_idle += r->stranded;
			v->kept += r->consequence == TIDE_CONSEQUENCE_NEVER ? r->stranded : 0;
		}
	}
}

static void weigh_sites(const struct tide_analysis *a, struct tide_verdict *v)
{
	uint64_t most_grown = 0;
	for (uint32_t i = 0; i < a->state.sites && i < a->growths; i++) {
		const struct tide_growth *g = &a->growth[i];
		if (!g->grows)
			continue;
		v->growing_sites++;
		v->growing += a->state.site[i].live_bytes;
		v->grown += g->bytes;
		if (g->bytes > most_grown) {
			most_grown = g->bytes;
			v->worst = i;
		}
	}
}

/* Live bytes at the last census before a time. */
static uint64_t live_at(const struct tide_analysis *a, uint64_t at_ns)
{
	uint64_t live = a->moment[0].live;
	for (uint32_t i = 0; i < a->moments && a->moment[i].at_ns <= at_ns; i++)
		live = a->moment[i].live;
	return live;
}

/* Whether all that is live still rises in the last half of the time, and in the last quarter: where no event tells of pool blocks
 * this is all there is. Where events tell, they do it better: by them a program is as far as it has worked, however long that
 * took. By time, not by census: those come close together when memory moves. */
static void weigh_moments(const struct tide_analysis *a, struct tide_verdict *v)
{
	if (a->moments < MOMENTS_LEAST || !a->pools_by_census)
		return;
	uint64_t from = a->moment[0].at_ns, to = a->moment[a->moments - 1].at_ns, span = to - from;
	uint64_t half = live_at(a, from + span / 2), late = live_at(a, from + span / 4 * 3), last = live_at(a, to);
	if (last > late && late >= half && last - late >= (last - half) / 4)
		v->live_grown = last - half;
}

void tide_verdict_of(const struct tide_analysis *a, struct tide_verdict *ret)
{
	struct tide_verdict v = {0};
	if (a->ledger.known) {
		weigh_rows(a, &v);
		weigh_sites(a, &v);
		weigh_moments(a, &v);
		uint64_t floor = most(SMALL, v.own / 5), leak = v.growing;
		bool grows = v.grown >= most(MIB, v.live / 10);
		if (!grows && v.live_grown >= most(SMALL, v.live / 4)) {
			grows = true;
			leak = v.live;
		}
		if (grows && leak >= v.idle && leak >= v.outside) {
			v.class = TIDE_VERDICT_LEAK;
			v.bytes = leak;
		} else if (v.idle >= floor && v.idle >= v.outside) {
			v.class = TIDE_VERDICT_RETENTION;
			v.bytes = v.idle;
		} else if (v.outside >= floor && v.outside >= v.live) {
			v.class = TIDE_VERDICT_OUTSIDE;
			v.bytes = v.outside;
		} else if (a->moments >= MOMENTS_LEAST ||
			   (!a->pools_by_census && a->trend_points >= TIDE_TREND_LEAST)) {
			v.class = TIDE_VERDICT_STEADY;
			v.bytes = v.live;
		}
	}
	*ret = v;
}
