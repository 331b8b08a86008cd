/* record: runs a program under the shim and says which logs came of it. The exit code is the program's. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/follow.h"
#include "cli/opts.h"
#include "cli/record.h"
#include "read/log.h"
#include "render/safe.h"
#include "render/value.h"

#define WATCH_NS UINT64_C(1000000000)
#define WATCH_LEAST_NS UINT64_C(10000000)

/* A log of this run, for the list at the end. */
struct written {
	char *path;
	uint64_t start_ns, recorded;
	int pid;
	char name[64];
};

static int by_start(const void *a, const void *b)
{
	const struct written *x = a, *y = b;
	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	return strcmp(x->path, y->path);
}

/* True: the log is of this session, and *ret is filled. */
static bool of_session(const char *dir, const char *name, uint64_t session, struct written *ret)
{
	struct tide_log *log;
	size_t len = strlen(name);
	if (len < 6 || strcmp(name + len - 5, ".tide") != 0 || asprintf(&ret->path, "%s/%s", dir, name) < 0)
		return false;
	if (tide_log_open(ret->path, &log, NULL)) {
		free(ret->path);
		return false;
	}
	const struct tide_process *p = tide_log_process(log);
	bool ours = p->super.session == session;
	ret->start_ns = p->start_ns;
	ret->recorded = tide_log_losses(log)->recorded;
	ret->pid = p->super.pid;
	snprintf(ret->name, sizeof ret->name, "%s", p->name);
	tide_log_free(log);
	if (!ours)
		free(ret->path);
	return ours;
}

static void say_log(const struct written *w)
{
	char events[TIDE_VALUE_LEN];
	fputs("tidemark: ", stderr);
	tide_safe_text(stderr, w->path, 0);
	fprintf(stderr, ": pid %d, ", w->pid);
	tide_safe_text(stderr, w->name, 0);
	if (w->recorded)
		fprintf(stderr, ", %s events", tide_count_text(events, (long long)w->recorded));
	fputc('\n', stderr);
}

/* Says every log of the session, in order of their processes' start. Returns how many. */
static size_t list(const char *dir, uint64_t session)
{
	struct written *all = NULL, w;
	size_t count = 0;
	DIR *d = opendir(dir);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		struct written *more = realloc(all, (count + 1) * sizeof *all);
		if (!more)
			break;
		all = more;
		if (of_session(dir, e->d_name, session, &w))
			all[count++] = w;
	}
	if (d)
		closedir(d);
	if (count)
		qsort(all, count, sizeof *all, by_start);
	for (size_t i = 0; i < count; i++) {
		say_log(&all[i]);
		free(all[i].path);
	}
	free(all);
	return count;
}

static bool set(const char *variable, const char *value)
{
	return !value || setenv(variable, value, 1) == 0;
}

static bool environment(const struct tide_args *args, const char *shim, const char *dir, uint64_t session, bool preload)
{
	const char *others = getenv("LD_PRELOAD");
	char number[32], *value = NULL;
	snprintf(number, sizeof number, "%" PRIu64, session);
	if (asprintf(&value, others && *others ? "%s:%s" : "%s", shim, others) < 0)
		return false;
	bool ok = (!preload || set("LD_PRELOAD", value)) && set("TIDEMARK_DIR", dir) &&
		  set("TIDEMARK_SESSION", number) && set("TIDEMARK_SIZE", args->size) &&
		  set("TIDEMARK_SAMPLE", args->sample) && set("TIDEMARK_PYTHON", args->python) &&
		  set("TIDEMARK_EXE", args->exe) && set("TIDEMARK_STACK", args->stack) &&
		  set("TIDEMARK_CENSUS", args->census);
	free(value);
	return ok;
}

/* The signals that a user sends to us and means for the program. The terminal's reach it by themselves. */
static const int forwarded[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
enum { FORWARDED = sizeof forwarded / sizeof *forwarded };
static volatile pid_t program;

static void forward(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code <= 0 && program > 0 && info->si_pid != program)
		kill(program, number);
}

/* Until the fork, so that no signal is lost between it and the handlers. */
static void catch_signals(struct sigaction *old, sigset_t *old_mask)
{
	struct sigaction action = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigset_t mask;
	sigemptyset(&mask);
	for (size_t i = 0; i < FORWARDED; i++)
		sigaddset(&mask, forwarded[i]);
	sigprocmask(SIG_BLOCK, &mask, old_mask);
	for (size_t i = 0; i < FORWARDED; i++)
		sigaction(forwarded[i], &action, &old[i]);
}

static void become(char **argv, const struct sigaction *old, const sigset_t *old_mask, void (*old_child)(int))
{
	for (size_t i = 0; i < FORWARDED; i++)
		sigaction(forwarded[i], &old[i], NULL);
	signal(SIGCHLD, old_child);
	sigprocmask(SIG_SETMASK, old_mask, NULL);
	execvp(argv[0], argv);
	int why = errno;
	fputs("tidemark: cannot run '", stderr);
	tide_safe_text(stderr, argv[0], 0);
	fprintf(stderr, "': %s\n", strerror(why));
	fflush(stderr);
	_exit(why == ENOENT ? TIDE_EXIT_NOT_FOUND : TIDE_EXIT_CANNOT_RUN);
}

/* Whom to look at meanwhile. */
struct watch {
	const char *dir;
	uint64_t session, interval_ns; /* UINT64_MAX: nobody */
};

