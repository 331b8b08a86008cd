#include <stdlib.h>

#include "replay/replay.h"

#define FIRST_SITES 256u
#define SITES_MAX (UINT32_MAX / 4)

struct tide_site_slot {
	uint32_t site_plus_one;
};

static uint32_t slot_of(const struct tide_replay *r, uint32_t native, uint32_t python)
{
	uint64_t key = (uint64_t)native << 32 | python;
	uint32_t i = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (r->slot_count - 1);
	while (r->slots[i].site_plus_one) {
		const struct tide_site *s = &r->site[r->slots[i].site_plus_one - 1];
		if (s->native == native && s->python == python)
			break;
		i = (i + 1) & (r->slot_count - 1);
	}
	return i;
}

static bool grow_sites(struct tide_replay *r)
{
	if (r->sites_cap > SITES_MAX)
		return false;
	uint32_t cap = r->sites_cap ? r->sites_cap * 2 : FIRST_SITES;
	struct tide_site *site = realloc(r->site, cap * sizeof *site);
	if (!site)
		return false;
	r->site = site;
	struct tide_site_slot *slots = calloc(cap * (size_t)2, sizeof *slots);
	if (!slots)
		return false;
	free(r->slots);
	r->slots = slots;
	r->sites_cap = cap;
	r->slot_count = cap * 2;
	for (uint32_t i = 0; i < r->sites; i++)
		r->slots[slot_of(r, r->site[i].native, r->site[i].python)].site_plus_one = i + 1;
	return true;
}

uint32_t tide_replay_site(struct tide_replay *r, uint32_t native, uint32_t python)
{
	if (r->sites == r->sites_cap && !grow_sites(r))
		return UINT32_MAX;
	uint32_t slot = slot_of(r, native, python);
	if (!r->slots[slot].site_plus_one) {
		r->site[r->sites++] = (struct tide_site){.native = native, .python = python, .peak_seen = r->peaks};
		r->slots[slot].site_plus_one = r->sites;
	}
	return r->slots[slot].site_plus_one - 1;
}
