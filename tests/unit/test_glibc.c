/*
 * glibc's heaps, as the model has them: releases, rounding of chunks (against the glibc that this runs on), which heap a block is in,
 * rows that add up, what malloc_trim and free give back, to the byte.
 */
#include <gnu/libc-version.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/glibc.h"
#include "other_malloc.h"

#define PAGE TIDE_SPACE_PAGE
#define KIB UINT64_C(1024)
#define BRK UINT64_C(0x555555000000)
#define THREAD UINT64_C(0x7f1234000000) /* a multiple of 64 MiB */

/* malloc/malloc.c and malloc/arena.c: TCACHE_FILL_COUNT, heap_info, calloc's tcache, fastbins, malloc_state, sizeof (tcache_perthread_struct). */
static void test_releases(void **state)
{
	static const struct {
		const char *name;
		uint16_t count, heap_info, fast_most, arena, tcache_chunk;
		bool calloc_cached, exact;
	} cases[] = {
		{"glibc 2.31", 7, 32, 128, 2200, 656, false, true},
		{"glibc 2.34", 7, 32, 128, 2200, 656, false, true},
		{"glibc 2.35", 7, 48, 128, 2200, 656, false, true},
		{"glibc 2.36", 7, 48, 128, 2200, 656, false, true},
		{"glibc 2.40", 7, 48, 128, 2200, 656, false, true},
		{"glibc 2.41", 7, 48, 128, 2200, 656, true, true},
		{"glibc 2.42", 7, 48, 128, 2200, 768, true, true},
		{"glibc 2.43", 16, 48, 0, 2112, 768, true, true},
		{"glibc 2.44", 16, 48, 0, 2112, 768, true, false},
		{"glibc 2.999", 16, 48, 0, 2112, 768, true, false},
		{"glibc 2.36.1", 7, 48, 128, 2200, 656, false, true},
	};
	static const char *const others[] = {"",          "glibc",        "glibc 2.",   "glibc 2.30",
					     "glibc 2.x", "glibc 2.-36",  "glibc 3.36", "jemalloc",
					     "musl 1.2",  "glibc 2.1000", "Glibc 2.36", "glibc 2.18446744073709551652"};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tide_glibc g;
		assert_true(tide_glibc_of(cases[i].name, &g));
		assert_int_equal(g.tcache_count, cases[i].count);
		assert_int_equal(g.heap_info, cases[i].heap_info);
		assert_int_equal(g.fast_most, cases[i].fast_most);
		assert_int_equal(g.arena, cases[i].arena);
		assert_int_equal(g.tcache_chunk, cases[i].tcache_chunk);
		assert_int_equal(g.calloc_cached, cases[i].calloc_cached);
		assert_int_equal(g.exact, cases[i].exact);
		assert_int_equal(g.tcache_most, 1040);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct tide_glibc g = {.minor = 77};
		assert_false(tide_glibc_of(others[i], &g));
		assert_int_equal(g.minor, 77); /* untouched */
	}
}

static void test_every_release_has_a_row(void **state)
{
	(void)state;
	for (unsigned minor = 31; minor <= 43; minor++) {
		char name[32];
		struct tide_glibc g;
		snprintf(name, sizeof name, "glibc 2.%u", minor);
		assert_true(tide_glibc_of(name, &g));
		assert_true(g.exact && g.minor == minor);
	}
}

