/* Which pages are resident: the kernel asked for runs tells what its page map has, entry by entry. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "pagemap.h"

#define PAGES TIDE_PAGEMAP_PAGES
#define PAGE ((size_t)4096)

static struct tide_pagemap map;

/* One digit a page, as told for the pages from `at` on. */
static void told(uint8_t *at, uint32_t pages, bool cannot_ask, char *ret)
{
	uint8_t record[PAGES + TIDE_VARINT_MAX]; /* what is left must take any number */
	struct tide_out out = tide_out_of(record, sizeof record);
	bool old_kernel = map.cannot_ask;
	map.cannot_ask |= cannot_ask;
	assert_true(tide_pagemap_put(&map, &out, (uintptr_t)at, (uintptr_t)at + pages * PAGE));
	assert_false(out.full);
	map.cannot_ask = cannot_ask ? old_kernel : map.cannot_ask;
	uint32_t done = 0;
	for (const uint8_t *from = record; from < out.at;) {
		uint64_t run = 0;
		unsigned shift = 0;
		do
			run |= (uint64_t)(*from & 0x7f) << shift;
		while (shift += 7, *from++ & 0x80);
		assert_true(run / 4 > 0 && run / 4 <= pages - done);
		memset(ret + done, '0' + (int)(run % 4), run / 4);
		done += (uint32_t)(run / 4);
	}
	assert_int_equal(done, pages);
	ret[done] = '\0';
}

static void same_both_ways(uint8_t *at, uint32_t pages, const char *expected)
{
	static char asked[PAGES + 1], read[PAGES + 1];
	map.until = 0;
	told(at, pages, false, asked);
	told(at, pages, true, read);
	assert_string_equal(asked, read);
	if (expected)
		assert_string_equal(read, expected);
}

static uint8_t *pages_of(int fd, uint32_t pages)
{
	uint8_t *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			   fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	assert_true(at != MAP_FAILED);
	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	return at;
}

static void anonymous(void **state)
{
	(void)state;
	static char expected[PAGES + 1];
	uint8_t *at = pages_of(-1, PAGES);
	memset(expected, '0', PAGES);
	same_both_ways(at, PAGES, expected);
	for (uint32_t i = 0; i < PAGES; i += 2) { /* more runs than one answer has room for */
		at[i * PAGE] = 1;
		expected[i] = '1';
	}
	same_both_ways(at, PAGES, expected);
	for (uint32_t i = 100; i < 500; i++) {
		at[i * PAGE] = 1;
		expected[i] = '1';
	}
	same_both_ways(at, PAGES, expected);
	same_both_ways(at + 3 * PAGE, 7, "0101010");
	munmap(at, PAGES * PAGE);
}

/* A page that was only read is the zero page of all: present in the page map, but not in RSS. */
static void only_read(void **state)
{
	(void)state;
	char text[PAGES + 1];
	uint8_t *at = pages_of(-1, 4);
	at[PAGE] = ((volatile uint8_t *)at)[2 * PAGE] + 1;
	map.until = 0;
	told(at, 4, false, text);
	if (!map.cannot_ask)
		assert_string_equal(text, "0100");
	munmap(at, 4 * PAGE);
}

static void files(void **state)
{
	(void)state;
	char name[] = "/tmp/pagemap-XXXXXX";
	int fd = mkstemp(name);
	assert_true(fd >= 0 && unlink(name) == 0 && ftruncate(fd, 16 * PAGE) == 0);
	uint8_t *at = pages_of(fd, 16);
	at[2 * PAGE] = at[3 * PAGE] = at[9 * PAGE] = 1;
	same_both_ways(at, 4, "0022");
	munmap(at, 16 * PAGE);
	close(fd);
}

/* One question is for many ranges, but not for what came before it. */
static void in_order(void **state)
{
	(void)state;
	char text[PAGES + 1];
	uint8_t *at = pages_of(-1, 64);
	at[0] = at[40 * PAGE] = 1;
	map.until = 0;
	told(at + 32 * PAGE, 32, false, text);
	assert_int_equal(text[8], '1');
	at[50 * PAGE] = at[10 * PAGE] = 1;
	if (!map.cannot_ask) {
		told(at + 48 * PAGE, 4, false, text);
		assert_string_equal(text, "0000"); /* as it was when it was asked */
	}
	told(at, 16, false, text);
	assert_string_equal(text, "1000000000100000");
	munmap(at, 64 * PAGE);
}

static int open_map(void **state)
{
	(void)state;
	map.fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return map.fd < 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anonymous),
		cmocka_unit_test(only_read),
		cmocka_unit_test(files),
		cmocka_unit_test(in_order),
	};
	return cmocka_run_group_tests(tests, open_map, NULL);
}
