#include <string.h>

#include "deaths.h"
#include "fault.h"
#include "format/carry.h"
#include "lane.h"
#include "logfile.h"
#include "pass.h"
#include "ring.h"
#include "sites.h"
#include "sys.h"

#define CHUNK 1800u /* blocks of one frame: tide_carry_blocks_bound(CHUNK) <= OUT_LEN */
#define ALONE \
	3u /* a frame of carried blocks of which this part of a chunk lives is not merged with the next: it is sorted already */
#define OUT_LEN (TIDE_BLOCK_MAX)
/* Largest share of the ring, in 16ths, that carried blocks take before only a sample of them is kept. */
#define SHARE_MAX 11u
#define SAMPLE_FIRST 64u /* bytes */
#define TAIL 1024u       /* bytes at the end of a segment that may stay empty */

struct chunk {
	struct tide_carry_block *block;
	uint32_t count;
	unsigned shift; /* precision of its times */
};

static struct {
	struct chunk chunk[TIDE_CARRY_SOURCES];
	struct tide_carry_block *block; /* memory of all */
	struct tide_carry_block *spare; /* for sorting: a chunk, and words */
	uint64_t *words;
	uint8_t *out;
	uint32_t cap;          /* blocks of a chunk: CHUNK, less where segments are short */
	uint32_t *bytes;       /* of CARRY frames, by segment */
	uint32_t *bytes_epoch; /* which they were counted in */
	uint32_t sampled_at;   /* epoch in which the sample was last made smaller */
} carry;

/* A child may have been forked while they changed places. */
static void empty_chunks(void)
{
	struct tide_carry_block *at = carry.block;
	for (unsigned i = 0; i < TIDE_CARRY_SOURCES; i++, at += CHUNK)
		carry.chunk[i] =
			(struct chunk){at, 0, i == TIDE_CARRY_OLD ? TIDE_CARRY_SHIFT_OLD : TIDE_CARRY_SHIFT_FRESH};
	carry.spare = at;
}

bool tide_carry_out_init(void)
{
	uint32_t segments = tide_ring_segments();
	size_t chunk = CHUNK * sizeof(struct tide_carry_block);
	size_t words = 2 * CHUNK * sizeof *carry.words, counts = 2 * segments * sizeof *carry.bytes;
	uint8_t *memory = tide_sys_memory((TIDE_CARRY_SOURCES + 1) * chunk + words + counts + OUT_LEN);
	if (!memory)
		return false;
	carry.block = (struct tide_carry_block *)memory;
	empty_chunks();
	memory += (TIDE_CARRY_SOURCES + 1) * chunk;
	carry.words = (uint64_t *)memory;
	carry.bytes = (uint32_t *)(memory + words);
	carry.bytes_epoch = carry.bytes + segments;
	carry.out = (uint8_t *)(carry.bytes_epoch + segments);
	uint32_t fits = tide_logfile.geometry.segment_len / 8;
	carry.cap = fits < CHUNK ? fits : CHUNK;
	return true;
}

void tide_carry_out_reset(void)
{
	uint32_t segments = tide_ring_segments();
	if (!carry.block)
		return;
	empty_chunks();
	memset(carry.bytes, 0, segments * sizeof *carry.bytes);
	memset(carry.bytes_epoch, 0, segments * sizeof *carry.bytes_epoch);
	carry.sampled_at = 0;
}

uint64_t tide_carry_out_bytes(void)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < tide_ring_segments(); i++)
		if (carry.bytes_epoch[i] > tide_pass.epoch) /* later than the one that goes */
			sum += carry.bytes[i];
	return sum;
}

static void count_bytes(uint32_t epoch, size_t packed)
{
	uint32_t i = (epoch - 1) % tide_ring_segments();
	if (carry.bytes_epoch[i] != epoch)
		carry.bytes[i] = 0;
	carry.bytes_epoch[i] = epoch;
	carry.bytes[i] += (uint32_t)(packed + sizeof(struct tide_frame));
}

/* By address, and of one address in the order in which they came: sorted are words that hold both. An address beyond what the shadow
 * knows does not live, and is not here. */