static void test_rounding(void **state)
{
	static const uint64_t cases[][2] = {{0, 32},      {1, 32},      {24, 32},      {25, 48},
					    {40, 48},     {41, 64},     {1032, 1040},  {1033, 1056},
					    {4088, 4096}, {4089, 4112}, {65528, 65536}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(tide_chunk_of(cases[i][0]), cases[i][1]);
#ifndef OTHER_MALLOC
	/* a chunk's usable bytes are all but its header's 8: what lies behind belongs to it while it lives. A rest too small to be a
	 * chunk may be given with it, so it is the least of a few. */
	for (size_t size = 0; size < 20000; size += size < 3000 ? 1 : 97) {
		size_t least = SIZE_MAX;
		void *block[6];
		for (size_t i = 0; i < 6; i++) {
			block[i] = malloc(size);
			size_t usable = malloc_usable_size(block[i]);
			least = usable < least ? usable : least;
		}
		assert_int_equal(tide_chunk_of(size), least + 8);
		for (size_t i = 0; i < 6; i++)
			free(block[i]);
	}
#endif
}

/* A process with the mappings, resident runs and blocks that a test wants. */
static struct {
	struct tide_glibc glibc;
	struct tide_space space;
	struct tide_space_region region[8];
	struct tide_space_run run[8];
	struct tide_block_live block[64];
	struct tide_heaps heaps;
} f;

static void begin(const char *allocator)
{
	tide_heaps_release(&f.heaps);
	memset(&f, 0, sizeof f);
	f.space.region = f.region;
	f.space.run = f.run;
	f.heaps.space = &f.space;
	f.heaps.block = f.block;
	if (tide_glibc_of(allocator, &f.glibc))
		f.heaps.glibc = &f.glibc;
}

static void map(uint64_t start, uint64_t end, uint8_t flags)
{
	f.region[f.space.regions++] =
		(struct tide_space_region){.start = start, .end = end, .flags = flags, .counted = true};
}

static void touched(uint64_t start, uint64_t end)
{
	f.run[f.space.runs++] = (struct tide_space_run){start, end, false};
}

static void block(uint64_t chunk, uint64_t size)
{
	f.block[f.heaps.blocks++] = (struct tide_block_live){.addr = chunk + TIDE_CHUNK_HEAD, .size = size};
}

static void finish(void)
{
	assert_true(tide_heaps_init(&f.heaps));
}

#define RW (TIDE_REGION_READ | TIDE_REGION_WRITE)
#define OWN 656u /* the cache's own chunk, first in the heap */

/* The brk heap of `bytes`, all of it resident. */
static void brk_heap(uint64_t bytes)
{
	begin("glibc 2.36");
	map(BRK, BRK + bytes, RW | TIDE_REGION_HEAP);
	touched(BRK, BRK + bytes);
}

static struct tide_heap_sum sum_of(uint32_t heap, const uint8_t *gone)
{
	struct tide_heap_sum s;
	tide_heap_sum(&f.heaps, &f.heaps.heap[heap], gone, &s);
	return s;
}

static uint64_t resident_of(uint32_t heap)
{
	return tide_space_anon(&f.space, f.heaps.heap[heap].start, f.heaps.heap[heap].end);
}

static void check_rows(uint32_t heap)
{
	struct tide_heap_sum s = sum_of(heap, NULL);
	assert_int_equal(s.live + s.overhead + s.pinned_waste + s.trimmable, resident_of(heap));
}

static void test_an_empty_heap(void **state)
{
	(void)state;
	brk_heap(132 * KIB);
	finish();
	assert_int_equal(f.heaps.heaps, 1);
	check_rows(0);
	struct tide_heap_sum s = sum_of(0, NULL);
	assert_int_equal(s.overhead, OWN);
	assert_int_equal(s.pinned_waste, PAGE - OWN);
	assert_int_equal(s.trimmable, 131 * KIB + KIB - PAGE);
	/* systrim leaves MINSIZE + 1 bytes, and the page that they are on */
	assert_int_equal(s.trim, 128 * KIB);
	assert_true(s.live == 0 && s.live_blocks == 0 && s.top_size == 132 * KIB - OWN);
}

/* Two blocks and a hole between them that begins and ends at every place of a page. */
static void test_rows_and_trim_of_a_hole(void **state)
{
	(void)state;
	for (uint64_t start = 0; start < PAGE; start += 16)
		for (uint64_t length = 0; length < 3 * PAGE; length += 16 * 37) {
			uint64_t hole = BRK + 2 * PAGE + start, end = hole + length;
			brk_heap(32 * KIB);
			block(hole - 1008, 1000);
			block(end, 1000);
			finish();
			check_rows(0);
			struct tide_heap_sum s = sum_of(0, NULL);
			/* mtrim: whole pages behind the free chunk's links (48 bytes); pages of the top, of the first hole */
			uint64_t from = (hole + 48 + PAGE - 1) / PAGE * PAGE, to = end / PAGE * PAGE;
			uint64_t of_hole = to > from ? to - from : 0;
			assert_int_equal(tide_gap_trim(&f.space, hole, end), of_hole);
			uint64_t before = (hole - 1008) / PAGE * PAGE - BRK - PAGE;
			uint64_t top = BRK + 32 * KIB - (end + 1008 + 33 + PAGE - 1) / PAGE * PAGE;
			assert_int_equal(s.trim, of_hole + before + top);
			assert_true(s.live == 2000 && s.live_bytes == 2000 && s.live_blocks == 2);
		}
}

/* A rest below MINSIZE behind a chunk is the chunk's, and no free memory. */
static void test_a_rest_too_small_to_be_a_chunk(void **state)
{
	(void)state;
	brk_heap(32 * KIB);
	block(BRK + PAGE, 100);       /* 112 */
	block(BRK + PAGE + 128, 100); /* 16 behind it */
	finish();
	check_rows(0);
	struct tide_heap_sum s = sum_of(0, NULL);
	assert_int_equal(s.overhead, OWN + 2 * 12 + 16);
}

/* A chunk in a thread's cache is not merged: it cuts a hole in two, and nothing of its page goes. */
static void test_a_cached_chunk_keeps_its_page(void **state)
{
	uint64_t at = BRK + 4 * PAGE + 512 + TIDE_CHUNK_HEAD;
	uint32_t size = 64;
	(void)state;
	brk_heap(64 * KIB);
	block(BRK + PAGE - 112, 100);
	block(BRK + 9 * PAGE, 100);
	finish();
	struct tide_heap_sum without = sum_of(0, NULL);
	f.heaps.cached = &at;
	f.heaps.cached_size = &size;
	f.heaps.cacheds = 1;
	struct tide_heap_sum with = sum_of(0, NULL);
	check_rows(0);
	assert_int_equal(without.trim - with.trim, PAGE);
	assert_int_equal(with.caches, PAGE);
	assert_int_equal(with.trimmable, without.trimmable); /* dead it is all the same */
}

/* Blocks that are to die are not there; what is not resident is not given back. */
static void test_gone_blocks_and_absent_pages(void **state)
{
	static const uint8_t gone[] = {0, 1, 0};
	(void)state;
	begin("glibc 2.36");
	map(BRK, BRK + 64 * KIB, RW | TIDE_REGION_HEAP);
	touched(BRK, BRK + 3 * PAGE);
	touched(BRK + 5 * PAGE, BRK + 16 * PAGE);
	block(BRK + PAGE - 112, 100);
	block(BRK + PAGE, 7 * PAGE - 8);
	block(BRK + 8 * PAGE, 100);
	finish();
	check_rows(0);
	struct tide_heap_sum now = sum_of(0, NULL), then = sum_of(0, gone);
	assert_int_equal(now.live_blocks - then.live_blocks, 1);
	/* the dying block's pages but for the first, which keeps the links, and the two that are not there */
	assert_int_equal(then.trim - now.trim, (7 - 1 - 2) * PAGE);
}

static uint64_t returned(uint32_t heap, const uint8_t *gone, uint64_t threshold)
{
	return tide_heap_returned(&f.heaps, &f.heaps.heap[heap], gone, gone, threshold);
}

/* free() cuts the top when it reaches the threshold: down to the pad (DEFAULT_TOP_PAD), in whole pages. */
static void test_threshold_and_pad(void **state)
{
	static const uint8_t last[] = {0, 1};
	const uint64_t heap = 1024 * KIB;
	(void)state;
	for (uint64_t top = 100 * KIB; top < 400 * KIB; top += 16 * 411) {
		uint64_t keep = BRK + heap - top - 112;
		brk_heap(heap);
		block(keep, 100);
		block(keep + 112, top - 2000); /* a big one at the end of it, freed */
		finish();
		check_rows(0);
		uint64_t most = (top - 33 - TIDE_TOP_PAD) / PAGE * PAGE;
		uint64_t expected = top >= TIDE_TRIM_THRESHOLD && top > TIDE_TOP_PAD + 33 ? most : 0;
		assert_int_equal(returned(0, last, TIDE_TRIM_THRESHOLD), expected);
		/* a threshold that has adapted */
		assert_int_equal(returned(0, last, 300 * KIB), top >= 300 * KIB ? most : 0);
		assert_int_equal(returned(0, last, top), expected);
		assert_int_equal(returned(0, last, top + 1), 0);
	}
}

/* FASTBIN_CONSOLIDATION_THRESHOLD: only a free that makes a chunk of 64 KiB looks at the top. */
static void test_small_frees_do_not_look_at_the_top(void **state)
{
	static const uint8_t gone[] = {0, 1, 0}, none[] = {0, 0, 0};
	(void)state;
	brk_heap(1024 * KIB);
	block(BRK + 64 * KIB, 100);
	block(BRK + 64 * KIB + 112, 63 * KIB);
	block(BRK + 64 * KIB + 112 + tide_chunk_of(63 * KIB), 100);
	finish();
	assert_int_equal(returned(0, gone, TIDE_TRIM_THRESHOLD), 0);
	brk_heap(1024 * KIB);
	block(BRK + 64 * KIB, 100);
	block(BRK + 64 * KIB + 112, 64 * KIB);
	block(BRK + 64 * KIB + 112 + tide_chunk_of(64 * KIB), 100);
	finish();
	assert_true(returned(0, gone, TIDE_TRIM_THRESHOLD) > 512 * KIB);
	assert_int_equal(returned(0, none, TIDE_TRIM_THRESHOLD), 0);
}

/* A thread heap begins at a multiple of HEAP_MAX with heap_info, malloc_state and the cache; its top is cut by free only. */
static void test_thread_heap(void **state)
{
	static const struct {
		const char *name;
		uint64_t own;
	} releases[] = {{"glibc 2.31", 32 + 2200 + 656}, {"glibc 2.36", 48 + 2200 + 656}};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		static const uint8_t gone[] = {0, 1};
		begin(releases[i].name);
		map(THREAD, THREAD + 1024 * KIB, RW);
		map(THREAD + 1024 * KIB, THREAD + TIDE_HEAP_MAX, 0); /* the rest, without access */
		touched(THREAD, THREAD + 1024 * KIB);
		block(THREAD + 8 * KIB, 100);
		block(THREAD + 8 * KIB + 112, 900 * KIB);
		finish();
		assert_int_equal(f.heaps.heaps, 1);
		const struct tide_heap *h = &f.heaps.heap[0];
		assert_true(h->kind == TIDE_HEAP_THREAD && h->start == THREAD && h->end == THREAD + 1024 * KIB);
		assert_int_equal(h->own, releases[i].own);
		check_rows(0);
		struct tide_heap_sum s = sum_of(0, gone);
		assert_int_equal(s.trim, PAGE); /* one page before the first block: the top is not malloc_trim's */
		assert_int_equal(s.top_size, 1024 * KIB - 8 * KIB - 112);
		/* heap_trim: as the main one's, by the same threshold */
		uint64_t cut = (s.top_size - 33 - TIDE_TOP_PAD) / PAGE * PAGE;
		assert_int_equal(returned(0, gone, TIDE_TRIM_THRESHOLD), cut);
		assert_int_equal(returned(0, gone, 1024 * KIB), 0);
	}
}

