#include "rerun/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rerun/ops.h"

/* Address space beyond what may be written: thread heaps and other allocators reserve much more than they use. */
#define RESERVED (UINT64_C(128) << 30)
#define PATH_ROOM 64

struct child {
	pid_t pid;
	int tell, ask; /* our ends */
	struct timespec begun;
	uint32_t timeout_s;
	bool late;
};

static double since(const struct timespec *begun)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begun->tv_sec) + (double)(now.tv_nsec - begun->tv_nsec) / 1e9;
}

static void limit(uint64_t memory)
{
	struct rlimit data = {memory, memory}, space = {memory + RESERVED, memory + RESERVED}, none = {0, 0};
	setrlimit(RLIMIT_DATA, &data);
	setrlimit(RLIMIT_AS, &space);
	setrlimit(RLIMIT_CORE, &none);
}

/* In the child, between fork and exec. */
static _Noreturn void become(const struct tide_setting *s, const struct tide_run_how *how, int tell, int ask)
{
	char ops_text[16], tell_text[16], ask_text[16], trim_text[16], mode[4], preload[512], arenas[48];
	char *env[6] = {NULL};
	unsigned n = 0;
	snprintf(ops_text, sizeof ops_text, "%d", how->ops);
	snprintf(tell_text, sizeof tell_text, "%d", tell);
	snprintf(ask_text, sizeof ask_text, "%d", ask);
	snprintf(trim_text, sizeof trim_text, "%" PRIu32, s->trims ? how->trim_ms : 0);
	snprintf(mode, sizeof mode, "%s%s", s->python_objects ? "p" : "-", how->touch_all ? "a" : "");
	for (unsigned i = 0; i < 2 && s->env[i]; i++)
		env[n++] = (char *)s->env[i];
	if (how->arenas) {
		snprintf(arenas, sizeof arenas, "MALLOC_ARENA_MAX=%" PRIu32, how->arenas);
		env[n++] = arenas;
	}
	if (s->library) {
		snprintf(preload, sizeof preload, "LD_PRELOAD=%s", s->library);
		env[n++] = preload;
	}
	char *argv[] = {(char *)how->runner, ops_text, tell_text, ask_text, mode, trim_text, NULL};
	fcntl(how->ops, F_SETFD, 0);
	fcntl(tell, F_SETFD, 0);
	fcntl(ask, F_SETFD, 0);
	limit(how->memory);
	execve(how->runner, argv, env);
	_exit(127);
}

static enum tide_status start(struct child *c, const struct tide_setting *s, const struct tide_run_how *how,
			      struct tide_error *err)
{
	int tell[2], ask[2];
	if (pipe2(tell, O_CLOEXEC) != 0)
		return tide_error_set(err, TIDE_ERR_IO, "cannot make a pipe: %s", strerror(errno));
	if (pipe2(ask, O_CLOEXEC) != 0) {
		close(tell[0]);
		close(tell[1]);
		return tide_error_set(err, TIDE_ERR_IO, "cannot make a pipe: %s", strerror(errno));
	}
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0)
		become(s, how, tell[1], ask[0]);
	close(tell[1]);
	close(ask[0]);
	c->tell = tell[0];
	c->ask = ask[1];
	c->timeout_s = how->timeout_s;
	clock_gettime(CLOCK_MONOTONIC, &c->begun);
	if (c->pid > 0)
		return TIDE_OK;
	close(c->tell);
	close(c->ask);
	return tide_error_set(err, TIDE_ERR_IO, "cannot start a process: %s", strerror(errno));
}

/* The next message. False: it ended without one, or its time is up (late). */
static bool listen_to(struct child *c, struct tide_tell *ret)
{
	double left = c->timeout_s - since(&c->begun);
	struct pollfd fd = {.fd = c->tell, .events = POLLIN};
	int ready;
	do
		ready = left > 0 ? poll(&fd, 1, (int)(left * 1000) + 1) : 0;
	while (ready < 0 && errno == EINTR && (left = c->timeout_s - since(&c->begun)) > 0);
	c->late = ready == 0;
	if (ready != 1)
		return false;
	return read(c->tell, ret, sizeof *ret) == sizeof *ret;
}

/* What is anonymous and resident, to the page: the counters in /proc/PID/status lag behind by up to 64 pages a thread. */
static bool anonymous(pid_t pid, uint64_t *ret)
{
	char path[PATH_ROOM], line[128];
	uint64_t kib;
	bool found = false;
	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof line, f))
		found = sscanf(line, "Anonymous: %" SCNu64 " kB", &kib) == 1;
	if (f)
		fclose(f);
	if (found)
		*ret = kib << 10;
	return found;
}

static enum tide_status follow(struct child *c, const struct tide_run_how *how, struct tide_run *run,
			       struct tide_error *err)
{
	struct tide_tell t = {0};
	while (listen_to(c, &t)) {
		uint64_t bytes = 0;
		bool looked = anonymous(c->pid, &bytes);
		if (!looked)
			return tide_error_set(err, TIDE_ERR_IO, "cannot read the runner's smaps_rollup: %s",
					      strerror(errno));
		if (t.what == TIDE_TOLD_READY)
			run->floor = bytes;
		else if (t.what == TIDE_TOLD_SAMPLE && run->samples < how->samples)
			run->anon[run->samples++] = bytes;
		run->failed = t.failed;
		run->failed_bytes = t.failed_bytes;
		if (t.what == TIDE_TOLD_END)
			return TIDE_OK;
		if (t.what == TIDE_TOLD_WRONG)
			break;
		if (write(c->ask, "", 1) != 1)
			break;
	}
	if (c->late)
		return tide_error_set(err, TIDE_ERR_IO, "the replay took more than %u s", c->timeout_s);
	return tide_error_set(err, TIDE_ERR_IO, "the runner ended before the operations did");
}

enum tide_status tide_run_init(struct tide_run *ret, const struct tide_setting *s, const struct tide_run_how *how,
			       struct tide_error *err)
{
	struct tide_run run = {.anon = calloc(how->samples + 1, sizeof *run.anon)};
	struct child c = {0};
	int status;
	if (!run.anon)
		return tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	if (lseek(how->ops, 0, SEEK_SET) < 0 || start(&c, s, how, err)) {
		free(run.anon);
		return err && err->status ? err->status : TIDE_ERR_IO;
	}
	enum tide_status done = follow(&c, how, &run, err);
	run.seconds = since(&c.begun);
	kill(c.pid, SIGKILL); /* it has said all; or it must stop */
	while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
		;
	close(c.tell);
	close(c.ask);
	if (done)
		tide_run_release(&run);
	else
		*ret = run;
	return done;
}

void tide_run_release(struct tide_run *r)
{
	free(r->anon);
	*r = (struct tide_run){0};
}
