/*
 * Threads, their ends, and what interrupts them: threads_cases CASE [NUMBER [EVENTS]]. Each prints what it saw, the same with and without
 * the shim.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static unsigned number;
static atomic_uint finished;

static void start(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	int rc = pthread_create(id, attr, run, arg);
	if (rc != 0) {
		fprintf(stderr, "pthread_create: %s\n", strerror(rc));
		exit(2);
	}
}

static void *short_life(void *arg)
{
	void *block = malloc((uintptr_t)arg % 500);
	free(realloc(block, 700));
	finished++;
	return malloc(1);
}

static int churn(void)
{
	pthread_t id[16];
	for (unsigned i = 0; i < number; i += 16) {
		for (unsigned k = 0; k < 16; k++)
			start(&id[k], NULL, short_life, (void *)(uintptr_t)i);
		for (unsigned k = 0; k < 16; k++) {
			void *left;
			pthread_join(id[k], &left);
			free(left);
		}
	}
	printf("%u\n", finished);
	return 0;
}

/* Keys that come back in every round, and memory that libc frees after the last one. */
static pthread_key_t keys[60];
static void again(void *value)
{
	uintptr_t left = *(uintptr_t *)value;
	unsigned key = (unsigned)(left >> 8);
	free(value);
	left &= 255;
	strerror(99999);
	strsignal(300);
	finished++;
	if (left > 1) {
		uintptr_t *next = malloc(sizeof *next);
		*next = (uintptr_t)key << 8 | (left - 1);
		pthread_setspecific(keys[key], next);
	}
}
static void *with_keys(void *arg)
{
	for (unsigned i = 0; i < 60; i++) {
		uintptr_t *value = malloc(sizeof *value);
		*value = (uintptr_t)i << 8 | 4;
		pthread_setspecific(keys[i], value);
	}
	return arg;
}
static int tls_destructors(void)
{
	pthread_t id[8];
	for (unsigned i = 0; i < 60; i++)
		pthread_key_create(&keys[i], again);
	for (int i = 0; i < 8; i++)
		start(&id[i], NULL, with_keys, NULL);
	for (int i = 0; i < 8; i++)
		pthread_join(id[i], NULL);
	printf("%u\n", finished);
	return 0;
}

static void *makes(void *arg)
{
	void **blocks = arg;
	for (unsigned i = 0; i < 1000; i++)
		blocks[i] = malloc(i + 1);
	return NULL;
}
static int freed_by_others(void)
{
	static void *blocks[20][1000];
	size_t sum = 0;
	for (int i = 0; i < 20; i++) {
		pthread_t id;
		start(&id, NULL, makes, blocks[i]);
		pthread_join(id, NULL); /* its stack and TLS may go, its blocks stay */
		for (unsigned k = 0; k < 1000; k++) {
			sum += k;
			free(blocks[i][k]);
		}
	}
	printf("%zu\n", sum);
	return 0;
}

static void clean(void *block)
{
	free(block);
	finished++;
}
static void *cancelled(void *arg)
{
	pthread_cleanup_push(clean, malloc(100));
	for (;;) {
		free(malloc(50));
		pthread_testcancel();
	}
	pthread_cleanup_pop(0);
	return arg;
}
static int cancellation(void)
{
	for (unsigned i = 0; i < number; i++) {
		pthread_t id;
		void *how;
		start(&id, NULL, cancelled, NULL);
		if (i % 3 == 0)
			usleep(100);
		pthread_cancel(id);
		pthread_join(id, &how);
		if (how != PTHREAD_CANCELED)
			return 1;
	}
	printf("%u\n", finished == number);
	return 0;
}

static pthread_barrier_t together;
static void *stays(void *arg)
{
	pthread_barrier_wait(&together);
	for (unsigned i = 0; i < 20; i++)
		free(malloc(i));
	void *kept = calloc(1, 100);
	pthread_barrier_wait(&together);
	free(kept);
	finished++;
	return arg;
}
static int many_tiny(void)
{
	pthread_t *id = malloc(number * sizeof *id);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	pthread_barrier_init(&together, NULL, number);
	for (unsigned i = 0; i < number; i++)
		start(&id[i], &attr, stays, NULL);
	for (unsigned i = 0; i < number; i++)
		pthread_join(id[i], NULL);
	free(id);
	printf("%u\n", finished);
	return 0;
}

/* `number` threads at once, each with so many events: three in four blocks die at once, the others twelve blocks later. */
static unsigned events_each;
static void *is_busy(void *arg)
{
	void *slot[4] = {NULL};
	pthread_barrier_wait(&together);
	for (unsigned i = 0; i < events_each / 2; i++) {
		void *block = malloc(24 + i % 60 * 16);
		if (i % 4 == 0) {
			void *old = slot[i / 4 % 4];
			slot[i / 4 % 4] = block;
			block = old;
		}
		free(block);
	}
	for (unsigned i = 0; i < 4; i++)
		free(slot[i]);
	pthread_barrier_wait(&together);
	finished++;
	return arg;
}
static int many_busy(void)
{
	pthread_t *id = malloc(number * sizeof *id);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_barrier_init(&together, NULL, number);
	for (unsigned i = 0; i < number; i++)
		start(&id[i], &attr, is_busy, NULL);
	for (unsigned i = 0; i < number; i++)
		pthread_join(id[i], NULL);
	free(id);
	printf("%u\n", finished);
	return 0;
}