/* A thread heap in which nothing lives any more: known if a block was seen in it, or, where not all was seen, by its shape. */
static void test_empty_thread_heap(void **state)
{
	uint64_t seen = THREAD + 511 * KIB, elsewhere = THREAD + 512 * KIB;
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		bool rest = i & 1, known = i & 2, unseen = i & 4;
		begin("glibc 2.36");
		map(THREAD, THREAD + 512 * KIB, RW);
		map(THREAD + 512 * KIB, THREAD + TIDE_HEAP_MAX - (rest ? 0 : 4 * KIB), 0);
		touched(THREAD, THREAD + 512 * KIB);
		f.heaps.seen = known ? &seen : &elsewhere;
		f.heaps.seens = 1;
		f.heaps.unseen = unseen;
		finish();
		assert_int_equal(f.heaps.heaps, known || (rest && unseen));
		if (f.heaps.heaps) {
			struct tide_heap_sum s = sum_of(0, NULL);
			check_rows(0);
			assert_true(f.heaps.heap[0].kind == TIDE_HEAP_THREAD && s.trim == 0 && s.live == 0);
			assert_true(s.top_size == 512 * KIB - f.heaps.heap[0].own);
			assert_int_equal(tide_heap_cut(&f.space, &f.heaps.heap[0], s.top_size, 512 * KIB), 0);
			assert_int_equal(tide_heap_cut(&f.space, &f.heaps.heap[0], s.top_size, 128 * KIB),
					 (s.top_size - 33 - TIDE_TOP_PAD) / PAGE * PAGE);
		}
	}
	/* a thread's stack right in front of it is the same region */
	begin("glibc 2.36");
	map(THREAD - 8192 * KIB, THREAD + 512 * KIB, RW);
	map(THREAD + 512 * KIB, THREAD + TIDE_HEAP_MAX, 0);
	touched(THREAD - 16 * KIB, THREAD + 512 * KIB);
	f.heaps.unseen = true;
	finish();
	assert_true(f.heaps.heaps == 1 && f.heaps.heap[0].start == THREAD);
	/* grown to the end, and the next one behind it: only what was seen */
	for (unsigned known = 0; known < 2; known++) {
		begin("glibc 2.36");
		map(THREAD, THREAD + TIDE_HEAP_MAX + 4 * PAGE, RW);
		touched(THREAD, THREAD + TIDE_HEAP_MAX + 4 * PAGE);
		f.heaps.seen = &seen;
		f.heaps.seens = known;
		f.heaps.unseen = true;
		finish();
		assert_int_equal(f.heaps.heaps, known);
		assert_true(!known || f.heaps.heap[0].end == THREAD + TIDE_HEAP_MAX);
	}
}

