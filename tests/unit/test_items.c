/* Items: what encode.h writes, items.h reads; bad bytes are refused where they stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/encode.h"
#include "format/items.h"

static uint64_t dict[4096];

static void varints(void **state)
{
	(void)state;
	uint8_t buf[TIDE_VARINT_MAX];
	for (unsigned bit = 0; bit < 64; bit++)
		for (int off = -1; off <= 1; off++) {
			uint64_t value = (UINT64_C(1) << bit) + (uint64_t)(int64_t)off;
			uint8_t *end = tide_put_varint(buf, value);
			struct tide_in in = tide_in_of(buf, (size_t)(end - buf));
			assert_true(tide_get_varint(&in) == value && !in.bad && tide_in_left(&in) == 0);
			struct tide_in cut = tide_in_of(buf, (size_t)(end - buf) - 1);
			tide_get_varint(&cut);
			assert_true(cut.bad);
			assert_true((uint64_t)tide_unzigzag(tide_zigzag((int64_t)value)) == value);
		}
	static const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
	struct tide_in in = tide_in_of(too_long, sizeof too_long);
	assert_true(tide_get_varint(&in) == 0 && in.bad);
}

static void byte_ranges(void **state)
{
	(void)state;
	struct tide_in in = tide_in_of("12345678abcd", 12);
	assert_true(tide_get_u64(&in) == UINT64_C(0x3837363534333231));
	assert_true(tide_get_u32(&in) == 0x64636261);
	assert_null(tide_get_bytes(&in, UINT64_MAX));
	assert_true(in.bad && tide_get_u8(&in) == 0);
}

static void addresses(void **state)
{
	(void)state;
	static const uint64_t addr[] = {
		16, 32, 0, 0xfffffffffffffff0, 0x7fffdeadbee8, 0x7fffdeadbee1, 15, 0x8000000000000000};
	static struct tide_encoder e;
	static struct tide_items d;
	struct tide_item item;
	uint8_t buf[256], *out = buf;
	tide_encode_reset(&e, 7);
	for (unsigned i = 0; i < 8; i++) {
		uint8_t *tag = out++;
		*tag = i % 2 ? TIDE_KIND_FREE : TIDE_KIND_PYALLOC | TIDE_TAG_SAME;
		out = tide_put_addr(out, tag, &e, addr[i], i % 2);
		if (i % 2 == 0)
			out = tide_put_varint(out, 100 + i);
	}
	tide_items_init(&d, buf, (size_t)(out - buf), 7, dict, 4096);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(tide_items_next(&d, &item), 1);
		assert_int_equal(item.kind, i % 2 ? TIDE_KIND_FREE : TIDE_KIND_PYALLOC);
		assert_true(item.addr == addr[i]);
		assert_true(item.size == (i % 2 ? 0 : 100 + i));
		assert_true(item.ticks == 7 && item.is_event);
	}
	assert_int_equal(tide_items_next(&d, &item), 0);
}

/* Pushes and pops of every depth, through the dictionary and past the nibbles of the counts. */
static void stacks(void **state)
{
	(void)state;
	static struct tide_encoder e;
	static struct tide_items d;
	static uint8_t buf[1 << 20];
	static uint64_t now[TIDE_STACK_MAX], got[TIDE_STACK_MAX + 2];
	static const uint32_t depth[] = {0, 1, 14, 15, 16, 256, 3, 256, 0, 200};
	uint8_t *out = buf;
	uint32_t len = 0;
	tide_encode_reset(&e, 0);
	for (unsigned i = 0; i < 10; i++) {
		*out++ = TIDE_KIND_PYALLOC;
		for (uint32_t j = 0; j < depth[i]; j++)
			now[depth[i] - 1 - j] = TIDE_WORD_PYTHON | (j < 5 ? j : j * 1000 + i % 3);
		out = tide_put_stack(out, &e, true, now, depth[i], tide_encode_shared(&e, true, now, depth[i]));
		uint8_t *tag = out; /* address and size 0 */
		out = tide_put_addr(out, tag, &e, 0, false);
		*out++ = 0;
	}
	tide_items_init(&d, buf, (size_t)(out - buf), 0, dict, 4096);
	for (unsigned i = 0; i < 10; i++) {
		struct tide_item item;
		assert_int_equal(tide_items_next(&d, &item), 1);
		assert_int_equal(item.native.push + item.native.pop, 0);
		len -= item.python.pop;
		for (uint32_t j = 0; j < item.python.push; j++)
			got[len++] = item.python.words[j];
		assert_int_equal(len, depth[i]);
		for (uint32_t j = 0; j < len; j++)
			assert_true(got[j] == (TIDE_WORD_PYTHON | (j < 5 ? j : j * 1000 + i % 3)));
	}
}

static int first_of(const uint8_t *bytes, size_t len)
{
	static struct tide_items d;
	struct tide_item item;
	tide_items_init(&d, bytes, len, 0, dict, 2);
	return tide_items_next(&d, &item);
}

static void bad_items(void **state)
{
	(void)state;
	static const uint8_t no_kind[] = {0}, newer_kind[] = {28}, cut_free[] = {7}, pop_nothing[] = {18, 0x10, 0, 0},
			     no_word[] = {18, 0x01, 9, 0, 0}, too_deep[] = {18, 0x0f, 0xff, 0x7f, 0},
			     dict_full[] = {18, 0x03, 0, 2, 0, 2, 0, 2, 0, 0},
			     huge_push[] = {18,   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
	assert_int_equal(first_of(no_kind, 1), -1);
	assert_int_equal(first_of(newer_kind, 1), -1);
	assert_int_equal(first_of(cut_free, 1), -1);
	assert_int_equal(first_of(pop_nothing, 4), -1);
	assert_int_equal(first_of(no_word, 5), -1);
	assert_int_equal(first_of(too_deep, 5), -1);
	assert_int_equal(first_of(dict_full, sizeof dict_full), -1);
	assert_int_equal(first_of(huge_push, sizeof huge_push), -1);
	assert_int_equal(first_of(no_kind, 0), 0);
}

static void kinds(void **state)
{
	(void)state;
	assert_string_equal(tide_kind_name(TIDE_KIND_ALLOC), "malloc");
	assert_string_equal(tide_kind_name(27), "found");
	assert_null(tide_kind_name(0));
	assert_null(tide_kind_name(28));
	assert_null(tide_kind_name(1000));
	assert_int_equal(tide_kind_fields(1000), 0);
	for (unsigned i = 1; i < 28; i++)
		assert_non_null(tide_kind_name(i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varints), cmocka_unit_test(byte_ranges), cmocka_unit_test(addresses),
		cmocka_unit_test(stacks),  cmocka_unit_test(bad_items),   cmocka_unit_test(kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
