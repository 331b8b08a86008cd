/*
 * tidemark-rerun: carries out the operations of ops.h under whatever allocator is preloaded into it, and stops for its parent
 * to look at its memory. Usage: tidemark-rerun OPS-FD TELL-FD ASK-FD MODE TRIM-MS; MODE: letters p (Python objects are blocks
 * of their own, arenas are not mapped) and a (all bytes of a block are written), or -.
 *
 * A program of its own so that as little as possible is resident beside what it replays: it links nothing but libc, allocates
 * nothing for itself, and keeps its tables in shared memory, which the parent does not count (it reads what is anonymous).
 *
 * One operation is carried out at a time, by the thread that did it in the traced process: threads hand each other a baton.
 */
#include <errno.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rerun/ops.h"

#define PAGE 4096u
#define STACK (256u << 10)

struct mapping {
	char *at;
	uint64_t len;
};

static struct {
	int ops, tell, ask;
	bool python_objects, touch_all;
	uint64_t trim_ms, since_trim_ms;
	struct tide_ops_head head;
	void **block;
	struct mapping *map;
	uint8_t buf[1 << 16];
	size_t have, at;
	bool ended; /* nothing more to read */
	uint64_t failed, failed_bytes;
} run;

static struct {
	pthread_t thread[TIDE_RERUN_THREADS];
	bool started[TIDE_RERUN_THREADS];
	_Atomic uint32_t baton[TIDE_RERUN_THREADS]; /* futex words: 1, go on */
	uint32_t to_join;                           /* 0: none */
} crew;

static void tell(enum tide_told what)
{
	struct tide_tell t = {what, run.failed, run.failed_bytes};
	char byte;
	ssize_t n = write(run.tell, &t, sizeof t);
	if (n == sizeof t)
		while ((n = read(run.ask, &byte, 1)) < 0 && errno == EINTR)
			;
	if (n != 1)
		_exit(1); /* the parent is gone */
}

static _Noreturn void wrong(void)
{
	tell(TIDE_TOLD_WRONG);
	_exit(1);
}

static bool fill(void)
{
	memmove(run.buf, run.buf + run.at, run.have - run.at);
	run.have -= run.at;
	run.at = 0;
	ssize_t n = read(run.ops, run.buf + run.have, sizeof run.buf - run.have);
	if (n > 0)
		run.have += (size_t)n;
	return n > 0;
}

static void next(struct tide_act *ret)
{
	while (!run.ended && run.have - run.at < TIDE_ACT_MAX)
		run.ended = !fill();
	struct tide_in in = tide_in_of(run.buf + run.at, run.have - run.at);
	if (!tide_act_get(&in, ret))
		wrong();
	run.at = run.have - tide_in_left(&in);
}

static void touch(char *at, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += PAGE)
		((volatile char *)at)[i] = 1;
	if (bytes)
		((volatile char *)at)[bytes - 1] = 1;
}

static uint64_t touched(const struct tide_act *op, uint64_t len)
{
	uint64_t bytes = run.touch_all ? len : op->touch;
	return bytes < len ? bytes : len;
}

static void *allocate(const struct tide_act *op, void *old)
{
	void *got = NULL;
	switch (op->kind) {
	case TIDE_ACT_MALLOC:
		return malloc(op->size);
	case TIDE_ACT_CALLOC:
		return calloc(1, op->size);
	case TIDE_ACT_REALLOC:
		return realloc(old, op->size ? op->size : 1);
	default:
		return posix_memalign(&got, op->extra, op->size) == 0 ? got : NULL;
	}
}

static void block(const struct tide_act *op)
{
	if (op->slot >= run.head.blocks)
		wrong();
	void **at = &run.block[op->slot], *old = *at;
	if (op->kind == TIDE_ACT_FREE) {
		free(old);
		*at = NULL;
		return;
	}
	void *got = allocate(op, old);
	if (got) {
		touch(got, touched(op, op->size));
		*at = got;
		return;
	}
	run.failed++;
	run.failed_bytes += op->size;
	if (op->kind != TIDE_ACT_REALLOC)
		*at = NULL;
}

/* Only what is written may be written: a reservation of many gigabytes must not count against the limits. */
static void make_mapping(const struct tide_act *op, struct mapping *m)
{
	uint64_t bytes = (op->touch < op->size ? op->touch : op->size + PAGE - 1) / PAGE * PAGE;
	*m = (struct mapping){0};
	void *at = mmap(NULL, op->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED || mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0) {
		run.failed++;
		run.failed_bytes += op->size;
		return;
	}
	*m = (struct mapping){at, op->size};
	touch(at, bytes);
}

