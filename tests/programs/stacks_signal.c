/*
 * Allocates in signal handlers: on an alternate stack and on the interrupted one, raised and by timer, nested. Usage:
 * stacks_signal ROUNDS. The timer's handler allocates only while main() does not (malloc is not reentrant).
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define APART __attribute__((noinline, noclone))

static void *volatile sink;
static volatile sig_atomic_t idle, ticks;

APART static void touch(size_t size)
{
	sink = malloc(size);
	free(sink);
}

static void inner(int sig)
{
	touch((size_t)sig + 10);
	touch((size_t)sig + 20);
}

static void outer(int sig)
{
	touch((size_t)sig + 30);
	raise(SIGUSR2);
	touch((size_t)sig + 40);
}

static void timer(int sig)
{
	ticks++;
	if (idle)
		touch((size_t)sig + 50);
}

APART static int leaf(int n) /* no frame: interrupted anywhere in it */
{
	return n * 3 + 1;
}

APART static int spin(int depth)
{
	int sum = depth;
	if (depth > 0)
		return spin(depth - 1) + 1;
	idle = 1;
	for (volatile int i = 0; i < 3000; i++)
		sum += leaf(i);
	idle = 0;
	return sum;
}

APART static void work(int depth)
{
	touch((size_t)depth + 1);
	if (depth > 0) {
		work(depth - 1);
	} else {
		raise(SIGUSR1);
		raise(SIGHUP);
	}
	touch((size_t)depth + 2);
}

int main(int argc, char **argv)
{
	long rounds = argc == 2 ? atol(argv[1]) : 1;
	static char stack[64 * 1024];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction on = {.sa_handler = outer, .sa_flags = SA_ONSTACK}, here = {.sa_handler = inner},
			 clock = {.sa_handler = timer, .sa_flags = SA_ONSTACK | SA_RESTART};
	struct itimerval often = {{0, 500}, {0, 500}};
	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &on, NULL);
	sigaction(SIGUSR2, &here, NULL);
	sigaction(SIGHUP, &here, NULL);
	sigaction(SIGALRM, &clock, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (long i = 0; i < rounds; i++) {
		work((int)(i % 20));
		spin((int)(i % 7));
	}
	return ticks == 0;
}
