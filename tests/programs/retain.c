/*
 * Leaves free memory behind in one of several shapes, and then does what it is told: `exit` at once (the log then shows this
 * moment), or `trim` (malloc_trim), `drop` (free what keep() made), `droptrim` (both), `dropbacktrim` (the last one made is freed
 * first), `next` (one more big block is made and freed). Prints resident bytes before and after, and how many before were anonymous: what of libraries is resident differs from run
 * to run.
 *
 * usage: retain PATTERN exit|trim|drop|droptrim|dropbacktrim|next
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT_MOST 100000
static void *kept[KEPT_MOST];
static int keeps;
static void *junk[2000000];
static uint64_t seed = 88172645463325252u;

static unsigned long dice(unsigned long below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned long)(seed % below);
}

static void *touched(void *block, size_t size)
{
	memset(block, 1, size);
	return block;
}

/* What pins the rest: one place in the program. */
__attribute__((noinline)) static void *keep(size_t size)
{
	void *block = touched(malloc(size), size);
	kept[__atomic_fetch_add(&keeps, 1, __ATOMIC_RELAXED)] = block;
	return block;
}

__attribute__((noinline)) static void *make(size_t size)
{
	void *block = malloc(size);
	return touched(block, size);
}

/* count blocks of low..high bytes, every nth a kept one; then all others are freed. */
static void sieve(int count, size_t low, size_t high, int nth)
{
	int n = 0;
	for (int i = 0; i < count; i++) {
		size_t size = low + dice(high - low + 1);
		if (i % nth == nth - 1)
			keep(size);
		else
			junk[n++] = make(size);
	}
	for (int i = 0; i < n; i++)
		free(junk[i]);
}

static void top(void)
{
	for (int i = 0; i < 40000; i++)
		junk[i] = make(1000);
	keep(100);
	for (int i = 0; i < 40000; i++)
		free(junk[i]);
}

/* Random lives: what is freed is freed in no order. */
static void churn(void)
{
	static void *slot[20000];
	for (int i = 0; i < 400000; i++) {
		int at = (int)dice(20000);
		free(slot[at]);
		slot[at] = make(16 + dice(2000));
	}
	for (int i = 0; i < 20000; i++)
		if (i % 40)
			free(slot[i]);
}

static void growing(void)
{
	for (int i = 0; i < 2000; i++) {
		char *block = NULL;
		for (size_t size = 100; size < 20000; size = size * 3 / 2)
			block = touched(realloc(block, size), size);
		junk[i] = block;
		if (i % 100 == 0)
			keep(64);
	}
	for (int i = 0; i < 2000; i++)
		free(junk[i]);
}

static void aligned(void)
{
	int n = 0;
	for (int i = 0; i < 4000; i++) {
		size_t align = (size_t)64 << dice(7), size = 500 + dice(6000);
		junk[n++] = touched(memalign(align, size), size);
		if (i % 50 == 0)
			keep(200);
	}
	for (int i = 0; i < n; i++)
		free(junk[i]);
}

/* Only a part of each block was ever written: not all of a heap is resident. */
static void sparse(void)
{
	for (int i = 0; i < 1500; i++) {
		junk[i] = calloc(1, 60000);
		memset(junk[i], 1, 9000);
		if (i % 30 == 0)
			keep(300);
	}
	for (int i = 0; i < 1500; i++)
		free(junk[i]);
}

static void mapped(void)
{
	for (int i = 0; i < 40; i++)
		junk[i] = make(400000 + (size_t)i * 1000);
	for (int i = 0; i < 20; i++)
		keep(500000);
	for (int i = 0; i < 40; i++)
		free(junk[i]);
}

static pthread_barrier_t done, leave;
static bool keep_none;   /* threads */
static size_t keep_more; /* kept blocks are so much bigger: beyond what a thread's cache takes */

/* Threads build one after the other, all of them being there: each has an arena of its own, and the order of the kept blocks, which
 * decides which of them a cache takes when they are freed, is the same in every run, however the threads are scheduled. */
static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_over = PTHREAD_COND_INITIALIZER;
static uintptr_t turn;

static void await_turn(uintptr_t mine)
{
	pthread_mutex_lock(&turn_lock);
	while (turn != mine)
		pthread_cond_wait(&turn_over, &turn_lock);
	pthread_mutex_unlock(&turn_lock);
}

static void end_turn(void)
{
	pthread_mutex_lock(&turn_lock);
	turn++;
	pthread_cond_broadcast(&turn_over);
	pthread_mutex_unlock(&turn_lock);
}

