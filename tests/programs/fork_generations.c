/*
 * Generations of forked processes, each the only child of the one before: usage fork_generations GENERATIONS BEFORE AFTER.
 *
 * Each takes blocks, makes BEFORE short-lived ones, drops a third of all it has, also of what it inherited, and forks the next. Then it
 * drops half of what is left before the child has done anything, takes a few larger ones, makes AFTER short-lived ones, and waits. Every process tells at
 * its end which blocks it holds: "pid NUMBER GENERATION", and "address size" a line, addresses in hexadecimal. Sizes are 39 modulo 64.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "churn.h"
#include "held.h"

#define TAKEN 900u /* 16 generations of these fit into HELD_MOST, and a few more */

static void tell_of(long generation)
{
	char name[24];
	snprintf(name, sizeof name, "%ld", generation);
	tell(name);
}

int main(int argc, char **argv)
{
	long generations = argc == 4 ? atol(argv[1]) : 0;
	if (generations < 1 || generations > 16) {
		fprintf(stderr, "usage: fork_generations GENERATIONS BEFORE AFTER\n");
		return 2;
	}
	for (long generation = 1;; generation++) {
		int go[2], status = 0;
		char byte = 0;
		take(TAKEN, (unsigned)generation * 13);
		churn(strtoull(argv[2], NULL, 10));
		drop(3);
		if (generation == generations || pipe(go) != 0) {
			tell_of(generation);
			_exit(generation != generations);
		}
		pid_t pid = fork();
		if (pid == 0) {
			if (read(go[0], &byte, 1) != 1)
				_exit(1);
			close(go[0]);
			close(go[1]);
			continue;
		}
		drop(2);
		take_larger(TAKEN / 9);
		churn(strtoull(argv[3], NULL, 10));
		if (pid < 0 || write(go[1], &byte, 1) != 1 || waitpid(pid, &status, 0) != pid)
			_exit(1);
		tell_of(generation);
		_exit(WEXITSTATUS(status) || !WIFEXITED(status));
	}
}
