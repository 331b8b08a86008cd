/*
 * Forked processes that each free some of what they inherited, in some order, and go on until their log has wrapped.
 *
 * usage: fork_heirs ACCOUNT BLOCKS GENERATIONS CHURN SEED [THREADS]
 *
 * The first process takes BLOCKS blocks, at three places; each later one is the only child of the one before, and takes a tenth as many. Every process but the
 * first frees some of all there are: at once, later, by realloc, and after its log has wrapped; a realloc that fails leaves its block. Between frees it makes
 * CHURN short-lived blocks. Then it forks the next and waits for it. With THREADS the last one does not end: so many threads
 * free what is left, each its share, and make short-lived blocks.
 *
 * ACCOUNT, a file of 64-bit words that outlives the processes: BLOCKS, slots, GENERATIONS; then for each process a word that is its pid, and for each
 * slot four: address, size, state (0 nothing, 1 live, 2 a call about it is running), and where it was made: the process' number * 4 + the place's.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "churn.h"

struct slot {
	uint64_t address, size, state, origin;
};
static struct {
	uint64_t *words;
	uint64_t blocks, slots, generations, churn, generation;
	struct slot *slot; /* of this process */
} the;
static _Thread_local uint64_t state;
static uint64_t threads;

static uint64_t random_next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 11;
}

static struct slot *slots_of(uint64_t generation)
{
	uint64_t *own = the.words + 3 + generation * (1 + 4 * the.slots);
	own[0] = (uint64_t)getpid();
	return (struct slot *)(own + 1);
}

__attribute__((noinline)) static void *take_a(size_t size)
{
	void *block = malloc(size);
	__asm__ volatile("" : "+r"(block));
	return block;
}
__attribute__((noinline)) static void *take_b(size_t size)
{
	void *block = calloc(1, size);
	__asm__ volatile("" : "+r"(block));
	return block;
}
__attribute__((noinline)) static void *take_c(size_t size)
{
	void *block = take_a(size);
	__asm__ volatile("" : "+r"(block));
	return block;
}

static void begin(struct slot *s)
{
	__atomic_store_n(&s->state, 2, __ATOMIC_SEQ_CST);
}
static void end(struct slot *s, void *block, size_t size)
{
	s->address = (uintptr_t)block;
	s->size = size;
	__atomic_store_n(&s->state, block != NULL, __ATOMIC_SEQ_CST);
}

static void take(uint64_t i)
{
	static void *(*const at[])(size_t) = {take_a, take_b, take_c};
	struct slot *s = &the.slot[i];
	size_t size = random_next() % 50 * 64 + 39;
	begin(s);
	s->origin = the.generation * 4 + i % 3;
	end(s, at[i % 3](size), size);
}

/* Frees the slot's block, moves it, or fails to. */
static void change(struct slot *s)
{
	void *block = (void *)(uintptr_t)s->address, *now = NULL;
	size_t size = s->size, most = SIZE_MAX / 4;
	if (s->state != 1)
		return;
	uint64_t what = random_next() % 8;
	__asm__ volatile("" : "+r"(most));
	begin(s);
	if (what == 0) {
		size = random_next() % 50 * 64 + 39;
		now = realloc(block, size);
		s->origin = the.generation * 4 + 3;
	} else if (what == 1) {
		now = realloc(block, most) ? NULL : block;
	} else {
		free(block);
	}
	end(s, now, size);
}

static void live(void)
{
	uint64_t generation = the.generation;
	uint64_t from = generation ? the.blocks + (generation - 1) * (the.blocks / 10) : 0;
	uint64_t count = generation ? the.blocks / 10 : the.blocks;
	if (generation)
		for (uint64_t i = 0; i < from; i++)
			if (random_next() % 8 == 0)
				change(&the.slot[i]);
	for (uint64_t i = from; i < from + count; i++)
		take(i);
	if (!generation)
		return;
	churn(20 * the.churn);
	for (unsigned i = 0; i < 40; i++) {
		for (uint64_t n = the.blocks / 100; n > 0; n--)
			change(&the.slot[random_next() % (from + count)]);
		churn(the.churn);
	}
}

/* All that is left of the share dies, one by one; what is taken meanwhile lives shortly. */
static void *go_on(void *share)
{
	uint64_t first = (uintptr_t)share;
	state = (first + 1) * UINT64_C(0x9e3779b97f4a7c15);
	for (uint64_t i = first;; i = i + threads < the.slots ? i + threads : first) {
		change(&the.slot[i]);
		churn(200);
	}
	return NULL;
}

static int begin_account(const char *path)
{
	uint64_t len = (3 + the.generations * (1 + 4 * the.slots)) * sizeof(uint64_t);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)len) != 0)
		return -1;
	the.words = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (the.words == MAP_FAILED)
		return -1;
	the.words[0] = the.blocks;
	the.words[1] = the.slots;
	the.words[2] = the.generations;
	return 0;
}

int main(int argc, char **argv)
{
	the.blocks = argc > 5 ? strtoull(argv[2], NULL, 10) : 0;
	the.generations = argc > 5 ? strtoull(argv[3], NULL, 10) : 0;
	if (the.blocks < 100 || the.generations < 2 || the.generations > 16) {
		fprintf(stderr, "usage: fork_heirs ACCOUNT BLOCKS GENERATIONS CHURN SEED [THREADS]\n");
		return 2;
	}
	the.churn = strtoull(argv[4], NULL, 10);
	threads = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
	state = strtoull(argv[5], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	the.slots = the.blocks + (the.generations - 1) * (the.blocks / 10);
	if (begin_account(argv[1]) != 0)
		return 2;
	for (;; the.generation++) {
		struct slot *own = slots_of(the.generation);
		if (the.generation)
			memcpy(own, the.slot, the.slots * sizeof *own);
		the.slot = own;
		live();
		if (the.generation + 1 == the.generations) {
			for (uint64_t i = 1; i < threads; i++) {
				pthread_t thread;
				pthread_create(&thread, NULL, go_on, (void *)(uintptr_t)i);
			}
			if (threads)
				go_on(NULL);
			_exit(0);
		}
		int status;
		pid_t pid = fork();
		if (pid == 0)
			continue;
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			_exit(1);
		_exit(0);
	}
}
