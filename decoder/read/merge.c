#include "read/merge.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* About 1.4 us at 3 GHz: far more than counters of two cores were ever seen to differ. */
#define MERGE_MARGIN UINT64_C(4096)
/* How long an epoch is waited for. One that must be there: about 3 s, for a thread may not get a CPU for that long between taking
 * a word and reading the counter; but one that died in between (killed, cancelled, left by a longjmp) must not stop its word's
 * lanes for ever. One that may be missing: about 5 ms. */
#define PATIENCE_WHOLE (UINT64_C(1) << 33)
#define PATIENCE_GAPS (UINT64_C(1) << 24)

#define WORDS_LEN (TIDE_WORDS * sizeof(struct tide_word))

#define WHOLE (UINT32_C(1) << 31)

static uint64_t after(uint64_t ticks, uint64_t more)
{
	return ticks > UINT64_MAX - more ? UINT64_MAX : ticks + more;
}

/* ---- heaps of lanes; lane->heap_pos is kept so that one can be taken from the middle ---- */

static bool goes_before(const struct tide_lane *a, const struct tide_lane *b)
{
	if (a->key != b->key)
		return a->key < b->key;
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

static uint32_t number(const struct tide_merge *m, const struct tide_lane *lane)
{
	return (uint32_t)(lane - m->lane);
}

static void heap_push(struct tide_merge *m, struct tide_heap *h, struct tide_lane *lane, uint64_t key)
{
	lane->key = key;
	heap_up(m, h, h->count++, number(m, lane));
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

static void make_ready(struct tide_merge *m, struct tide_lane *lane)
{
	heap_push(m, &m->ready, lane, lane->run_ticks);
}

/* ---- waiting ---- */

static bool is_whole(const struct tide_merge *m, uint32_t word)
{
	return m->complete && (m->whole_from == 0 || m->word[word].owner & WHOLE);
}

/* Is the epoch before the lane's in what others have unpacked? */
static bool is_coming(const struct tide_merge *m, const struct tide_lane *lane)
{
	for (uint32_t i = 0; i < m->lanes; i++)
		if (m->lane[i].started && &m->lane[i] != lane &&
		    tide_lane_begins(&m->lane[i], lane->op->word, lane->seq - 1))
			return true;
	return false;
}

/* Has `other`, which is behind its turn, events on the word of lane's SYNC from before that? As must_wait. */
static int waits_for_lane(struct tide_merge *m, struct tide_lane_env *env, struct tide_lane *lane,
			  struct tide_lane *other)
{
	uint64_t until = after(lane->run_ticks, MERGE_MARGIN);
	if (other == lane || other->ended || !other->started || other->run_ticks > until)
		return 0;
	lane->wait_for = TIDE_WORDS + number(m, other);
	return tide_lane_uses(other, env, lane->op->word, until);
}

/* Does the run begin with the mark that the program began to end? What all threads did before it comes before it. */
static bool is_the_end(const struct tide_lane *lane)
{
	return lane->op->kind == TIDE_KIND_MARK && tide_mark_ends(lane->chunk->extra[lane->extra].value);
}

/* Is somebody held back who was earlier? As must_wait. */
static int waits_for_all(const struct tide_merge *m, struct tide_lane *lane)
{
	for (uint32_t i = 0; i < m->lanes && m->waiting > 0; i++) {
		if (!m->lane[i].waits || after(m->lane[i].run_ticks, MERGE_MARGIN) > lane->run_ticks)
			continue;
		lane->wait_for = TIDE_WORDS + i;
		return 1;
	}
	return 0;
}

/* 1: not yet; lane->wait_for is what has to happen first. TIDE_ERR_NOMEM. */
static int must_wait(struct tide_merge *m, struct tide_lane_env *env, struct tide_lane *lane)
{
	if (lane->hope != TIDE_GOES_ANYHOW && is_the_end(lane) && waits_for_all(m, lane))
		return 1;
	if (lane->seq == 0 || lane->hope == TIDE_GOES_ANYHOW)
		return 0;
	const struct tide_word *w = &m->word[lane->op->word];
	if (lane->seq <= w->epoch)
		return 0;
	if (w->epoch && lane->seq == w->epoch + 1)
		return waits_for_lane(m, env, lane, &m->lane[w->owner & ~WHOLE]);
	if (lane->seq > 1 && lane->hope == TIDE_HOPES && (lane->run_ticks >= m->whole_from || is_coming(m, lane))) {
		lane->wait_for = lane->op->word;
		return 1;
	}
	/* who began the epoch before is not known: whoever has events from before */
	int got = 0;
	for (uint32_t i = 0; i < m->lanes && got == 0 && lane->seq > 1; i++)
		got = waits_for_lane(m, env, lane, &m->lane[i]);
	return got;
}

/* A lane whose beginning was evicted has events on words that it took before: not while another is behind that may have had
 * them before it. As must_wait. */
static int must_wait_to_start(struct tide_merge *m, struct tide_lane *lane)
{
	if (tide_lane_evicted(lane) == 0)
		return 0;
	for (uint32_t i = 0; i < m->lanes && m->waiting > 0; i++) {
		if (!m->lane[i].waits || m->lane[i].run_ticks > after(lane->run_ticks, MERGE_MARGIN) ||
		    !m->lane[i].started)
			continue;
		lane->wait_for = TIDE_WORDS + i;
		return 1;
	}
	return 0;
}

/* To be changed. */
static struct tide_word *use_word(struct tide_merge *m, uint32_t word)
{
	m->used[word / TIDE_WORDS_TOGETHER] = true;
	return &m->word[word];
}

static uint32_t *waiters_for(struct tide_merge *m, uint32_t what)
{
	return what < TIDE_WORDS ? &use_word(m, what)->waiters : &m->lane_waiters[what - TIDE_WORDS];
}

static void begin_wait(struct tide_merge *m, struct tide_lane *lane)
{
	uint32_t *first = waiters_for(m, lane->wait_for);
	lane->waits = true;
	lane->wait_next = *first;
	*first = number(m, lane) + 1;
	m->waiting++;
	if (lane->wait_for >= TIDE_WORDS)
		return;
	bool whole = is_whole(m, lane->wait_for);
	heap_push(m, &m->vain, lane, after(lane->run_ticks, whole ? PATIENCE_WHOLE : PATIENCE_GAPS));
}

static void leave_wait(struct tide_merge *m, struct tide_lane *lane)
{
	lane->waits = false;
	m->waiting--;
	if (lane->wait_for < TIDE_WORDS)
		heap_remove(m, &m->vain, lane);
}

/* Whoever waits for `what` is ready again, and asks again when its turn comes. */
static void wake(struct tide_merge *m, uint32_t what)
{
	uint32_t *first = waiters_for(m, what), next = *first;
	*first = 0;
	while (next) {
		struct tide_lane *lane = &m->lane[next - 1];
		next = lane->wait_next;
		leave_wait(m, lane);
		make_ready(m, lane);
	}
}

/* Takes one lane out of those that wait: it shall go on. */
static void end_wait(struct tide_merge *m, struct tide_lane *lane)
{
	uint32_t *at = waiters_for(m, lane->wait_for);
	while (*at != number(m, lane) + 1)
		at = &m->lane[*at - 1].wait_next;
	*at = lane->wait_next;
	leave_wait(m, lane);
}

/* Nobody is ready: the first whose epoch is not seen to come; it is not there, for whoever had it could go on. */
static struct tide_lane *least_hopeful(struct tide_merge *m)
{
	struct tide_lane *best = NULL, *any = NULL;
	for (uint32_t i = 0; i < m->lanes; i++) {
		struct tide_lane *lane = &m->lane[i];
		if (!lane->waits)
			continue;
		if (!any || lane->run_ticks < any->run_ticks)
			any = lane;
		if (lane->wait_for < TIDE_WORDS && (!best || lane->run_ticks < best->run_ticks) && !is_coming(m, lane))
			best = lane;
	}
	return best ? best : any;
}

static void give_up(struct tide_merge *m, struct tide_lane *lane)
{
	lane->hope = lane->wait_for < TIDE_WORDS ? TIDE_GAVE_UP : TIDE_GOES_ANYHOW;
	m->anomalies += m->complete && m->whole_from == 0;
	end_wait(m, lane);
	make_ready(m, lane);
}

/* Whoever has waited long enough gives up. */
static void end_patience(struct tide_merge *m)
{
	struct tide_lane *lane;
	while (m->ready.count > 0 && (lane = heap_first(m, &m->vain)) && lane->key < heap_first(m, &m->ready)->key) {
		if (!is_coming(m, lane)) {
			give_up(m, lane);
			continue;
		}
		uint64_t now = heap_first(m, &m->ready)->key;
		heap_remove(m, &m->vain, lane);
		heap_push(m, &m->vain, lane, after(now, PATIENCE_GAPS));
	}
	if (m->ready.count == 0 && m->waiting > 0)
		give_up(m, least_hopeful(m));
}

static void begin_epoch(struct tide_merge *m, const struct tide_lane *lane)
{
	struct tide_word *w = use_word(m, lane->op->word);
	if (lane->seq <= w->epoch) { /* whoever waited for it has gone on without */
		m->anomalies += !m->complete || m->whole_from != 0;
		return;
	}
	w->epoch = lane->seq;
	w->owner = number(m, lane) | (lane->run_ticks >= m->whole_from ? WHOLE : 0);
	if (w->waiters)
		wake(m, lane->op->word);
}

/* ---- the merge ---- */

bool tide_merge_init(struct tide_merge *m, struct tide_lane *lane, uint32_t lanes)
{
	*m = (struct tide_merge){.lane = lane, .lanes = lanes};
	m->ready.lane = calloc((size_t)lanes + 1, sizeof *m->ready.lane);
	m->vain.lane = calloc((size_t)lanes + 1, sizeof *m->vain.lane);
	m->lane_waiters = calloc((size_t)lanes + 1, sizeof *m->lane_waiters);
	/* a megabyte of which a small log uses a few pages: calloc would clear all of it whenever it is not new */
	void *word = mmap(NULL, WORDS_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m->word = word == MAP_FAILED ? NULL : word;
	if (m->ready.lane && m->vain.lane && m->lane_waiters && m->word)
		return true;
	tide_merge_release(m);
	return false;
}

void tide_merge_release(struct tide_merge *m)
{
	free(m->ready.lane);
	free(m->vain.lane);
	free(m->lane_waiters);
	if (m->word)
		munmap(m->word, WORDS_LEN);
	*m = (struct tide_merge){0};
}

static void clear_words(struct tide_merge *m)
{
	for (uint32_t i = 0; i < sizeof m->used; i++)
		if (m->used[i])
			memset(&m->word[i * TIDE_WORDS_TOGETHER], 0, TIDE_WORDS_TOGETHER * sizeof *m->word);
	memset(m->used, 0, sizeof m->used);
}

void tide_merge_start(struct tide_merge *m, uint64_t whole_from, bool complete)
{
	m->ready.count = m->vain.count = m->waiting = 0;
	m->taken = NULL;
	m->index = m->anomalies = 0;
	m->whole_from = whole_from;
	m->complete = complete;
	m->batch = (struct tide_batch){0};
	memset(m->lane_waiters, 0, m->lanes * sizeof *m->lane_waiters);
	clear_words(m);
	for (uint32_t i = 0; i < m->lanes; i++) {
		struct tide_lane *lane = &m->lane[i];
		lane->started = lane->waits = false;
		lane->seq = 0;
		lane->run_ticks = tide_lane_begin_ticks(lane);
		lane->ended = lane->run_ticks == UINT64_MAX;
		if (!lane->ended)
			make_ready(m, lane);
	}
}

/* To the lane's next run, with all that follows from it. 1: the lane goes on at once. 0: it does not. */
static int advance(struct tide_merge *m, struct tide_lane_env *env, struct tide_lane *lane)
{
	int got = tide_lane_advance(lane, env);
	if (got < 0)
		return got;
	lane->started = true;
	lane->ended = got == 0;
	lane->hope = TIDE_HOPES;
	if (m->lane_waiters[number(m, lane)])
		wake(m, TIDE_WORDS + number(m, lane));
	if (lane->ended)
		return 0;
	lane->key = lane->run_ticks;
	if (m->waiting == 0 && !lane->seq && (m->ready.count == 0 || goes_before(lane, &m->lane[m->ready.lane[0]])))
		return 1;
	make_ready(m, lane);
	return 0;
}

/* The first of those that are ready. 1: its run comes next. 0: not yet. */
static int try_first(struct tide_merge *m, struct tide_lane_env *env, struct tide_lane *lane)
{
	heap_remove(m, &m->ready, lane);
	int got = lane->started ? must_wait(m, env, lane) : must_wait_to_start(m, lane);
	if (got == 0 && !lane->started)
		return advance(m, env, lane);
	if (got == 1)
		begin_wait(m, lane);
	return got < 0 ? got : !got;
}

/* 1: *ret is the lane whose run comes next. */
static int choose(struct tide_merge *m, struct tide_lane_env *env, struct tide_lane **ret)
{
	int got = 0;
	while (got == 0) {
		if (m->waiting > 0)
			end_patience(m);
		*ret = heap_first(m, &m->ready);
		if (!*ret)
			return 0;
		got = try_first(m, env, *ret);
	}
	return got;
}

int tide_merge_batch(struct tide_merge *m, struct tide_lane_env *env, struct tide_batch *ret)
{
	struct tide_lane *lane = m->taken;
	int got = lane ? advance(m, env, lane) : 0;
	m->taken = NULL;
	if (got == 0)
		got = choose(m, env, &lane);
	if (got != 1)
		return got;
	*ret = (struct tide_batch){
		.op = lane->op,
		.count = lane->ops,
		.ahead = (uint32_t)(lane->chunk->op + lane->chunk->ops - lane->op) - lane->ops,
		.extra = lane->chunk->extra + lane->extra,
		.has_extra = lane->extra < lane->chunk->extras,
		.pair = lane->pair,
		.lane = lane->index,
		.tid = lane->tid,
		.time_ns = tide_clock_ns(env->clock, lane->run_ticks),
		.index = m->index,
	};
	m->index += lane->ops;
	if (lane->seq)
		begin_epoch(m, lane);
	m->taken = lane;
	return 1;
}

void tide_batch_expand(struct tide_batch *b, const struct tide_stacks *stacks, struct tide_event *ret)
{
	const struct tide_op *op = b->op;
	uint32_t pair = b->pair[op->pair];
	*ret = (struct tide_event){
		.kind = (enum tide_kind)op->kind,
		.lane = b->lane,
		.tid = b->tid,
		.native = stacks->pair[pair].native,
		.python = stacks->pair[pair].python,
		.pair = pair,
		.time_ns = b->time_ns,
		.index = b->index,
		.addr = op->addr,
		.size = op->size,
		.unknown = op->unknown,
	};
	if (tide_kind_fields(op->kind) & TIDE_F_VALUE) {
		ret->value = b->extra->value;
		ret->value2 = b->extra->value2;
		b->extra++;
	}
	b->op++;
	b->index++;
	b->count--;
}

int tide_merge_next(struct tide_merge *m, struct tide_lane_env *env, struct tide_event *ret)
{
	if (m->batch.count == 0) {
		int got = tide_merge_batch(m, env, &m->batch);
		if (got != 1) {
			m->batch.count = 0;
			return got;
		}
	}
	tide_batch_expand(&m->batch, env->stacks, ret);
	return 1;
}
