/*
 * Forks four children without exec that end in four ways, and tells of every process which blocks it holds at its end:
 * "pid NUMBER NAME" and then "address size" a line, addresses in hexadecimal. Sizes are 39 modulo 64.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "held.h"

static void child(int number)
{
	static const char *const names[] = {"_exit", "killed", "exec", "exit"};
	take(1800 + (unsigned)number * 10, (unsigned)number); /* enough for a log of its own */
	drop(5);
	tell(names[number]);
	switch (number) {
	case 0:
		_exit(11);
	case 1:
		kill(getpid(), SIGKILL);
		break;
	case 2:
		execl("/bin/true", "true", (char *)NULL);
		break;
	default:
		exit(14);
	}
	abort();
}

int main(void)
{
	int status[4];
	take(500, 9);
	drop(3);
	for (int i = 0; i < 4; i++) {
		pid_t pid = fork();
		if (pid == 0)
			child(i);
		if (pid < 0 || waitpid(pid, &status[i], 0) != pid)
			return 1;
		take(20, (unsigned)i);
	}
	drop(4);
	tell("parent");
	fprintf(stderr, "%d %d %d %d\n", WEXITSTATUS(status[0]), WTERMSIG(status[1]), WEXITSTATUS(status[2]),
		WEXITSTATUS(status[3]));
	return 0;
}
