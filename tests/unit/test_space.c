/* One census in memory: regions joined and sorted, no page counted twice, arenas aligned, damage refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/space.h"

#define PAGE TIDE_SPACE_PAGE

/* A census as the shim writes it (FORMAT.md 9). */
static uint8_t bytes[1 << 16];
static size_t len;

static void begin(void)
{
	len = 0;
	bytes[len++] = 1; /* version */
	bytes[len++] = TIDE_WHY_EXIT;
}

static void record(uint8_t kind, const uint8_t *body, const uint8_t *end)
{
	bytes[len++] = kind;
	len = (size_t)(tide_put_varint(bytes + len, (uint64_t)(end - body)) - bytes);
	memcpy(bytes + len, body, (size_t)(end - body));
	len += (size_t)(end - body);
}

struct region {
	uint64_t page, pages;
	uint8_t flags;
	uint64_t inode;
	const char *name;
};

/* Runs: pages and state in turn, ended by 0 pages; none: residency was not read. */
static void region(struct region r, const uint64_t *runs)
{
	uint8_t body[2048], *b = tide_put_varint(tide_put_varint(body, r.page), r.pages);
	*b++ = r.flags;
	b = tide_put_varint(tide_put_varint(tide_put_varint(b, 0), r.inode), strlen(r.name));
	memcpy(b, r.name, strlen(r.name));
	b += strlen(r.name);
	for (; runs && *runs; runs += 2)
		b = tide_put_varint(b, runs[0] * 4 + runs[1]);
	record(TIDE_RECORD_REGION, body, b);
}

static void arena(uint64_t page, uint64_t size, uint64_t pool_bytes, uint64_t pools, const uint8_t *pool, size_t n)
{
	uint8_t body[2048], *b = tide_put_varint(tide_put_varint(body, page), size);
	*b++ = 0;
	b = tide_put_varint(tide_put_varint(b, pool_bytes), pools);
	memcpy(b, pool, n);
	record(TIDE_RECORD_PYARENA, body, b + n);
}

static struct tide_space space(void)
{
	struct tide_space s;
	assert_int_equal(tide_space_init(&s, &(struct tide_census_blob){.bytes = bytes, .len = len, .time_ns = 5}),
			 TIDE_OK);
	return s;
}

#define RW (TIDE_REGION_READ | TIDE_REGION_WRITE)
#define RUNS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static void test_nothing_in_it(void **state)
{
	(void)state;
	begin();
	struct tide_space s = space();
	assert_true(s.regions == 0 && s.runs == 0 && s.arenas == 0 && s.threads == 0 && !s.has_rss);
	assert_int_equal(s.reason, TIDE_WHY_EXIT);
	assert_null(tide_space_find(&s, 0));
	assert_int_equal(tide_space_anon(&s, 0, UINT64_MAX), 0);
	tide_space_release(&s);
}

static void test_pieces_of_a_mapping_are_joined(void **state)
{
	(void)state;
	begin();
	region((struct region){0x110, 16, RW, 0, ""}, RUNS(16, TIDE_PAGE_ANON)); /* the second one first */
	region((struct region){0x100, 16, RW, 0, ""}, RUNS(16, TIDE_PAGE_ANON));
	region((struct region){0x120, 16, TIDE_REGION_READ, 0, ""}, RUNS(16, TIDE_PAGE_ANON)); /* other rights */
	region((struct region){0x130, 16, TIDE_REGION_READ, 7, ""}, RUNS(16, TIDE_PAGE_ANON)); /* a file */
	region((struct region){0x141, 16, TIDE_REGION_READ, 7, ""}, RUNS(16, TIDE_PAGE_ANON)); /* a gap before it */
	region((struct region){0x151, 16, TIDE_REGION_READ, 7, ""}, NULL);                     /* not counted */
	struct tide_space s = space();
	assert_int_equal(s.regions, 5);
	assert_true(s.region[0].start == 0x100 * PAGE && s.region[0].end == 0x120 * PAGE);
	assert_true(s.region[3].start == 0x141 * PAGE && s.region[3].counted && !s.region[4].counted);
	assert_int_equal(s.runs, 2); /* up to the gap, and behind it */
	assert_int_equal(tide_space_anon(&s, 0, UINT64_MAX), 80 * PAGE);
	tide_space_release(&s);
}

