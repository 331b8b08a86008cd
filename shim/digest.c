#include "digest.h"

#include <string.h>

#include "format/carry.h"
#include "shadow.h"

/* Allocations: fewer than the encoder remembers, which tells which are the last at their address. */
#define CHECK_EVERY 512u
_Static_assert(CHECK_EVERY + TIDE_PENDING <= TIDE_RECENT, "all since the last check are remembered");
#define NO_SLOT UINT32_MAX

void tide_digest_begin(struct tide_digest *d, uint8_t tag, uint64_t ticks)
{
	d->on = true;
	d->tag = tag;
	if (++d->begun == 0) { /* once in 2^32: no slot may seem to be in use */
		memset(d->site, 0, sizeof d->site);
		d->begun = 1;
	}
	d->taken = d->others = d->sites = d->count = d->checked = 0;
	d->base = ticks >> TIDE_CARRY_SHIFT_FRESH;
}

static uint32_t slot_of(struct tide_digest *d, uint64_t hash)
{
	uint32_t i = (uint32_t)(hash >> 16) & (TIDE_DIGEST_SITES - 1);
	for (; d->site[i].begun == d->begun; i = (i + 1) & (TIDE_DIGEST_SITES - 1))
		if (d->site[i].hash == hash)
			return i;
	if (d->sites >= TIDE_DIGEST_SITES / 4 * 3)
		return NO_SLOT;
	d->site[i] = (struct tide_digest_site){hash, 0, 0, d->begun};
	d->used[d->sites++] = (uint16_t)i;
	return i;
}

/* Was the block's granule given out again by this lane since allocation `n`? As far as the encoder remembers: a false no costs room. */
static bool superseded(const struct tide_encoder *e, uint64_t unit, uint32_t n)
{
	uint32_t where = e->where[tide_where_of(unit)];
	return e->model.recent[where] >> 8 == unit && where != (n & (TIDE_RECENT - 1));
}

/* Those that were noted since the last check, of which the encoder knows all. */
static void check_new(struct tide_digest *d, const struct tide_encoder *e)
{
	uint32_t kept = d->checked, n = d->taken - (d->count - d->checked);
	for (uint32_t i = d->checked; i < d->count; i++, n++) {
		uint64_t unit = d->block[i].key >> TIDE_DIGEST_SITE_BITS;
		if (tide_shadow_peek((const void *)(unit << 4)) == d->tag && !superseded(e, unit, n))
			d->block[kept++] = d->block[i];
	}
	d->count = d->checked = kept;
}

static void check_all(struct tide_digest *d)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < d->count; i++)
		if (tide_shadow_peek((const void *)(d->block[i].key >> TIDE_DIGEST_SITE_BITS << 4)) == d->tag)
			d->block[kept++] = d->block[i];
	d->count = d->checked = kept;
}

/* In locals: the compiler cannot know that the encoder's fields are not the digest's. */
static bool note(struct tide_digest *d, const struct tide_encoder *e, uint32_t when)
{
	struct tide_digest_block *out = &d->block[d->count];
	struct tide_digest_site *site = NULL;
	uint32_t end = e->model.allocs, slot = 0;
	uint64_t large = 0;
	for (uint32_t i = d->taken; i != end; i++) {
		uint64_t recent = e->model.recent[i & (TIDE_RECENT - 1)];
		uint64_t hash = e->pending_site[i & (TIDE_PENDING - 1)], size = e->pending_size[i & (TIDE_PENDING - 1)];
		if (!site || site->hash != hash) {
			slot = slot_of(d, hash);
			if (slot == NO_SLOT)
				return false;
			site = &d->site[slot];
		}
		site->allocs++;
		site->bytes += size;
		large |= size >> 32 | recent >> 52; /* an address of 2^48, or a size that does not fit */
		out->key = recent >> 8 << TIDE_DIGEST_SITE_BITS | slot;
		out->size = (uint32_t)size;
		out++->when = when | ((recent & 0xff) >= TIDE_BINS_POOL);
	}
	d->taken = end;
	d->count = (uint32_t)(out - d->block);
	return large == 0;
}

void tide_digest_note(struct tide_digest *d, const struct tide_encoder *e)
{
	uint64_t when = (e->ticks >> TIDE_CARRY_SHIFT_FRESH) - d->base;
	if (!d->on)
		return;
	d->on = !e->odd && when <= UINT32_MAX / 2 && e->model.allocs - d->taken <= TIDE_PENDING &&
		note(d, e, (uint32_t)when << 1);
	if (!d->on || d->count - d->checked < CHECK_EVERY)
		return;
	check_new(d, e);
	if (d->count > TIDE_DIGEST_BLOCKS - CHECK_EVERY - TIDE_PENDING)
		check_all(d);
	d->on = d->count <= TIDE_DIGEST_BLOCKS - CHECK_EVERY - TIDE_PENDING;
}

void tide_digest_close(struct tide_digest *d, const struct tide_encoder *e)
{
	tide_digest_note(d, e);
	if (d->on)
		check_new(d, e);
}