#define PLACE_BITS 11u
_Static_assert(CHUNK <= 1u << PLACE_BITS, "the places of a chunk");

/* Merges two runs that stand one behind the other. */
static void merge(uint64_t *to, const uint64_t *a, const uint64_t *middle, const uint64_t *end)
{
	const uint64_t *b = middle;
	while (a < middle && b < end) { /* no branch that could be mispredicted */
		bool first = *a < *b;
		*to++ = first ? *a : *b;
		a += first;
		b += !first;
	}
	while (a < middle)
		*to++ = *a++;
	while (b < end)
		*to++ = *b++;
}

static uint32_t end_of_run(const uint64_t *word, uint32_t at, uint32_t count)
{
	if (at == count)
		return count;
	while (++at < count && word[at - 1] <= word[at])
		;
	return at;
}

/* Runs that are there, two by two, until one is left: what was carried before comes in few. qsort may allocate. */
const uint64_t *tide_carry_out_sort(uint64_t *from, uint64_t *to, uint32_t count)
{
	uint32_t runs = 2;
	while (runs > 1) {
		runs = 0;
		for (uint32_t begin = 0; begin < count; runs++) {
			uint32_t middle = end_of_run(from, begin, count), end = end_of_run(from, middle, count);
			merge(to + begin, from + begin, from + middle, from + end);
			begin = end;
		}
		uint64_t *other = from;
		from = to;
		to = other;
	}
	return from;
}

static bool is_sorted(const struct chunk *chunk)
{
	const struct tide_carry_block *b = chunk->block;
	uint32_t i = 1;
	while (i < chunk->count && b[i - 1].addr < b[i].addr)
		i++;
	return i >= chunk->count;
}

/* Sorts them. Of several births at one address the last lives: of allocations at the same time the one that came here last, of copies
 * the one that came first. */
static void unique(struct chunk *chunk)
{
	if (is_sorted(chunk))
		return;
	struct tide_carry_block *from = chunk->block, *to = carry.spare;
	uint64_t tie = chunk == &carry.chunk[TIDE_CARRY_OLD];
	uint32_t kept = 0, count = chunk->count;
	for (uint32_t i = 0; i < count; i++)
		carry.words[i] = from[i].addr << PLACE_BITS | i;
	const uint64_t *sorted = tide_carry_out_sort(carry.words, carry.words + CHUNK, count);
	for (uint32_t i = 0; i < count; i++) {
		const struct tide_carry_block *b = &from[sorted[i] & ((1u << PLACE_BITS) - 1)];
		bool same = kept && to[kept - 1].addr == b->addr;
		if (!same)
			to[kept++] = *b;
		else if (b->ticks >= to[kept - 1].ticks + tie)
			to[kept - 1] = *b;
	}
	chunk->block = to;
	chunk->count = kept;
	carry.spare = from;
}

/* Gives every block that still lives the tag, and leaves the others out. */
static uint32_t tag_all(struct tide_carry_block *block, uint32_t count, uint8_t tag)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct tide_carry_block *b = &block[i];
		if (b->tag == tag ? tide_shadow_peek((const void *)b->addr) != tag
				  : !tide_shadow_change(b->addr, b->tag, tag))
			continue;
		b->tag = tag;
		if (kept != i)
			block[kept] = *b;
		kept++;
	}
	return kept;
}

void tide_carry_out_publish(size_t raw_len, uint32_t epoch, size_t packed, uint64_t blocks, bool last)
{
	struct tide_frame head = {
		.kind = TIDE_FRAME_CARRY,
		.encoding = TIDE_ENCODING_ITEMS,
		.lane = tide_pass.parts++,
		.block_seq = tide_pass.epoch,
		.events_before = blocks,
		.events = last,
		.mono_ns = tide_clock_ns(CLOCK_MONOTONIC),
		.ticks = tide_ticks(),
	};
	tide_ring_publish(&head, raw_len);
	count_bytes(epoch, packed);
}

static void publish(const uint8_t *end, uint32_t epoch, size_t packed, uint64_t blocks, bool last)
{
	tide_carry_out_publish((size_t)(end - carry.out), epoch, packed, blocks, last);
}

