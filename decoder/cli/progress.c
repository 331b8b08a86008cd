/* A thread of its own, so that nothing that works needs to know of it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"
#include "render/safe.h"

enum { NAME_COLUMNS = 48, PERIOD_MS = 250, FIRST_MS = 1000 };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t end;
	pthread_t thread;
	bool on, ending, shown;
	char what[512];
	size_t done, all;
	struct timespec began;
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct timespec after(struct timespec t, long ms)
{
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static void show(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	fprintf(stderr, "\r\033[Ktidemark: reading %zu of %zu: ", progress.done + 1, progress.all);
	tide_safe_text(stderr, progress.what, NAME_COLUMNS);
	fprintf(stderr, ", %ld s ", (long)(now.tv_sec - progress.began.tv_sec));
	fflush(stderr);
	progress.shown = true;
}

static void *watch(void *unused)
{
	struct timespec next = after(progress.began, FIRST_MS);
	pthread_mutex_lock(&progress.lock);
	while (!progress.ending) {
		if (pthread_cond_timedwait(&progress.end, &progress.lock, &next) == 0)
			continue;
		if (progress.all)
			show();
		next = after(next, PERIOD_MS);
	}
	pthread_mutex_unlock(&progress.lock);
	return unused;
}

void tide_progress_begin(bool on)
{
	pthread_condattr_t clock;
	if (!on)
		return;
	clock_gettime(CLOCK_MONOTONIC, &progress.began);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&progress.end, &clock);
	pthread_condattr_destroy(&clock);
	progress.on = pthread_create(&progress.thread, NULL, watch, NULL) == 0;
}

void tide_progress_say(const char *what, size_t done, size_t all)
{
	if (!progress.on)
		return;
	pthread_mutex_lock(&progress.lock);
	snprintf(progress.what, sizeof progress.what, "%s", what);
	progress.done = done;
	progress.all = all;
	pthread_mutex_unlock(&progress.lock);
}

void tide_progress_end(void)
{
	if (!progress.on)
		return;
	pthread_mutex_lock(&progress.lock);
	progress.ending = true;
	pthread_cond_signal(&progress.end);
	pthread_mutex_unlock(&progress.lock);
	pthread_join(progress.thread, NULL);
	if (progress.shown)
		fputs("\r\033[K", stderr);
	progress.on = false;
}