/* What lies at 64 MiB is no thread heap if all that is there has mappings of its own. */
static void test_blocks_with_mappings_of_their_own(void **state)
{
	static const uint8_t gone[] = {1, 0};
	(void)state;
	begin("glibc 2.36");
	map(THREAD, THREAD + 272 * KIB, RW);
	touched(THREAD, THREAD + 272 * KIB);
	block(THREAD, 128 * KIB);             /* 132 KiB with its header, in pages */
	block(THREAD + 132 * KIB, 136 * KIB); /* 140 KiB */
	finish();
	assert_int_equal(f.heaps.heaps, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(f.heaps.heap[i].kind, TIDE_HEAP_MAPPED);
		check_rows(i);
		assert_int_equal(sum_of(i, NULL).trim, 0);
	}
	assert_int_equal(f.heaps.heap[0].end, THREAD + 132 * KIB);
	assert_int_equal(returned(0, gone, UINT64_MAX), 132 * KIB); /* munmap asks no threshold */
	assert_int_equal(returned(1, gone, 0), 0);
}

/* Another allocator: blocks are where they are, and nothing is said of what goes back. */
static void test_another_allocator(void **state)
{
	static const uint8_t gone[] = {1, 1};
	(void)state;
	begin("jemalloc");
	map(THREAD, THREAD + 1024 * KIB, RW);
	touched(THREAD, THREAD + 512 * KIB);
	block(THREAD + 64 * KIB, 100);
	block(THREAD + 128 * KIB, 256 * KIB);
	finish();
	assert_true(f.heaps.heaps == 1 && f.heaps.heap[0].kind == TIDE_HEAP_SEGMENT);
	check_rows(0);
	assert_true(sum_of(0, NULL).trim == 0 && returned(0, gone, 0) == 0);
}

