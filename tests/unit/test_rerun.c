/* Pieces of tidemark replay: operations there and back, mappings cut, numbers that come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rerun/mappings.h"
#include "rerun/ops.h"
#include "rerun/slots.h"

static void test_operations_come_back(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < TIDE_ACT_KINDS; kind++)
		for (unsigned bits = 0; bits < 4; bits++) {
			uint8_t buf[TIDE_ACT_MAX];
			struct tide_act in = {.kind = (uint8_t)kind, .python = bits & 1, .has_touch = bits & 2},
					out = {0};
			in.slot = tide_act_has_slot(kind) ? UINT64_MAX : 0;
			in.size = tide_act_has_size(kind) ? UINT64_C(1) << 40 : 0;
			in.extra = tide_act_has_extra(kind) ? 127 : 0;
			in.touch = in.has_touch ? 128 : in.size;
			size_t len = (size_t)(tide_act_put(buf, &in) - buf);
			struct tide_in from = tide_in_of(buf, len);
			assert_true(len <= sizeof buf && tide_act_get(&from, &out));
			assert_int_equal(tide_in_left(&from), 0);
			assert_true(out.kind == in.kind && out.python == in.python && out.slot == in.slot &&
				    out.size == in.size && out.extra == in.extra && out.touch == in.touch);
			for (size_t cut = 0; cut < len; cut++) {
				from = tide_in_of(buf, cut);
				assert_false(tide_act_get(&from, &out));
			}
		}
}

static void test_unknown_operations_are_refused(void **state)
{
	uint8_t tag = TIDE_ACT_KINDS;
	struct tide_in from = tide_in_of(&tag, 1);
	struct tide_act op;
	(void)state;
	assert_false(tide_act_get(&from, &op));
}

static void add_up(void *sum, const struct tide_piece *part)
{
	*(uint64_t *)sum += part->end - part->start;
	assert_true(part->base <= part->start);
}

static void test_mappings_are_cut_anywhere(void **state)
{
	/* every cut of a row of three mappings, against a map of bytes */
	(void)state;
	for (uint64_t start = 0; start < 64; start++)
		for (uint64_t end = start; end < 65; end++) {
			struct tide_mappings m = {0};
			uint64_t cut = 0, left = 0, expected_cut = 0, expected_left = 0;
			assert_true(tide_mappings_add(&m, 40, 60, 2) && tide_mappings_add(&m, 4, 20, 0) &&
				    tide_mappings_add(&m, 20, 30, 1));
			tide_mappings_cut(&m, start, end, add_up, &cut);
			tide_mappings_each(&m, 0, UINT64_MAX, add_up, &left);
			for (uint64_t i = 0; i < 64; i++) {
				int mapped = (i >= 4 && i < 30) || (i >= 40 && i < 60), gone = i >= start && i < end;
				expected_cut += mapped && gone;
				expected_left += mapped && !gone;
			}
			assert_int_equal(cut, expected_cut);
			assert_int_equal(left, expected_left);
			tide_mappings_release(&m);
		}
}

static void test_mappings_are_found_while_they_begin_where_they_did(void **state)
{
	struct tide_mappings m = {0};
	(void)state;
	assert_true(tide_mappings_add(&m, 4096, 12288, 7));
	assert_int_equal(tide_mappings_at(&m, 4096)->id, 7);
	assert_null(tide_mappings_at(&m, 8192));
	tide_mappings_cut(&m, 4096, 8192, NULL, NULL);
	assert_null(tide_mappings_at(&m, 8192)); /* the rest of it, not a mapping of its own */
	tide_mappings_release(&m);
}

static void test_too_many_mappings_are_counted(void **state)
{
	struct tide_mappings m = {0};
	(void)state;
	for (uint64_t i = 0; i < TIDE_MAPPINGS_MOST; i++)
		assert_true(tide_mappings_add(&m, i * 8, i * 8 + 4, 0));
	assert_false(tide_mappings_add(&m, UINT64_C(1) << 40, (UINT64_C(1) << 40) + 1, 0));
	assert_int_equal(m.left_out, 1);
	tide_mappings_release(&m);
}

static void test_numbers_come_back_last_first(void **state)
{
	struct tide_slots s = {0};
	(void)state;
	assert_int_equal(tide_slots_take(&s), 0);
	assert_int_equal(tide_slots_take(&s), 1);
	assert_true(tide_slots_give(&s, 0) && tide_slots_give(&s, 1));
	assert_int_equal(tide_slots_take(&s), 1);
	assert_int_equal(tide_slots_take(&s), 0);
	assert_int_equal(tide_slots_take(&s), 2);
	assert_int_equal(s.used, 3);
	tide_slots_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations_come_back),
		cmocka_unit_test(test_unknown_operations_are_refused),
		cmocka_unit_test(test_mappings_are_cut_anywhere),
		cmocka_unit_test(test_mappings_are_found_while_they_begin_where_they_did),
		cmocka_unit_test(test_too_many_mappings_are_counted),
		cmocka_unit_test(test_numbers_come_back_last_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
