/* The file of censuses beside a log: what is written is what is read; its size has a bound, and what is left is spread over the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "outside/beside.h"
#include "read/beside.h"

enum { CENSUSES = 500, BYTES = 20000, BIG = (1 << 20) + 12345 };
#define UID UINT64_C(77)
#define LIMIT (UINT64_C(256) << 10)

static char directory[] = "/tmp/tidemark-test-XXXXXX", log_path[64], path[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(log_path, sizeof log_path, "%s/x.tide", directory);
	snprintf(path, sizeof path, "%s/x.census", directory);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

/* Bytes that do not pack, by number. */
static void fill(uint8_t *bytes, size_t len, uint64_t number)
{
	uint64_t seed = number * 2 + 1;
	for (size_t i = 0; i < len; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		bytes[i] = (uint8_t)(seed >> 56);
	}
}

static struct tide_outside_census census_of(uint8_t *bytes, size_t len, uint64_t number)
{
	fill(bytes, len, number);
	return (struct tide_outside_census){.at_ns = number * 1000, .bytes = bytes, .len = len};
}

static void same(const struct tide_beside *b, size_t frame, const uint8_t *bytes)
{
	struct tide_feed_env env = {&b->file, UID, false};
	struct tide_scratch scratch = {0};
	const struct tide_frame *head = &b->frame[frame].head;
	uint8_t *raw = malloc(head->raw_len + 1);
	assert_non_null(raw);
	assert_int_equal(tide_frame_load(&b->frame[frame], &env, &scratch, raw), TIDE_LOAD_OK);
	assert_memory_equal(raw, bytes, head->raw_len);
	tide_scratch_release(&scratch);
	free(raw);
}

static void test_bound(void **state)
{
	(void)state;
	static uint8_t bytes[BYTES];
	struct tide_beside_writer w;
	struct stat st;
	assert_true(tide_beside_writer_init(&w, log_path, UID, LIMIT));
	for (uint64_t i = 0; i < CENSUSES; i++) {
		struct tide_outside_census c = census_of(bytes, sizeof bytes, i);
		assert_true(tide_beside_put(&w, &c));
		assert_int_equal(stat(path, &st), 0);
		assert_true((uint64_t)st.st_size <= LIMIT && (uint64_t)st.st_size == w.len);
	}
	tide_beside_writer_release(&w);

	struct tide_beside b;
	assert_true(tide_beside_init(&b, log_path, UID));
	assert_true(b.frames >= LIMIT / BYTES / 2 && b.gap_len == 0);
	assert_int_equal(b.frame[0].head.mono_ns, 0);
	assert_int_equal(b.frame[b.frames - 1].head.mono_ns, (CENSUSES - 1) * 1000);
	for (size_t i = 0; i < b.frames; i++) {
		uint64_t number = b.frame[i].head.block_seq;
		assert_int_equal(b.frame[i].head.mono_ns, number * 1000);
		fill(bytes, sizeof bytes, number);
		same(&b, i, bytes);
		/* no stretch of the time is left out */
		uint64_t before = i ? b.frame[i - 1].head.block_seq : 0;
		assert_true(number - before <= 2 * CENSUSES / b.frames + 1);
	}
	tide_beside_release(&b);
	assert_true(tide_beside_init(&b, log_path, UID + 1));
	assert_int_equal(b.frames, 0);
	tide_beside_release(&b);
}

static void test_parts(void **state)
{
	(void)state;
	struct tide_beside_writer w;
	uint8_t *bytes = malloc(BIG);
	assert_non_null(bytes);
	assert_true(tide_beside_writer_init(&w, log_path, UID, UINT64_C(64) << 20));
	struct tide_outside_census c = census_of(bytes, BIG, 3);
	assert_true(tide_beside_put(&w, &c));
	tide_beside_writer_release(&w);
	struct tide_beside b;
	assert_true(tide_beside_init(&b, log_path, UID));
	assert_int_equal(b.frames, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(b.frame[i].head.lane, i);
		assert_int_equal(b.frame[i].head.events, i == 1);
		same(&b, i, bytes + (size_t)i * TIDE_FRAME_RAW_MAX);
	}
	tide_beside_release(&b);
	free(bytes);
}

static void test_refused(void **state)
{
	(void)state;
	struct tide_beside_writer w;
	uint8_t bytes[16];
	struct tide_outside_census c = census_of(bytes, sizeof bytes, 1);
	assert_false(tide_beside_writer_init(&w, "x.log", UID, LIMIT));
	tide_beside_writer_release(&w);
	/* somebody's file of that name stays as it is */
	assert_true(tide_beside_writer_init(&w, log_path, UID, LIMIT));
	assert_false(tide_beside_put(&w, &c));
	tide_beside_writer_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_bound, clean),
		cmocka_unit_test_setup(test_parts, clean),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
