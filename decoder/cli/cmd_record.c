/* record: runs a program under the shim and says which logs came of it. The exit code is the program's. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "read/log.h"

enum { OWN_FAILURE = 125, CANNOT_RUN = 126, NOT_FOUND = 127 };

struct choice {
	const char *option, *variable;
};
static const struct choice choices[] = {
	{"--size", "TIDEMARK_SIZE"},
	{"--sample", "TIDEMARK_SAMPLE"},
	{"--python", "TIDEMARK_PYTHON"},
};

/* The shim beside this program (build tree) or in ../lib/tidemark (installed). */
static bool find_shim(char *buf, size_t cap)
{
	static const char *const places[] = {"libtidemark.so", "../lib/tidemark/libtidemark.so"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = '\0';
	const char *dir = dirname(self);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		if (snprintf(buf, cap, "%s/%s", dir, places[i]) >= (int)cap)
			continue;
		if (access(buf, R_OK) == 0)
			return true;
	}
	return false;
}

static void list(const char *dir, uint64_t session)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		char path[PATH_MAX + NAME_MAX + 2];
		struct tide_log *log;
		size_t len = strlen(e->d_name);
		if (len < 6 || strcmp(e->d_name + len - 5, ".tide") != 0)
			continue;
		snprintf(path, sizeof path, "%.*s/%s", PATH_MAX, dir, e->d_name);
		if (tide_log_open(path, &log, NULL))
			continue;
		const struct tide_process *p = tide_log_process(log);
		if (p->super.session == session)
			fprintf(stderr, "tidemark: %s: pid %d\n", path, p->super.pid);
		tide_log_free(log);
	}
	if (d)
		closedir(d);
}

static int preload(const char *shim, const char *dir, uint64_t session)
{
	char number[32], value[PATH_MAX * 2];
	const char *others = getenv("LD_PRELOAD");
	snprintf(value, sizeof value, others && *others ? "%s:%s" : "%s%s", shim, others ? others : "");
	snprintf(number, sizeof number, "%" PRIu64, session);
	return setenv("LD_PRELOAD", value, 1) || setenv("TIDEMARK_DIR", dir, 1) ||
	       setenv("TIDEMARK_SESSION", number, 1) || setenv("TIDEMARK_PYTHON", "objects", 0);
}

/* Options up to the program; its index, or -1 with *err filled. */
static int parse(int argc, char **argv, const char **dir, struct tide_error *err)
{
	int i = 0;
	for (; i < argc && argv[i][0] == '-'; i += 2) {
		bool known = false;
		if (strcmp(argv[i], "--") == 0)
			return i + 1;
		if (i + 1 < argc && strcmp(argv[i], "--dir") == 0) {
			*dir = argv[i + 1];
			known = true;
		}
		for (size_t k = 0; k < sizeof choices / sizeof *choices && i + 1 < argc; k++)
			if (strcmp(argv[i], choices[k].option) == 0)
				known = setenv(choices[k].variable, argv[i + 1], 1) == 0;
		if (!known) {
			tide_error_set(err, TIDE_ERR_USAGE,
				       "bad option '%s'; usage: tidemark record [--dir D] [--size N] [--sample N] "
				       "[--python MODE] [--] PROG ARGS...",
				       argv[i]);
			return -1;
		}
	}
	return i;
}

static int wait_for(pid_t child)
{
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return OWN_FAILURE;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int tide_cmd_record(int argc, char **argv, struct tide_error *err)
{
	const char *given = ".";
	char shim[PATH_MAX], dir[PATH_MAX];
	uint64_t session = 0;
	int program = parse(argc, argv, &given, err);
	if (program < 0)
		return TIDE_EXIT_USAGE;
	if (program >= argc) {
		tide_error_set(err, TIDE_ERR_USAGE, "record: no program given; try: tidemark record -- python3 app.py");
		return TIDE_EXIT_USAGE;
	}
	mkdir(given, 0700); /* there already, or realpath tells */
	if (!find_shim(shim, sizeof shim) || strpbrk(shim, " :")) {
		tide_error_set(err, TIDE_ERR_IO,
			       "libtidemark.so is not beside this program, or its path has a space or a colon in it");
		return OWN_FAILURE;
	}
	if (!realpath(given, dir)) {
		tide_error_set(err, TIDE_ERR_IO, "cannot use directory '%s': %s", given, strerror(errno));
		return OWN_FAILURE;
	}
	if (getrandom(&session, sizeof session, 0) < 0 || preload(shim, dir, session))
		return OWN_FAILURE;
	signal(SIGINT, SIG_IGN); /* the program's to handle; we wait for it */
	signal(SIGQUIT, SIG_IGN);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		execvp(argv[program], argv + program);
		fprintf(stderr, "tidemark: cannot run '%s': %s\n", argv[program], strerror(errno));
		_exit(errno == ENOENT ? NOT_FOUND : CANNOT_RUN);
	}
	int code = child > 0 ? wait_for(child) : OWN_FAILURE;
	list(dir, session);
	return code;
}