/* Of a damaged log: as much address space as there is, and as little time. */
static void test_a_region_without_end(void **state)
{
	uint64_t seen = THREAD + TIDE_HEAP_MAX * 1000 + KIB;
	(void)state;
	begin("glibc 2.36");
	map(THREAD, UINT64_C(1) << 63, RW);
	touched(THREAD, UINT64_C(1) << 63);
	f.heaps.seen = &seen;
	f.heaps.seens = 1;
	f.heaps.unseen = true;
	finish();
	assert_true(f.heaps.heaps == 1 && f.heaps.heap[0].start == THREAD + TIDE_HEAP_MAX * 1000);
}

/* pymalloc's arenas may begin at such a boundary, too, with a big block of malloc's behind them. */
static void test_arenas_at_a_boundary(void **state)
{
	(void)state;
	begin("glibc 2.36");
	map(THREAD, THREAD + 4096 * KIB, RW);
	touched(THREAD, THREAD + 4096 * KIB);
	block(THREAD + 8 * KIB, 100);
	f.block[0].flags = TIDE_BLOCK_PYTHON;
	block(THREAD + 2048 * KIB, 900 * KIB);
	finish();
	assert_int_equal(f.heaps.heaps, 1);
	assert_true(f.heaps.heap[0].kind == TIDE_HEAP_MAPPED && f.heaps.heap[0].start == THREAD + 2048 * KIB);
}

