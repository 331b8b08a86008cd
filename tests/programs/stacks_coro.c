/*
 * Allocates on coroutine stacks of makecontext that come, switch and go: mapped, unmapped, mapped again at the same place, and one on
 * the heap. Usage: stacks_coro ROUNDS.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define APART __attribute__((noinline, noclone))
#define COROUTINES 8
#define STACK 32768

static struct {
	ucontext_t context;
	char *stack;
	int steps;
	int done;
} co[COROUTINES];
static ucontext_t home;
static void *volatile sink;

APART static void touch(size_t size)
{
	sink = malloc(size);
	free(sink);
}

APART static void walk(int self, int depth)
{
	touch((size_t)depth + 1);
	if (depth > 0)
		walk(self, depth - 1);
	else
		swapcontext(&co[self].context, &home);
	touch((size_t)depth + 20);
}

static void body(int self)
{
	while (co[self].steps-- > 0)
		walk(self, (self * 5 + co[self].steps) % 13);
	co[self].done = 1;
}

static void start(int i)
{
	co[i].stack = i ? mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : malloc(STACK);
	co[i].steps = 3 + i;
	co[i].done = 0;
	getcontext(&co[i].context);
	co[i].context.uc_stack.ss_sp = co[i].stack;
	co[i].context.uc_stack.ss_size = STACK;
	co[i].context.uc_link = &home;
	makecontext(&co[i].context, (void (*)(void))body, 1, i);
}

static void stop(int i)
{
	if (i)
		munmap(co[i].stack, STACK);
	else
		free(co[i].stack);
	co[i].stack = NULL;
}

APART static void turn(int i)
{
	if (!co[i].stack)
		start(i);
	touch(64);
	swapcontext(&home, &co[i].context);
	touch(65);
	if (co[i].done)
		stop(i);
}

int main(int argc, char **argv)
{
	long rounds = argc == 2 ? atol(argv[1]) : 1;
	for (volatile long i = 0; i < rounds; i++)
		turn((int)(i * 7 % COROUTINES));
	return 0;
}
