/*
 * Forks four children without exec that end in four ways, and tells of every process which blocks it holds at its end:
 * "pid NUMBER NAME" and then "address size" a line, addresses in hexadecimal. Sizes are 39 modulo 64.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 4000

static struct {
	void *block;
	size_t size;
} held[MOST];
static unsigned count;

static void take(unsigned blocks, unsigned unlike)
{
	for (unsigned i = 0; i < blocks; i++) {
		size_t size = (i * 7 + unlike) % 50 * 64 + 39;
		held[count].block = malloc(size);
		held[count++].size = size;
	}
}

/* Every n-th block. */
static void drop(unsigned n)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < count; i++) {
		if (i % n == 0)
			free(held[i].block);
		else
			held[kept++] = held[i];
	}
	count = kept;
}

static void append(char **at, const char *end, const char *format, const char *name, unsigned long a, unsigned long b)
{
	*at += name ? snprintf(*at, (size_t)(end - *at), format, a, name)
		    : snprintf(*at, (size_t)(end - *at), format, a, b);
}

/* One write, into memory that is there already: nothing is allocated after the blocks were counted. */
static void tell(const char *name)
{
	static char text[MOST * 40];
	char *at = text;
	append(&at, text + sizeof text, "pid %lu %s\n", name, (unsigned long)getpid(), 0);
	for (unsigned i = 0; i < count; i++)
		append(&at, text + sizeof text, "%lx %lu\n", NULL, (uintptr_t)held[i].block, held[i].size);
	if (write(1, text, (size_t)(at - text)) != at - text)
		abort();
}

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
