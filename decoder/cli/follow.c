#include "cli/follow.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "format/layout.h"
#include "format/wire.h"
#include "outside/beside.h"
#include "outside/census.h"
#include "read/alive.h"
#include "read/file.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* As the program's own censuses do (shim/census.c): at most 2 % of a core, and seldom while RSS stays as it is. */
#define COST_SHARE 50u
#define STEADY_FIRST 8u
#define STEADY_MOST 1024u
#define MOVED_LEAST (UINT64_C(1) << 20)
#define MOVED_SHARE 32u
#define BEING_MADE_S 10

/* A file of the directory that was looked at: a log of this session, or nothing to us. */
struct seen {
	UT_hash_handle hh;
	struct seen *next_log;
	bool followed;
	struct tide_outside process;
	struct tide_beside_writer writer;
	uint64_t inode;
	uint64_t next_ns, steady_ns, steady, rss;
	char name[]; /* the key */
};

struct tide_follow {
	const char *dir;
	uint64_t session, interval_ns;
	struct seen *seen;       /* by name */
	struct seen *logs;       /* those that are followed */
	struct timespec scanned; /* when the directory was last changed, as of the last whole scan */
	bool again;              /* a file there was not complete yet */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool ending;
	pthread_t thread;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool is_ending(struct tide_follow *f)
{
	pthread_mutex_lock(&f->lock);
	bool ending = f->ending;
	pthread_mutex_unlock(&f->lock);
	return ending;
}

/* ---- which logs there are ---- */

/* The first superblock, if it is whole: it is written once, when the file is made. */
static bool read_super(const struct tide_file *file, struct tide_superblock *ret)
{
	return tide_file_read(file, 0, ret, sizeof *ret) == sizeof *ret && ret->magic == TIDE_MAGIC_FILE &&
	       ret->version_major == TIDE_VERSION_MAJOR && ret->header_len == TIDE_SUPERBLOCK_LEN &&
	       tide_checksum(ret, ret->header_len, 0) == ret->checksum;
}

/* Of a file that is a log of the session: what is needed to follow it. False: it may become one. */
static bool look_at(struct tide_follow *f, const char *path, struct seen *s)
{
	struct tide_file file;
	struct tide_superblock super;
	struct stat st;
	if (tide_file_open(path, &file, NULL))
		return true;
	bool whole = read_super(&file, &super), there = fstat(file.fd, &st) == 0;
	tide_file_release(&file);
	if (!whole)
		return !there || st.st_mtime + BEING_MADE_S < time(NULL);
	s->inode = (uint64_t)st.st_ino;
	int pid = there && super.session == f->session ? tide_process_find(&super) : 0;
	if (pid && tide_outside_init(&s->process, pid, NULL) == TIDE_OK)
		s->followed = tide_beside_writer_init(&s->writer, path, super.file_uid, super.file_size);
	return true;
}

static void add(struct tide_follow *f, const char *name)
{
	struct seen *s;
	char *path = NULL;
	size_t len = strlen(name);
	HASH_FIND(hh, f->seen, name, len, s);
	if (s || asprintf(&path, "%s/%s", f->dir, name) < 0)
		return;
	s = calloc(1, sizeof *s + len + 1);
	if (s && look_at(f, path, s)) {
		memcpy(s->name, name, len);
		HASH_ADD(hh, f->seen, name[0], len, s);
	} else {
		free(s);
		s = NULL;
		f->again = true;
	}
	if (s && s->followed) {
		s->next_ns = clock_ns(CLOCK_MONOTONIC) + f->interval_ns; /* short programs are spared */
		s->next_log = f->logs;
		f->logs = s;
	}
	free(path);
}

static bool is_log_name(const char *name)
{
	size_t len = strlen(name);
	return len > 5 && strcmp(name + len - 5, ".tide") == 0;
}

/* Only if the directory has changed. */
static void scan(struct tide_follow *f)
{
	struct stat st;
	struct dirent *e;
	if (stat(f->dir, &st) != 0)
		return;
	if (!f->again && st.st_mtim.tv_sec == f->scanned.tv_sec && st.st_mtim.tv_nsec == f->scanned.tv_nsec)
		return;
	DIR *dir = opendir(f->dir);
	f->again = false;
	f->scanned = st.st_mtim;
	while (dir && (e = readdir(dir)))
		if (is_log_name(e->d_name))
			add(f, e->d_name);
	if (dir)
		closedir(dir);
}

/* ---- a look ---- */

static bool is_worth_it(const struct tide_follow *f, struct seen *s, uint64_t now)
{
	uint64_t rss = tide_outside_rss(s->process.pid), apart = rss > s->rss ? rss - s->rss : s->rss - rss;
	bool moved = apart >= MOVED_LEAST && apart >= s->rss / MOVED_SHARE;
	if (!moved && now < s->steady_ns)
		return false;
	s->steady = moved || !s->steady ? STEADY_FIRST : s->steady * 2 < STEADY_MOST ? s->steady * 2 : STEADY_MOST;
	s->steady_ns = now + s->steady * f->interval_ns;
	s->rss = rss;
	return true;
}

/* Takes a census of the process and writes it down, if it is still the one that writes this log. False: it is not, and will not be again. */
static bool look(struct seen *s)
{
	struct tide_outside_census census;
	bool goes_on = true;
	if (tide_outside_census_init(&census, &s->process, 1, NULL))
		return false;
	if (census.log_inode && census.log_inode != s->inode)
		goes_on = false; /* it has executed another program */
	else if (census.beacon && census.log_inode)
		goes_on = tide_beside_put(&s->writer, &census);
	tide_outside_census_release(&census);
	return goes_on;
}

static bool follow(struct tide_follow *f, struct seen *s)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), begun = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	bool goes_on = true;
	if (now < s->next_ns)
		return true;
	if (!tide_outside_stands(&s->process))
		return false;
	if (is_worth_it(f, s, now))
		goes_on = look(s);
	uint64_t wait = (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun) * COST_SHARE;
	s->next_ns = now + (wait < f->interval_ns ? f->interval_ns : wait);
	return goes_on;
}

