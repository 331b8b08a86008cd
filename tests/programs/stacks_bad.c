/*
 * Allocates where stacks are not what they should be. Usage: stacks_bad CASE ROUNDS; prints "ok".
 *
 * smash: the frames outside of a function are overwritten while it allocates SMASHED bytes, and put back before it returns;
 *   between, CLEAN bytes are allocated from one and the same place. On a stack with nothing readable behind its end.
 * tiny: recursion to within a few KiB of the end of a 16 KiB thread stack, allocating all the way down.
 * interrupted: ROUNDS times, at any point of what the program does, which is to allocate, a handler maps memory.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define APART __attribute__((noinline, noclone))
#define PAGE 4096u
#define STACK (4 * PAGE)
#define SMASHED 4321u
#define CLEAN 1237u

static void *volatile sink;
static int rounds;

APART static void touch(size_t size)
{
	sink = malloc(size);
	free(sink);
}

/* ---- smash ---- */

static uintptr_t stack_end;
static uint64_t saved[STACK / 8];

static uint64_t random_word(void)
{
	static uint64_t x = 88172645463325252u;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static uint64_t bad_word(int kind, uintptr_t at)
{
	switch (kind) {
	case 0:
		return UINT64_MAX;
	case 1:
		return random_word();
	case 2: /* real code: there is a rule, and the walk goes on with it */
		return (uintptr_t)&qsort + 40 + random_word() % 200;
	case 3: /* the stack itself: no code */
		return at;
	case 4: /* not aligned, outside */
		return stack_end + 1;
	case 5:
		return 0x0000800000000000u + at;
	default: /* a bit each */
		return *(const uint64_t *)at ^ UINT64_C(1) << random_word() % 48;
	}
}

/* Everything from the frame of `smash` outwards is nonsense while it allocates. Its own return address, too. */
APART static void smash(int kind)
{
	uintptr_t from = (uintptr_t)__builtin_frame_address(0);
	size_t len = stack_end - from;
	memcpy(saved, (void *)from, len);
	for (uintptr_t at = from; at < stack_end; at += 8)
		*(volatile uint64_t *)at = bad_word(kind, at);
	sink = malloc(SMASHED);
	free(sink);
	memcpy((void *)from, saved, len);
	__asm__ volatile("" ::: "memory"); /* no jump to memcpy from here: it would return by what is still nonsense */
}

APART static void deeper(int kind, int depth)
{
	volatile char room[64];
	room[0] = (char)depth;
	if (depth > 0)
		deeper(kind, depth - 1);
	else
		smash(kind);
	(void)room[0];
}

APART static void clean(void)
{
	touch(CLEAN);
}

static ucontext_t back, there;

static void run_smash(void)
{
	for (int i = 0; i < rounds; i++) {
		for (int kind = 0; kind < 7; kind++) {
			deeper(kind, i % 5);
			clean();
		}
	}
}

static int do_smash(void)
{
	uint8_t *memory = mmap(NULL, STACK + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || mprotect(memory + PAGE, STACK, PROT_READ | PROT_WRITE) != 0)
		return 1;
	stack_end = (uintptr_t)memory + PAGE + STACK;
	getcontext(&there);
	there.uc_stack.ss_sp = memory + PAGE;
	there.uc_stack.ss_size = STACK;
	there.uc_link = &back;
	makecontext(&there, run_smash, 0);
	return swapcontext(&back, &there);
}

/* ---- tiny ---- */

APART static int down(uintptr_t low)
{
	volatile uintptr_t here = (uintptr_t)__builtin_frame_address(0); /* in each call's own frame: no loop */
	touch(here % 512 + 1);
	int more = here > low + 5 * 1024 ? down(low) + 1 : 0;
	return more + (here == low);
}

static void *on_tiny(void *low)
{
	for (int i = 0; i < rounds; i++)
		if (down((uintptr_t)low) < 20)
			return low;
	return NULL;
}

static int do_tiny(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	void *failed = NULL;
	uint8_t *memory = mmap(NULL, STACK + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || mprotect(memory + PAGE, STACK, PROT_READ | PROT_WRITE) != 0)
		return 1;
	if (pthread_attr_init(&attributes) || pthread_attr_setstack(&attributes, memory + PAGE, STACK) ||
	    pthread_create(&thread, &attributes, on_tiny, memory + PAGE) || pthread_join(thread, &failed))
		return 1;
	return failed != NULL;
}

/* ---- interrupted ---- */

static volatile sig_atomic_t ticks;

static void on_signal(int sig)
{
	(void)sig;
	void *at = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at != MAP_FAILED)
		munmap(at, PAGE);
	ticks++;
}

APART static void nest(int depth)
{
	touch((size_t)depth + 1);
	if (depth > 0)
		nest(depth - 1);
	touch((size_t)depth + 2);
}

static void *send(void *to)
{
	for (int i = 0; i < rounds; i++) {
		for (volatile uint64_t wait = random_word() % 2000; wait > 0; wait--)
			;
		if (pthread_kill(*(pthread_t *)to, SIGUSR1) != 0)
			return to;
		while (ticks <= i)
			sched_yield();
	}
	return NULL;
}

static int do_interrupted(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t self = pthread_self(), sender;
	void *failed = NULL;
	if (sigaction(SIGUSR1, &action, NULL) != 0 || pthread_create(&sender, NULL, send, &self) != 0)
		return 1;
	while (ticks < rounds) {
		nest(30);
		sched_yield(); /* who sends may wait for this processor */
	}
	return pthread_join(sender, &failed) || failed;
}

int main(int argc, char **argv)
{
	int failed = 1;
	if (argc != 3)
		return 2;
	rounds = atoi(argv[2]);
	if (strcmp(argv[1], "smash") == 0)
		failed = do_smash();
	else if (strcmp(argv[1], "tiny") == 0)
		failed = do_tiny();
	else if (strcmp(argv[1], "interrupted") == 0)
		failed = do_interrupted();
	puts(failed ? "failed" : "ok");
	return failed;
}