static void test_states_of_pages(void **state)
{
	(void)state;
	begin();
	region((struct region){0x100, 10, RW, 0, ""},
	       RUNS(1, TIDE_PAGE_ABSENT, 2, TIDE_PAGE_ANON, 3, TIDE_PAGE_SWAPPED, 4, TIDE_PAGE_FILE));
	struct tide_space s = space();
	uint64_t at = 0x100 * PAGE;
	assert_int_equal(tide_space_anon(&s, at, at + 10 * PAGE), 2 * PAGE);
	assert_int_equal(tide_space_file(&s, at, at + 10 * PAGE), 4 * PAGE);
	assert_int_equal(s.region[0].swapped, 3 * PAGE);
	/* parts of pages, to the byte; nothing; backwards */
	assert_int_equal(tide_space_anon(&s, at + PAGE - 1, at + PAGE + 1), 1);
	assert_int_equal(tide_space_anon(&s, at + 2 * PAGE + 5, at + 3 * PAGE + 9), PAGE - 5);
	assert_int_equal(tide_space_anon(&s, at + PAGE, at + PAGE), 0);
	assert_int_equal(tide_space_anon(&s, at + 2 * PAGE, at + PAGE), 0);
	tide_space_release(&s);
}

static void test_no_page_counts_twice(void **state)
{
	(void)state;
	begin();
	region((struct region){0x100, 8, RW, 0, "a"}, RUNS(8, TIDE_PAGE_ANON));
	region((struct region){0x104, 8, RW, 0, "b"}, RUNS(8, TIDE_PAGE_FILE)); /* of a moment later */
	region((struct region){0x102, 2, RW, 0, "c"}, RUNS(2, TIDE_PAGE_ANON)); /* within the first */
	struct tide_space s = space();
	assert_int_equal(tide_space_anon(&s, 0, UINT64_MAX) + tide_space_file(&s, 0, UINT64_MAX), 12 * PAGE);
	assert_int_equal(tide_space_anon(&s, 0, UINT64_MAX), 8 * PAGE);
	tide_space_release(&s);
}

static void test_the_kernels_own_pages_are_nobodys(void **state)
{
	(void)state;
	begin();
	region((struct region){0x100, 4, TIDE_REGION_READ, 0, "[vvar]"}, RUNS(4, TIDE_PAGE_FILE));
	region((struct region){0x110, 4, TIDE_REGION_READ, 0, "[vvar_vclock]"}, RUNS(4, TIDE_PAGE_FILE));
	region((struct region){0x120, 1, TIDE_REGION_EXEC, 0, "[vsyscall]"}, RUNS(1, TIDE_PAGE_FILE));
	region((struct region){0x130, 2, TIDE_REGION_READ, 0, "[vdso]"}, RUNS(2, TIDE_PAGE_FILE));
	struct tide_space s = space();
	assert_int_equal(tide_space_file(&s, 0, UINT64_MAX), 2 * PAGE);
	tide_space_release(&s);
}

static void test_names(void **state)
{
	(void)state;
	begin();
	region((struct region){0x100, 1, RW, 1, "/usr/lib/libc.so.6"}, NULL);
	region((struct region){0x200, 1, RW, 2, "/a/0123456789012345678901234567890123456789"}, NULL);
	region((struct region){0x300, 1, RW, 3, "/ends/with/"}, NULL);
	region((struct region){0x400, 1, RW, 0, "[heap]"}, NULL);
	struct tide_space s = space();
	assert_string_equal(s.region[0].name, "libc.so.6");
	assert_string_equal(s.region[1].name, "0123456789012345678901234567890");
	assert_string_equal(s.region[2].name, "");
	assert_string_equal(s.region[3].name, "[heap]");
	tide_space_release(&s);
}

static void test_find_at_the_edges(void **state)
{
	(void)state;
	begin();
	region((struct region){0x100, 2, RW, 0, ""}, NULL);
	region((struct region){0x102, 2, TIDE_REGION_READ, 0, ""}, NULL);
	region((struct region){0x200, 1, RW, 0, ""}, NULL);
	struct tide_space s = space();
	assert_null(tide_space_find(&s, 0x100 * PAGE - 1));
	assert_ptr_equal(tide_space_find(&s, 0x100 * PAGE), &s.region[0]);
	assert_ptr_equal(tide_space_find(&s, 0x102 * PAGE - 1), &s.region[0]);
	assert_ptr_equal(tide_space_find(&s, 0x102 * PAGE), &s.region[1]);
	assert_null(tide_space_find(&s, 0x104 * PAGE));
	assert_ptr_equal(tide_space_find(&s, 0x201 * PAGE - 1), &s.region[2]);
	assert_null(tide_space_find(&s, UINT64_MAX));
	tide_space_release(&s);
}

