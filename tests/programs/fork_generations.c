/*
 * Generations of forked processes, each the only child of the one before: usage fork_generations GENERATIONS BEFORE AFTER.
 *
 * Each takes blocks, makes BEFORE short-lived ones, drops a third of all it has, also of what it inherited, and forks the next. Then it
 * drops half of what is left before the child has done anything, makes AFTER short-lived ones, and waits. Every process tells at
 * its end which blocks it holds: "pid NUMBER GENERATION", and "address size" a line, addresses in hexadecimal. Sizes are 39 modulo 64.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAKEN 900u
#define MOST (16u * TAKEN)

static struct {
	void *block;
	size_t size;
} held[MOST];
static unsigned count;

static void take(unsigned generation)
{
	for (unsigned i = 0; i < TAKEN; i++) {
		size_t size = (i * 7 + generation * 13) % 50 * 64 + 39;
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

static void churn(long operations)
{
	static void *volatile slot[64];
	uint64_t state = 88172645463325252u;
	for (long i = 0; i < operations; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		free(slot[state & 63]);
		slot[state & 63] = malloc((state >> 8) % 30 * 16 + 8);
	}
	for (unsigned i = 0; i < 64; i++) {
		free(slot[i]);
		slot[i] = NULL;
	}
}

/* One write, of memory that is there already. */
static void tell(long generation)
{
	static char text[MOST * 40];
	char *at = text, *end = text + sizeof text;
	at += snprintf(at, (size_t)(end - at), "pid %d %ld\n", getpid(), generation);
	for (unsigned i = 0; i < count; i++)
		at += snprintf(at, (size_t)(end - at), "%zx %zu\n", (uintptr_t)held[i].block, held[i].size);
	for (char *from = text; from < at;) {
		ssize_t n = write(1, from, (size_t)(at - from));
		if (n <= 0)
			abort();
		from += n;
	}
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
		take((unsigned)generation);
		churn(atol(argv[2]));
		drop(3);
		if (generation == generations || pipe(go) != 0) {
			tell(generation);
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
		churn(atol(argv[3]));
		if (pid < 0 || write(go[1], &byte, 1) != 1 || waitpid(pid, &status, 0) != pid)
			_exit(1);
		tell(generation);
		_exit(WEXITSTATUS(status) || !WIFEXITED(status));
	}
}
