/*
 * Allocates, reallocates and frees in several threads, for ever or for a number of operations, and keeps an account of it in
 * a shared file that outlives a SIGKILL: which slots hold a block, of what size, and which slot each thread is at.
 *
 * usage: oracle_loop ORACLE [threads [slots a thread [operations a thread, 0: for ever [long-lived blocks a thread]]]]
 * Every second operation is on a slot of any thread, so many frees are of other threads' blocks. The first
 * `long-lived` slots of each thread are filled once and then left alone.
 *
 * Every size is 39 modulo 64, which nothing else in this program asks for: so a reader can tell the blocks apart.
 * harness.Oracle knows the layout: 64-bit words; 8 of the head, 8 a thread, 4 a slot.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x314c4341524f) /* "ORACL1" */
#define THREADS_MOST 64

struct head {
	uint64_t magic, threads, slots, long_lived;
	_Atomic uint64_t ready; /* threads whose long-lived blocks are there */
	_Atomic uint64_t done;
	uint64_t reserved[2];
};
struct account { /* of one thread; only settled operations */
	uint64_t allocs, frees, alloc_bytes, reserved[5];
};
struct slot {
	_Atomic uint64_t busy; /* thread + 1 while an operation on it is in flight */
	uint64_t block, size;
	uint64_t next_size; /* of the allocation in flight, 0: a free */
};

static struct head *head;
static struct account *accounts;
static struct slot *slots;
static uint64_t operations;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Few are large, and some of those mapped on their own. */
static uint64_t some_size(uint64_t random)
{
	uint64_t limit = random % 64 == 0 ? 4096 : random % 8 == 0 ? 64 : 8;
	return (random >> 20) % limit * 64 + 39;
}

static void settle(struct slot *s, void *block, uint64_t size)
{
	s->block = (uintptr_t)block;
	s->size = size;
	atomic_store_explicit(&s->busy, 0, memory_order_release);
}

static void operate(struct slot *s, struct account *mine, uint64_t random)
{
	char *block = (char *)(uintptr_t)s->block;
	uint64_t size = some_size(random);
	s->next_size = block && random % 4 ? 0 : size;
	atomic_signal_fence(memory_order_seq_cst);
	if (!s->next_size) {
		free(block);
		mine->frees++;
		settle(s, NULL, 0);
		return;
	}
	char *now = block ? realloc(block, size) : malloc(size);
	if (!now)
		abort();
	now[0] = now[size - 1] = 1;
	mine->frees += block != NULL;
	mine->allocs++;
	mine->alloc_bytes += size;
	settle(s, now, size);
}

static struct slot *grab(uint64_t index, uint64_t thread)
{
	uint64_t nobody = 0;
	struct slot *s = &slots[index];
	if (!atomic_compare_exchange_strong_explicit(&s->busy, &nobody, thread + 1, memory_order_acquire,
						     memory_order_relaxed))
		return NULL;
	return s;
}

static void *work(void *arg)
{
	uint64_t thread = (uintptr_t)arg, state = 88172645463325252u + thread * 7919, first = head->long_lived;
	for (uint64_t i = 0; i < first; i++)
		operate(grab(thread * head->slots + i, thread), &accounts[thread], next_random(&state));
	atomic_fetch_add(&head->ready, 1);
	for (uint64_t i = 0; operations == 0 || i < operations; i++) {
		uint64_t random = next_random(&state);
		uint64_t owner = random & 1 ? thread : (random >> 8) % head->threads;
		struct slot *s = grab(owner * head->slots + first + (random >> 32) % (head->slots - first), thread);
		if (s)
			operate(s, &accounts[thread], next_random(&state));
	}
	return NULL;
}

static int map_oracle(const char *path, uint64_t threads, uint64_t per, uint64_t lasting)
{
	size_t len = sizeof *head + threads * sizeof *accounts + threads * per * sizeof *slots;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)len) != 0)
		return -1;
	head = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (head == MAP_FAILED)
		return -1;
	accounts = (struct account *)(head + 1);
	slots = (struct slot *)(accounts + threads);
	head->threads = threads;
	head->slots = per;
	head->long_lived = lasting;
	head->magic = MAGIC;
	return 0;
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise)
{
	return argc > i ? strtoull(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	uint64_t threads = number(argc, argv, 2, 4), per = number(argc, argv, 3, 256),
		 lasting = number(argc, argv, 5, 0);
	pthread_t id[THREADS_MOST];
	operations = number(argc, argv, 4, 0);
	if (argc < 2 || threads < 1 || threads > THREADS_MOST || per <= lasting ||
	    map_oracle(argv[1], threads, per, lasting) != 0)
		return 2;
	for (uint64_t i = 0; i < threads; i++)
		if (pthread_create(&id[i], NULL, work, (void *)(uintptr_t)i) != 0)
			return 2;
	for (uint64_t i = 0; i < threads; i++)
		pthread_join(id[i], NULL);
	atomic_store(&head->done, 1);
	return 0;
}
