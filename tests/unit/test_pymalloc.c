/* CPython's small-object allocator: sizes of arenas and pools of 3.8 to 3.13, what they hold, what is resident of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/pymalloc.h"

#define BASE UINT64_C(0x7f0000000000)
#define POOLS_MOST 64u

/* Objects/obmalloc.c: ARENA_SIZE and POOL_SIZE; 3.10 came with the radix tree and its bigger ones. */
static const struct version {
	const char *name;
	uint64_t arena_bytes;
	uint32_t pool_bytes;
} versions[] = {
	{"3.8", 256 << 10, 4096}, {"3.9", 256 << 10, 4096}, {"3.10", 1 << 20, 16384},
	{"3.11", 1 << 20, 16384}, {"3.12", 1 << 20, 16384}, {"3.13", 1 << 20, 16384},
};
#define VERSIONS (sizeof versions / sizeof *versions)

/* One arena, resident as far as `touched` pools go. */
struct fixture {
	struct tide_space space;
	struct tide_space_arena arena;
	struct tide_space_pool pool[POOLS_MOST];
	struct tide_space_run run;
};

static void init(struct fixture *f, const struct version *v, uint64_t base, uint32_t touched)
{
	uint64_t first = (base + v->pool_bytes - 1) / v->pool_bytes * v->pool_bytes;
	memset(f, 0, sizeof *f);
	f->arena = (struct tide_space_arena){
		.base = base,
		.bytes = v->arena_bytes,
		.first_pool = first,
		.pool_bytes = v->pool_bytes,
		.pools = (uint32_t)((base + v->arena_bytes - first) / v->pool_bytes),
	};
	for (uint32_t i = 0; i < POOLS_MOST; i++)
		f->pool[i].never_used = true;
	f->run = (struct tide_space_run){base, first + (uint64_t)touched * v->pool_bytes, false};
	f->space = (struct tide_space){
		.arena = &f->arena,
		.arenas = 1,
		.pool = f->pool,
		.pools = f->arena.pools,
		.run = &f->run,
		.runs = f->run.end > f->run.start,
	};
}

static void use(struct fixture *f, uint32_t pool, uint8_t size_class, uint16_t live)
{
	f->pool[pool] = (struct tide_space_pool){.size_class = size_class, .live = live, .free_pool = live == 0};
}

static void test_pools_of_an_arena(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		struct fixture f;
		struct tide_pymalloc_stats s;
		init(&f, &versions[i], BASE, 0);
		tide_pymalloc_stats(&f.space, &s);
		assert_true(s.arenas == 1 && s.arena_bytes == versions[i].arena_bytes);
		assert_int_equal(s.unused_pools, 64);
		assert_int_equal(s.alignment_bytes, 0);
		/* mmap aligns to pages only: from 3.10 on, a base between two pools costs a whole one */
		init(&f, &versions[i], BASE + 4096, 0);
		tide_pymalloc_stats(&f.space, &s);
		bool small = versions[i].pool_bytes == 4096;
		assert_int_equal(s.unused_pools, small ? 64 : 63);
		assert_int_equal(s.alignment_bytes, small ? 0 : 16384);
	}
}

/* Every size class: how many blocks a pool has, and what of it fits none. */
static void test_size_classes(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		for (uint8_t class = 0; class < TIDE_PY_CLASSES; class ++) {
			struct fixture f;
			struct tide_pymalloc_stats s;
			uint64_t size = (class + 1u) * 16u, room = versions[i].pool_bytes - 48, blocks = room / size;
			init(&f, &versions[i], BASE, 1);
			use(&f, 0, class, 1);
			tide_pymalloc_stats(&f.space, &s);
			assert_true(s.size_class[class].pools == 1 && s.size_class[class].live == 1);
			assert_int_equal(s.size_class[class].available, blocks - 1);
			assert_int_equal(s.live_bytes, size);
			assert_int_equal(s.available_bytes, (blocks - 1) * size);
			assert_int_equal(s.head_bytes, 48);
			assert_int_equal(s.quantum_bytes, room - blocks * size);
			assert_int_equal(s.live_bytes + s.available_bytes + s.head_bytes + s.quantum_bytes,
					 versions[i].pool_bytes);
			assert_int_equal(s.unused_pools, 63);
			/* a full pool; and one that claims more than fits (a damaged log) */
			use(&f, 0, class, (uint16_t)blocks);
			tide_pymalloc_stats(&f.space, &s);
			assert_int_equal(s.size_class[class].available, 0);
			use(&f, 0, class, UINT16_MAX);
			tide_pymalloc_stats(&f.space, &s);
			assert_int_equal(s.size_class[class].live, blocks);
		}
}

