/* Definitions: each kind's payload, names in every encoding, what is refused, what an END and its RESUMED mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/wire.h"
#include "read/defs.h"
#include "read/text.h"

static uint8_t buf[512], *at;

static void begin(void)
{
	at = buf;
}
static void num(uint64_t value)
{
	at = tide_put_varint(at, value);
}
static void bytes(const void *from, size_t len)
{
	num(len);
	memcpy(at, from, len);
	at += len;
}
static int give(struct tide_defs *d, unsigned kind)
{
	return tide_defs_parse(d, kind, buf, (size_t)(at - buf));
}

/* Every prefix of a good payload is refused, and changes nothing that can be seen. */
static void refuses_prefixes(struct tide_defs *d, unsigned kind)
{
	for (size_t len = 0; len < (size_t)(at - buf); len++)
		assert_int_equal(tide_defs_parse(d, kind, buf, len), 0);
}

static void texts(void **state)
{
	(void)state;
	struct tide_text_block *text = NULL;
	assert_string_equal(tide_text_copy(&text, TIDE_TEXT_UTF8, (const uint8_t *)"a\0b", 3), "a\xef\xbf\xbd"
											       "b");
	assert_string_equal(tide_text_copy(&text, TIDE_TEXT_LATIN1, (const uint8_t *)"\xe9", 1), "\xc3\xa9");
	assert_string_equal(tide_text_copy(&text, TIDE_TEXT_UCS2, (const uint8_t *)"\xac\x20\x00\xd8x", 5),
			    "\xe2\x82\xac\xef\xbf\xbd");
	assert_string_equal(
		tide_text_copy(&text, TIDE_TEXT_UCS4, (const uint8_t *)"\x00\xf6\x01\x00\x00\x00\x11\x00", 8),
		"\xf0\x9f\x98\x80\xef\xbf\xbd");
	assert_string_equal(tide_text_copy(&text, TIDE_TEXT_UTF8, (const uint8_t *)"", 0), "");
	assert_null(tide_text_copy(&text, 9, (const uint8_t *)"x", 1));
	assert_string_equal(tide_text_hex(&text, (const uint8_t *)"\x00\xff", 2), "00ff");
	assert_non_null(tide_text_room(&text, 1 << 20));
	tide_text_free(text);
}

static void modules_come_and_go(void **state)
{
	(void)state;
	struct tide_defs d;
	tide_defs_init(&d);
	for (unsigned i = 0; i < 100; i++) {
		begin();
		num(0x1000 * (i % 50));
		num(0x1000);
		num(0x2000);
		num(i);
		bytes("0123456789012345678901234567890123456789", i % 41);
		bytes("/lib/x.so", 9);
		if (i == 0)
			refuses_prefixes(&d, TIDE_DEF_MODULE);
		assert_int_equal(give(&d, TIDE_DEF_MODULE), 1);
	}
	assert_int_equal(d.modules, 100);
	assert_int_equal(d.module[40].build_id_len, 32);
	begin();
	num(0x3000);
	num(777);
	refuses_prefixes(&d, TIDE_DEF_UNLOAD);
	assert_int_equal(give(&d, TIDE_DEF_UNLOAD), 1); /* the later of the two at that address */
	assert_true(d.module[53].unloaded_ns == 777 && d.module[3].unloaded_ns == UINT64_MAX);
	tide_defs_release(&d);
}

static void codes(void **state)
{
	(void)state;
	struct tide_defs d;
	tide_defs_init(&d);
	for (unsigned i = 200; i > 0; i--) {
		begin();
		num(i);
		num(i == 7 ? UINT64_MAX : i * 2);
		num(i == 8 ? 99 : 3);
		bytes("tbl", 3);
		num(1);
		bytes("f.py", 4);
		num(2);
		bytes("n\xe9", 2);
		if (i == 200)
			refuses_prefixes(&d, TIDE_DEF_CODE);
		assert_int_equal(give(&d, TIDE_DEF_CODE), 1);
	}
	assert_int_equal(give(&d, TIDE_DEF_CODE), 1); /* once more: the same id */
	buf[0] = 0;                                   /* an id that none has */
	assert_int_equal(give(&d, TIDE_DEF_CODE), 0);
	tide_defs_finish(&d);
	assert_int_equal(d.codes, 200);
	assert_int_equal(tide_defs_code(&d, 20)->first_line, 40);
	assert_string_equal(tide_defs_code(&d, 20)->function, "n\xc3\xa9");
	assert_memory_equal(tide_defs_code(&d, 20)->table, "tbl", 3);
	assert_int_equal(tide_defs_code(&d, 7)->first_line, 0);
	assert_int_equal(tide_defs_code(&d, 8)->table_kind, TIDE_LINES_NONE);
	assert_null(tide_defs_code(&d, 0));
	assert_null(tide_defs_code(&d, 201));
	tide_defs_release(&d);
}

