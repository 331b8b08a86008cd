/*
 * The payload of a CARRY frame, and of a SITES definition. The first byte says which: 0 and 1 a payload, as of the last part or not;
 * else sites.
 */
#include <stdlib.h>
#include <string.h>

#include "read/carried.h"
#include "read/sites.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_sites(const uint8_t *data, size_t size)
{
	struct tide_site_reader *r = malloc(sizeof *r);
	if (!r)
		abort();
	uint64_t sum = 0;
	tide_site_reader_init(r, data, size);
	while (tide_site_reader_next(r) == 1) {
		if (r->native.keep > r->native.len || r->native.len > TIDE_SITE_WORDS ||
		    r->python.len > TIDE_SITE_WORDS)
			abort();
		for (uint32_t i = 0; i < r->native.len; i++)
			sum += r->native.word[i];
	}
	free(r);
	__asm__ volatile("" : : "r"(sum));
}

/* What was read is written again, and must be read as the same. */
static void write_again(const struct tide_carry_state *s)
{
	size_t count = s->entries < 1000 ? s->entries : 1000;
	struct tide_carry_block *block = calloc(count + 1, sizeof *block);
	uint8_t *bytes = malloc(tide_carry_blocks_bound(count));
	if (!block || !bytes)
		abort();
	for (size_t i = 0; i < count; i++)
		block[i] = (struct tide_carry_block){.addr = s->entry[i].addr,
						     .ticks = s->entry[i].ticks >> 24 << 24,
						     .size = s->entry[i].size & UINT64_MAX >> 2,
						     .site = s->entry[i].site,
						     .op = s->entry[i].op};
	uint8_t *end = tide_carry_put_blocks(bytes, block, count, 24);
	struct tide_carry_state again = {0};
	bool whole;
	if (!tide_carried_parse(&again, bytes, (size_t)(end - bytes), false, &whole) || !whole ||
	    again.entries != count)
		abort();
	for (size_t i = 0; i < count; i++)
		if (again.entry[i].addr != block[i].addr || again.entry[i].ticks != block[i].ticks ||
		    again.entry[i].size != block[i].size || again.entry[i].site != block[i].site ||
		    again.entry[i].op != block[i].op)
			abort();
	tide_carried_release(&again);
	free(block);
	free(bytes);
}

static int compare(const void *va, const void *vb)
{
	const uint64_t *a = va, *b = vb;
	return (*a > *b) - (*a < *b);
}

static void write_gone_again(const struct tide_carry_state *s)
{
	size_t count = s->gone_count < 1000 ? s->gone_count : 1000;
	uint64_t *addr = calloc(count + 1, sizeof *addr);
	uint8_t *bytes = malloc(tide_carry_gone_bound(count));
	struct tide_carry_state again = {0};
	bool whole;
	if (!addr || !bytes)
		abort();
	if (count)
		memcpy(addr, s->gone, count * sizeof *addr);
	qsort(addr, count, sizeof *addr, compare);
	uint8_t *end = tide_carry_put_gone(bytes, addr, count);
	if (!tide_carried_parse(&again, bytes, (size_t)(end - bytes), false, &whole) || !whole ||
	    again.gone_count != count)
		abort();
	for (size_t i = 0; i < count; i++)
		if (again.gone[i] != addr[i])
			abort();
	tide_carried_release(&again);
	free(addr);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] > 1) {
		read_sites(data + 1, size - 1);
		return 0;
	}
	struct tide_carry_state s = {0};
	bool whole;
	if (tide_carried_parse(&s, data + 1, size - 1, data[0] == 1, &whole)) {
		write_again(&s);
		write_gone_again(&s);
	}
	tide_carried_release(&s);
	return 0;
}
