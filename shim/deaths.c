#include "deaths.h"

#include <string.h>

#include "fault.h"
#include "format/carry.h"
#include "logfile.h"
#include "pass.h"
#include "ring.h"
#include "sys.h"

#define CHUNK 4096u
#define TAIL 1024u   /* bytes at the end of a segment that may stay empty */
#define SHARE_MAX 8u /* of the ring at most 1 / this: beyond, it is told that they are not all told */

static struct {
	uint32_t count;
	uint64_t addr[CHUNK], spare[CHUNK]; /* addr[0 .. count) wait; for sorting */
	uint8_t out[5 + CHUNK * TIDE_VARINT_MAX];
	uint32_t bytes[TIDE_SEGMENTS_MAX], epoch[TIDE_SEGMENTS_MAX]; /* of frames, by segment; of which epoch */
} deaths TIDE_BIG;

void tide_deaths_reset(void)
{
	if (tide_pass.totals.deaths == TIDE_DEATHS_NOT_TOLD)
		return; /* its parent made no pass: pages need not be touched */
	deaths.count = 0;
	memset(deaths.bytes, 0, sizeof deaths.bytes);
	memset(deaths.epoch, 0, sizeof deaths.epoch);
}

void tide_deaths_lost(void)
{
	tide_pass.totals.deaths = TIDE_DEATHS_SOME;
	deaths.count = 0;
}

static void count_bytes(uint32_t epoch, size_t packed)
{
	uint32_t place = (epoch - 1) % tide_ring_segments();
	uint64_t sum = 0;
	if (deaths.epoch[place] != epoch)
		deaths.bytes[place] = 0;
	deaths.epoch[place] = epoch;
	deaths.bytes[place] += (uint32_t)(packed + sizeof(struct tide_frame));
	for (uint32_t i = 0; i < tide_ring_segments(); i++)
		sum += deaths.epoch[i] > tide_pass.epoch ? deaths.bytes[i] : 0;
	if (sum > tide_logfile.geometry.ring_len / SHARE_MAX)
		tide_deaths_lost();
}

/* Leaves one of each; sorted. */
static const uint64_t *in_order(uint32_t *ret_count)
{
	const uint64_t *sorted = tide_carry_out_sort(deaths.addr, deaths.spare, deaths.count);
	uint64_t *to = sorted == deaths.addr ? deaths.spare : deaths.addr;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < deaths.count; i++)
		if (i == 0 || sorted[i] != sorted[i - 1])
			to[kept++] = sorted[i];
	*ret_count = kept;
	return to;
}

void tide_deaths_flush(void)
{
	uint32_t left, count;
	size_t longest = tide_logfile.geometry.segment_len - sizeof(struct tide_segment) - sizeof(struct tide_frame);
	const uint64_t *addr = in_order(&left);
	for (count = left; left > 0 && tide_pass.totals.deaths == TIDE_DEATHS_ALL;) {
		size_t len = (size_t)(tide_carry_put_gone(deaths.out, addr, count) - deaths.out);
		size_t packed = tide_ring_pack(deaths.out, len), room = tide_ring_room();
		if (count > 1 && (packed > longest || (packed > room && room > TAIL))) {
			count /= 2;
			continue;
		}
		uint32_t epoch = packed ? tide_ring_reserve(packed, 1) : 0;
		if (epoch == 0) {
			tide_deaths_lost();
			break;
		}
		tide_carry_out_publish(len, epoch, packed, 0, false);
		TIDE_FAULT("deaths-published");
		count_bytes(epoch, packed);
		tide_pass.handled += count;
		addr += count;
		left -= count;
		count = left;
	}
	deaths.count = 0;
}

/* One that has the tag again was to be reallocated, and that failed. */
void tide_deaths_add(uint64_t addr)
{
	if (tide_pass.totals.deaths != TIDE_DEATHS_ALL || tide_tag_inherited(tide_shadow_peek((const void *)addr)))
		return;
	deaths.addr[deaths.count++] = addr;
	if (deaths.count == CHUNK)
		tide_deaths_flush();
}

void tide_deaths_carry_on(const uint8_t *payload, size_t len)
{
	struct tide_in in = tide_in_of(payload, len), section;
	uint8_t kind;
	while (tide_carry_next_section(&in, &kind, &section) == 1) {
		uint64_t addr = 0;
		if (kind != TIDE_CARRY_GONE)
			continue;
		for (; tide_carry_next_gone(&section, &addr) == 1; tide_pass.handled++)
			tide_deaths_add(addr);
	}
}
