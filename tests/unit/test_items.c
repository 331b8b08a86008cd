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

static uint64_t words[1 << 20];

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

#define EVENTS 20000u

static struct script {
	enum tide_kind kind;
	uint64_t addr, size, value, ticks;
	uint32_t native, python; /* frames */
	uint64_t word[12];       /* native, then Python, outermost first */
} script[EVENTS];

static uint64_t seed;

static uint32_t below(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

/* A stack of one of a few programs' places, so that stacks repeat and follow each other. */
static void choose_stack(struct script *s, bool pool)
{
	uint32_t place = below(3) ? below(6) : below(500);
	s->native = pool ? 0 : 2 + place % 4;
	s->python = place % 3;
	for (uint32_t i = 0; i < s->native; i++)
		s->word[i] = 0x400000 + i * 0x1000 + (i + 2 > s->native ? place * 16 : place % 3 * 8);
	for (uint32_t i = 0; i < s->python; i++)
		s->word[s->native + i] = TIDE_WORD_PYTHON | (place % 7) << 24 | i;
}

/* What a program might do: blocks of a few sizes come back where they were freed; some addresses are odd, huge or nobody's. */
static void choose(struct script *s, uint64_t *live, uint32_t *count)
{
	static const enum tide_kind alloc[] = {TIDE_KIND_ALLOC,         TIDE_KIND_CALLOC,  TIDE_KIND_ALIGNED,
					       TIDE_KIND_REALLOC_ALLOC, TIDE_KIND_PYALLOC, TIDE_KIND_PYREALLOC_ALLOC};
	static const enum tide_kind gone[] = {TIDE_KIND_FREE, TIDE_KIND_REALLOC_FREE, TIDE_KIND_PYFREE,
					      TIDE_KIND_PYREALLOC_FREE};
	static const uint64_t odd[] = {0, 1, 8, 24, 0x7fffdeadbee1, UINT64_MAX, UINT64_C(1) << 63, 0xfffffffffffffff0};
	static uint64_t freed[64], next_addr = 0x5500000;
	bool strange = below(50) == 0;
	memset(s, 0, sizeof *s);
	if (below(20) == 0) {
		s->kind = below(2) ? TIDE_KIND_MMAP : TIDE_KIND_MARK;
		s->addr = s->kind == TIDE_KIND_MMAP ? (uint64_t)below(1000) * TIDE_PAGE : 0;
		s->size = s->kind == TIDE_KIND_MMAP ? below(100000) : 0;
		s->value = below(1000);
		if (s->kind == TIDE_KIND_MMAP)
			choose_stack(s, false);
	} else if (*count < 4000 && (below(2) || *count == 0)) {
		s->kind = alloc[below(6)];
		s->size = strange ? UINT64_C(1) << below(64) : 8 + 24 * (uint64_t)below(9);
		uint64_t *back = &freed[s->size % 64];
		s->addr = strange ? odd[below(8)] : *back ? *back : next_addr;
		next_addr += *back ? 0 : (s->size + 23) / 16 * 16;
		*back = 0;
		s->value = s->kind == TIDE_KIND_ALIGNED ? 64 : 0;
		choose_stack(s, tide_kind_is_pool(s->kind));
		live[(*count)++] = s->addr;
	} else {
		uint32_t which = *count ? (below(4) ? *count - 1 : below(*count)) : 0;
		s->kind = gone[below(4)];
		s->addr = strange || *count == 0 ? odd[below(8)] : live[which];
		if (*count)
			live[which] = live[--*count];
		freed[below(64)] = s->addr & ~UINT64_C(15);
	}
}

static uint8_t *tell(uint8_t *out, struct tide_encoder *e, struct tide_kept kept[2], const struct script *s)
{
	uint64_t inner[2][12], site = 0;
	unsigned has = tide_kind_fields(s->kind);
	uint8_t *tag = out;
	out = tide_put_tag(out, s->kind);
	for (uint32_t i = 0; i < s->native; i++)
		inner[0][s->native - 1 - i] = s->word[i];
	for (uint32_t i = 0; i < s->python; i++)
		inner[1][s->python - 1 - i] = s->word[s->native + i];
	if (has & (TIDE_F_STACK | TIDE_F_PYSTACK)) {
		struct tide_words native = {0}, python = tide_keep(&kept[1], inner[1], s->python);
		if (has & TIDE_F_STACK)
			native = tide_keep(&kept[0], inner[0], s->native);
		out = tide_put_stacks(out, tag, e, has & TIDE_F_STACK ? &native : NULL, &python, &site);
	}
	if (has & TIDE_F_ADDR)
		out = has & TIDE_F_SIZE ? tide_put_block(out, tag, e, site, s->addr, s->size, s->kind)
					: tide_put_gone(out, tag, e, s->addr);
	if (has & TIDE_F_RANGE)
		out = tide_put_varint(tide_put_varint(out, s->addr / TIDE_PAGE), s->size);
	if (has & TIDE_F_VALUE)
		out = tide_put_varint(out, s->value);
	if (has & TIDE_F_VALUE2)
		out = tide_put_varint(out, 0);
	return out;
}

static void expect_stack(const struct tide_stack_delta *delta, uint64_t *now, uint32_t *depth, const uint64_t *want,
			 uint32_t len)
{
	assert_true(delta->pop <= *depth);
	*depth -= delta->pop;
	for (uint32_t i = 0; i < delta->push; i++)
		now[(*depth)++] = delta->words[i];
	assert_int_equal(*depth, len);
	assert_memory_equal(now, want, len * sizeof *now);
}

/* A long program, in blocks that each begin anew: what was told is what is read, and expectations come true often. */
static void round_trip(void **state)
{
	(void)state;
	static struct tide_encoder e;
	static struct tide_items d;
	static struct tide_kept kept[2];
	static uint8_t buf[1 << 20];
	static uint64_t live[4000];
	uint32_t count = 0, expected = 0, next = 0;
	seed = 1;
	for (uint32_t block = 0; block < 5; block++) {
		uint64_t now[2][16];
		uint32_t depth[2] = {0, 0};
		uint8_t *out = buf;
		tide_encode_reset(&e, 1000 * block);
		for (uint32_t i = 0; i < EVENTS; i++) {
			uint8_t *tag = out;
			choose(&script[i], live, &count);
			out = tell(out, &e, kept, &script[i]);
			expected += tide_kind_fields(script[i].kind) & TIDE_F_SIZE && *tag & TIDE_TAG_ADDR_EXPECTED;
			next += (*tag & 15) < 7 && *tag & TIDE_TAG_NEXT;
			if (i % 16 == 0)
				out = tide_put_tick(out, &e, script[i].ticks = 1000 * block + i * 300);
		}
		size_t len = (size_t)(out - buf);
		assert_true(len < sizeof buf);
		tide_items_init(&d, TIDE_ENCODING_ITEMS, buf, len, 1000 * block, words, tide_items_words(len));
		for (uint32_t i = 0; i < EVENTS; i++) {
			const struct script *s = &script[i];
			struct tide_item item;
			assert_int_equal(tide_items_next(&d, &item), 1);
			assert_int_equal(item.kind, s->kind);
			assert_true(item.addr == s->addr && item.size == s->size && item.value == s->value &&
				    item.is_event);
			if (item.has_stack && !tide_kind_is_pool(s->kind))
				expect_stack(&item.native, now[0], &depth[0], s->word, s->native);
			if (item.has_stack)
				expect_stack(&item.python, now[1], &depth[1], s->word + s->native, s->python);
			if (i % 16)
				continue;
			assert_int_equal(tide_items_next(&d, &item), 1);
			assert_true(item.kind == TIDE_KIND_TICK && item.ticks <= s->ticks &&
				    s->ticks - item.ticks < 256);
		}
		struct tide_item item;
		assert_int_equal(tide_items_next(&d, &item), 0);
	}
	/* what makes the log small happens at all; how often it happens with real programs is the benchmark's */
	assert_true(expected > EVENTS / 10 && next > EVENTS / 20);
}

/* Pushes and pops of every depth, through the dictionary and past the nibbles of the counts. */
static void stacks(void **state)
{
	(void)state;
	static struct tide_encoder e;
	static struct tide_items d;
	static struct tide_kept kept;
	static uint8_t buf[1 << 20];
	static uint64_t now[TIDE_STACK_MAX], got[TIDE_STACK_MAX + 2];
	static const uint32_t depth[] = {0, 1, 14, 15, 16, 256, 3, 256, 0, 200};
	uint8_t *out = buf;
	uint32_t len = 0;
	uint64_t site;
	tide_encode_reset(&e, 0);
	for (unsigned i = 0; i < 10; i++) {
		uint8_t *tag = out;
		for (uint32_t j = 0; j < depth[i]; j++)
			now[depth[i] - 1 - j] = TIDE_WORD_PYTHON | (j < 5 ? j : j * 1000 + i % 3);
		struct tide_words python = tide_keep(&kept, now, depth[i]);
		out = tide_put_stacks(tide_put_tag(out, TIDE_KIND_PYALLOC), tag, &e, NULL, &python, &site);
		out = tide_put_block(out, tag, &e, site, 0, 0, TIDE_KIND_PYALLOC);
	}
	tide_items_init(&d, TIDE_ENCODING_ITEMS, buf, (size_t)(out - buf), 0, words,
			tide_items_words((size_t)(out - buf)));
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

/* A stack that was seen and not told is no base for the next one. */
static void not_told(void **state)
{
	(void)state;
	static struct tide_encoder e;
	static struct tide_items d;
	static struct tide_kept kept;
	static const uint64_t a[] = {3, 2, 1}, b[] = {9, 8, 1}, c[] = {7, 8, 1}; /* innermost first */
	uint8_t buf[200], *out = buf, *tag = buf;
	uint64_t site;
	struct tide_item item;
	tide_encode_reset(&e, 0);
	struct tide_words now = tide_keep(&kept, a, 3);
	out = tide_put_stacks(tide_put_tag(out, TIDE_KIND_PYALLOC), tag, &e, NULL, &now, &site);
	out = tide_put_block(out, tag, &e, site, 16, 1, TIDE_KIND_PYALLOC);
	now = tide_keep(&kept, b, 3);
	tide_told_not(&e.python, &now);
	now = tide_keep(&kept, c, 3);
	assert_int_equal(now.shared, 2);
	tag = out;
	out = tide_put_stacks(tide_put_tag(out, TIDE_KIND_PYALLOC), tag, &e, NULL, &now, &site);
	out = tide_put_block(out, tag, &e, site, 32, 1, TIDE_KIND_PYALLOC);
	tide_items_init(&d, TIDE_ENCODING_ITEMS, buf, (size_t)(out - buf), 0, words, 100);
	assert_int_equal(tide_items_next(&d, &item), 1);
	assert_int_equal(tide_items_next(&d, &item), 1);
	assert_true(item.python.pop == 2 && item.python.push == 2 && item.python.words[0] == 8 &&
		    item.python.words[1] == 7);
}

static int first_of(const uint8_t *bytes, size_t len)
{
	static struct tide_items d;
	struct tide_item item;
	tide_items_init(&d, TIDE_ENCODING_ITEMS, bytes, len, 0, words, 4);
	return tide_items_next(&d, &item);
}

static void bad_items(void **state)
{
	(void)state;
	static const uint8_t no_kind[] = {0, 0}, newer_kind[] = {0, 29}, cut_kind[] = {0}, cut_free[] = {7},
			     pop_nothing[] = {11, 0x10, 0, 0}, no_word[] = {11, 0x01, 9, 0, 0},
			     too_deep[] = {11, 0x0f, 0xff, 0x7f, 0}, words_full[] = {11, 0x03, 0, 2, 0, 2, 0, 2, 0, 0},
			     same_and_next[] = {11 | 0x30, 0, 0}, next_of_nothing[] = {11 | 0x20, 0, 0},
			     huge_push[] = {11,   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
	assert_int_equal(first_of(no_kind, 2), -1);
	assert_int_equal(first_of(newer_kind, 2), -1);
	assert_int_equal(first_of(cut_kind, 1), -1);
	assert_int_equal(first_of(cut_free, 1), -1);
	assert_int_equal(first_of(pop_nothing, 4), -1);
	assert_int_equal(first_of(no_word, 5), -1);
	assert_int_equal(first_of(too_deep, 5), -1);
	assert_int_equal(first_of(words_full, sizeof words_full), -1);
	assert_int_equal(first_of(same_and_next, 3), -1);
	assert_int_equal(first_of(next_of_nothing, 3), -1);
	assert_int_equal(first_of(huge_push, sizeof huge_push), -1);
	assert_int_equal(first_of(no_kind, 0), 0);
}

static void kinds(void **state)
{
	(void)state;
	assert_string_equal(tide_kind_name(TIDE_KIND_ALLOC), "malloc");
	assert_string_equal(tide_kind_name(27), "found");
	assert_null(tide_kind_name(0));
	assert_null(tide_kind_name(29));
	assert_null(tide_kind_name(1000));
	assert_int_equal(tide_kind_fields(1000), 0);
	for (unsigned i = 1; i < 29; i++)
		assert_non_null(tide_kind_name(i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varints),  cmocka_unit_test(byte_ranges), cmocka_unit_test(round_trip),
		cmocka_unit_test(not_told), cmocka_unit_test(stacks),      cmocka_unit_test(bad_items),
		cmocka_unit_test(kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
