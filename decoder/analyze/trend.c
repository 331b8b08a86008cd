#include "analyze/trend.h"

#include <stdlib.h>

#define FIRST_EVERY 64u
#define COUNTED_LEAST 3u /* censuses are seconds apart: fewer points, but each after much has happened */

void tide_trend_release(struct tide_trend *t)
{
	for (uint32_t i = 0; i < TIDE_TREND_POINTS; i++)
		free(t->live[i]);
	*t = (struct tide_trend){0};
}

/* Keeps every second point, and takes half as many from now on. */
static void thin(struct tide_trend *t)
{
	for (uint32_t i = 0; i < TIDE_TREND_POINTS / 2; i++) {
		free(t->live[2 * i + 1]);
		t->live[i] = t->live[2 * i];
		t->sites[i] = t->sites[2 * i];
	}
	for (uint32_t i = TIDE_TREND_POINTS / 2; i < TIDE_TREND_POINTS; i++)
		t->live[i] = NULL;
	t->points = TIDE_TREND_POINTS / 2;
	t->every *= 2;
}

bool tide_trend_wants(struct tide_trend *t, uint64_t index)
{
	if (!t->every)
		t->every = 1;
	if (index < t->next)
		return false;
	if (t->points == TIDE_TREND_POINTS)
		thin(t);
	t->next = index + t->every;
	return true;
}

void tide_trend_add(struct tide_trend *t, uint64_t *live, uint32_t sites)
{
	t->live[t->points] = live;
	t->sites[t->points++] = sites;
}

bool tide_trend_event(struct tide_trend *t, const struct tide_replay *r, uint64_t index)
{
	if (!t->every)
		t->every = t->next = FIRST_EVERY;
	if (!tide_trend_wants(t, index))
		return true;
	uint64_t *live = malloc((r->sites + 1ull) * sizeof *live);
	if (!live)
		return false;
	for (uint32_t i = 0; i < r->sites; i++)
		live[i] = r->site[i].live_bytes;
	tide_trend_add(t, live, r->sites);
	return true;
}

static uint64_t at(const struct tide_trend *t, uint32_t point, uint32_t site)
{
	return site < t->sites[point] ? t->live[point][site] : 0;
}

void tide_trend_site(const struct tide_trend *t, const struct tide_replay *r, uint32_t site, struct tide_growth *ret)
{
	struct tide_growth g = {0};
	uint64_t now = r->site[site].live_bytes, half = 0;
	if (t->points >= (r->site[site].counted_bytes ? COUNTED_LEAST : TIDE_TREND_LEAST)) {
		uint32_t from = t->points / 2;
		half = at(t, from, site);
		for (uint32_t i = from; i < t->points; i++) {
			uint64_t next = i + 1 < t->points ? at(t, i + 1, site) : now;
			g.rises += next > at(t, i, site);
			g.steps++;
		}
		g.bytes = now > half ? now - half : 0;
		g.known = true;
		/* in the last half of the events, in nearly every step, and a good part of all there is */
		g.grows = g.bytes >= now / 5 && g.rises * 4 >= g.steps * 3;
	}
	*ret = g;
}

double tide_growth_score(const struct tide_growth *g, const struct tide_site *s)
{
	double live = (double)s->live_bytes, own = live - (double)s->inherited_bytes, score = g->grows ? 0.6 : 0;
	if (s->live_bytes)
		score += 0.3 * (double)g->old_bytes / live;
	if (s->alloc_bytes)
		score += 0.1 * (own < (double)s->alloc_bytes ? own / (double)s->alloc_bytes : 1);
	return score;
}