static void *thread_main(void *arg)
{
	await_turn((uintptr_t)arg);
	void **mine = malloc(30000 * sizeof *mine);
	int n = 0;
	uint64_t at = 1234567 + (uint64_t)(uintptr_t)arg * 7919;
	for (int i = 0; i < 30000; i++) {
		at = at * 6364136223846793005u + 1442695040888963407u;
		size_t size = 40 + (size_t)(at >> 33) % 600;
		if (i % 300 == 299 && !keep_none)
			keep(size + keep_more);
		else
			mine[n++] = make(size);
	}
	for (int i = 0; i < n; i++)
		free(mine[i]);
	free(mine);
	end_turn();
	pthread_barrier_wait(&done);
	pthread_barrier_wait(&leave);
	return NULL;
}

/* stay: the threads are there when it is measured; else they have ended. */
static void threads(int count, int stay)
{
	pthread_t thread[16];
	pthread_barrier_init(&done, NULL, (unsigned)count + 1);
	pthread_barrier_init(&leave, NULL, (unsigned)count + 1);
	for (int i = 0; i < count; i++)
		pthread_create(&thread[i], NULL, thread_main, (void *)(uintptr_t)i);
	pthread_barrier_wait(&done);
	if (stay)
		return;
	pthread_barrier_wait(&leave);
	for (int i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
}

static void *free_all(void *arg)
{
	for (int i = 0; i < (int)(uintptr_t)arg; i++)
		free(junk[i]);
	return NULL;
}

/* All small enough for fastbins: freed, they are merged with nothing until something big is made or freed. */
static void fast(void)
{
	for (int i = 0; i < 300000; i++)
		junk[i] = make(100);
	for (int i = 0; i < 300000; i++)
		free(junk[i]);
}

/* The heaps of threads, all of it free, below a trim threshold that a big block has raised. */
static void tops(void)
{
	free(make(8 << 20));
	keep_none = true;
	threads(4, 1);
}

/* Made here, freed by another thread. */
static void handoff(void)
{
	pthread_t thread;
	for (int i = 0; i < 60000; i++) {
		junk[i] = make(24 + dice(900));
		if (i % 200 == 0)
			keep(48);
	}
	pthread_create(&thread, NULL, free_all, (void *)(uintptr_t)60000);
	pthread_join(thread, NULL);
}

static void run(const char *pattern)
{
	if (strcmp(pattern, "sieve") == 0)
		sieve(120000, 100, 400, 500);
	else if (strcmp(pattern, "small") == 0)
		sieve(400000, 16, 100, 700);
	else if (strcmp(pattern, "pages") == 0)
		sieve(3000, 8000, 60000, 10);
	else if (strcmp(pattern, "wide") == 0)
		sieve(60000, 16, 3000, 100);
	else if (strcmp(pattern, "top") == 0)
		top();
	else if (strcmp(pattern, "churn") == 0)
		churn();
	else if (strcmp(pattern, "growing") == 0)
		growing();
	else if (strcmp(pattern, "aligned") == 0)
		aligned();
	else if (strcmp(pattern, "sparse") == 0)
		sparse();
	else if (strcmp(pattern, "mapped") == 0)
		mapped();
	else if (strcmp(pattern, "threads") == 0)
		threads(4, 1);
	else if (strcmp(pattern, "ended") == 0)
		threads(4, 0);
	else if (strcmp(pattern, "pinned") == 0)
		sieve(60000, 100, 400, 8);
	else if (strcmp(pattern, "fast") == 0)
		fast();
	else if (strcmp(pattern, "tops") == 0)
		tops();
	else if (strcmp(pattern, "eight") == 0)
		threads(8, 1);
	else if (strcmp(pattern, "workers") == 0) {
		keep_more = 1200;
		threads(4, 1);
	} else if (strcmp(pattern, "handoff") == 0)
		handoff();
	else
		_exit(2);
}

static long resident(long *ret_anonymous)
{
	static char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *all = strstr(text, "\nRss:"), *anonymous = strstr(text, "\nAnonymous:");
	*ret_anonymous = anonymous ? atol(anonymous + 11) * 1024 : 0;
	return all ? atol(all + 5) * 1024 : 0;
}

int main(int argc, char **argv)
{
	static char line[200];
	if (argc < 3)
		return 2;
	memset(kept, 0, sizeof kept); /* resident from the start, as are the slots: only the heap moves */
	memset(junk, 0, sizeof junk);
	run(argv[1]);
	long anonymous, ignored, before = resident(&anonymous);
	bool back = strstr(argv[2], "back") != NULL;
	if (strstr(argv[2], "drop"))
		for (int i = 0; i < keeps; i++)
			free(kept[back ? keeps - 1 - i : i]);
	if (strcmp(argv[2], "next") == 0)
		free(make(100000));
	if (strstr(argv[2], "trim"))
		malloc_trim(0);
	long after = resident(&ignored);
	int n = snprintf(line, sizeof line, "%ld %ld %ld\n", before, after, anonymous);
	if (write(1, line, (size_t)n) != n)
		return 1;
	_exit(0);
}
