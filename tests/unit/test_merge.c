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

/* By EPOCH, because a TICK counts in steps. */
static void tick(uint32_t i, uint64_t ticks)
{
	script[i].at = tide_put_tag(script[i].at, TIDE_KIND_EPOCH);
	script[i].at = tide_put_varint(tide_put_ticks(script[i].at, &script[i].encoder, ticks), 1);
}
static void take_word(uint32_t i, uint64_t epoch, uint64_t ticks)
{
	script[i].at = tide_put_tag(script[i].at, TIDE_KIND_SYNC);
	script[i].at = tide_put_varint(script[i].at, epoch);
	script[i].at = tide_put_ticks(script[i].at, &script[i].encoder, ticks);
}
static void free_at(uint32_t i, uint64_t addr)
{
	uint8_t *tag = script[i].at;
	script[i].at = tide_put_gone(tide_put_tag(tag, TIDE_KIND_FREE), tag, &script[i].encoder, addr);
	script[i].events++;
}

/* Addresses in the order they come; returns the anomalies. */
static uint64_t merge(uint32_t lanes, uint64_t whole_from, bool complete, const uint64_t *want, uint32_t count)
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
	tide_merge_start(&m, whole_from, complete);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(tide_merge_next(&m, &env, &e), 1);
		assert_int_equal(e.addr, want[i]);
		assert_int_equal(e.index, i);
	}
	assert_int_equal(tide_merge_next(&m, &env, &e), 0);
	uint64_t anomalies = m.anomalies;
	tide_merge_release(&m);
	for (uint32_t i = 0; i < lanes; i++)
		tide_lane_rewind(&lane[i], &env);
	tide_lane_env_release(&env);
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
	assert_int_equal(merge(2, 0, true, (uint64_t[]){48, 16, 32, 64, 80}, 5), 0);
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
	assert_int_equal(merge(2, 0, true, (uint64_t[]){0x20000, 16}, 2), 0);
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
	assert_int_equal(merge(3, 0, true, (uint64_t[]){16, 32, 48}, 3), 0);
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
	tick(1, UINT64_C(1) << 34);
	free_at(1, 0x30000);
	assert_int_equal(merge(2, 0, true, (uint64_t[]){0x20000, 16, 0x30000}, 3), 1);
}

/* Where events are missing too an epoch comes after the one before it, if that is there; and if not, that is no anomaly. */
static void gaps_are_no_anomaly(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 7, 200);
	free_at(0, 16);
	tick(1, 300);
	free_at(1, 0x20000);
	tick(1, UINT64_C(1) << 30);
	free_at(1, 0x30000);
	assert_int_equal(merge(2, 0, false, (uint64_t[]){0x20000, 16, 0x30000}, 3), 0);
	start(2, 100);
	take_word(0, 7, 200);
	free_at(0, 16);
	take_word(1, 6, 300);
	free_at(1, 32);
	assert_int_equal(merge(2, 0, false, (uint64_t[]){32, 16}, 2), 0);
}

/* Too late: it waited as long as is sensible where events are missing. */
static void later_than_patience(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 7, 200);
	free_at(0, 16);
	tick(1, UINT64_C(1) << 30);
	free_at(1, 0x20000);
	take_word(1, 6, (UINT64_C(1) << 30) + 50);
	free_at(1, 32);
	env.chunk_ops = 1; /* so that it is not seen to come */
	assert_int_equal(merge(2, 0, false, (uint64_t[]){16, 0x20000, 32}, 3), 1);
	env.chunk_ops = 0;
}

/* Before every lane is there: epoch 7 is not held back for one that most likely was evicted, but for one that is seen. */
static void beginnings_missing(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 7, 200);
	free_at(0, 16);
	tick(1, 300);
	free_at(1, 0x20000);
	assert_int_equal(merge(2, 1000, true, (uint64_t[]){16, 0x20000}, 2), 0);
	start(2, 100);
	take_word(0, 7, 200);
	free_at(0, 16);
	take_word(1, 6, 300);
	free_at(1, 32);
	assert_int_equal(merge(2, 1000, true, (uint64_t[]){32, 16}, 2), 0);
}

/* Lane 1 begins at 500 with an event on a word that it took before; what lane 0 did with it at 210 comes first, though lane 0
 * is held back then. */
