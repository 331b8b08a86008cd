/* What is carried over, written and read: blocks in columns, totals, samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "read/carried.h"
#include "read/sites.h"

static void blocks(void **state)
{
	(void)state;
	const struct tide_carry_block in[] = {
		{0x10, 0, 0, 0, TIDE_CARRY_BORN, 0},
		{0x7f0000001230, UINT64_C(123456789) << 5, 24, 7, TIDE_CARRY_BORN_PY, 0},
		{0x7f0000001238, UINT64_C(5) << 5, 0, 0, TIDE_CARRY_DIED, 0},
		{UINT64_MAX - 15, UINT64_MAX >> 5 << 5, UINT64_MAX >> 2, UINT32_MAX, TIDE_CARRY_BORN, 0},
	};
	uint8_t bytes[400];
	assert_true(sizeof bytes >= tide_carry_blocks_bound(4));
	uint8_t *end = tide_carry_put_blocks(bytes, in, 4, TIDE_CARRY_SHIFT_FRESH);
	struct tide_in payload = tide_in_of(bytes, (size_t)(end - bytes)), section;
	uint8_t kind;
	assert_int_equal(tide_carry_next_section(&payload, &kind, &section), 1);
	assert_int_equal(kind, TIDE_CARRY_BLOCKS);
	struct tide_carry_reader r;
	struct tide_carry_block b;
	assert_true(tide_carry_open_blocks(&r, section.at, tide_in_left(&section)));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(tide_carry_next_block(&r, &b), 1);
		assert_memory_equal(&b, &in[i], sizeof b);
	}
	assert_int_equal(tide_carry_next_block(&r, &b), 0);
	assert_int_equal(tide_carry_next_section(&payload, &kind, &section), 0);
	for (size_t len = 0; len < (size_t)(end - bytes); len++) { /* cut anywhere it is told of */
		struct tide_carry_state s = {0};
		bool whole;
		assert_true(tide_carried_parse(&s, bytes, len, false, &whole));
		assert_true(!whole || len == 0);
		tide_carried_release(&s);
	}
}

static void totals(void **state)
{
	(void)state;
	const struct tide_carry_totals in = {1, UINT64_MAX, 3, 1u << 20, 5, 6, 7, 8, TIDE_DEATHS_SOME};
	struct tide_carry_totals out;
	uint8_t bytes[TIDE_CARRY_TOTALS_MAX];
	uint8_t *end = tide_carry_put_totals(bytes, &in);
	assert_true(tide_carry_get_totals(tide_in_of(bytes + 2, (size_t)(end - bytes) - 2), &out));
	assert_memory_equal(&in, &out, sizeof in);
	assert_false(tide_carry_get_totals(tide_in_of(bytes + 2, (size_t)(end - bytes) - 3), &out));
}

/* Of blocks of one size a share of size / mean is kept, and a greater mean keeps none that a lesser one does not. */
static void sample(void **state)
{
	(void)state;
	for (uint64_t mean = 64; mean <= 4096; mean *= 2) {
		unsigned kept = 0;
		for (unsigned i = 0; i < 100000; i++) {
			uint64_t addr = 0x7f0000000000 + 64 * i;
			bool keeps = tide_carry_keeps(addr, 48, mean);
			kept += keeps;
			assert_true(keeps || !tide_carry_keeps(addr, 48, 2 * mean));
			assert_true(tide_carry_keeps(addr, mean, mean));
		}
		double expected = 100000.0 * 48 / (double)mean;
		assert_true(kept > expected * 0.9 && kept < expected * 1.1);
	}
}

static void bad_sites(void **state)
{
	(void)state;
	static const uint8_t none[] = {0}, keeps_nothing[] = {1, 1, 0, 0, 0}, cut[] = {1, 0, 2, 2},
			     good[] = {3, 0, 1, 2, 0, 0, 1, 0, 0, 1, 4};
	static struct tide_site_reader r;
	tide_site_reader_init(&r, none, sizeof none);
	assert_int_equal(tide_site_reader_next(&r), -1);
	tide_site_reader_init(&r, keeps_nothing, sizeof keeps_nothing);
	assert_int_equal(tide_site_reader_next(&r), -1);
	tide_site_reader_init(&r, cut, sizeof cut);
	assert_int_equal(tide_site_reader_next(&r), -1);
	tide_site_reader_init(&r, good, sizeof good);
	assert_int_equal(tide_site_reader_next(&r), 1);
	assert_true(r.number == 3 && r.native.len == 1 && r.native.word[0] == 1 && r.python.len == 0);
	assert_int_equal(tide_site_reader_next(&r), 1);
	assert_true(r.number == 4 && r.native.len == 1 && r.python.len == 1 && r.python.word[0] == 2);
	assert_int_equal(tide_site_reader_next(&r), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks),
		cmocka_unit_test(totals),
		cmocka_unit_test(sample),
		cmocka_unit_test(bad_sites),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