static void no_room(struct tide_carry_block *block, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (tide_shadow_change(block[i].addr, block[i].tag, TIDE_TAG_DROPPED))
			tide_pass.totals.dropped++;
	tide_pass.full = true;
}

/* Writes blocks as one frame, or more if they are too many for a segment, or would leave much of one empty. */
static void write_blocks(struct tide_carry_block *block, uint32_t count, unsigned shift)
{
	size_t longest = tide_logfile.geometry.segment_len - sizeof(struct tide_segment) - sizeof(struct tide_frame);
	while (count > 0) {
		tide_pass.handled += count;
		uint8_t *end = tide_carry_put_blocks(carry.out, block, count, shift);
		size_t packed = tide_ring_pack(carry.out, (size_t)(end - carry.out));
		size_t room = tide_ring_room();
		if (count > 1 && (packed > longest || (packed > room && room > TAIL))) {
			write_blocks(block, count / 2, shift);
			block += count / 2;
			count -= count / 2;
			continue;
		}
		uint32_t epoch = packed ? tide_ring_reserve(packed, 1) : 0;
		if (epoch == 0) {
			no_room(block, count);
			return;
		}
		/* the tag says where the block is written, so it comes after the place is known; who died meanwhile leaves */
		uint8_t tag = tide_tag(epoch, TIDE_TAG_CARRIED);
		tide_pass.carried[tag] = 1;
		uint32_t still = tag_all(block, count, tag);
		if (still == count) {
			TIDE_FAULT("carry-tagged");
			publish(end, epoch, packed, count, false);
			TIDE_FAULT("carry-published");
			return;
		}
		count = still;
	}
}

/* Leaves what the sample keeps. */
static uint32_t sample(struct tide_carry_block *block, uint32_t count)
{
	uint64_t mean = tide_pass.totals.sample_bytes;
	uint32_t kept = 0;
	if (!mean)
		return count;
	for (uint32_t i = 0; i < count; i++)
		if (tide_carry_keeps(block[i].addr, block[i].size, mean))
			block[kept++] = block[i];
		else
			tide_shadow_change(block[i].addr, block[i].tag, TIDE_TAG_DROPPED);
	return kept;
}

/* `chunk` is unique. In frames of the same epoch later copies must be of later births: the next pass goes by that. */
static void flush(struct chunk *chunk)
{
	uint32_t count = sample(chunk->block, chunk->count);
	if (chunk == &carry.chunk[TIDE_CARRY_AGAIN] && count)
		count = tide_evict_newest(chunk->block, count, carry.out);
	tide_sites_define();
	write_blocks(chunk->block, count, chunk->shift);
	chunk->count = 0;
}

void tide_carry_out(const struct tide_carry_block *b, enum tide_carry_source source)
{
	struct chunk *chunk = &carry.chunk[source];
	chunk->block[chunk->count++] = *b;
	if (chunk->count < carry.cap)
		return;
	unique(chunk);
	if (chunk->count > carry.cap / 2)
		flush(chunk);
}

void tide_carry_out_frame_end(void)
{
	struct chunk *chunk = &carry.chunk[TIDE_CARRY_OLD];
	if (chunk->count < carry.cap / ALONE)
		return;
	unique(chunk);
	flush(chunk);
}

void tide_carry_out_flush(void)
{
	static const enum tide_carry_source order[] = {TIDE_CARRY_OLD, TIDE_CARRY_FRESH, TIDE_CARRY_AGAIN};
	for (unsigned i = 0; i < TIDE_CARRY_SOURCES; i++) {
		unique(&carry.chunk[order[i]]);
		flush(&carry.chunk[order[i]]);
	}
}

bool tide_carry_out_revoke(const struct tide_carry_block *block, const uint8_t *tags, uint32_t count)
{
	uint8_t *end = tide_carry_put_blocks(carry.out, block, count, TIDE_CARRY_SHIFT_FRESH);
	size_t packed = tide_ring_pack(carry.out, (size_t)(end - carry.out));
	uint32_t epoch = packed ? tide_ring_reserve(packed, 0) : 0;
	if (epoch == 0)
		return false;
	publish(end, epoch, packed, 0, false);
	for (uint32_t i = 0; i < count; i++)
		tide_shadow_change(block[i].addr, block[i].tag, tags[i]);
	return true;
}

