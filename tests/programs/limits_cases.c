/*
 * What a program does to its own rights, descriptors and limits: limits_cases CASE. Each prints what it saw, the same with and
 * without the shim.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		abort();
}

static void busy(unsigned rounds)
{
	static __thread void *volatile block[500];
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < 500; i++)
			block[i] = malloc(i * 13 % 900 + 1);
		for (unsigned i = 0; i < 500; i++)
			free(block[i]);
	}
}

/* Ten files with known contents through the lowest numbers there are; told by number and contents. */
static void ten_files(void)
{
	char name[20], text[64], back[64];
	int fd[10];
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "file-%d", i);
		fd[i] = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
		busy(2);
	}
	for (int i = 0; i < 10; i++) {
		int len = snprintf(text, sizeof text, "contents of %d", i);
		ssize_t out = write(fd[i], text, (size_t)len), in = pread(fd[i], back, sizeof back, 0);
		busy(2);
		printf("%d: %d %zd %zd %.*s\n", i, fd[i], out, in, in > 0 ? (int)in : 0, back);
	}
}

static int close_all(void)
{
	busy(10);
	for (int fd = 3; fd <= 1023; fd++)
		close(fd);
	ten_files();
	closefrom(3);
	ten_files();
	close_range(3, ~0u, 0);
	ten_files();
	return 0;
}

/* Started without 0, 1 and 2; what it finds goes to a file. */
static int no_standard(void)
{
	char text[100];
	int first = open("found", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	busy(10);
	int second = open("/dev/null", O_RDONLY);
	int len = snprintf(text, sizeof text, "%d %d\n", first, second);
	return write(first, text, (size_t)len) != len;
}

static int changes_root(void)
{
	busy(5);
	if (mkdir("root", 0700) != 0 || chroot("root") != 0 || chdir("/") != 0)
		return 1;
	busy(5);
	pid_t pid = fork();
	if (pid == 0) {
		busy(20);
		_exit(7);
	}
	int status;
	waitpid(pid, &status, 0);
	printf("%d\n", WEXITSTATUS(status));
	return 0;
}

static int drops_rights(void)
{
	busy(5);
	if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
		return 1;
	busy(5);
	pid_t pid = fork();
	if (pid == 0) {
		busy(20);
		_exit((int)getuid() == 65534 ? 7 : 8);
	}
	int status;
	waitpid(pid, &status, 0);
	printf("%d\n", WEXITSTATUS(status));
	return 0;
}

/* Fails in a process that has a second thread. */
static int unshares(void)
{
	busy(5);
	printf("%d\n", unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET));
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		busy(20);
		printf("pid %d\n", (int)getpid());
		fflush(stdout);
		_exit(7);
	}
	int status;
	waitpid(pid, &status, 0);
	printf("%d\n", WEXITSTATUS(status));
	return 0;
}

/* What a running program needs, and nothing that a careless guest would. */
static void filter(void)
{
	static const int allowed[] = {
		SYS_read,          SYS_write,        SYS_exit,      SYS_exit_group,   SYS_futex,   SYS_mmap,
		SYS_munmap,        SYS_brk,          SYS_mprotect,  SYS_rt_sigreturn, SYS_madvise, SYS_mremap,
		SYS_clone3,        SYS_rt_sigaction, SYS_prlimit64, SYS_clone,        SYS_rseq,    SYS_set_robust_list,
		SYS_rt_sigprocmask};
	enum { COUNT = sizeof allowed / sizeof *allowed };
	struct sock_filter code[COUNT + 3];
	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < COUNT; i++)
		code[i + 1] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], COUNT - i, 0);
	code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {COUNT + 3, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
		_exit(9);
}

static void *in_thread(void *arg)
{
	busy(200);
	return arg;
}

static int filtered(void)
{
	pthread_t id[4];
	busy(5);
	filter();
	busy(200);
	for (int i = 0; i < 4; i++)
		if (pthread_create(&id[i], NULL, in_thread, NULL) != 0)
			return 1;
	for (int i = 0; i < 4; i++)
		pthread_join(id[i], NULL);
	say("filtered\n");
	return 5;
}

static int strictly(void)
{
	busy(5);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
	busy(300);
	say("strict\n");
	syscall(SYS_exit, 6);
	return 1;
}

static int just_works(void)
{
	busy(300);
	say("works\n");
	return 5;
}

/* Under a limit on its address space: what it gets must not depend on us by much, and nothing may break when it gets none. */
static int out_of_memory(void)
{
	unsigned refused = 0;
	for (size_t size = 1 << 20; size <= (size_t)8 << 30; size *= 2) {
		void *block = malloc(size);
		refused += block == NULL && errno == ENOMEM;
		free(block);
	}
	busy(300);
	printf("refused %s\n", refused ? "some" : "none");
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{"close_all", close_all}, {"no_standard", no_standard}, {"chroot", changes_root},
	{"setuid", drops_rights}, {"unshare", unshares},        {"filter", filtered},
	{"strict", strictly},     {"works", just_works},        {"out_of_memory", out_of_memory},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases && argc > 1; i++)
		if (strcmp(cases[i].name, argv[1]) == 0)
			return cases[i].run();
	return 2;
}
