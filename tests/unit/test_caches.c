/*
 * glibc's per-thread caches, as the order of events tells them: how many, which, whose; what else the model keeps (thresholds that
 * adapt, fastbins). And against the glibc that this runs on: what it hands out is what the model has in the cache.
 */
#include <gnu/libc-version.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/caches.h"
#include "other_malloc.h"

#define KIB UINT64_C(1024)
#define HEAP UINT64_C(0x555555000000)
#define MAPPED UINT64_C(0x7f0000000000)

static struct tide_caches caches;

static void begin(const char *allocator)
{
	struct tide_glibc g;
	assert_true(tide_glibc_of(allocator, &g));
	tide_caches_release(&caches);
	tide_caches_init(&caches, &g);
}

static void op(unsigned kind, uint64_t addr, uint64_t size)
{
	struct tide_change o = {addr, size << 8 | kind};
	assert_true(tide_caches_take(&caches, &o, 1));
}

static void thread(uint32_t tid)
{
	op(TIDE_KIND_THREAD, tid, 0);
}
static void allocated(uint64_t addr, uint64_t size)
{
	op(TIDE_KIND_ALLOC, addr, size);
}
static void freed(uint64_t addr, uint64_t size)
{
	op(TIDE_KIND_FREE, addr, size);
}

/* The n-th block of a row of them. */
static uint64_t nth(unsigned n)
{
	return HEAP + 16 + n * 4096ull;
}

static struct tide_cached listed(const uint32_t *alive, size_t alives, uint32_t room_of)
{
	struct tide_cached c;
	assert_true(tide_caches_list(&caches, alive, alives, room_of, &c));
	for (size_t i = 1; i < c.count; i++)
		assert_true(c.addr[i - 1] < c.addr[i]);
	return c;
}

static bool holds(uint64_t addr)
{
	struct tide_cached c = listed(NULL, 0, 1);
	bool found = false;
	for (size_t i = 0; i < c.count; i++)
		found = found || c.addr[i] == addr;
	tide_cached_release(&c);
	return found;
}

static size_t held(void)
{
	struct tide_cached c = listed(NULL, 0, 1);
	size_t count = c.count;
	tide_cached_release(&c);
	return count;
}

/* TCACHE_FILL_COUNT: 7, and 16 from 2.43 on; the next one goes to the arena. */
static void test_how_many(void **state)
{
	static const struct {
		const char *name;
		unsigned count;
		uint64_t fast;
	} cases[] = {{"glibc 2.31", 7, 3}, {"glibc 2.36", 7, 3}, {"glibc 2.42", 7, 3}, {"glibc 2.43", 16, 0}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		begin(cases[i].name);
		thread(1);
		for (unsigned n = 0; n < cases[i].count + 3; n++)
			freed(nth(n), 100);
		assert_int_equal(held(), cases[i].count);
		assert_false(holds(nth(cases[i].count)));
		assert_int_equal(tide_caches_fast(&caches, HEAP), cases[i].fast);
		/* each size has a stack of its own */
		for (unsigned n = 0; n < 30; n++)
			freed(nth(100 + n), 200);
		assert_int_equal(held(), 2 * cases[i].count);
	}
}

/* Chunks of 32 to 1040 bytes: requests up to 1032. */
static void test_which_sizes(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	freed(nth(0), 0);
	freed(nth(1), 1032);
	freed(nth(2), 1033);
	freed(nth(3), 200 * KIB);
	assert_true(holds(nth(0)) && holds(nth(1)) && !holds(nth(2)) && !holds(nth(3)));
	struct tide_cached c = listed(NULL, 0, 1);
	assert_true(c.count == 2 && c.size[0] == 32 && c.size[1] == 1040);
	tide_cached_release(&c);
}

/* A stack: what comes out tells what lies below it; what was thought to lie above was not there. */
static void test_last_in_first_out(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	for (unsigned n = 0; n < 5; n++)
		freed(nth(n), 100);
	allocated(nth(4), 100);
	assert_true(held() == 4 && !holds(nth(4)));
	allocated(nth(1), 100); /* 2 and 3 must have been taken unseen */
	assert_true(held() == 1 && holds(nth(0)));
	allocated(nth(50), 100); /* of nobody's: from the arena */
	assert_int_equal(held(), 1);
	allocated(nth(0), 90); /* any size of the same chunk */
	assert_int_equal(held(), 0);
}

