#include "read/crew.h"

#include <sched.h>
#include <stdlib.h>

#define AHEAD_OPS (UINT32_C(1) << 17) /* of all lanes together, about */
#define AHEAD_MOST 32u                /* chunks of a way */
#define ENOUGH 8u                     /* chunks to wake up for */
#define WAYS_OPS (UINT32_C(1) << 12)  /* so many must a lane have ahead to be worth more than one way */

/* ---- with the lock held ---- */

/* A way in which somebody could fill a chunk; the sooner it is needed the better. NULL: none. */
static struct tide_way *idle_way(struct tide_ahead *a, uint32_t most)
{
	for (uint32_t i = 0; i < a->ways; i++) {
		struct tide_way *w = &a->way[(a->at + i) % a->ways];
		if (!w->busy && !w->ended && w->chunks < most)
			return w;
	}
	return NULL;
}

/* Not for a chunk or two: waking a thread costs more than to fill one. */
static void want(struct tide_crew *c, struct tide_ahead *a)
{
	if (a->wanted || !idle_way(a, c->chunks_ahead / 2 + 1))
		return;
	a->wanted = true;
	a->next = NULL;
	if (c->last)
		c->last->next = a;
	else
		c->first = a;
	c->last = a;
	pthread_cond_signal(&c->work);
}

static struct tide_ahead *next_wanted(struct tide_crew *c)
{
	struct tide_ahead *a = c->first;
	if (!a)
		return NULL;
	c->first = a->next;
	if (!c->first)
		c->last = NULL;
	a->wanted = false;
	return a;
}

static void unwant(struct tide_crew *c, struct tide_ahead *a)
{
	struct tide_ahead **at = &c->first, *before = NULL;
	while (*at && *at != a) {
		before = *at;
		at = &before->next;
	}
	if (!*at)
		return;
	*at = a->next;
	if (c->last == a)
		c->last = before;
	a->wanted = false;
}

static void throw_in(struct tide_crew *c, struct tide_chunk *list)
{
	while (list) {
		struct tide_chunk *next = list->next;
		list->next = c->spare;
		c->spare = list;
		list = next;
	}
}

/* What was handed over once is in the caches of the core that took it, and comes back from there line by line, slower than an
 * operation is unpacked: filled elsewhere and copied, the lines come together. */
static void fill_by_copy(struct tide_crew *c, struct tide_way *w, struct tide_scratch *s, struct tide_chunk *chunk)
{
	if (!s->draft)
		s->draft = tide_chunk_new(c->chunk_ops);
	if (!s->draft)
		return tide_feed_fill(w->feed, c->env, s, chunk);
	tide_feed_fill(w->feed, c->env, s, s->draft);
	tide_chunk_copy(chunk, s->draft);
}

/* Fills one chunk of a way that is not busy; lets go of the lock meanwhile. NULL: no memory. */
static struct tide_chunk *fill(struct tide_crew *c, struct tide_way *w, struct tide_scratch *scratch)
{
	struct tide_chunk *chunk = c->spare;
	if (chunk)
		c->spare = chunk->next;
	w->busy = true;
	pthread_mutex_unlock(&c->lock);
	if (!chunk)
		chunk = tide_chunk_new(c->chunk_ops);
	if (chunk) {
		chunk->next = NULL;
		fill_by_copy(c, w, scratch, chunk);
	}
	pthread_mutex_lock(&c->lock);
	w->busy = false;
	w->ended = w->ended || !chunk || chunk->last || chunk->load == TIDE_LOAD_NOMEM;
	return chunk;
}

/* The same for later. True: the block goes on, and so may the caller. */
static bool fill_ahead(struct tide_crew *c, struct tide_way *w, struct tide_scratch *scratch)
{
	struct tide_chunk *chunk = fill(c, w, scratch);
	bool more = chunk && !chunk->ends && !w->ended && w->chunks + 1 < c->chunks_ahead;
	if (chunk) {
		if (w->last)
			w->last->next = chunk;
		else
			w->first = chunk;
		w->last = chunk;
		w->chunks++;
	}
	if (c->waiting && (!more || w->chunks >= c->enough))
		pthread_cond_signal(&c->filled);
	return more;
}

/* Block by block, for what unpacking one has learned is in this core's caches. */
static void work_on(struct tide_crew *c, struct tide_ahead *a, struct tide_scratch *scratch)
{
	struct tide_way *w;
	while (!c->ending && (w = idle_way(a, c->chunks_ahead)))
		while (fill_ahead(c, w, scratch) && !c->ending)
			;
}

void tide_leave_core(int core)
{
	cpu_set_t mine, others;
	if (core < 0 || core >= CPU_SETSIZE || sched_getaffinity(0, sizeof mine, &mine) != 0)
		return;
	others = mine;
	CPU_CLR(core, &others);
	if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0)
		sched_setaffinity(0, sizeof mine, &mine);
}