static void test_where_an_allocator_may_be(void **state)
{
	static const struct {
		uint8_t flags;
		uint64_t inode;
		bool may;
	} cases[] = {
		{RW, 0, true},
		{RW | TIDE_REGION_HEAP, 0, true},
		{TIDE_REGION_READ, 0, false},
		{RW | TIDE_REGION_SHARED, 0, false},
		{RW | TIDE_REGION_STACK, 0, false},
		{RW | TIDE_REGION_OURS, 0, false},
		{RW, 9, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tide_space_region r = {.flags = cases[i].flags, .inode = cases[i].inode};
		assert_int_equal(tide_space_is_anonymous(&r), cases[i].may);
	}
}

static void test_arenas(void **state)
{
	/* never used, free, 3 blocks of class 0, 70000 (more than fit any pool) of class 31 */
	static const uint8_t pools[] = {0, 255, 1, 3, 32, 0xf0, 0xa2, 4};
	(void)state;
	begin();
	arena(0x901, 1 << 20, 16384, 4, pools, sizeof pools);
	arena(0x100, 1 << 18, 4096, 0, NULL, 0);
	struct tide_space s = space();
	assert_int_equal(s.arenas, 2);
	assert_true(s.arena[0].base == 0x100 * PAGE && s.arena[0].pools == 0 && s.arena[0].first_pool == 0x100 * PAGE);
	const struct tide_space_arena *a = &s.arena[1];
	const struct tide_space_pool *p = &s.pool[a->pool];
	assert_true(a->base == 0x901 * PAGE && a->first_pool == 0x904 * PAGE && a->pools == 4);
	assert_true(p[0].never_used && p[1].free_pool);
	assert_true(p[2].size_class == 0 && p[2].live == 3 && !p[2].never_used && !p[2].free_pool);
	assert_true(p[3].size_class == 31 && p[3].live == UINT16_MAX);
	tide_space_release(&s);
}

static void test_threads_and_rss(void **state)
{
	uint8_t body[64], *b = body;
	(void)state;
	begin();
	for (uint64_t i = 1; i <= 5; i++)
		b = tide_put_varint(b, i * 100);
	record(TIDE_RECORD_THREADS, body, b);
	b = tide_put_varint(tide_put_varint(body, 10), 20);
	b = tide_put_varint(tide_put_varint(tide_put_varint(b, 7), 2), 1);
	record(TIDE_RECORD_RSS, body, b);
	record(99, body, b); /* of a later version */
	struct tide_space s = space();
	assert_true(s.threads == 5 && s.thread[4] == 500);
	assert_true(s.has_rss && s.rss.resident == 10 && s.rss.peak == 20 && s.rss.huge == 0);
	tide_space_release(&s);
}

/* Cut anywhere, it is refused or a shorter one; bytes turned over harm nobody. */
static void test_damage(void **state)
{
	static const uint8_t pools[] = {0, 255, 1, 3};
	(void)state;
	begin();
	region((struct region){0x100, 10, RW, 0, "[heap]"}, RUNS(4, TIDE_PAGE_ANON, 6, TIDE_PAGE_ABSENT));
	arena(0x200, 1 << 20, 16384, 3, pools, sizeof pools);
	size_t whole = len;
	for (size_t cut = 0; cut < whole; cut++) {
		struct tide_space s;
		enum tide_status status = tide_space_init(&s, &(struct tide_census_blob){.bytes = bytes, .len = cut});
		assert_true(status == TIDE_OK || status == TIDE_ERR_BAD);
		assert_true(status || s.regions + s.arenas < 2);
		if (!status)
			tide_space_release(&s);
	}
	for (size_t at = 0; at < whole; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			struct tide_space s;
			bytes[at] ^= (uint8_t)(1 << bit);
			if (!tide_space_init(&s, &(struct tide_census_blob){.bytes = bytes, .len = whole}))
				tide_space_release(&s);
			bytes[at] ^= (uint8_t)(1 << bit);
		}
	/* runs that do not cover their region */
	begin();
	region((struct region){0x100, 10, RW, 0, ""}, RUNS(9, TIDE_PAGE_ANON));
	struct tide_space s;
	assert_int_equal(tide_space_init(&s, &(struct tide_census_blob){.bytes = bytes, .len = len}), TIDE_ERR_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_in_it),
		cmocka_unit_test(test_pieces_of_a_mapping_are_joined),
		cmocka_unit_test(test_states_of_pages),
		cmocka_unit_test(test_no_page_counts_twice),
		cmocka_unit_test(test_the_kernels_own_pages_are_nobodys),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_find_at_the_edges),
		cmocka_unit_test(test_where_an_allocator_may_be),
		cmocka_unit_test(test_arenas),
		cmocka_unit_test(test_threads_and_rss),
		cmocka_unit_test(test_damage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