static void test_a_second_free_of_an_address(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	freed(nth(0), 100);
	freed(nth(0), 300); /* its allocation between was not seen */
	assert_int_equal(held(), 1);
	allocated(nth(0), 100);
	assert_int_equal(held(), 0);
}

/* A cache is its thread's; it goes when the thread does. */
static void test_whose(void **state)
{
	static const uint32_t second[] = {22};
	(void)state;
	begin("glibc 2.36");
	thread(11);
	for (unsigned n = 0; n < 7; n++)
		freed(nth(n), 100);
	thread(22);
	for (unsigned n = 10; n < 13; n++)
		freed(nth(n), 100);
	assert_int_equal(held(), 10);
	struct tide_cached c = listed(second, 1, 22);
	assert_true(c.count == 3 && c.addr[0] == nth(10));
	assert_int_equal(c.room[(112 - 32) / 16], 4);
	assert_int_equal(c.room[0], 7);
	assert_int_equal(c.error_chunks, 4); /* of a size that was ever freed, and may be moved there from a bin */
	tide_cached_release(&c);
	c = listed(NULL, 0, 33); /* a thread that nothing is known of */
	assert_int_equal(c.room[(112 - 32) / 16], 7);
	tide_cached_release(&c);
	thread(22);
	allocated(nth(3), 100); /* another thread's allocation does take it, whatever that means */
	assert_false(holds(nth(3)));
}

/* realloc frees its block only if it moves. */
static void test_what_realloc_moves(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	op(TIDE_KIND_REALLOC_FREE, nth(0), 100);
	assert_false(holds(nth(0)));
	op(TIDE_KIND_REALLOC_ALLOC, nth(0), 0);
	assert_false(holds(nth(0)));
	op(TIDE_KIND_REALLOC_FREE, nth(0), 100);
	op(TIDE_KIND_REALLOC_ALLOC, nth(9), 0);
	assert_true(holds(nth(0)));
	op(TIDE_KIND_REALLOC_FREE, nth(9), 300); /* to where a cached one was */
	op(TIDE_KIND_REALLOC_ALLOC, nth(0), 0);
	assert_true(!holds(nth(0)) && holds(nth(9)));
}

/* What memalign cuts off is freed unseen: the bar grows by what may be there. */
static void test_memalign_widens_the_bar(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	op(TIDE_KIND_ALIGNED, nth(0), 64);
	struct tide_cached c = listed(NULL, 0, 1);
	assert_true(c.count == 0 && c.error_chunks == 3 * 7); /* chunks of 32, 48, 64 */
	tide_cached_release(&c);
}

/* __libc_free: a mapped chunk that is freed makes both thresholds adapt, up to DEFAULT_MMAP_THRESHOLD_MAX. */
static void test_threshold_adapts(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	assert_int_equal(caches.trim_threshold, 128 * KIB);
	freed(HEAP + 16, 100 * KIB); /* from the heap */
	assert_int_equal(caches.trim_threshold, 128 * KIB);
	freed(HEAP + 64, 200 * KIB); /* its chunk begins no page: no mapping of its own */
	assert_int_equal(caches.trim_threshold, 128 * KIB);
	freed(MAPPED + 16, 200 * KIB);
	assert_int_equal(caches.trim_threshold, 2 * 204 * KIB);
	freed(MAPPED + 16, 150 * KIB); /* never down */
	assert_int_equal(caches.trim_threshold, 2 * 204 * KIB);
	freed(MAPPED + 16, 32 * 1024 * KIB - 16);
	assert_int_equal(caches.trim_threshold, 64 * 1024 * KIB);
	freed(MAPPED + 16, 32 * 1024 * KIB);
	assert_int_equal(caches.trim_threshold, 64 * 1024 * KIB);
}

/* Fastbins fill when a cache is full, by arena; malloc_consolidate empties them before something big is served or freed. */
static void test_fastbins(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	for (unsigned n = 0; n < 20; n++)
		freed(nth(n), 120);
	assert_int_equal(tide_caches_fast(&caches, HEAP), 13); /* chunks of 128: global_max_fast */
	for (unsigned n = 20; n < 40; n++)
		freed(nth(n), 121); /* 144 */
	assert_int_equal(tide_caches_fast(&caches, HEAP), 13);
	for (unsigned n = 0; n < 20; n++)
		freed(MAPPED + 16 + n * 4096, 56); /* in a thread heap */
	assert_int_equal(tide_caches_fast(&caches, MAPPED), 13);
	assert_int_equal(tide_caches_fast(&caches, MAPPED + TIDE_HEAP_MAX - 1), 13);
	assert_int_equal(tide_caches_fast(&caches, MAPPED + TIDE_HEAP_MAX), 0);
	allocated(nth(500), 2000);
	assert_int_equal(tide_caches_fast(&caches, HEAP), 0);
	assert_int_equal(tide_caches_fast(&caches, MAPPED), 13);
	freed(MAPPED + 16 * KIB, 64 * KIB);
	assert_int_equal(tide_caches_fast(&caches, MAPPED), 0);
}

