/*
 * A process with long-lived blocks whose log wraps; then a forked child whose log wraps too, with blocks of its own, which frees
 * half of what it inherited; and the parent goes on.
 *
 * usage: fork_wraps OPERATIONS LONG_LIVED
 * Prints "parent PID", "block ADDRESS SIZE PID" for what each of the two has allocated itself and not freed, and "child exit CODE"
 * or "child signal NUMBER". Output is buffered, so what the parent prints comes after what the child does.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "churn.h"

static void fill(void **block, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		block[i] = malloc(40 + 16 * (i % 7));
}

static void print(void **block, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		if (block[i])
			printf("block %" PRIxPTR " %" PRIu64 " %d\n", (uintptr_t)block[i], 40 + 16 * (i % 7), getpid());
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
	void **old = calloc(count, sizeof *old), **young = calloc(count, sizeof *young);
	static char buffer[1 << 20];
	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	fill(old, count);
	churn(operations);
	pid_t pid = fork();
	if (pid == 0) {
		for (uint64_t i = 0; i < count; i += 2)
			free(old[i]);
		fill(young, count);
		churn(operations);
		print(young, count);
		fflush(stdout);
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	churn(operations);
	printf("parent %d\n", getpid());
	print(old, count);
	if (WIFEXITED(status))
		printf("child exit %d\n", WEXITSTATUS(status));
	else
		printf("child signal %d\n", WTERMSIG(status));
	return 0;
}
