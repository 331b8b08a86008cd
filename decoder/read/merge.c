#include "read/merge.h"

#include <stdlib.h>
#include <string.h>

/* About 0.3 ms at 3 GHz: far more than counters of two cores were ever seen to differ, far less than a block lasts. */
#define MERGE_SLACK (UINT64_C(1) << 20)

/* ---- heaps of lanes; lane->heap_pos is kept so that one can be taken from the middle ---- */

static bool goes_before(const struct tide_lane *a, const struct tide_lane *b)
{
	if (a->run_ticks != b->run_ticks)
		return a->run_ticks < b->run_ticks;
	if (!a->seq !=
	    !b->seq) /* in the same tick: who begins an epoch comes after who may have ended the one before */
		return !a->seq;
	return a->index < b->index;
}

static void heap_set(struct tide_merge *m, struct tide_heap *h, uint32_t pos, uint32_t lane)
{
	h->lane[pos] = lane;
	m->lane[lane].heap_pos = pos;
}

static void heap_up(struct tide_merge *m, struct tide_heap *h, uint32_t pos, uint32_t lane)
{
	while (pos > 0 && goes_before(&m->lane[lane], &m->lane[h->lane[(pos - 1) / 2]])) {
		heap_set(m, h, pos, h->lane[(pos - 1) / 2]);
		pos = (pos - 1) / 2;
	}
	heap_set(m, h, pos, lane);
}

static void heap_down(struct tide_merge *m, struct tide_heap *h, uint32_t pos, uint32_t lane)
{
	for (;;) {
		uint32_t child = 2 * pos + 1;
		if (child >= h->count)
			break;
		if (child + 1 < h->count && goes_before(&m->lane[h->lane[child + 1]], &m->lane[h->lane[child]]))
			child++;
		if (!goes_before(&m->lane[h->lane[child]], &m->lane[lane]))
			break;
		heap_set(m, h, pos, h->lane[child]);
		pos = child;
	}
	heap_set(m, h, pos, lane);
}

static void heap_push(struct tide_merge *m, struct tide_heap *h, struct tide_lane *lane)
{
	heap_up(m, h, h->count++, (uint32_t)(lane - m->lane));
}

static void heap_remove(struct tide_merge *m, struct tide_heap *h, struct tide_lane *lane)
{
	uint32_t pos = lane->heap_pos, last = h->lane[--h->count];
	if (pos == h->count)
		return;
	if (pos > 0 && goes_before(&m->lane[last], &m->lane[h->lane[(pos - 1) / 2]]))
		heap_up(m, h, pos, last);
	else
		heap_down(m, h, pos, last);
}

static struct tide_lane *heap_first(struct tide_merge *m, struct tide_heap *h)
{
	return h->count ? &m->lane[h->lane[0]] : NULL;
}

/* ---- epochs ---- */

static uint32_t word_of_next(const struct tide_lane *lane)
{
	return tide_kind_fields(lane->next.kind) & TIDE_F_ADDR ? tide_word_of(lane->next.addr) : 0;
}

static bool must_wait(const struct tide_merge *m, const struct tide_lane *lane)
{
	return lane->seq > m->epoch[word_of_next(lane)] + 1;
}

static void wait_for_epoch(struct tide_merge *m, struct tide_lane *lane)
{
	uint32_t *first = &m->waiters[word_of_next(lane)];
	lane->wait_next = *first;
	*first = (uint32_t)(lane - m->lane) + 1;
	heap_push(m, &m->waiting, lane);
}

/* Takes a lane out of those that wait. */
static void end_wait(struct tide_merge *m, struct tide_lane *lane)
{
	uint32_t *at = &m->waiters[word_of_next(lane)];
	while (*at != (uint32_t)(lane - m->lane) + 1)
		at = &m->lane[*at - 1].wait_next;
	*at = lane->wait_next;
	heap_remove(m, &m->waiting, lane);
}

static void begin_epoch(struct tide_merge *m, const struct tide_lane *lane)
{
	uint32_t word = word_of_next(lane);
	if (lane->seq <= m->epoch[word]) { /* whoever waited for it has gone on without */
		m->anomalies += !m->gapless;
		return;
	}
	m->epoch[word] = lane->seq;
	uint32_t next = m->waiters[word];
	while (next) {
		struct tide_lane *waiter = &m->lane[next - 1];
		next = waiter->wait_next;
		if (must_wait(m, waiter))
			continue;
		end_wait(m, waiter);
		heap_push(m, &m->ready, waiter);
	}
}

