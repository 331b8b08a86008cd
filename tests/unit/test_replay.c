/* The replay, against the plainest of oracles: arrays that are searched and copied whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replay/replay.h"

#define ADDRESSES 300u
#define SITES 7u
#define STEPS 6000u

struct plain_block {
	bool live, python;
	uint64_t size, time;
	uint32_t site;
};

struct plain {
	struct plain_block block[ADDRESSES], moving;
	uint64_t live[SITES], peak_live[SITES];
	uint64_t allocs, frees, unmatched, doubled, bytes, peak;
};

static uint64_t seed;
static uint64_t below(uint64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % n;
}

static void plain_drop(struct plain *p, uint64_t i)
{
	p->live[p->block[i].site] -= p->block[i].size;
	p->bytes -= p->block[i].size;
	p->block[i].live = false;
}

static void plain_put(struct plain *p, uint64_t i, const struct plain_block *b)
{
	if (p->block[i].live) {
		p->doubled++;
		plain_drop(p, i);
	}
	p->block[i] = *b;
	p->live[b->site] += b->size;
	p->bytes += b->size;
}

static void plain_alloc(struct plain *p, uint64_t i, const struct tide_event *e)
{
	struct plain_block b = {true, e->kind == TIDE_KIND_PYALLOC, e->size, e->time_ns, e->native};
	p->allocs++;
	plain_put(p, i, &b);
	if (p->bytes > p->peak) {
		p->peak = p->bytes;
		memcpy(p->peak_live, p->live, sizeof p->live);
	}
}

static void plain_free(struct plain *p, uint64_t i)
{
	p->frees++;
	p->unmatched += !p->block[i].live;
	if (p->block[i].live)
		plain_drop(p, i);
}

static void step(struct tide_replay *r, struct plain *p, uint64_t time)
{
	static const enum tide_kind allocs[] = {TIDE_KIND_ALLOC, TIDE_KIND_PYALLOC, TIDE_KIND_CALLOC};
	uint64_t i = below(ADDRESSES), j = below(ADDRESSES), dice = below(100);
	struct tide_event e = {.kind = allocs[below(3)],
			       .tid = 5,
			       .addr = 16 * (i + 1),
			       .size = below(1000),
			       .time_ns = time,
			       .native = (uint32_t)below(SITES),
			       .index = time};
	if (dice < 45) {
		assert_int_equal(tide_replay_event(r, &e), TIDE_OK);
		plain_alloc(p, i, &e);
		return;
	}
	e.kind = dice < 80 ? TIDE_KIND_FREE : TIDE_KIND_REALLOC_FREE;
	assert_int_equal(tide_replay_event(r, &e), TIDE_OK);
	struct plain_block old = p->block[i];
	plain_free(p, i);
	assert_int_equal(r->freed.addr, old.live ? e.addr : 0);
	if (dice < 80)
		return;
	e.kind = dice < 90 ? TIDE_KIND_REALLOC_ALLOC : TIDE_KIND_REALLOC_FAILED;
	e.addr = 16 * (j + 1);
	assert_int_equal(tide_replay_event(r, &e), TIDE_OK);
	if (dice < 90) {
		plain_alloc(p, j, &e);
	} else if (old.live) {
		p->frees--;
		plain_put(p, i, &old);
	}
}

static void same_blocks(const struct tide_replay *r, const struct plain *p)
{
	struct tide_block_live b;
	uint32_t count = 0, want = 0;
	for (size_t at = 0; tide_blocks_next(&r->blocks, &at, &b); count++) {
		const struct plain_block *w = &p->block[b.addr / 16 - 1];
		assert_true(w->live && w->size == b.size && w->time == b.time_ns);
		assert_int_equal(w->site, r->site[b.site].native);
		assert_int_equal(w->python, (b.flags & TIDE_BLOCK_PYTHON) != 0);
		assert_int_equal(b.flags & TIDE_BLOCK_LATER, 0);
	}
	for (unsigned i = 0; i < ADDRESSES; i++)
		want += p->block[i].live;
	assert_int_equal(count, want);
	assert_int_equal(r->live_blocks, want);
	assert_int_equal(r->live_bytes, p->bytes);
}

/* Sites by their number in the oracle. */
static void same_sites(const struct tide_replay *r, const uint64_t *live, const uint64_t *peak_live)
{
	uint64_t got_live[SITES] = {0}, got_peak[SITES] = {0};
	for (uint32_t i = 0; i < r->sites; i++) {
		got_live[r->site[i].native] = r->site[i].live_bytes;
		got_peak[r->site[i].native] = r->site[i].peak_bytes;
	}
	assert_memory_equal(got_live, live, sizeof got_live);
	assert_memory_equal(got_peak, peak_live, sizeof got_peak);
}

/* Frozen after `freeze` steps; STEPS: never. */
static void replay_once(uint32_t freeze)
{
	static struct plain p, then;
	struct tide_replay r = {0}, all;
	memset(&p, 0, sizeof p);
	tide_blocks_window(&r.blocks, 1, STEPS);
	for (uint32_t i = 0; i < STEPS; i++) {
		if (i == freeze) {
			assert_int_equal(tide_replay_freeze(&r), TIDE_OK);
			then = p;
		}
		step(&r, &p, 1 + i);
	}
	if (freeze >= STEPS)
		then = p;
	assert_int_equal(tide_replay_finish(&r, &all), TIDE_OK);
	assert_int_equal(all.allocs, p.allocs);
	assert_int_equal(all.frees, p.frees);
	assert_int_equal(all.unmatched_frees, p.unmatched);
	assert_int_equal(all.doubled, p.doubled);
	assert_int_equal(all.peak_bytes, p.peak);
	assert_int_equal(r.allocs, then.allocs);
	assert_int_equal(r.frees, then.frees);
	same_blocks(&r, &then);
	same_sites(&r, then.live, p.peak_live);
	tide_replay_release(&r);
}

static void as_the_oracle(void **state)
{
	(void)state;
	for (seed = 1; seed < 30; seed++)
		replay_once(STEPS);
}

static void frozen(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 30; i++) {
		seed = 1000 + i;
		replay_once(i == 0 ? 0 : (uint32_t)below(STEPS));
	}
}

static void times_fit(void **state)
{
	(void)state;
	struct tide_blocks b = {0};
	struct tide_block_live in = {16, 1, 0, 3, 0}, out;
	uint64_t first = UINT64_C(1) << 50, last = first + (UINT64_C(1) << 44);
	tide_blocks_window(&b, first, last);
	for (unsigned i = 0; i < 1000; i++) {
		in.addr = 16 * (i + 1);
		in.time_ns = first + (last - first) / 1000 * i;
		assert_true(tide_blocks_put(&b, &in, &out) && out.addr == 0);
	}
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(tide_blocks_take(&b, 16 * (i + 1), &out));
		uint64_t want = first + (last - first) / 1000 * i;
		assert_true(out.time_ns <= want && want - out.time_ns < 8192);
	}
	assert_false(tide_blocks_take(&b, 16, &out));
	tide_blocks_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_oracle),
		cmocka_unit_test(frozen),
		cmocka_unit_test(times_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