static void ends(void **state)
{
	(void)state;
	struct tide_defs d;
	tide_defs_init(&d);
	begin();
	num(TIDE_END_EXEC);
	num(3);
	num(1000);
	num(2000);
	refuses_prefixes(&d, TIDE_DEF_END);
	assert_int_equal(give(&d, TIDE_DEF_END), 1);
	assert_true(d.end == TIDE_END_EXEC && d.end_status == 3 && d.end_ns == 1000 && d.end_ticks == 2000);
	assert_int_equal(tide_defs_parse(&d, TIDE_DEF_RESUMED, NULL, 0), 1);
	assert_int_equal(d.end, TIDE_END_NONE);
	buf[0] = 9;
	assert_int_equal(give(&d, TIDE_DEF_END), 0);
	assert_int_equal(tide_defs_parse(&d, 4000, buf, 3), 1); /* a later kind: skipped */
	tide_defs_release(&d);
}

static void lineage(void **state)
{
	(void)state;
	struct tide_defs d;
	tide_defs_init(&d);
	begin();
	num(3);
	num(1);
	num(1000);
	num(UINT64_MAX);
	refuses_prefixes(&d, TIDE_DEF_LINEAGE);
	assert_int_equal(give(&d, TIDE_DEF_LINEAGE), 1);
	assert_int_equal(give(&d, TIDE_DEF_LINEAGE), 1);
	assert_true(d.lineage_lanes == 3 && d.lineage[1] == 1000 && d.lineage[2] == UINT64_MAX);
	assert_int_equal(d.lineage_ticks, 0); /* before 1.3 */
	num(77);
	assert_int_equal(give(&d, TIDE_DEF_LINEAGE), 1);
	assert_true(d.lineage_lanes == 3 && d.lineage_ticks == 77);
	begin();
	num(UINT64_MAX); /* lanes that cannot be there */
	assert_int_equal(give(&d, TIDE_DEF_LINEAGE), 0);
	assert_int_equal(d.lineage_lanes, 3);
	tide_defs_release(&d);
}

static void process_and_python(void **state)
{
	(void)state;
	struct tide_defs d;
	tide_defs_init(&d);
	assert_string_equal(d.exe, "");
	assert_null(d.python);
	begin();
	bytes("/bin/x", 6);
	bytes("x", 1);
	bytes("6.1", 3);
	bytes("\xab\xcd", 2);
	refuses_prefixes(&d, TIDE_DEF_PROCESS);
	assert_int_equal(give(&d, TIDE_DEF_PROCESS), 1);
	assert_string_equal(d.exe, "/bin/x");
	assert_string_equal(d.build_id, "abcd");
	begin();
	bytes("3.11.2", 6);
	num(1);
	num(1 << 20);
	num(1 << 14);
	refuses_prefixes(&d, TIDE_DEF_PYTHON);
	assert_int_equal(give(&d, TIDE_DEF_PYTHON), 1);
	assert_true(d.python_usable && d.python_arena == 1 << 20 && d.python_pool == 1 << 14);
	begin();
	bytes("glibc 2.36", 10);
	bytes("/lib/libc.so.6", 14);
	refuses_prefixes(&d, TIDE_DEF_ALLOCATOR);
	assert_int_equal(give(&d, TIDE_DEF_ALLOCATOR), 1);
	assert_string_equal(d.allocator_path, "/lib/libc.so.6");
	tide_defs_release(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),   cmocka_unit_test(modules_come_and_go),
		cmocka_unit_test(codes),   cmocka_unit_test(ends),
		cmocka_unit_test(lineage), cmocka_unit_test(process_and_python),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
