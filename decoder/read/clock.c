#include "read/clock.h"

#include <stdlib.h>

/* Two anchors closer than this say nothing about the rate: reading both clocks is not one instant when the
 * thread is preempted between them. About 5 ms at 3 GHz. */
#define APART_MIN (UINT64_C(1) << 24)
/* Greater numbers are nonsense; so no sum or product below overflows. */
#define NUMBER_MAX (UINT64_C(1) << 62)
/* Past the last anchor the clock stops after this many ns. */
#define AFTER_LAST_MAX (UINT64_C(1) << 61)

void tide_clock_init(struct tide_clock *c)
{
	*c = (struct tide_clock){0};
}

void tide_clock_release(struct tide_clock *c)
{
	free(c->anchor);
	*c = (struct tide_clock){0};
}

int tide_clock_add(struct tide_clock *c, uint64_t ticks, uint64_t ns)
{
	if (ticks == 0 || ns == 0 || ticks > NUMBER_MAX || ns > NUMBER_MAX)
		return 0;
	if (c->count == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 64;
		struct tide_anchor *anchor = realloc(c->anchor, cap * sizeof *anchor);
		if (!anchor)
			return -1;
		c->anchor = anchor;
		c->cap = cap;
	}
	c->anchor[c->count++] = (struct tide_anchor){ticks, ns};
	return 0;
}

static int compare_anchors(const void *va, const void *vb)
{
	const struct tide_anchor *a = va, *b = vb;
	if (a->ticks != b->ticks)
		return a->ticks < b->ticks ? -1 : 1;
	return (a->ns > b->ns) - (a->ns < b->ns);
}

void tide_clock_finish(struct tide_clock *c)
{
	if (c->count > 1)
		qsort(c->anchor, c->count, sizeof *c->anchor, compare_anchors);
	size_t kept = 0;
	for (size_t i = 0; i < c->count; i++) {
		struct tide_anchor a = c->anchor[i], *last = kept ? &c->anchor[kept - 1] : NULL;
		if (last && (a.ticks <= last->ticks || a.ns <= last->ns))
			continue;
		/* Too close: the later of the two serves better, but the first of all stays. */
		if (kept > 1 && a.ticks - c->anchor[kept - 2].ticks < APART_MIN)
			kept--;
		c->anchor[kept++] = a;
	}
	c->count = kept;
	c->from = 1;
	c->to = 0;
}

static double rate_between(const struct tide_anchor *a, const struct tide_anchor *b)
{
	return a == b ? 1.0 : (double)(b->ns - a->ns) / (double)(b->ticks - a->ticks);
}

static void stand_still(struct tide_clock *c, uint64_t ticks, uint64_t ns)
{
	c->from = ticks;
	c->to = ticks + 1;
	c->from_ns = ns;
	c->rate = 0;
}

static void after_last(struct tide_clock *c, uint64_t ticks)
{
	const struct tide_anchor *last = c->anchor + c->count - 1;
	c->rate = rate_between(c->anchor, last);
	uint64_t most = (uint64_t)((double)AFTER_LAST_MAX / (c->rate > 1 ? c->rate : 1));
	c->from = last->ticks;
	c->from_ns = last->ns;
	c->to = last->ticks + most;
	if (ticks >= c->to)
		stand_still(c, ticks, last->ns + AFTER_LAST_MAX);
}

/* Before the first anchor time stands still at it. */
void tide_clock_seek(struct tide_clock *c, uint64_t ticks)
{
	if (c->count == 0 || ticks < c->anchor[0].ticks) {
		stand_still(c, ticks, c->count ? c->anchor[0].ns : 0);
		return;
	}
	size_t low = 0, high = c->count;
	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		if (c->anchor[mid].ticks <= ticks)
			low = mid;
		else
			high = mid;
	}
	if (low + 1 == c->count) {
		after_last(c, ticks);
		return;
	}
	c->from = c->anchor[low].ticks;
	c->from_ns = c->anchor[low].ns;
	c->to = c->anchor[low + 1].ticks;
	c->rate = rate_between(&c->anchor[low], &c->anchor[low + 1]);
}