/* No heap: blocks without a mapping (a census of another moment), of Python's pools, in files, in what is ours. */
static void test_blocks_in_no_heap(void **state)
{
	(void)state;
	begin("glibc 2.36");
	map(THREAD, THREAD + 64 * KIB, TIDE_REGION_READ);
	map(THREAD + 128 * KIB, THREAD + 192 * KIB, RW | TIDE_REGION_OURS);
	map(THREAD + 256 * KIB, THREAD + 512 * KIB, RW);
	block(BRK, 100);
	block(THREAD + 4 * KIB, 100);
	block(THREAD + 132 * KIB, 100);
	block(THREAD + 260 * KIB, 100);
	f.block[3].flags = TIDE_BLOCK_PYTHON;
	finish();
	assert_int_equal(f.heaps.heaps, 0);
	tide_heaps_release(&f.heaps);
}

static void test_this_glibc_has_a_row(void **state)
{
	char name[64];
	struct tide_glibc g;
	(void)state;
	snprintf(name, sizeof name, "glibc %s", gnu_get_libc_version());
	assert_true(tide_glibc_of(name, &g));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_releases),
		cmocka_unit_test(test_every_release_has_a_row),
		cmocka_unit_test(test_this_glibc_has_a_row),
		cmocka_unit_test(test_rounding),
		cmocka_unit_test(test_an_empty_heap),
		cmocka_unit_test(test_rows_and_trim_of_a_hole),
		cmocka_unit_test(test_a_rest_too_small_to_be_a_chunk),
		cmocka_unit_test(test_a_cached_chunk_keeps_its_page),
		cmocka_unit_test(test_gone_blocks_and_absent_pages),
		cmocka_unit_test(test_threshold_and_pad),
		cmocka_unit_test(test_small_frees_do_not_look_at_the_top),
		cmocka_unit_test(test_thread_heap),
		cmocka_unit_test(test_empty_thread_heap),
		cmocka_unit_test(test_blocks_with_mappings_of_their_own),
		cmocka_unit_test(test_a_region_without_end),
		cmocka_unit_test(test_arenas_at_a_boundary),
		cmocka_unit_test(test_another_allocator),
		cmocka_unit_test(test_blocks_in_no_heap),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tide_heaps_release(&f.heaps);
	return failed;
}