static bool must_write(const struct tide_site_sum *s)
{
	return s->changed || (s->written > 0 && s->written <= tide_pass.epoch);
}

/* A varint of four bytes whatever the value: for a length that is known after what it counts. */
static void put_length(uint8_t *at, size_t len)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (uint8_t)((len >> 7 * i & 0x7f) | (i < 3 ? 0x80 : 0));
}

/* Sums of sites from *from on, as many as fit. Returns the end. */
static uint8_t *put_sums(uint8_t *out, size_t room, struct tide_site_sum *sum, uint32_t count, uint32_t *from)
{
	uint8_t *at = out + 5;
	uint32_t last = 0, i;
	for (i = *from; i < count && (size_t)(at - out) + 3 * TIDE_VARINT_MAX < room; i++) {
		if (!must_write(&sum[i]))
			continue;
		at = tide_put_varint(at, i - last);
		at = tide_put_varint(at, sum[i].allocs);
		at = tide_put_varint(at, sum[i].bytes);
		last = i;
	}
	out[0] = TIDE_CARRY_SUMS;
	put_length(out + 1, (size_t)(at - out - 5));
	*from = i;
	return at;
}

static bool commit_sums(void)
{
	uint32_t count, from = 0;
	struct tide_site_sum *sum = tide_sites_sums(&count);
	size_t room = tide_logfile.geometry.segment_len / 2 < OUT_LEN / 2 ? tide_logfile.geometry.segment_len / 2
									  : OUT_LEN / 2;
	while (from < count) {
		uint32_t begin = from;
		uint8_t *end = put_sums(carry.out, room, sum, count, &from);
		if (end == carry.out + 5)
			continue;
		size_t packed = tide_ring_pack(carry.out, (size_t)(end - carry.out));
		uint32_t epoch = packed ? tide_ring_reserve(packed, 0) : 0;
		if (epoch == 0)
			return false;
		publish(end, epoch, packed, 0, false);
		TIDE_FAULT("carry-sums");
		for (uint32_t i = begin; i < from; i++)
			if (must_write(&sum[i])) {
				sum[i].written = epoch;
				sum[i].changed = false;
			}
	}
	return true;
}

static uint8_t *put_marks(uint8_t *out, uint32_t lanes)
{
	uint8_t *at = out + 5;
	uint32_t last = 0;
	for (uint32_t i = 0; i < lanes; i++) {
		if (tide_pass.mark[i] == 0)
			continue;
		at = tide_put_varint(at, i - last);
		at = tide_put_varint(at, tide_pass.mark[i]);
		last = i;
	}
	out[0] = TIDE_CARRY_MARKS;
	put_length(out + 1, (size_t)(at - out - 5));
	return at;
}

/* Carried blocks take too much of the ring: from now on keep fewer. Once in half a lap, for it takes one to show. */
static void limit_share(void)
{
	uint64_t share = tide_logfile.geometry.ring_len / 16 * SHARE_MAX;
	uint32_t now = tide_ring_epoch();
	bool due = carry.sampled_at == 0 || now - carry.sampled_at >= tide_ring_segments() / 2;
	if ((tide_carry_out_bytes() <= share || !due) && !tide_pass.full)
		return;
	uint64_t *mean = &tide_pass.totals.sample_bytes;
	*mean = *mean ? 2 * *mean : SAMPLE_FIRST;
	carry.sampled_at = now;
	tide_pass.full = false;
}

bool tide_carry_out_commit(uint32_t lanes)
{
	tide_deaths_flush();
	if (!commit_sums())
		return false;
	limit_share();
	uint8_t *end = tide_carry_put_totals(put_marks(carry.out, lanes), &tide_pass.totals);
	size_t packed = tide_ring_pack(carry.out, (size_t)(end - carry.out));
	uint32_t epoch = packed ? tide_ring_reserve(packed, 0) : 0;
	if (epoch == 0)
		return false;
	TIDE_FAULT("carry-commit");
	publish(end, epoch, packed, 0, true);
	TIDE_FAULT("carry-committed");
	return true;
}
