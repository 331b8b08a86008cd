/*
 * Runs a program and says on a descriptor what it took: usage bench_run FD [NAME=VALUE]... -- PROGRAM ARGS...
 * One line: user + sys microseconds and peak RSS in KiB of the program and everything it waited for, wall nanoseconds, exit
 * status. A small launcher of its own because a child's peak RSS begins with that of the process that forked it, and which
 * is not itself under what is preloaded into the program. SIGTERM is left to the program.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void become(char **settings)
{
	char **at = settings;
	for (; *at && strcmp(*at, "--") != 0; at++)
		putenv(*at);
	if (*at && at[1])
		execvp(at[1], at + 1);
	_exit(127);
}

int main(int argc, char **argv)
{
	struct rusage u;
	int status;
	if (argc < 4)
		return 2;
	int fd = atoi(argv[1]);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	long long begin = now_ns();
	pid_t child = fork();
	if (child == 0)
		become(argv + 2);
	signal(SIGTERM, SIG_IGN);
	if (child < 0 || wait4(child, &status, 0, &u) != child)
		return 1;
	long long wall = now_ns() - begin;
	long long cpu = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000ll + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
	dprintf(fd, "%lld %ld %lld %d\n", cpu, u.ru_maxrss, wall, status);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
