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
		assert_memory_equal(&b, &in[i], offsetof(struct tide_carry_block, tag)); /* behind it is padding */
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
	/* as before 1.3: without the last number */
	assert_true(tide_carry_get_totals(tide_in_of(bytes + 2, (size_t)(end - bytes) - 3), &out));
	assert_int_equal(out.deaths, TIDE_DEATHS_NOT_TOLD);
	assert_int_equal(out.sample_bytes, 8);
	assert_false(tide_carry_get_totals(tide_in_of(bytes + 2, (size_t)(end - bytes) - 4), &out));
}

static void gone(void **state)
{
	(void)state;
	const uint64_t in[] = {0x10, 0x7f0000001230, 0x7f0000001238, UINT64_MAX - 15};
	uint8_t bytes[64];
	assert_true(sizeof bytes >= tide_carry_gone_bound(4));
	uint8_t *end = tide_carry_put_gone(bytes, in, 4);
	for (size_t len = 0; len <= (size_t)(end - bytes); len++) {
		struct tide_carry_state s = {0};
		bool whole;
		assert_true(tide_carried_parse(&s, bytes, len, false, &whole));
		assert_int_equal(whole, len == 0 || len == (size_t)(end - bytes));
		assert_int_equal(s.gone_count, len == (size_t)(end - bytes) ? 4 : 0);
		for (size_t i = 0; i < s.gone_count; i++)
			assert_int_equal(s.gone[i], in[i]);
		tide_carried_release(&s);
	}
	const struct tide_carried none = {0}, some = {.gone = in, .gone_count = 4};
	assert_true(tide_carried_is_gone(&some, 0x7f0000001238));
	assert_false(tide_carried_is_gone(&some, 0x7f0000001240));
	assert_false(tide_carried_is_gone(&none, 0x10));
}

/* Whether what was inherited and is not told of lives: only if all that died is told. */
static void deaths(void **state)
{
	(void)state;
	struct tide_carried c = {.totals = {.deaths = TIDE_DEATHS_NOT_TOLD}};
	assert_true(tide_carried_tells_deaths(&c)); /* nothing was overwritten */
	c.epoch = 1;
	assert_false(tide_carried_tells_deaths(&c));
	c.totals.deaths = TIDE_DEATHS_ALL;
	assert_true(tide_carried_tells_deaths(&c));
	c.totals.unreadable = 1;
	assert_false(tide_carried_tells_deaths(&c));
	c.totals.unreadable = 0;
	c.incomplete = true;
	assert_false(tide_carried_tells_deaths(&c));
	c.incomplete = false;
	c.totals.deaths = TIDE_DEATHS_SOME;
	assert_false(tide_carried_tells_deaths(&c));
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
		cmocka_unit_test(blocks), cmocka_unit_test(totals), cmocka_unit_test(gone),
		cmocka_unit_test(deaths), cmocka_unit_test(sample), cmocka_unit_test(bad_sites),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
