#include "read/crew.h"

#include <stdlib.h>

#define AHEAD_OPS (UINT32_C(1) << 17) /* of all lanes together, about */
#define AHEAD_MOST 16u                /* chunks of a lane */

/* ---- with the lock held ---- */

static void want(struct tide_crew *c, struct tide_ahead *a)
{
	if (a->wanted || a->busy || a->ended || a->chunks > c->chunks_ahead / 2)
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

/* Fills one chunk of a lane that is busy; lets go of the lock meanwhile. NULL: no memory. */
static struct tide_chunk *fill(struct tide_crew *c, struct tide_ahead *a, struct tide_scratch *scratch)
{
	struct tide_chunk *chunk = c->spare;
	if (chunk)
		c->spare = chunk->next;
	pthread_mutex_unlock(&c->lock);
	if (!chunk)
		chunk = tide_chunk_new(c->chunk_ops);
	if (chunk) {
		chunk->next = NULL;
		tide_feed_fill(a->feed, c->env, scratch, chunk);
	}
	pthread_mutex_lock(&c->lock);
	a->ended = a->ended || !chunk || chunk->last || chunk->load == TIDE_LOAD_NOMEM;
	return chunk;
}

static void append(struct tide_ahead *a, struct tide_chunk *chunk)
{
	if (a->last)
		a->last->next = chunk;
	else
		a->first = chunk;
	a->last = chunk;
	a->chunks++;
}

static void work_on(struct tide_crew *c, struct tide_ahead *a, struct tide_scratch *scratch)
{
	a->busy = true;
	while (!a->ended && !c->ending && a->chunks < c->chunks_ahead) {
		struct tide_chunk *chunk = fill(c, a, scratch);
		if (chunk)
			append(a, chunk);
		if (c->waiting)
			pthread_cond_signal(&c->filled);
	}
	a->busy = false;
	if (c->waiting)
		pthread_cond_signal(&c->filled);
}

static void *work(void *arg)
{
	struct tide_crew *c = arg;
	struct tide_scratch scratch = {0};
	pthread_mutex_lock(&c->lock);
	while (!c->ending) {
		struct tide_ahead *a = next_wanted(c);
		if (!a)
			pthread_cond_wait(&c->work, &c->lock);
		else if (!a->busy)
			work_on(c, a, &scratch);
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
	uint32_t ahead = AHEAD_OPS / chunk_ops / (lanes ? lanes : 1);
	*c = (struct tide_crew){.thread = thread, .env = env, .chunk_ops = chunk_ops};
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

static void wait_filled(struct tide_crew *c)
{
	c->waiting = true;
	pthread_cond_wait(&c->filled, &c->lock);
	c->waiting = false;
}

static struct tide_chunk *pop(struct tide_ahead *a)
{
	struct tide_chunk *chunk = a->first;
	a->first = chunk->next;
	if (!a->first)
		a->last = NULL;
	a->chunks--;
	chunk->next = NULL;
	return chunk;
}

struct tide_chunk *tide_crew_take(struct tide_crew *c, struct tide_ahead *a, struct tide_scratch *scratch,
				  struct tide_chunk *spare)
{
	struct tide_chunk *chunk;
	pthread_mutex_lock(&c->lock);
	throw_in(c, spare);
	while (!a->first && a->busy)
		wait_filled(c);
	if (a->first) {
		chunk = pop(a);
	} else { /* sooner done than waited for */
		a->busy = true;
		chunk = fill(c, a, scratch);
		a->busy = false;
	}
	want(c, a);
	pthread_mutex_unlock(&c->lock);
	return chunk;
}

void tide_crew_close(struct tide_crew *c, struct tide_ahead *a)
{
	pthread_mutex_lock(&c->lock);
	unwant(c, a);
	a->ended = true;
	while (a->busy)
		wait_filled(c);
	throw_in(c, a->first);
	pthread_mutex_unlock(&c->lock);
	*a = (struct tide_ahead){.feed = a->feed};
}
