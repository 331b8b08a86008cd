/*
 * Small programs that are big for one reason each; what the reason is called stands in tests/answers/test_verdict.py.
 *
 * usage: cases NAME [FILE]
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t seed = 88172645463325252u;

static unsigned long dice(unsigned long below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned long)(seed % below);
}

static void *make(size_t size)
{
	void *block = malloc(size);
	memset(block, 1, size);
	return block;
}

/* A request's worth of honest traffic. */
static void serve(void)
{
	void *part[20];
	for (int i = 0; i < 20; i++)
		part[i] = make(50 + dice(2000));
	for (int i = 0; i < 20; i++)
		free(part[i]);
}

static void leak_small(void)
{
	static void *volatile lost;
	for (int i = 0; i < 20000; i++) {
		serve();
		lost = make(1000);
	}
}

static void leak_rare(void)
{
	static void *volatile lost;
	for (int i = 0; i < 10000; i++) {
		serve();
		if (i % 20 == 0)
			lost = make(40000);
	}
}

static void leak_list(void)
{
	struct node {
		struct node *next;
		char text[400];
	} *head = NULL;
	for (int i = 0; i < 40000; i++) {
		struct node *n = make(sizeof *n);
		n->next = head;
		head = n;
		if (i % 3 == 0)
			serve();
	}
}

static void leak_vector(void)
{
	char *vector = NULL;
	for (size_t i = 1; i <= 4000; i++) {
		vector = realloc(vector, i * 4096);
		memset(vector + (i - 1) * 4096, 1, 4096);
		serve();
	}
}

/* `fill` of the slots a round until all are taken; then each new one replaces another. */
static void cache(int slots, size_t size, int rounds)
{
	void **slot = calloc((size_t)slots, sizeof *slot);
	for (int i = 0; i < rounds; i++) {
		int at = i < slots ? i : (int)dice((unsigned long)slots);
		free(slot[at]);
		slot[at] = make(size);
		serve();
	}
}

static void load_once(void)
{
	static void *data[30000];
	for (int i = 0; i < 30000; i++)
		data[i] = make(1000);
	for (int i = 0; i < 20000; i++)
		serve();
}

static void steady(void)
{
	for (int i = 0; i < 30000; i++)
		serve();
}

/* Everything but every nth block is freed again. */
static void sieve(int count, size_t low, size_t high, int nth)
{
	void **block = malloc((size_t)count * sizeof *block);
	for (int i = 0; i < count; i++)
		block[i] = make(low + dice(high - low));
	for (int i = 0; i < count; i++)
		if (i % nth)
			free(block[i]);
	for (int i = 0; i < 3000; i++)
		serve();
}

static void *peak_in_thread(void *barrier)
{
	void **block = malloc(20000 * sizeof *block);
	for (int i = 0; i < 20000; i++)
		block[i] = make(500);
	for (int i = 0; i < 20000; i++)
		if (i % 1000 != 999)
			free(block[i]);
	pthread_barrier_wait(barrier);
	pause();
	return NULL;
}

static void thread_arenas(void)
{
	static pthread_barrier_t barrier;
	pthread_barrier_init(&barrier, NULL, 9);
	for (int i = 0; i < 8; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, peak_in_thread, &barrier);
	}
	pthread_barrier_wait(&barrier);
}

static void *peak_freed(void *barrier)
{
	static __thread void *block[20000];
	for (int i = 0; i < 20000; i++)
		block[i] = make(500);
	for (int i = 0; i < 20000; i++)
		free(block[i]);
	pthread_barrier_wait(barrier);
	pause();
	return NULL;
}

/* Nothing lives in the threads' heaps any more; a big block has raised the threshold below which their ends stay. */
static void thread_tops(void)
{
	static pthread_barrier_t barrier;
	pthread_barrier_init(&barrier, NULL, 5);
	free(make(16 << 20));
	for (int i = 0; i < 4; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, peak_freed, &barrier);
	}
	pthread_barrier_wait(&barrier);
}

static void map_more(void)
{
	for (int i = 0; i < 60; i++) {
		char *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(at, 1, 1 << 20);
		for (int k = 0; k < 50; k++)
			serve();
	}
}

__attribute__((noinline)) static int deep(int levels)
{
	volatile char frame[4096];
	memset((void *)frame, levels, sizeof frame);
	return levels ? deep(levels - 1) + frame[1] : frame[0];
}

static void *deep_thread(void *barrier)
{
	deep(1500);
	pthread_barrier_wait(barrier);
	pause();
	return NULL;
}

static void deep_stacks(void)
{
	static pthread_barrier_t barrier;
	pthread_barrier_init(&barrier, NULL, 7);
	for (int i = 0; i < 6; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, deep_thread, &barrier);
	}
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 2000; i++)
		serve();
}

static void map_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	off_t size = lseek(fd, 0, SEEK_END);
	const volatile char *at = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	long sum = 0;
	for (off_t i = 0; i < size; i += 4096)
		sum += at[i];
	for (int i = 0; i < 2000 + (int)(sum & 1); i++)
		serve();
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	if (strcmp(name, "leak_small") == 0)
		leak_small();
	else if (strcmp(name, "leak_rare") == 0)
		leak_rare();
	else if (strcmp(name, "leak_list") == 0)
		leak_list();
	else if (strcmp(name, "leak_vector") == 0)
		leak_vector();
	else if (strcmp(name, "cache_small") == 0)
		cache(2000, 4000, 20000);
	else if (strcmp(name, "cache_slow") == 0)
		cache(6000, 4000, 20000);
	else if (strcmp(name, "load_once") == 0)
		load_once();
	else if (strcmp(name, "steady") == 0)
		steady();
	else if (strcmp(name, "fragments") == 0)
		sieve(100000, 100, 900, 40);
	else if (strcmp(name, "peak") == 0)
		sieve(60000, 500, 1500, 30000);
	else if (strcmp(name, "thread_arenas") == 0)
		thread_arenas();
	else if (strcmp(name, "thread_tops") == 0)
		thread_tops();
	else if (strcmp(name, "map_more") == 0)
		map_more();
	else if (strcmp(name, "deep_stacks") == 0)
		deep_stacks();
	else if (strcmp(name, "map_file") == 0 && argc > 2)
		map_file(argv[2]);
	else
		return 2;
	_exit(0);
}
