/*
 * Programs for tidemark replay: usage replay_shapes arenas|partial|mapped|growing.
 * arenas: eight threads, one after the other, each fills 16 MiB and frees all but a few blocks; all stay alive, so that each
 * keeps an arena of its own. partial: big blocks of which only a part is written. mapped: mappings of the program's own, partly
 * unmapped and discarded. growing: buffers that realloc makes bigger, among small blocks..
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 8
#define MIB (1u << 20)

static pthread_barrier_t all_here, all_done;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void fill_and_free(void)
{
	enum { BLOCKS = 16 * MIB / 2048 };
	char **block = malloc(BLOCKS * sizeof *block);
	for (int i = 0; i < BLOCKS; i++) {
		block[i] = malloc(1500 + i % 1000);
		memset(block[i], 1, 1500);
	}
	for (int i = 0; i < BLOCKS; i++)
		if (i % 500 != 499 && i != BLOCKS - 1) /* the last one pins the top */
			free(block[i]);
	free(block);
}

static void *work(void *arg)
{
	free(malloc(100)); /* takes its arena now */
	pthread_barrier_wait(&all_here);
	pthread_mutex_lock(&turn);
	fill_and_free();
	pthread_mutex_unlock(&turn);
	pthread_barrier_wait(&all_done);
	return arg;
}

static void arenas(void)
{
	pthread_t thread[THREADS];
	pthread_barrier_init(&all_here, NULL, THREADS);
	pthread_barrier_init(&all_done, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, NULL);
	pthread_barrier_wait(&all_done);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void *volatile kept[64];

static void partial(void)
{
	for (int i = 0; i < 20; i++) {
		char *big = i % 2 ? calloc(1, 8 * MIB) : malloc(8 * MIB);
		memset(big, 1, (size_t)(i + 1) * 128 * 1024);
		kept[i] = big;
	}
}

static void mapped(void)
{
	for (int i = 0; i < 8; i++) {
		char *map = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memset(map, 1, 4 * MIB);
		if (i % 3 == 1)
			munmap(map + MIB, MIB);
		if (i % 3 == 2)
			madvise(map + MIB, 2 * MIB, MADV_DONTNEED);
	}
	mmap(NULL, (size_t)8 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void growing(void)
{
	for (int i = 0; i < 16; i++) {
		char *buffer = NULL;
		for (size_t size = 1000; size < 2u * MIB; size += size / 2) {
			buffer = realloc(buffer, size);
			memset(buffer, 1, size);
			kept[32 + i] = malloc(200);
		}
		kept[i] = buffer;
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} shapes[] = {{"arenas", arenas}, {"partial", partial}, {"mapped", mapped}, {"growing", growing}};
	for (size_t i = 0; argc == 2 && i < sizeof shapes / sizeof *shapes; i++)
		if (strcmp(argv[1], shapes[i].name) == 0) {
			shapes[i].run();
			return 0;
		}
	fprintf(stderr, "usage: replay_shapes arenas|partial|mapped|growing\n");
	return 2;
}