/* Runs it and waits for it. Its exit code; 128 + the signal that ended it; TIDE_EXIT_RECORD: it could not be started. */
static int run_program(char **argv, const struct watch *watch)
{
	struct tide_follow *follow = NULL;
	struct sigaction old[FORWARDED];
	sigset_t old_mask;
	int status;
	void (*old_child)(int) = signal(SIGCHLD, SIG_DFL); /* ignored, there would be nothing to wait for */
	catch_signals(old, &old_mask);
	pid_t child = fork();
	if (child == 0)
		become(argv, old, &old_mask, old_child);
	program = child;
	sigprocmask(SIG_SETMASK, &old_mask, NULL);
	if (child < 0)
		return TIDE_EXIT_RECORD;
	if (watch->interval_ns != UINT64_MAX)
		follow = tide_follow_begin(watch->dir, watch->session, watch->interval_ns);
	pid_t ended;
	while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR)
		;
	program = 0; /* its number may be another's from now on */
	tide_follow_end(follow);
	if (ended < 0)
		return TIDE_EXIT_RECORD;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool valid_size(const char *size, struct tide_error *err)
{
	uint64_t bytes;
	if (!size || (tide_opts_bytes(size, &bytes) && bytes >= UINT64_C(256) << 10 && bytes <= UINT64_C(1024) << 30))
		return true;
	tide_error_set(err, TIDE_ERR_USAGE,
		       "bad value '%.60s' for '--size': it is a number of bytes from 256K to 1024G", size);
	return false;
}

/* How often processes are looked at from outside: as told, else as often as they take a census themselves, if that is told. */
static bool interval_of(const struct tide_args *args, uint64_t *ret, struct tide_error *err)
{
	const char *inside = args->census ? args->census : getenv("TIDEMARK_CENSUS");
	*ret = WATCH_NS;
	if (!args->watch) {
		if (inside && tide_opts_time(inside, ret) && *ret < WATCH_LEAST_NS)
			*ret = WATCH_LEAST_NS; /* else it is off, or the shim will complain of it */
		return true;
	}
	if (strcmp(args->watch, "off") == 0)
		*ret = UINT64_MAX;
	else if (!tide_opts_time(args->watch, ret) || *ret < WATCH_LEAST_NS) {
		tide_error_set(err, TIDE_ERR_USAGE,
			       "bad value '%.60s' for '--watch': it is off, or a time of 10ms at least, such as 1s",
			       args->watch);
		return false;
	}
	return true;
}

/* The directory for logs, absolute, made when it is not there. */
static bool log_directory(const char *given, char *ret, struct tide_error *err)
{
	mkdir(given, 0700); /* there already, or realpath tells */
	if (realpath(given, ret) && access(ret, W_OK | X_OK) == 0)
		return true;
	tide_error_set(err, TIDE_ERR_IO, "cannot use directory '%.120s' for logs: %s", given, strerror(errno));
	return false;
}

static int run(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	char shim[PATH_MAX], dir[PATH_MAX];
	uint64_t session = 0, interval = 0;
	(void)cmd;
	if (!valid_size(args->size, err) || !interval_of(args, &interval, err) ||
	    !log_directory(args->dir ? args->dir : ".", dir, err) || tide_shim_path(shim, err))
		return TIDE_EXIT_RECORD;
	const char *untraced = tide_untraced(args->operand[0]);
	bool foreign = untraced && strcmp(untraced, TIDE_FOREIGN) == 0; /* its loader would complain of our library */
	if (getrandom(&session, sizeof session, 0) != sizeof session ||
	    !environment(args, shim, dir, session, !foreign)) {
		tide_error_set(err, TIDE_ERR_IO, "cannot set the program's environment: %s", strerror(errno));
		return TIDE_EXIT_RECORD;
	}
	if (untraced) {
		fputs("tidemark: '", stderr);
		tide_safe_text(stderr, args->operand[0], 0);
		fprintf(stderr, "' is not traced: %s\n", untraced);
	}
	fflush(NULL); /* before the fork */
	int code = run_program(args->operand, &(struct watch){dir, session, interval});
	size_t logs = list(dir, session);
	if (!logs && !untraced && code != TIDE_EXIT_NOT_FOUND && code != TIDE_EXIT_CANNOT_RUN)
		fprintf(stderr, "tidemark: no log was written\n");
	return code;
}

static const struct tide_opt options[] = {
	TIDE_OPT("--dir", "D", "where logs go, one a process image; the current directory by default", TIDE_OPT_TEXT,
		 dir),
	TIDE_OPT("--size", "N", "bytes of one log, fixed (suffix K, M, G); 64M by default", TIDE_OPT_TEXT, size),
	TIDE_OPT("--sample", "N", "0: every event; else one in N bytes on average", TIDE_OPT_TEXT, sample),
	TIDE_OPT("--python", "off|arenas|sites|objects", "what of Python is recorded; sites by default", TIDE_OPT_WORD,
		 python),
	TIDE_OPT("--stack", "N", "most frames kept of a stack; 64 by default", TIDE_OPT_TEXT, stack),
	TIDE_OPT("--census", "off|TIME", "least time between censuses of resident memory, such as 1s", TIDE_OPT_TEXT,
		 census),
	TIDE_OPT("--watch", "off|TIME", "least time between looks at resident memory from outside; 1s by default",
		 TIDE_OPT_TEXT, watch),
	TIDE_OPT("--exe", "GLOB", "executables to trace, by path; others run untraced", TIDE_OPT_TEXT, exe),
	TIDE_OPT_END,
};
const struct tide_cmd tide_cmd_record = {
	.name = "record",
	.synopsis = "[--] PROG ARGS...",
	.summary = "Runs a program, records its allocations and those of what it forks and executes, and says which "
		   "logs were written.\n"
		   "The exit code is the program's; 125: record itself failed, 126: PROG cannot be run, 127: there is "
		   "no PROG.",
	.example = "tidemark record --dir logs -- gunicorn app:app",
	.opts = options,
	.min_operands = 1,
	.max_operands = INT_MAX,
	.stops_at_operand = true,
	.run = run,
};
