/* The room that the shim keeps for zstd's contexts is enough for the zstd that is linked here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "ring.h"

static void room(void **state)
{
	(void)state;
	static const int levels[] = {TIDE_ZSTD_LEVEL, TIDE_ZSTD_QUICK};
	for (unsigned i = 0; i < sizeof levels / sizeof *levels; i++) {
		ZSTD_compressionParameters params = ZSTD_getCParams(levels[i], TIDE_BLOCK_MAX, 0);
		assert_true(ZSTD_estimateCCtxSize_usingCParams(params) <= TIDE_ZSTD_PACKS);
	}
	assert_true(ZSTD_estimateDCtxSize() <= TIDE_ZSTD_UNPACKS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(room)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