static void starts_after_who_waits(void **state)
{
	(void)state;
	start(3, 100);
	lane[1].staging.head.ticks = 500;
	lane[1].staging.head.events_before = 10;
	script[1].encoder.ticks = 500;
	take_word(0, 2, 200);
	free_at(0, 0x10);
	free_at(0, 0x20020);
	free_at(1, 0x20010);
	tick(2, 600);
	free_at(2, 0x30010);
	take_word(2, 1, 700);
	free_at(2, 0x20);
	assert_int_equal(merge(3, 500, true, (uint64_t[]){0x30010, 0x20, 0x10, 0x20020, 0x20010}, 5), 0);
}

/* The same, in a part of the log where nothing is missing. */
static void patient_where_whole(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 5, 200);
	free_at(0, 48);
	take_word(0, 7, 300);
	free_at(0, 16);
	tick(1, UINT64_C(1) << 30);
	free_at(1, 0x20000);
	take_word(1, 6, (UINT64_C(1) << 30) + 50);
	free_at(1, 32);
	assert_int_equal(merge(2, 150, true, (uint64_t[]){48, 0x20000, 32, 16}, 4), 0);
}

/*
 * Lane 2 took word 2 and read the counter late. Lane 0 waits for that, and with it wait its later events on word 1, which
 * lane 1 has taken since.
 */
static void owner_behind_its_turn(void **state)
{
	(void)state;
	start(3, 100);
	take_word(0, 1, 150); /* word 1 */
	free_at(0, 0x10010);
	take_word(2, 1, 900); /* word 2 */
	free_at(2, 0x20010);
	take_word(0, 2, 300); /* word 2 */
	free_at(0, 0x20020);
	free_at(0, 0x10020);  /* word 1, epoch 1 */
	take_word(1, 2, 400); /* word 1 */
	free_at(1, 0x10030);
	assert_int_equal(merge(3, 0, true, (uint64_t[]){0x10010, 0x20010, 0x20020, 0x10020, 0x10030}, 5), 0);
}

/* The same, but what lane 0 waits for is what lane 1 took: had lane 1 to wait for whatever lane 0 has, both would for ever. */
static void no_circle(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 1, 150); /* word 1 */
	free_at(0, 0x10010);
	take_word(1, 2, 900); /* word 1, long before it read the counter */
	free_at(1, 0x10030);
	take_word(0, 3, 300);
	free_at(0, 0x10020);
	assert_int_equal(merge(2, 0, true, (uint64_t[]){0x10010, 0x10030, 0x10020}, 3), 0);
}

/* Lane 1's counter is ahead of lane 0's, which has not given up the word when lane 1 seems to have it already. */
static void counters_disagree(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 1, 500);
	free_at(0, 16);
	tick(0, 700);
	free_at(0, 32);
	take_word(1, 2, 600);
	free_at(1, 48);
	assert_int_equal(merge(2, 0, true, (uint64_t[]){16, 32, 48}, 3), 0);
}

/* A log that cannot be: each waits for the other. Both go on, and it is told. */
static void no_deadlock(void **state)
{
	(void)state;
	start(2, 100);
	take_word(0, 2, 200);
	free_at(0, 16);
	take_word(0, 1, 210);
	free_at(0, 0x20000);
	take_word(1, 2, 205);
	free_at(1, 0x20000);
	take_word(1, 1, 220);
	free_at(1, 32);
	assert_true(merge(2, 0, true, (uint64_t[]){16, 0x20000, 0x20000, 32}, 4) > 0);
}

/* Runs, and the chunks they come in, end where the limit is; values belong to their events. */
static void many_chunks(void **state)
{
	(void)state;
	start(1, 100);
	uint64_t want[1000];
	for (uint32_t i = 0; i < 1000; i++) {
		if (i % 7 == 0)
			tick(0, 200 + i);
		want[i] = 16 * (i + 1);
		free_at(0, want[i]);
	}
	env.chunk_ops = 50;
	lane[0].limit = 777;
	assert_int_equal(merge(1, 0, true, want, 777), 0);
	env.chunk_ops = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_ticks),
		cmocka_unit_test(ties),
		cmocka_unit_test(epochs_before_ticks),
		cmocka_unit_test(waiting_in_vain),
		cmocka_unit_test(gaps_are_no_anomaly),
		cmocka_unit_test(later_than_patience),
		cmocka_unit_test(beginnings_missing),
		cmocka_unit_test(starts_after_who_waits),
		cmocka_unit_test(patient_where_whole),
		cmocka_unit_test(owner_behind_its_turn),
		cmocka_unit_test(no_circle),
		cmocka_unit_test(counters_disagree),
		cmocka_unit_test(no_deadlock),
		cmocka_unit_test(many_chunks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
