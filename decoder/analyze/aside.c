#include "analyze/aside.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "read/crew.h"

#define PARTS 4u

struct part {
	uint32_t count;
	struct tide_change op[TIDE_ASIDE_MOST];
};

struct tide_aside {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	pthread_t thread;
	struct tide_caches *caches;
	uint32_t first, full; /* parts that are handed over and not taken in yet: from `first` on */
	bool ending, failed;
	int core;         /* the replay's, when this was made */
	uint32_t filling; /* the replay's: the part after those, which it fills */
	bool lent;        /* the replay's: the caches are the thread's */
	struct part part[PARTS];
};

static void *work(void *arg)
{
	struct tide_aside *a = arg;
	tide_leave_core(a->core);
	pthread_mutex_lock(&a->lock);
	while (a->full > 0 || !a->ending) {
		if (a->full == 0) {
			pthread_cond_wait(&a->work, &a->lock);
			continue;
		}
		const struct part *p = &a->part[a->first];
		bool ok = !a->failed;
		pthread_mutex_unlock(&a->lock);
		ok = ok && tide_caches_take(a->caches, p->op, p->count);
		pthread_mutex_lock(&a->lock);
		a->failed = !ok;
		a->first = (a->first + 1) % PARTS;
		a->full--;
		pthread_cond_signal(&a->done);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

struct tide_aside *tide_aside_new(struct tide_caches *caches)
{
	struct tide_aside *a = malloc(sizeof *a);
	if (!a)
		return NULL;
	a->caches = caches;
	a->first = a->full = a->filling = a->part[0].count = 0;
	a->ending = a->failed = a->lent = false;
	a->core = sched_getcpu();
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->work, NULL);
	pthread_cond_init(&a->done, NULL);
	if (pthread_create(&a->thread, NULL, work, a) == 0)
		return a;
	pthread_cond_destroy(&a->work);
	pthread_cond_destroy(&a->done);
	pthread_mutex_destroy(&a->lock);
	free(a);
	return NULL;
}

void tide_aside_free(struct tide_aside *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->ending = true;
	pthread_cond_signal(&a->work);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	pthread_cond_destroy(&a->work);
	pthread_cond_destroy(&a->done);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* Hands over what there is, and waits until at most `most` parts are not taken in. */
static void hand_over(struct tide_aside *a, uint32_t most)
{
	pthread_mutex_lock(&a->lock);
	if (a->part[a->filling].count > 0) {
		a->filling = (a->filling + 1) % PARTS;
		a->full++;
		pthread_cond_signal(&a->work);
	}
	while (a->full > most)
		pthread_cond_wait(&a->done, &a->lock);
	a->part[a->filling].count = 0;
	pthread_mutex_unlock(&a->lock);
}

/* The part in hand is full. */
static void end_part(struct tide_aside *a, bool idle)
{
	pthread_mutex_lock(&a->lock);
	bool ours = !idle && a->full == 0 && !a->failed;
	pthread_mutex_unlock(&a->lock);
	if (!ours) {
		hand_over(a, PARTS - 1);
		return;
	}
	struct part *p = &a->part[a->filling];
	a->failed = !tide_caches_take(a->caches, p->op, p->count); /* the thread looks at it when it gets a part */
	p->count = 0;
	a->lent = false;
}

bool tide_aside_give(struct tide_aside *a, const struct tide_change *change, uint32_t count, bool idle)
{
	if (a->lent && TIDE_ASIDE_MOST - a->part[a->filling].count < count)
		end_part(a, idle);
	if (!a->lent && !idle)
		return false;
	struct part *p = &a->part[a->filling];
	memcpy(p->op + p->count, change, count * sizeof *change);
	p->count += count;
	return a->lent = true;
}

bool tide_aside_finish(struct tide_aside *a)
{
	hand_over(a, 0);
	a->lent = false;
	return !a->failed;
}
