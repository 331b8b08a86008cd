#include "digest.h"

#include <string.h>

#include "format/carry.h"
#include "shadow.h"

/* So many allocations are noted at once at most, and one may come on top before the block is sealed. */
#define ROOM (2 * TIDE_PENDING)
#define TOGETHER 64u
#define UNASKED 7u /* digests that are closed as they are after one of which hardly anything was dead: short blocks */
#define NO_SITE UINT32_MAX

void tide_digest_begin(struct tide_digest *d, const struct tide_encoder *e, uint32_t epoch, uint8_t tag)
{
	d->on = true;
	d->tag = tag;
	d->epoch = epoch;
	d->first = d->taken = e->model.allocs;
	d->others = d->sites = d->count = d->looked = 0;
	d->base = e->ticks >> TIDE_CARRY_SHIFT_FRESH;
}

static uint32_t slot_of(uint64_t hash)
{
	return (uint32_t)(hash >> 16) & (TIDE_DIGEST_SLOTS - 1);
}

/* The site's place; NO_SITE: there are too many. */
__attribute__((noinline)) static uint32_t find_site(struct tide_digest *d, uint64_t hash)
{
	uint32_t i = slot_of(hash);
	for (uint32_t at; at = d->slot[i], at < d->sites && d->site[at].slot == i;
	     i = (i + 1) & (TIDE_DIGEST_SLOTS - 1))
		if (d->site[at].hash == hash)
			return at;
	if (d->sites == TIDE_DIGEST_SITES)
		return NO_SITE;
	d->slot[i] = (uint16_t)d->sites;
	d->site[d->sites] = (struct tide_digest_site){hash, 0, 0, i};
	return d->sites++;
}

/* Mostly it is where it is looked for first; what is in a slot may be of an earlier digest. */
static inline uint32_t site_of(struct tide_digest *d, uint64_t hash)
{
	uint32_t at = d->slot[slot_of(hash)];
	return __builtin_expect(at < d->sites && d->site[at].hash == hash, 1) ? at : find_site(d, hash);
}

static uint64_t unit_of(const struct tide_digest_block *b)
{
	return b->key >> TIDE_DIGEST_SITE_BITS;
}

/* Leaves those from `from` on that live. All bytes of some are looked at before anything is moved: a load waits for memory, and many can wait at once. */
static void drop_dead(struct tide_digest *d, uint32_t from)
{
	uint32_t kept = from;
	for (uint32_t begin = from; begin < d->count; begin += TOGETHER) {
		uint32_t end = begin + TOGETHER < d->count ? begin + TOGETHER : d->count;
		bool alive[TOGETHER];
		for (uint32_t i = begin; i < end; i++)
			alive[i - begin] = tide_shadow_peek((const void *)(unit_of(&d->block[i]) << 4)) == d->tag;
		for (uint32_t i = begin; i < end; i++) {
			d->block[kept] = d->block[i];
			kept += alive[i - begin];
		}
	}
	d->count = kept;
}

/* Of several at one address leaves the last: the others seem to live because it does. Only those from `from` on are asked whether there is an older
 * one; a few are not found, where addresses share a place in the hash. */
static void drop_older(struct tide_digest *d, uint32_t from)
{
	uint32_t kept = from;
	for (uint32_t i = from; i < d->count; i++) {
		uint64_t unit = unit_of(&d->block[i]);
		uint16_t *place = &d->place[(unit * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - TIDE_DIGEST_PLACE_BITS)];
		/* no branch that could be mispredicted: what is beyond `kept` is anything */
		uint32_t there = *place, older = (there < kept) & (unit_of(&d->block[there]) == unit);
		uint32_t to = kept ^ ((kept ^ there) & (0 - older));
		*place = (uint16_t)to;
		kept += !older;
		d->block[to] = d->block[i];
	}
	d->count = kept;
}

/* When it is full. Those that lived when it was full the last time are not asked again: in a long block it is full often, and they would be most. */
static void make_room(struct tide_digest *d)
{
	drop_dead(d, d->looked);
	drop_older(d, d->looked);
	d->looked = d->count;
}

/* In locals: the compiler cannot know that the encoder's fields are not the digest's. What is dead by now is only summed up. */
static bool note(struct tide_digest *d, const struct tide_encoder *e, uint32_t when)
{
	uint32_t end = e->model.allocs, count = d->count;
	uint64_t large = 0;
	uint8_t tag = d->tag;
	for (uint32_t i = d->taken; i != end; i++) {
		uint64_t recent = e->model.recent[i & (TIDE_RECENT - 1)], unit = recent >> 8;
		uint64_t size = e->pending_size[i & (TIDE_PENDING - 1)];
		uint32_t place = site_of(d, e->pending_site[i & (TIDE_PENDING - 1)]);
		if (place == NO_SITE)
			return false;
		d->site[place].allocs++;
		d->site[place].bytes += size;
		uint32_t alive = tide_shadow_peek((const void *)(unit << 4)) == tag;
		struct tide_digest_block *out = &d->block[count]; /* no branch that could be mispredicted */
		out->key = unit << TIDE_DIGEST_SITE_BITS | place;
		out->size = (uint32_t)size;
		out->when = when | ((recent & 0xff) >= TIDE_BINS_POOL);
		count += alive;
		large |= size >> 32 | recent >> 52; /* an address of 2^48, or a size that does not fit */
	}
	d->taken = end;
	d->count = count;
	return large == 0;
}

bool tide_digest_note(struct tide_digest *d, const struct tide_encoder *e)
{
	uint64_t when = (e->ticks >> TIDE_CARRY_SHIFT_FRESH) - d->base;
	if (!d->on)
		return true;
	d->on = !e->odd && when <= UINT32_MAX / 2 && e->model.allocs - d->taken <= TIDE_PENDING &&
		d->count <= TIDE_DIGEST_BLOCKS - TIDE_PENDING && note(d, e, (uint32_t)when << 1);
	if (!d->on)
		return true;
	bool room = d->sites <= TIDE_DIGEST_SITES - ROOM;
	if (d->count > TIDE_DIGEST_BLOCKS - ROOM) {
		make_room(d);
		room = room && d->count <= TIDE_DIGEST_BLOCKS / 4 * 3;
	}
	return room;
}

void tide_digest_close(struct tide_digest *d)
{
	uint32_t count = d->count;
	if (d->unasked) {
		d->unasked--;
		return;
	}
	drop_dead(d, 0);
	if (count - d->count < count / 8)
		d->unasked = UNASKED;
}
