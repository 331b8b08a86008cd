/*
 * The ways in which a process begins, multiplies and ends: lifecycle CASE [NUMBER]. Each prints what it saw, the same with and
 * without the shim, and allocates enough on the way for a log of every process that deserves one.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static const char *self;
static unsigned number;

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		abort();
}

/* More than a forked child may write without a file. */
static void busy(unsigned rounds)
{
	static __thread void *volatile block[1000];
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < 1000; i++)
			block[i] = malloc(i * 13 % 900 + 1);
		for (unsigned i = 0; i < 1000; i++)
			free(block[i]);
	}
}

static int reap(pid_t pid)
{
	int status = -1;
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* A child that works and leaves with 5, made without any handler of fork. */
static int child_by(long pid)
{
	if (pid == 0) {
		busy(4);
		say("child\n");
		_exit(5);
	}
	busy(1);
	printf("status %d\n", reap((pid_t)pid));
	return 0;
}

static int raw_clone(void)
{
	return child_by(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int raw_fork(void)
{
	long pid;
	__asm__ volatile("syscall" : "=a"(pid) : "a"(SYS_fork) : "rcx", "r11", "memory");
	return child_by(pid);
}

static int quiet_fork(void)
{
	return child_by(_Fork());
}

static int by_vfork(void)
{
	int sum = 0;
	char *const argv[] = {"true", NULL};
	for (unsigned i = 0; i < number; i++) {
		pid_t pid = vfork();
		if (pid == 0) {
			for (unsigned k = 0; k < 50; k++)
				free(malloc(k));
			if (i % 2)
				_exit(3);
			execve(i % 4 ? "/bin/true" : "/nonexistent", argv, environ);
			_exit(4);
		}
		sum += reap(pid);
	}
	printf("sum %d\n", sum);
	return 0;
}

static int vm_child(void *arg)
{
	busy(3);
	*(int *)arg = 42;
	return 6;
}

static int clone_vm(void)
{
	static char stack[256 << 10] __attribute__((aligned(16)));
	int seen = 0;
	for (unsigned i = 0; i < 20; i++) {
		pid_t pid = clone(vm_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD,
				  &seen); /* one TLS for both: in turn */
		printf("%d %d\n", reap(pid), seen);
	}
	return 0;
}

static int spawned(void)
{
	char *const argv[] = {"echo", "from a spawned echo", NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclose(&actions, 0);
	int rc = posix_spawnp(&pid, "echo", &actions, NULL, argv, environ);
	printf("%d %d\n", rc, reap(pid));
	rc = posix_spawn(&pid, "/nonexistent", NULL, NULL, argv, environ);
	printf("%d\n", rc);
	posix_spawn_file_actions_destroy(&actions);
	return 0;
}

static int by_shell(void)
{
	char line[100] = "";
	fflush(stdout);
	int status = system("echo from system; exit 3");
	FILE *in = popen("echo from popen", "r");
	if (!fgets(line, sizeof line, in))
		return 1;
	printf("%d %s%d\n", WEXITSTATUS(status), line, pclose(in));
	return 0;
}

static int exec_self(void)
{
	char text[20];
	busy(1);
	snprintf(text, sizeof text, "image %u\n", number);
	say(text);
	if (number == 0)
		return 9;
	snprintf(text, sizeof text, "%u", number - 1);
	char *const argv[] = {(char *)self, "exec_self", text, NULL};
	switch (number % 3) {
	case 0:
		execv(self, argv);
		break;
	case 1:
		execl(self, self, "exec_self", text, (char *)NULL);
		break;
	default:
		execle(self, self, "exec_self", text, (char *)NULL, environ);
	}
	return 1;
}

static int exec_fails(void)
{
	char *const argv[] = {"none", NULL};
	printf("%d", execl("/nonexistent", "a", "b", "c", "d", "e", "f", "g", "h", "i", (char *)NULL));
	printf(" %d", execlp("no-such-program-anywhere", "a", (char *)NULL));
	printf(" %d", execle("/nonexistent", "a", (char *)NULL, environ));
	printf(" %d %d %d\n", execv("/nonexistent", argv), execvp("no-such-program-anywhere", argv),
	       execve("/", argv, environ));
	busy(1);
	return 6;
}

/* What gcc, make and shells do all the time. */
static int storm(void)
{
	unsigned good = 0;
	char *const argv[] = {"true", NULL};
	for (unsigned i = 0; i < number; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			free(strdup("as a shell would"));
			execv("/bin/true", argv);
			_exit(1);
		}
		good += reap(pid) == 0;
	}
	printf("%u\n", good);
	return 0;
}

/* Seconds that a fork may take, and what its child then does: a deadlock ends here, however many forks there are. */
#define WATCHDOG 30

static atomic_bool stop;
static void *allocate(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		busy(1);
		usleep(2000); /* or few processors never get to the fork */
	}
	return arg;
}

static int fork_among_threads(void)
{
	pthread_t id[8];
	unsigned good = 0;
	for (int i = 0; i < 8; i++)
		pthread_create(&id[i], NULL, allocate, NULL);
	for (unsigned i = 0; i < number; i++) {
		alarm(WATCHDOG);
		pid_t pid = fork();
		if (pid == 0) {
			alarm(WATCHDOG);
			busy(i % 10 == 0 ? 3 : 1);
			_exit(7);
		}
		good += reap(pid) == 7;
	}
	alarm(WATCHDOG);
	stop = true;
	for (int i = 0; i < 8; i++)
		pthread_join(id[i], NULL);
	alarm(0);
	printf("%u\n", good);
	return 0;
}

static int daemon_twice(void)
{
	int ready[2];
	if (pipe(ready) != 0)
		return 1;
	if (fork() == 0) {
		setsid();
		if (fork() != 0)
			_exit(0);
		for (int fd = 3; fd < 1024; fd++)
			if (fd != ready[1])
				close(fd);
		busy(5);
		int fd = open("/dev/null", O_WRONLY);
		char text[40];
		int len = snprintf(text, sizeof text, "daemon, first descriptor %d\n", fd);
		_exit(write(ready[1], text, (size_t)len) != len);
	}
	close(ready[1]);
	wait(NULL);
	char text[100] = "";
	ssize_t n, len = 0;
	while ((n = read(ready[0], text + len, sizeof text - 1 - (size_t)len)) > 0)
		len += n;
	say(text);
	return 0;
}

static void at_end(void)
{
	busy(1);
	say("handler\n");
}
static int ends_quickly(void)
{
	at_quick_exit(at_end);
	busy(1);
	quick_exit(21);
}
static int ends_by_group(void)
{
	busy(1);
	syscall(SYS_exit_group, 22);
	return 1;
}
static int ends_at_once(void)
{
	busy(1);
	_Exit(23);
}
static int aborts(void)
{
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	busy(1);
	abort();
}
static int deeper(volatile char *outer)
{
	volatile char frame[4000];
	frame[0] = (char)(outer[0] + 1);
	free(malloc(10));
	return deeper(frame) + frame[0];
}
static int overflows(void)
{
	struct rlimit none = {0, 0};
	volatile char begin = 0;
	setrlimit(RLIMIT_CORE, &none);
	busy(1);
	return deeper(&begin);
}
static void *last_one(void *arg)
{
	usleep(20000);
	busy(1);
	say("last thread\n");
	return arg;
}
static int main_thread_leaves(void)
{
	pthread_t id;
	pthread_create(&id, NULL, last_one, NULL);
	pthread_exit(NULL);
}
static int ends_among_threads(void)
{
	pthread_t id;
	for (int i = 0; i < 8; i++)
		pthread_create(&id, NULL, allocate, NULL);
	usleep(30000);
	exit(24);
}
static int ends_with_handlers(void)
{
	atexit(at_end);
	return 25;
}

static bool has_destructor;
__attribute__((destructor(101))) static void very_late(void)
{
	if (has_destructor) {
		busy(1);
		say("destructor\n");
	}
}
static int ends_with_destructors(void)
{
	has_destructor = true;
	return 26;
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{"raw_clone", raw_clone},
	{"raw_fork", raw_fork},
	{"quiet_fork", quiet_fork},
	{"vfork", by_vfork},
	{"clone_vm", clone_vm},
	{"spawn", spawned},
	{"shell", by_shell},
	{"exec_self", exec_self},
	{"exec_fails", exec_fails},
	{"storm", storm},
	{"fork_among_threads", fork_among_threads},
	{"daemon", daemon_twice},
	{"quick_exit", ends_quickly},
	{"exit_group", ends_by_group},
	{"_Exit", ends_at_once},
	{"abort", aborts},
	{"overflow", overflows},
	{"main_leaves", main_thread_leaves},
	{"exit_among_threads", ends_among_threads},
	{"atexit", ends_with_handlers},
	{"destructors", ends_with_destructors},
};

int main(int argc, char **argv)
{
	self = argv[0];
	number = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	for (size_t i = 0; i < sizeof cases / sizeof *cases && argc > 1; i++)
		if (strcmp(cases[i].name, argv[1]) == 0)
			return cases[i].run();
	return 2;
}