/* Where threads' heaps are: the lowest block in each 64 MiB that has no mapping of its own. */
static void test_which_heaps(void **state)
{
	(void)state;
	begin("glibc 2.36");
	thread(1);
	allocated(MAPPED + 0xb40, 100);
	allocated(MAPPED + TIDE_HEAP_MAX + 16 * KIB, 100);
	allocated(MAPPED + 2 * TIDE_HEAP_MAX + 16, 200 * KIB);
	allocated(MAPPED + 3 * TIDE_HEAP_MAX + 64 * KIB, 100);
	allocated(MAPPED + 3 * TIDE_HEAP_MAX + 0x40, 100 * KIB);
	allocated(nth(0), 100);
	struct tide_cached c = listed(NULL, 0, 1);
	assert_int_equal(c.heaps, 3);
	assert_int_equal(c.heap[0] + c.heap[1] + c.heap[2],
			 3 * MAPPED + 0xb40 + TIDE_HEAP_MAX + 16 * KIB + 3 * TIDE_HEAP_MAX + 0x40);
	tide_cached_release(&c);
}

#ifndef OTHER_MALLOC
#define STEPS 20000u
static struct step {
	void *block;
	uint16_t size;
	bool is_free;
} step[STEPS];
static unsigned long seed = 7;

static unsigned long dice(unsigned long below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

/* Without an allocation of the test's own in between. */
static void work(void)
{
	static struct step live[500];
	unsigned lives = 0;
	for (unsigned i = 0; i < STEPS; i++) {
		bool give_back = lives == 500 || (lives && dice(2));
		unsigned at = give_back ? (unsigned)dice(lives) : lives++;
		if (give_back) {
			step[i] = (struct step){live[at].block, live[at].size, true};
			free(live[at].block);
			live[at] = live[--lives];
		} else {
			uint16_t size = (uint16_t)(dice(4) ? dice(200) : dice(3000));
			step[i] = live[at] = (struct step){malloc(size), size, false};
		}
	}
	while (lives)
		free(live[--lives].block);
}

/* A size of which the model has a cached chunk is served with one that the model has. */
static void test_this_glibc(void **state)
{
	char name[64];
	unsigned served = 0, missed = 0;
	(void)state;
	snprintf(name, sizeof name, "glibc %s", gnu_get_libc_version());
	work();
	begin(name);
	thread(1);
	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t addr = (uint64_t)(uintptr_t)step[i].block;
		if (step[i].is_free) {
			freed(addr, step[i].size);
			continue;
		}
		struct tide_cached c = listed(NULL, 0, 1);
		bool any = false, this = false;
		for (size_t k = 0; k < c.count; k++) {
			bool same = c.size[k] == tide_chunk_of(step[i].size);
			any = any || same;
			this = this || (same && c.addr[k] == addr);
		}
		tide_cached_release(&c);
		served += any;
		missed += any && !this;
		allocated(addr, step[i].size);
	}
	assert_true(served > STEPS / 8);
	/* what malloc itself moves from a bin into the cache is on top of it, and is not seen */
	assert_true(missed <= served / 20);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifndef OTHER_MALLOC
		cmocka_unit_test(test_this_glibc),
#endif
		cmocka_unit_test(test_how_many),
		cmocka_unit_test(test_which_sizes),
		cmocka_unit_test(test_last_in_first_out),
		cmocka_unit_test(test_a_second_free_of_an_address),
		cmocka_unit_test(test_whose),
		cmocka_unit_test(test_what_realloc_moves),
		cmocka_unit_test(test_memalign_widens_the_bar),
		cmocka_unit_test(test_threshold_adapts),
		cmocka_unit_test(test_fastbins),
		cmocka_unit_test(test_which_heaps),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tide_caches_release(&caches);
	return failed;
}
