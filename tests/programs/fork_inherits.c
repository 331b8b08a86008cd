/*
 * A child that frees what its parent allocated: usage fork_inherits BLOCKS. It frees BLOCKS of these, and as many of its own, which
 * are enough to give it a log; the parent keeps all of its.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long count = argc == 2 ? atol(argv[1]) : 0;
	if (count < 1) {
		fprintf(stderr, "usage: fork_inherits BLOCKS\n");
		return 2;
	}
	void **block = calloc((size_t)count, sizeof *block);
	for (long i = 0; i < count; i++)
		block[i] = malloc(40);
	int status = 1;
	pid_t pid = fork();
	if (pid == 0) {
		for (long i = 0; i < count; i++)
			free(block[i]);
		for (long i = 0; i < count; i++)
			free(malloc(200));
		exit(0);
	}
	waitpid(pid, &status, 0);
	return status != 0;
}
