/* The merge, on lanes written by hand: ticks decide, epochs are waited for, who waits in vain goes on and is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/encode.h"
#include "read/merge.h"

struct script {
	struct tide_encoder encoder;
	uint8_t payload[4096], *at;
	uint32_t events;
};

static struct script script[4];
static struct tide_lane lane[4];
static struct tide_stacks stacks;
static struct tide_clock ticking;
static struct tide_damages damages;
static struct tide_gaps gaps;
static struct tide_lane_env env = {.stacks = &stacks, .clock = &ticking, .damages = &damages, .gaps = &gaps};

static void start(uint32_t lanes, uint64_t ticks)
{
	memset(lane, 0, sizeof lane);
	for (uint32_t i = 0; i < lanes; i++) {
		tide_encode_reset(&script[i].encoder, ticks);
		script[i].at = script[i].payload;
		script[i].events = 0;
		lane[i] = (struct tide_lane){.index = i, .limit = UINT64_MAX};
		lane[i].staging.head.ticks = ticks;
		lane[i].staging.taken = true;
	}
	assert_int_equal(tide_stacks_init(&stacks), 0);
	tide_clock_init(&ticking);
	tide_clock_finish(&ticking);
}

static void tick(uint32_t i, uint64_t ticks)
{
	*script[i].at++ = TIDE_KIND_TICK;
	script[i].at = tide_put_ticks(script[i].at, &script[i].encoder, ticks);
}
static void take_word(uint32_t i, uint64_t epoch, uint64_t ticks)
{
	*script[i].at++ = TIDE_KIND_SYNC;
	script[i].at = tide_put_varint(script[i].at, epoch);
	script[i].at = tide_put_ticks(script[i].at, &script[i].encoder, ticks);
}
static void free_at(uint32_t i, uint64_t addr)
{
	uint8_t *tag = script[i].at;
	*tag = TIDE_KIND_FREE;
	script[i].at = tide_put_addr(tag + 1, tag, &script[i].encoder, addr, true);
	script[i].events++;
}

/* Addresses in the order they come; returns the anomalies. */
static uint64_t merge(uint32_t lanes, bool gapless, const uint64_t *want, uint32_t count)
{
	struct tide_merge m;
	struct tide_event e;
	for (uint32_t i = 0; i < lanes; i++) {
		lane[i].staging.payload = script[i].payload;
		lane[i].staging.head.committed = (uint32_t)(script[i].at - script[i].payload);
		lane[i].staging.head.events = script[i].events;
		lane[i].fate = NULL;
	}
	assert_true(tide_merge_init(&m, lane, lanes));
	tide_merge_start(&m, gapless);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(tide_merge_next(&m, &env, &e), 1);
		assert_int_equal(e.addr, want[i]);
		assert_int_equal(e.index, i);
	}
	assert_int_equal(tide_merge_next(&m, &env, &e), 0);
	uint64_t anomalies = m.anomalies;
	tide_merge_release(&m);
	tide_stacks_release(&stacks);
	tide_clock_release(&ticking);
	return anomalies;
}

static void by_ticks(void **state)
{
	(void)state;
	start(2, 100);
	tick(0, 200);
	free_at(0, 16);
	free_at(0, 32);
	tick(1, 150);
	free_at(1, 48);
	tick(1, 250);
	free_at(1, 64);
	tick(0, 300);
	free_at(0, 80);
	assert_int_equal(merge(2, true, (uint64_t[]){48, 16, 32, 64, 80}, 5), 0);
}

/* Equal ticks: who begins an epoch comes after who may have ended the one before. */
static void ties(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 1, 200);
	free_at(0, 16);
	tick(1, 200);
	free_at(1, 0x20000);
	assert_int_equal(merge(2, true, (uint64_t[]){0x20000, 16}, 2), 0);
}

/* The counter of lane 1 is behind: its epoch 2 says 150, and still comes after epoch 1. */
static void epochs_before_ticks(void **state)
{
	(void)state;
	start(3, 100);
	take_word(0, 1, 200);
	free_at(0, 16);
	take_word(1, 2, 150);
	free_at(1, 32);
	take_word(2, 3, 140);
	free_at(2, 48);
	assert_int_equal(merge(3, true, (uint64_t[]){16, 32, 48}, 3), 0);
}

/* Epoch 1 never comes: counted once, and nothing is lost. */
static void waiting_in_vain(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 2, 200);
	free_at(0, 16);
	tick(1, 300);
	free_at(1, 0x20000);
	tick(1, UINT64_C(1) << 30);
	free_at(1, 0x30000);
	assert_int_equal(merge(2, true, (uint64_t[]){0x20000, 16, 0x30000}, 3), 1);
}

/* Where events are missing nobody waits, and it is no anomaly unless the epoch comes late after all. */
static void gaps_are_no_anomaly(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 7, 200);
	free_at(0, 16);
	tick(1, 300);
	free_at(1, 0x20000);
	assert_int_equal(merge(2, false, (uint64_t[]){16, 0x20000}, 2), 0);
	start(2, 100);
	take_word(0, 7, 200);
	free_at(0, 16);
	take_word(1, 6, 300);
	free_at(1, 32);
	assert_int_equal(merge(2, false, (uint64_t[]){16, 32}, 2), 1);
}

/* Each waits for the other: both go on. */
static void no_deadlock(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 2, 200);
	free_at(0, 16);
	take_word(0, UINT64_MAX, 210);
	free_at(0, 0x20000);
	take_word(1, 2, 205);
	free_at(1, 0x20000);
	take_word(1, 1, 220);
	free_at(1, 32);
	assert_true(merge(2, true, (uint64_t[]){16, 0x20000, 32, 0x20000}, 4) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_ticks),
		cmocka_unit_test(ties),
		cmocka_unit_test(epochs_before_ticks),
		cmocka_unit_test(waiting_in_vain),
		cmocka_unit_test(gaps_are_no_anomaly),
		cmocka_unit_test(no_deadlock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