static void map(const struct tide_act *op)
{
	if (op->slot >= run.head.maps)
		wrong();
	struct mapping *m = &run.map[op->slot];
	if (op->kind == TIDE_ACT_MAP)
		make_mapping(op, m);
	if (!m->at || op->kind == TIDE_ACT_MAP)
		return;
	if (op->extra > m->len || op->size > m->len - op->extra)
		wrong();
	if (op->kind == TIDE_ACT_UNMAP)
		munmap(m->at + op->extra, op->size);
	else
		madvise(m->at + op->extra, op->size, MADV_DONTNEED);
}

/* ---- threads ---- */

static void hand_to(uint32_t thread)
{
	atomic_store_explicit(&crew.baton[thread], 1, memory_order_release);
	syscall(SYS_futex, &crew.baton[thread], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await(uint32_t thread)
{
	while (!atomic_exchange_explicit(&crew.baton[thread], 0, memory_order_acquire))
		syscall(SYS_futex, &crew.baton[thread], FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static void carry_on(uint32_t me);

static void *member(void *arg)
{
	carry_on((uint32_t)(uintptr_t)arg);
	return NULL;
}

static void go_on_as(uint32_t me, uint32_t thread)
{
	pthread_attr_t attr;
	if (thread >= TIDE_RERUN_THREADS)
		wrong();
	if (thread == me)
		return;
	if (thread == 0 || crew.started[thread]) {
		hand_to(thread);
	} else {
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, STACK);
		if (pthread_create(&crew.thread[thread], &attr, member, (void *)(uintptr_t)thread) != 0)
			wrong();
		pthread_attr_destroy(&attr);
		crew.started[thread] = true;
	}
	await(me);
	if (me == 0 && crew.to_join) {
		pthread_join(crew.thread[crew.to_join], NULL);
		crew.started[crew.to_join] = false;
		crew.to_join = 0;
	}
}

static void pass_time(uint64_t ms)
{
	run.since_trim_ms += ms;
	if (!run.trim_ms || run.since_trim_ms < run.trim_ms)
		return;
	malloc_trim(0);
	run.since_trim_ms = 0;
}

/* Operations until this thread ends, or all do. */
static void carry_on(uint32_t me)
{
	struct tide_act op;
	for (next(&op); op.kind != TIDE_ACT_END; next(&op)) {
		bool is_map = op.kind >= TIDE_ACT_MAP && op.kind <= TIDE_ACT_DISCARD;
		if (op.kind == TIDE_ACT_THREAD)
			go_on_as(me, (uint32_t)(op.slot < UINT32_MAX ? op.slot : UINT32_MAX));
		else if (op.kind == TIDE_ACT_THREAD_END && me != 0)
			break;
		else if (op.kind == TIDE_ACT_SAMPLE)
			tell(TIDE_TOLD_SAMPLE);
		else if (op.kind == TIDE_ACT_TIME)
			pass_time(op.size);
		else if (op.kind == TIDE_ACT_TRIM)
			malloc_trim(0);
		else if (op.python && is_map == run.python_objects)
			continue; /* arenas or objects: one of the two is left out */
		else if (is_map)
			map(&op);
		else if (op.kind != TIDE_ACT_THREAD_END)
			block(&op);
	}
	if (op.kind == TIDE_ACT_END) {
		tell(TIDE_TOLD_END);
		_exit(0);
	}
	crew.to_join = me;
	hand_to(0);
}

static void *table(uint64_t entries, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(entries + 1, size, &bytes))
		wrong();
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		wrong();
	return at;
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	run.ops = atoi(argv[1]);
	run.tell = atoi(argv[2]);
	run.ask = atoi(argv[3]);
	run.python_objects = strchr(argv[4], 'p') != NULL;
	run.touch_all = strchr(argv[4], 'a') != NULL;
	run.trim_ms = strtoull(argv[5], NULL, 10);
	if (pread(run.ops, &run.head, sizeof run.head, 0) != sizeof run.head || run.head.magic != TIDE_OPS_MAGIC ||
	    lseek(run.ops, sizeof run.head, SEEK_SET) < 0)
		return 2;
	run.block = table(run.head.blocks, sizeof *run.block);
	run.map = table(run.head.maps, sizeof *run.map);
	memset(run.buf, 1, sizeof run.buf); /* resident before the floor is measured */
	tell(TIDE_TOLD_READY);
	carry_on(0);
	return 1;
}
