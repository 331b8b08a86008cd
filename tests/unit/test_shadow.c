/* The shadow: bytes by address, tags by epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shadow.h"

static void bytes(void **state)
{
	(void)state;
	tide_shadow_init(16);
	const char *heap = (const char *)0x7f1234567000;
	assert_int_equal(tide_shadow_take(heap, 5), TIDE_TAG_NONE);
	for (int i = 0; i < 4096; i++)
		tide_shadow_set(heap + 16 * i, (uint8_t)(i % 200 + 1));
	assert_int_equal(tide_shadow_peek(heap + 16 * 7), 8);
	assert_false(tide_shadow_change((uintptr_t)heap + 16 * 7, 9, 10));
	assert_true(tide_shadow_change((uintptr_t)heap + 16 * 7, 8, 10));
	assert_int_equal(tide_shadow_take(heap + 16 * 7, 8), 10);
	for (int i = 8; i < 4096; i++)
		assert_int_equal(tide_shadow_take(heap + 16 * i, (uint8_t)(i & 1 ? 1 : i % 200 + 1)), i % 200 + 1);
	assert_int_equal(tide_shadow_take(heap + 16 * 9, 1), TIDE_TAG_NONE);
}

static void far_addresses(void **state)
{
	(void)state;
	for (unsigned bit = 4; bit < 48; bit++) {
		const void *at = (const void *)(UINT64_C(1) << bit);
		tide_shadow_set(at, (uint8_t)bit);
		assert_int_equal(tide_shadow_peek(at), bit);
	}
	tide_shadow_set((const void *)(UINT64_C(1) << 60), 1);
	assert_int_equal(tide_shadow_peek((const void *)(UINT64_C(1) << 60)), TIDE_TAG_NONE);
}

static void epochs(void **state)
{
	(void)state;
	for (uint32_t now = 0; now < 1000; now++) {
		uint8_t used[256] = {[TIDE_TAG_NONE] = 1, [TIDE_TAG_DROPPED] = 1};
		for (uint32_t e = now; e < now + TIDE_TAG_EPOCHS; e++) {
			assert_int_equal(used[tide_tag(e, TIDE_TAG_FRESH)]++, 0);
			assert_int_equal(used[tide_tag(e, TIDE_TAG_CARRIED)]++, 0);
			assert_false(tide_tag_inherited(tide_tag(e, TIDE_TAG_CARRIED)));
		}
	}
}

static void forked(void **state)
{
	(void)state;
	uint8_t parents = tide_tag(30, TIDE_TAG_FRESH);
	tide_shadow_fork_child();
	assert_true(tide_tag_inherited(parents));
	assert_false(tide_tag_inherited(tide_tag(30, TIDE_TAG_FRESH)));
	assert_false(tide_tag_inherited(TIDE_TAG_DROPPED));
	assert_false(tide_tag_inherited(TIDE_TAG_NONE));
	tide_shadow_fork_child();
	assert_int_equal(tide_tag(30, TIDE_TAG_FRESH), parents);
}

/* Three generations more: whatever an ancestor stored is inherited once the child has a log, and what the child stored is not. */
static void descendants(void **state)
{
	(void)state;
	const char *heap = (const char *)0x7e0000000000;
	unsigned stored = 0;
	for (unsigned generation = 0; generation < 3; generation++) {
		for (uint32_t epoch = 0; epoch < TIDE_TAG_EPOCHS; epoch++) {
			tide_shadow_set(heap + 16ull * stored++, tide_tag(epoch, TIDE_TAG_FRESH));
			tide_shadow_set(heap + 16ull * stored++, tide_tag(epoch, TIDE_TAG_CARRIED));
		}
		tide_shadow_fork_child();
		uint8_t young = tide_shadow.young;
		assert_int_not_equal(young, TIDE_TAG_NONE);
		tide_shadow_set(heap + 16ull * stored, young);
		assert_true(tide_shadow_settle());
		for (unsigned i = 0; i < stored; i++)
			assert_true(tide_tag_inherited(tide_shadow_peek(heap + 16ull * i)));
		assert_int_equal(tide_shadow_peek(heap + 16ull * stored++), young);
		assert_false(tide_tag_inherited(young));
		assert_false(tide_shadow_settle()); /* as a signal handler that came into it */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes),  cmocka_unit_test(far_addresses), cmocka_unit_test(epochs),
		cmocka_unit_test(forked), cmocka_unit_test(descendants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