static void *run(void *arg)
{
	struct tide_follow *f = arg;
	struct timespec next;
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (!is_ending(f)) {
		scan(f);
		for (struct seen **at = &f->logs; *at && !is_ending(f);) {
			struct seen *s = *at;
			if (follow(f, s)) {
				at = &s->next_log;
				continue;
			}
			*at = s->next_log;
			tide_beside_writer_release(&s->writer);
		}
		uint64_t then = clock_ns(CLOCK_MONOTONIC) + f->interval_ns;
		next = (struct timespec){(time_t)(then / 1000000000u), (long)(then % 1000000000u)};
		pthread_mutex_lock(&f->lock);
		while (!f->ending && pthread_cond_timedwait(&f->wake, &f->lock, &next) == 0)
			;
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

struct tide_follow *tide_follow_begin(const char *dir, uint64_t session, uint64_t interval_ns)
{
	struct tide_follow *f = calloc(1, sizeof *f);
	pthread_condattr_t attr;
	sigset_t all, old;
	if (!f)
		return NULL;
	f->dir = dir;
	f->session = session;
	f->interval_ns = interval_ns;
	f->again = true;
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->wake, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&all); /* they are for the thread that waits for the program */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	bool ok = pthread_create(&f->thread, NULL, run, f) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ok)
		return f;
	free(f);
	return NULL;
}

void tide_follow_end(struct tide_follow *f)
{
	struct seen *s, *next;
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	for (s = f->logs; s; s = s->next_log)
		tide_beside_writer_release(&s->writer);
	HASH_ITER(hh, f->seen, s, next)
	{
		HASH_DEL(f->seen, s);
		free(s);
	}
	free(f);
}