static void test_a_class_that_there_is_not(void **state)
{
	struct fixture f;
	struct tide_pymalloc_stats s;
	struct tide_pymalloc_sum sum;
	(void)state;
	init(&f, &versions[3], BASE, 64);
	use(&f, 0, TIDE_PY_CLASSES, 5);
	use(&f, 1, 255, 5);
	tide_pymalloc_stats(&f.space, &s);
	assert_true(s.unused_pools == 64 && s.live_bytes == 0);
	tide_pymalloc_sum(&f.space, &f.arena, &sum);
	assert_true(sum.live_blocks == 0 && sum.free_pools == 1 << 20);
}

/* The three parts of an arena add up to what is resident, whatever is. */
static void test_parts_add_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		for (uint32_t touched = 0; touched <= 63; touched++) {
			struct fixture f;
			struct tide_pymalloc_sum sum;
			uint64_t pool_bytes = versions[i].pool_bytes;
			init(&f, &versions[i], BASE + 4096, touched);
			use(&f, 0, 3, 10); /* 64 bytes */
			use(&f, 1, 31, 1); /* 512 */
			use(&f, 2, 0, 0);  /* was used */
			tide_pymalloc_sum(&f.space, &f.arena, &sum);
			assert_int_equal(sum.live + sum.free_in_pools + sum.free_pools, sum.resident);
			assert_int_equal(sum.resident, f.run.end - f.run.start);
			assert_true(sum.live_blocks == 11 && sum.live_bytes == 640 + 512);
			assert_int_equal(sum.live, touched == 0 ? 0 : touched == 1 ? 640 : 1152);
			assert_int_equal(sum.free_in_pools, touched == 0   ? 0
							    : touched == 1 ? pool_bytes - 640
									   : 2 * pool_bytes - 1152);
		}
}

/* Blocks on pages that are not there (swapped out): no part is negative. */
static void test_more_live_than_resident(void **state)
{
	struct fixture f;
	struct tide_pymalloc_sum sum;
	(void)state;
	init(&f, &versions[3], BASE, 0);
	f.run = (struct tide_space_run){BASE, BASE + 4096, false};
	f.space.runs = 1;
	use(&f, 0, 31, 31);
	tide_pymalloc_sum(&f.space, &f.arena, &sum);
	assert_true(sum.live == 4096 && sum.free_in_pools == 0 && sum.free_pools == 0 && sum.live_bytes == 31 * 512);
}

/* The one that is kept in reserve: all of its pools were used, and none is. */
static void test_an_empty_arena(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		struct fixture f;
		struct tide_pymalloc_sum sum;
		init(&f, &versions[i], BASE, 64);
		for (uint32_t k = 0; k < 64; k++)
			use(&f, k, (uint8_t)(k % 32), 0);
		tide_pymalloc_sum(&f.space, &f.arena, &sum);
		assert_true(sum.live_blocks == 0 && sum.live == 0 && sum.free_in_pools == 0);
		assert_int_equal(sum.free_pools, versions[i].arena_bytes);
	}
}

static void test_find(void **state)
{
	struct tide_space_arena arenas[3] = {
		{.base = BASE, .bytes = 1 << 20},
		{.base = BASE + (1 << 20), .bytes = 1 << 20},
		{.base = BASE + (4 << 20), .bytes = 1 << 20},
	};
	struct tide_space space = {.arena = arenas, .arenas = 3}, none = {0};
	(void)state;
	assert_int_equal(tide_pymalloc_find(&none, BASE), -1);
	assert_int_equal(tide_pymalloc_find(&space, BASE - 1), -1);
	assert_int_equal(tide_pymalloc_find(&space, BASE), 0);
	assert_int_equal(tide_pymalloc_find(&space, BASE + (1 << 20) - 1), 0);
	assert_int_equal(tide_pymalloc_find(&space, BASE + (1 << 20)), 1);
	assert_int_equal(tide_pymalloc_find(&space, BASE + (2 << 20)), -1);
	assert_int_equal(tide_pymalloc_find(&space, BASE + (5 << 20) - 1), 2);
	assert_int_equal(tide_pymalloc_find(&space, UINT64_MAX), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pools_of_an_arena),
		cmocka_unit_test(test_size_classes),
		cmocka_unit_test(test_a_class_that_there_is_not),
		cmocka_unit_test(test_parts_add_up),
		cmocka_unit_test(test_more_live_than_resident),
		cmocka_unit_test(test_an_empty_arena),
		cmocka_unit_test(test_find),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