static void *work(void *arg)
{
	struct tide_crew *c = arg;
	struct tide_scratch scratch = {0};
	tide_leave_core(c->core);
	pthread_mutex_lock(&c->lock);
	while (!c->ending) {
		struct tide_ahead *a = next_wanted(c);
		if (a) {
			work_on(c, a, &scratch);
			continue;
		}
		atomic_fetch_add_explicit(&c->idle, 1, memory_order_relaxed);
		pthread_cond_wait(&c->work, &c->lock);
		atomic_fetch_sub_explicit(&c->idle, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&c->lock);
	tide_scratch_release(&scratch);
	return NULL;
}

/* ---- the merge's thread ---- */

struct tide_crew *tide_crew_new(unsigned threads, const struct tide_feed_env *env, uint32_t chunk_ops, uint32_t lanes)
{
	struct tide_crew *c = calloc(1, sizeof *c);
	pthread_t *thread = calloc(threads + 1ull, sizeof *thread);
	if (!c || !thread) {
		free(c);
		free(thread);
		return NULL;
	}
	uint32_t ahead = AHEAD_OPS / chunk_ops / (lanes ? lanes : 1), ways = threads + 1;
	*c = (struct tide_crew){.thread = thread, .env = env, .chunk_ops = chunk_ops, .core = sched_getcpu()};
	ways = ways < TIDE_WAYS_MOST ? ways : TIDE_WAYS_MOST;
	c->ways = ahead * chunk_ops < WAYS_OPS ? 1 : ways;
	ahead /= c->ways;
	c->chunks_ahead = ahead < 1 ? 1 : ahead > AHEAD_MOST ? AHEAD_MOST : ahead;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	pthread_cond_init(&c->filled, NULL);
	while (c->threads < threads && pthread_create(&thread[c->threads], NULL, work, c) == 0)
		c->threads++;
	if (c->threads > 0)
		return c;
	tide_crew_free(c);
	return NULL;
}

void tide_crew_free(struct tide_crew *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->threads; i++)
		pthread_join(c->thread[i], NULL);
	while (c->spare) {
		struct tide_chunk *next = c->spare->next;
		tide_chunk_free(c->spare);
		c->spare = next;
	}
	pthread_cond_destroy(&c->work);
	pthread_cond_destroy(&c->filled);
	pthread_mutex_destroy(&c->lock);
	free(c->thread);
	free(c);
}

static void wait_filled(struct tide_crew *c, uint32_t enough)
{
	c->waiting = true;
	c->enough = enough;
	pthread_cond_wait(&c->filled, &c->lock);
	c->waiting = false;
}

static struct tide_chunk *pop(struct tide_way *w)
{
	struct tide_chunk *chunk = w->first;
	w->first = chunk->next;
	if (!w->first)
		w->last = NULL;
	w->chunks--;
	chunk->next = NULL;
	return chunk;
}

bool tide_crew_open(struct tide_crew *c, struct tide_ahead *a, const struct tide_blocks_of *blocks)
{
	for (; a->ways < c->ways; a->ways++)
		if (!(a->way[a->ways].feed = tide_feed_new(blocks, a->ways, c->ways)))
			return false;
	return true;
}

/* Something to do while another fills what is needed. False: nothing is. */
static bool help(struct tide_crew *c, struct tide_ahead *a, struct tide_scratch *scratch)
{
	struct tide_way *w = idle_way(a, c->chunks_ahead);
	for (struct tide_ahead *other = c->first; !w && other; other = other->next)
		w = idle_way(other, c->chunks_ahead);
	if (w)
		fill_ahead(c, w, scratch);
	return w != NULL;
}

struct tide_chunk *tide_crew_take(struct tide_crew *c, struct tide_ahead *a, struct tide_scratch *scratch,
				  struct tide_chunk *spare)
{
	struct tide_way *w = &a->way[a->at];
	struct tide_chunk *chunk;
	pthread_mutex_lock(&c->lock);
	throw_in(c, spare);
	want(c, a);
	while (!w->first && w->busy)
		if (!help(c, a, scratch))
			wait_filled(c, ENOUGH);
	chunk = w->first ? pop(w) : fill(c, w, scratch); /* sooner done than waited for */
	if (chunk && chunk->ends)
		a->at = (a->at + 1) % a->ways;
	pthread_mutex_unlock(&c->lock);
	return chunk;
}

static bool is_busy(const struct tide_ahead *a)
{
	for (uint32_t i = 0; i < a->ways; i++)
		if (a->way[i].busy)
			return true;
	return false;
}

void tide_crew_close(struct tide_crew *c, struct tide_ahead *a)
{
	pthread_mutex_lock(&c->lock);
	unwant(c, a);
	for (uint32_t i = 0; i < a->ways; i++)
		a->way[i].ended = true;
	while (is_busy(a))
		wait_filled(c, 0);
	for (uint32_t i = 0; i < a->ways; i++)
		throw_in(c, a->way[i].first);
	pthread_mutex_unlock(&c->lock);
	for (uint32_t i = 0; i < a->ways; i++)
		tide_feed_free(a->way[i].feed);
	*a = (struct tide_ahead){0};
}