/* ---- the merge ---- */

bool tide_merge_init(struct tide_merge *m, struct tide_lane *lane, uint32_t lanes)
{
	*m = (struct tide_merge){.lane = lane, .lanes = lanes};
	m->ready.lane = calloc((size_t)lanes + 1, sizeof *m->ready.lane);
	m->waiting.lane = calloc((size_t)lanes + 1, sizeof *m->waiting.lane);
	m->epoch = calloc(TIDE_WORDS, sizeof *m->epoch);
	m->waiters = calloc(TIDE_WORDS, sizeof *m->waiters);
	if (m->ready.lane && m->waiting.lane && m->epoch && m->waiters)
		return true;
	tide_merge_release(m);
	return false;
}

void tide_merge_release(struct tide_merge *m)
{
	free(m->ready.lane);
	free(m->waiting.lane);
	free(m->epoch);
	free(m->waiters);
	*m = (struct tide_merge){0};
}

void tide_merge_start(struct tide_merge *m, bool gapless)
{
	m->ready.count = m->waiting.count = 0;
	m->current = NULL;
	m->index = m->anomalies = 0;
	m->gapless = gapless;
	memset(m->epoch, 0, TIDE_WORDS * sizeof *m->epoch);
	memset(m->waiters, 0, TIDE_WORDS * sizeof *m->waiters);
	for (uint32_t i = 0; i < m->lanes; i++) {
		struct tide_lane *lane = &m->lane[i];
		lane->started = false;
		lane->seq = 0;
		lane->run_ticks = tide_lane_begin_ticks(lane);
		if (lane->run_ticks != UINT64_MAX)
			heap_push(m, &m->ready, lane);
	}
}

/* Who waited long enough: all others are past it by more than counters can disagree. Where events are missing, the epoch
 * waited for is most likely one of them, and waiting would let others overtake: there the ticks alone decide. */
static struct tide_lane *waited_in_vain(struct tide_merge *m)
{
	struct tide_lane *ready = heap_first(m, &m->ready), *waiting = heap_first(m, &m->waiting);
	if (!waiting)
		return NULL;
	uint64_t slack = m->gapless ? MERGE_SLACK : 0;
	if (ready && (ready->run_ticks <= waiting->run_ticks || ready->run_ticks - waiting->run_ticks <= slack))
		return NULL;
	end_wait(m, waiting);
	m->anomalies += m->gapless;
	return waiting;
}

static int start_lane(struct tide_merge *m, struct tide_lane_env *env, struct tide_lane *lane)
{
	int got = tide_lane_advance(lane, env);
	lane->started = true;
	if (got == 1)
		heap_push(m, &m->ready, lane);
	return got;
}

/* 1: m->current is the lane with the next event. */
static int choose(struct tide_merge *m, struct tide_lane_env *env)
{
	for (;;) {
		m->current = waited_in_vain(m);
		if (m->current)
			return 1;
		struct tide_lane *lane = heap_first(m, &m->ready);
		if (!lane)
			return 0;
		heap_remove(m, &m->ready, lane);
		if (!lane->started) {
			int got = start_lane(m, env, lane);
			if (got < 0)
				return got;
			continue;
		}
		if (must_wait(m, lane)) {
			wait_for_epoch(m, lane);
			continue;
		}
		m->current = lane;
		return 1;
	}
}

/* The current lane begins another run: does it keep its turn? */
static bool keeps_turn(struct tide_merge *m, const struct tide_lane *lane)
{
	if (m->waiting.count > 0 || lane->seq)
		return false;
	return m->ready.count == 0 || goes_before(lane, &m->lane[m->ready.lane[0]]);
}

int tide_merge_next(struct tide_merge *m, struct tide_lane_env *env, struct tide_event *ret)
{
	if (!m->current) {
		int got = choose(m, env);
		if (got != 1)
			return got;
	}
	struct tide_lane *lane = m->current;
	*ret = lane->next;
	ret->index = m->index++;
	if (lane->seq)
		begin_epoch(m, lane);
	int got = tide_lane_advance(lane, env);
	if (got < 0)
		return got;
	if (got == 0) {
		m->current = NULL;
	} else if (lane->run_begins && !keeps_turn(m, lane)) {
		heap_push(m, &m->ready, lane);
		m->current = NULL;
	}
	return 1;
}