static volatile sig_atomic_t handled;
static void *volatile kept_by_handler;
static void allocates(int signal)
{
	(void)signal;
	int saved = errno;
	free(kept_by_handler);
	kept_by_handler = malloc(300);
	handled++;
	errno = saved;
}
static void on_alternate(int signal)
{
	allocates(signal);
	for (int i = 0; i < 20; i++)
		free(malloc((size_t)i * 100));
}
static int alternate_stack(void)
{
	static char small[8192] __attribute__((aligned(16)));
	stack_t stack = {.ss_sp = small, .ss_size = sizeof small};
	struct sigaction action = {.sa_handler = on_alternate, .sa_flags = SA_ONSTACK};
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 500; i++)
		raise(SIGUSR1);
	printf("%d\n", handled);
	return 0;
}

/* The interrupted code never is inside malloc, which its handler calls; it is inside our recording as often as can be. */
static void maps(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED)
			abort();
		madvise(at, 8192, MADV_DONTNEED);
		madvise(at, 8192, MADV_NORMAL);
		errno = 77;
		munmap(at, 8192);
		if (errno != 77)
			abort();
	}
}
static pthread_t target;
static atomic_bool stop;
static void *shoots(void *arg)
{
	while (!stop) {
		pthread_kill(target, SIGUSR2);
		for (volatile int i = 0; i < 20000; i++)
			;
	}
	return arg;
}
static void shoot_at_me(void (*handler)(int), pthread_t *ret)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGUSR2, &action, NULL);
	target = pthread_self();
	start(ret, NULL, shoots, NULL);
}
static int signal_storm(void)
{
	pthread_t shooter;
	shoot_at_me(allocates, &shooter);
	while (handled < (int)number)
		maps(100);
	stop = true;
	pthread_join(shooter, NULL);
	free(kept_by_handler);
	printf("%d\n", handled >= (int)number);
	return 0;
}

static sigjmp_buf back;
static volatile sig_atomic_t may_jump;
static void jumps(int signal)
{
	(void)signal;
	handled++;
	if (may_jump && handled % 3 == 0) {
		may_jump = 0;
		siglongjmp(back, 1);
	}
}
/* Jumps out of our recording as well; what was begun there must not hold anything up for ever. */
static int jump_storm(void)
{
	pthread_t shooter;
	volatile unsigned jumped = 0;
	shoot_at_me(jumps, &shooter);
	while (jumped < number) {
		if (sigsetjmp(back, 1) != 0) {
			jumped++;
			continue;
		}
		may_jump = 1;
		for (;;)
			madvise(NULL, 4096, MADV_NORMAL);
	}
	may_jump = 0;
	stop = true;
	pthread_join(shooter, NULL);
	struct timespec begin, end;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < 200000; i++)
		free(malloc((size_t)i % 1000));
	clock_gettime(CLOCK_MONOTONIC, &end);
	double took = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
	printf("%s\n", took < 5 ? "in time" : "too slow");
	return 0;
}

static ucontext_t home, other[50];
static void coroutine(int index)
{
	for (int i = 0; i < 20; i++) {
		void *block = malloc((size_t)(index * 20 + i));
		swapcontext(&other[index], &home);
		free(block);
		finished++;
	}
}
static int coroutines(void)
{
	enum { STACK = 32768 };
	char *stacks[50];
	for (int i = 0; i < 50; i++) {
		stacks[i] = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		getcontext(&other[i]);
		other[i].uc_stack.ss_sp = stacks[i];
		other[i].uc_stack.ss_size = STACK;
		other[i].uc_link = &home;
		makecontext(&other[i], (void (*)(void))coroutine, 1, i);
	}
	for (int round = 0; round < 21; round++)
		for (int i = 0; i < 50; i++)
			swapcontext(&home, &other[i]);
	for (int i = 0; i < 50; i++)
		munmap(stacks[i], STACK); /* what was remembered of them must not be looked at again */
	for (int i = 0; i < 1000; i++)
		free(malloc(10));
	printf("%u\n", finished);
	return 0;
}

static void *checks_errno(void *arg)
{
	unsigned wrong = 0;
	for (unsigned i = 0; i < number; i++) {
		errno = 77;
		void *p = malloc(i % 2000);
		wrong += errno != 77;
		p = realloc(p, i % 3000 + 1);
		wrong += errno != 77;
		free(p);
		wrong += errno != 77;
	}
	finished += wrong;
	return arg;
}
static int errno_stays(void)
{
	pthread_t id[4];
	for (int i = 0; i < 4; i++)
		start(&id[i], NULL, checks_errno, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(id[i], NULL);
	printf("%u wrong\n", finished);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{"churn", churn},
	{"tls_destructors", tls_destructors},
	{"freed_by_others", freed_by_others},
	{"cancellation", cancellation},
	{"many_tiny", many_tiny},
	{"many_busy", many_busy},
	{"alternate_stack", alternate_stack},
	{"signal_storm", signal_storm},
	{"jump_storm", jump_storm},
	{"coroutines", coroutines},
	{"errno", errno_stays},
};

int main(int argc, char **argv)
{
	number = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	events_each = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
	for (size_t i = 0; i < sizeof cases / sizeof *cases && argc > 1; i++)
		if (strcmp(cases[i].name, argv[1]) == 0)
			return cases[i].run();
	return 2;
}
