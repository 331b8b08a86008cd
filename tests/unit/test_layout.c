/* The layout: a file of any size divides as FORMAT.md says, and FORMAT.md's table of items is the one in items.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/items.h"
#include "format/layout.h"

static void check_size(uint64_t size)
{
	struct tide_geometry g = tide_geometry_of(size);
	assert_true(g.control_off == TIDE_PAGE && g.defs_off == 2 * TIDE_PAGE);
	assert_true(g.defs_len % TIDE_PAGE == 0 && g.defs_len > 0);
	assert_true(g.staging_off == g.defs_off + g.defs_len);
	assert_true(g.block_len >= TIDE_BLOCK_MIN && g.block_len <= TIDE_BLOCK_MAX);
	assert_true(g.lanes >= 2 && g.shared_lanes >= 1 && g.shared_lanes < g.lanes);
	assert_true(g.ring_off == g.staging_off + (uint64_t)g.lanes * g.block_len);
	assert_true(g.ring_len % g.segment_len == 0 && g.ring_len / g.segment_len >= 2);
	assert_true(g.ring_len / g.segment_len <= TIDE_SEGMENTS_MAX);
	assert_true(g.segment_len >= 2 * g.block_len && g.segment_len % TIDE_PAGE == 0);
	assert_true(g.ring_off + g.ring_len <= size - TIDE_PAGE);
	assert_true(g.ring_len >= size / 2);
}

static void sizes(void **state)
{
	(void)state;
	for (uint64_t size = TIDE_FILE_MIN; size <= TIDE_FILE_MAX; size *= 2) {
		check_size(size);
		if (size < TIDE_FILE_MAX) {
			check_size(size + TIDE_PAGE);
			check_size(tide_round_down(size * 5 / 3, TIDE_PAGE));
			check_size(2 * size - TIDE_PAGE);
		}
	}
}

/* Every line "| number | name | ..." of FORMAT.md's section 6. */
static void specification(void **state)
{
	(void)state;
	FILE *file = fopen("shim/format/FORMAT.md", "r");
	char line[2048];
	bool in_items = false;
	unsigned seen = 0;
	if (!file)
		skip();
	while (fgets(line, sizeof line, file)) {
		unsigned number, last;
		char name[64];
		if (strncmp(line, "## ", 3) == 0)
			in_items = strncmp(line, "## 6.", 5) == 0;
		if (!in_items || strncmp(line, "| ", 2) != 0)
			continue;
		if (sscanf(line, "| %u-%u |", &number, &last) == 2) {
			seen += last - number + 1;
			continue;
		}
		if (sscanf(line, "| %u | %63s |", &number, name) != 2)
			continue;
		assert_non_null(tide_kind_name(number));
		assert_string_equal(tide_kind_name(number), name);
		seen++;
	}
	fclose(file);
	unsigned kinds = 0;
	for (unsigned i = 0; i < TIDE_KINDS; i++)
		kinds += tide_kind_name(i) != NULL;
	assert_int_equal(seen, kinds);
}

static void words(void **state)
{
	(void)state;
	assert_int_equal(tide_word_of(0), 0);
	assert_int_equal(tide_word_of(0xffff), 0);
	assert_int_equal(tide_word_of(0x10000), 1);
	assert_int_equal(tide_word_of(UINT64_C(0x100010000)), 0x10000 % TIDE_WORDS + (1 ^ 1));
	assert_true(tide_word_of(UINT64_MAX) < TIDE_WORDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(specification),
		cmocka_unit_test(words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
