/*
 * Pins: the places whose live blocks hold memory that nothing uses, and the fewest of them that release half, 80 % and 95 % of it.
 *
 * Finding the smallest set is a hard problem; the search is greedy. In each step it takes the key (keys.h) under which the blocks
 * release most, together with what was taken before, for what they are: bytes squared by blocks, so that few blocks win, and
 * much memory wins. What it finds can be done; `at_least` is a bound from below, since a key cannot release more than what
 * its blocks touch. What a pin releases is then computed for its blocks as a whole, by the allocators' models: for those
 * that are under no pin before it. A key that then releases next to nothing is passed over: callers of a better key
 * hold what that holds, and few bytes more. What is worth less than a share of all comes behind the others.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/join.h"
#include "analyze/keys.h"
#include "analyze/predict.h"
#include "analyze/units.h"

#define PINS_MOST 24u
#define NONE UINT32_MAX
#define NEARLY 0.8
#define TOO_LITTLE 500u /* what touches less than this share of all is no pin */
#define WORTH_SHARE 100u
#define WORTH_LEAST (UINT64_C(64) << 10)
#define TRIES_MOST 64u /* keys that are looked at closely */

struct search {
	struct tide_join *j;
	struct tide_keys keys;
	struct tide_units units;
	uint8_t *covered;         /* by site: under a key that was taken */
	uint64_t *gain, *touch;   /* by key: released by it now; held by units that it is in */
	uint64_t *blocks, *bytes; /* by key: live, under it, of sites not covered */
	uint32_t *stamp, *seen;   /* by key, for counting within a unit */
	uint32_t *depth;          /* by key: least distance from an innermost frame */
	uint64_t *all_touch;      /* by key, before anything was taken */
	uint8_t *passed;          /* by key: released too little */
	uint64_t least;           /* bytes that a key must hold, and release, for now */
	uint32_t round;
};

static bool search_init(struct search *s, struct tide_join *j)
{
	*s = (struct search){.j = j};
	if (tide_keys_init(&s->keys, j->log, j->state) || tide_units_init(&s->units, j))
		return false;
	size_t keys = s->keys.keys + 1ull;
	s->covered = calloc(j->state->sites + 1ull, 1);
	s->gain = calloc(keys, sizeof *s->gain);
	s->touch = calloc(keys, sizeof *s->touch);
	s->blocks = calloc(keys, sizeof *s->blocks);
	s->bytes = calloc(keys, sizeof *s->bytes);
	s->stamp = calloc(keys, sizeof *s->stamp);
	s->seen = calloc(keys, sizeof *s->seen);
	s->depth = malloc(keys * sizeof *s->depth);
	s->all_touch = calloc(keys, sizeof *s->all_touch);
	s->passed = calloc(keys, 1);
	return s->passed && s->covered && s->gain && s->touch && s->blocks && s->bytes && s->stamp && s->seen &&
	       s->depth && s->all_touch;
}

static void search_release(struct search *s)
{
	tide_keys_release(&s->keys);
	tide_units_release(&s->units);
	free(s->covered);
	free(s->gain);
	free(s->touch);
	free(s->blocks);
	free(s->bytes);
	free(s->stamp);
	free(s->seen);
	free(s->depth);
	free(s->all_touch);
	free(s->passed);
}

/* Live blocks under each key, of what is not covered. */
static void weigh(struct search *s)
{
	size_t keys = s->keys.keys + 1ull;
	memset(s->blocks, 0, keys * sizeof *s->blocks);
	memset(s->bytes, 0, keys * sizeof *s->bytes);
	memset(s->depth, 0xff, keys * sizeof *s->depth);
	for (uint32_t i = 0; i < s->keys.sites; i++) {
		const struct tide_site *site = &s->j->state->site[i];
		for (uint32_t k = 0; k < s->keys.count[i] && !s->covered[i]; k++) {
			uint32_t key = s->keys.key[s->keys.first[i] + k];
			s->blocks[key] += site->live_blocks;
			s->bytes[key] += site->live_bytes;
			if (k < s->depth[key])
				s->depth[key] = k;
		}
	}
}

/* A unit's bytes go to every key that its uncovered sites share, and touch every key of any of them. */
static void weigh_unit(struct search *s, const struct tide_unit *u)
{
	uint32_t left = 0, now = ++s->round;
	for (uint32_t i = 0; i < u->count; i++) {
		uint32_t site = s->units.site[u->first + i];
		if (s->covered[site])
			continue;
		left++;
		for (uint32_t k = 0; k < s->keys.count[site]; k++) {
			uint32_t key = s->keys.key[s->keys.first[site] + k];
			if (s->stamp[key] != now) {
				s->stamp[key] = now;
				s->seen[key] = 0;
				s->touch[key] += u->bytes;
			}
			s->seen[key]++;
		}
	}
	for (uint32_t i = 0; i < u->count && left; i++) {
		uint32_t site = s->units.site[u->first + i];
		if (s->covered[site])
			continue;
		for (uint32_t k = 0; k < s->keys.count[site]; k++) {
			uint32_t key = s->keys.key[s->keys.first[site] + k];
			s->gain[key] += s->seen[key] == left ? u->bytes : 0;
		}
		break; /* a shared key is one of the first site's */
	}
}

static double worth(uint64_t bytes, uint64_t blocks)
{
	return blocks ? (double)bytes * (double)bytes / (double)blocks : 0;
}

static bool is_candidate(const struct search *s, uint32_t key, const uint64_t *bytes)
{
	return !s->passed[key] && bytes[key] >= s->least;
}

/* Of the keys that are worth nearly as much as the best, the one nearest to an innermost frame: main() releases all that its
 * callees do, and a page more. NONE: no key is worth anything. */
static uint32_t best_of(const struct search *s, const uint64_t *bytes)
{
	uint32_t found = NONE;
	double most = 0;
	for (uint32_t key = 0; key < s->keys.keys; key++) {
		double w = is_candidate(s, key, bytes) ? worth(bytes[key], s->blocks[key]) : 0;
		most = w > most ? w : most;
	}
	for (uint32_t key = 0; key < s->keys.keys && most > 0; key++) {
		double w = worth(bytes[key], s->blocks[key]);
		if (w < most * NEARLY || !is_candidate(s, key, bytes))
			continue;
		if (found == NONE || s->depth[key] < s->depth[found] ||
		    (s->depth[key] == s->depth[found] && w > worth(bytes[found], s->blocks[found])))
			found = key;
	}
	return found;
}

/* By what it releases, or, among those of little worth, by what it touches when none releases anything. */
static uint32_t best_key(struct search *s)
{
	size_t keys = s->keys.keys + 1ull;
	memset(s->gain, 0, keys * sizeof *s->gain);
	memset(s->touch, 0, keys * sizeof *s->touch);
	weigh(s);
	for (uint32_t i = 0; i < s->units.units; i++)
		if (!s->units.unit[i].released)
			weigh_unit(s, &s->units.unit[i]);
	uint32_t key = best_of(s, s->gain);
	return key == NONE && !s->least ? best_of(s, s->touch) : key;
}

static bool is_under(const struct search *s, uint32_t site, uint32_t key)
{
	if (site >= s->keys.sites)
		return false;
	for (uint32_t k = 0; k < s->keys.count[site]; k++)
		if (s->keys.key[s->keys.first[site] + k] == key)
			return true;
	return false;
}

/* Covers the key's sites; the bytes of the units that are released by that. */
static uint64_t take(struct search *s, uint32_t key)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < s->keys.sites; i++)
		if (!s->covered[i] && is_under(s, i, key))
			s->covered[i] = 1;
	for (uint32_t i = 0; i < s->units.units; i++) {
		struct tide_unit *u = &s->units.unit[i];
		uint32_t left = u->released ? 1 : 0;
		for (uint32_t k = 0; k < u->count && !left; k++)
			left += !s->covered[s->units.site[u->first + k]];
		if (!left) {
			u->released = true;
			bytes += u->bytes;
		}
	}
	return bytes;
}

static int most_blocks(const void *a, const void *b)
{
	const struct tide_pin_type *x = a, *y = b;
	if (x->blocks != y->blocks)
		return x->blocks < y->blocks ? 1 : -1;
	return x->type < y->type ? -1 : x->type > y->type;
}

/* Types of the objects of those sites, most first. False: no memory. */
static bool name_types(const struct tide_analysis *a, const uint8_t *under, uint32_t sites, struct tide_pin *p)
{
	struct tide_pin_type *all = calloc(a->types.names + 1ull, sizeof *all);
	if (!all)
		return false;
	for (uint32_t i = 0; i < a->types.counts; i++) {
		const struct tide_type_count *c = &a->types.count[i];
		if (c->site < sites && under[c->site] && c->type <= a->types.names) {
			all[c->type].type = c->type;
			all[c->type].blocks += c->blocks;
		}
	}
	qsort(all, a->types.names + 1ull, sizeof *all, most_blocks);
	while (p->types < TIDE_PIN_TYPES && p->types <= a->types.names && all[p->types].blocks) {
		p->type[p->types] = all[p->types];
		p->types++;
	}
	free(all);
	return true;
}

#define KIN 3u /* an object, its dictionary and its string are made by one line, and each by one of its own, too */

static bool holds_most(const struct search *s, uint32_t key, const struct tide_pin *p)
{
	return s->keys.own[key] && s->all_touch[key] >= p->pins_bytes / 2;
}

/* The application's line under which most of what the pin holds was made, by the fewest blocks: a pin may be a framework's
 * function, when blocks of a request in flight held the arenas, too. And from there outwards, to the line that made
 * these blocks together. NONE: there is no such line. */
static uint32_t own_line(const struct search *s, const uint8_t *under, const struct tide_pin *p)
{
	uint32_t found = NONE, site = 0;
	for (uint32_t i = 0; i < s->keys.sites; i++) {
		for (uint32_t k = 0; under[i] && k < s->keys.count[i]; k++) {
			uint32_t key = s->keys.key[s->keys.first[i] + k];
			if (!holds_most(s, key, p) ||
			    (found != NONE &&
			     worth(s->all_touch[key], s->blocks[key]) <= worth(s->all_touch[found], s->blocks[found])))
				continue;
			found = key;
			site = i;
		}
	}
	uint64_t most = found == NONE ? 0 : s->blocks[found] * KIN;
	for (uint32_t k = 0; found != NONE && k < s->keys.count[site]; k++) {
		uint32_t key = s->keys.key[s->keys.first[site] + k];
		if (holds_most(s, key, p) && s->blocks[key] <= most && s->blocks[key] > s->blocks[found])
			found = key;
	}
	return found;
}

static void name_line(const struct search *s, uint32_t key, const uint8_t *under, struct tide_pin *p)
{
	const struct tide_site *site = s->j->state->site;
	uint32_t line = s->keys.own[key] ? key : own_line(s, under, p);
	p->made_native = site[p->site].native;
	p->made_python = site[p->site].python;
	for (uint32_t i = 0; i < s->keys.sites && line != NONE; i++)
		if (under[i] && tide_keys_frame(&s->keys, &site[i], line, &p->made_native, &p->made_python))
			return;
}

/* Whether one of the blocks from `i` on, below `end`, is of a site in `under`; of Python's or of malloc's blocks. */
static bool has_block(const struct search *s, size_t i, uint64_t end, bool python, const uint8_t *under)
{
	for (; i < s->j->blocks && s->j->block[i].addr < end; i++) {
		const struct tide_block_live *b = &s->j->block[i];
		if (b->site < s->keys.sites && under[b->site] && (python || !(b->flags & TIDE_BLOCK_PYTHON)))
			return true;
	}
	return false;
}

/* pymalloc arenas and malloc heaps with a block of a site in `under`. */
static uint64_t arenas_of(const struct search *s, const uint8_t *under)
{
	const struct tide_join *j = s->j;
	uint64_t count = 0;
	for (uint32_t i = 0; i < j->a->arenas; i++) {
		const struct tide_arena *a = &j->a->arena[i];
		if (strcmp(a->kind, "pymalloc") == 0)
			count += has_block(s, tide_join_block(j, a->base), a->base + a->reserved, true, under);
	}
	for (uint32_t i = 0; i < j->heaps.heaps && j->known_allocator; i++) {
		const struct tide_heap *h = &j->heaps.heap[i];
		if (h->kind == TIDE_HEAP_MAPPED || !h->count)
			continue;
		count += has_block(s, h->first, j->block[h->first + h->count - 1].addr + 1, false, under);
	}
	return count;
}

/* The pin's own numbers, for its blocks alone, those of earlier pins left out. Its site: one that has the key as its innermost frame, if there is one. */
static bool describe(struct search *s, uint32_t key, struct tide_pin *p)
{
	const struct tide_replay *r = s->j->state;
	uint64_t most = 0;
	bool innermost = false;
	uint8_t *under = calloc(s->keys.sites + 1ull, 1);
	if (!under)
		return false;
	*p = (struct tide_pin){.pins_bytes = s->touch[key]};
	for (uint32_t i = 0; i < s->keys.sites; i++) {
		if (!r->site[i].live_blocks || s->covered[i] || !is_under(s, i, key))
			continue;
		bool inner = s->keys.key[s->keys.first[i]] == key;
		under[i] = 1;
		p->sites++;
		p->blocks += r->site[i].live_blocks;
		p->bytes += r->site[i].live_bytes;
		p->inherited_bytes += r->site[i].inherited_bytes;
		if ((inner && !innermost) || (inner == innermost && r->site[i].live_blocks > most)) {
			most = r->site[i].live_blocks;
			innermost = inner;
			p->site = i;
		}
	}
	p->arenas = arenas_of(s, under);
	p->native = r->site[p->site].native;
	p->python = r->site[p->site].python;
	tide_keys_frame(&s->keys, &r->site[p->site], key, &p->native, &p->python);
	name_line(s, key, under, p);
	struct tide_prediction told;
	bool ok = tide_predict(s->j, under, &told) && name_types(s->j->a, under, s->keys.sites, p);
	free(under);
	if (!ok)
		return false;
	p->releases_bytes = told.releases;
	p->returns_bytes = told.returns;
	p->with_trim_bytes = told.with_trim;
	p->error_bytes = told.error;
	return true;
}

static int most_first(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? 1 : *x > *y ? -1 : 0;
}

/* The fewest keys that touch so much, if their units were all different. */
static void bound_sets(struct search *s)
{
	struct tide_analysis *a = s->j->a;
	uint64_t *touch = s->touch, sum = 0;
	uint32_t n = 0;
	memcpy(touch, s->all_touch, s->keys.keys * sizeof *touch);
	qsort(touch, s->keys.keys, sizeof *touch, most_first);
	for (unsigned i = 0; i < TIDE_PIN_SETS; i++) {
		while (n < s->keys.keys && sum < s->units.total / 100 * a->set[i].percent)
			sum += touch[n++];
		a->set[i].at_least = n;
	}
}

/* Bytes below which a pin is not worth a line. */
static uint64_t worth_least(const struct search *s)
{
	uint64_t share = s->units.total / WORTH_SHARE;
	return share > WORTH_LEAST ? share : WORTH_LEAST;
}

static bool run(struct search *s)
{
	static const unsigned percents[TIDE_PIN_SETS] = {50, 80, 95};
	struct tide_analysis *a = s->j->a;
	uint64_t released = 0;
	unsigned level = 0;
	for (unsigned i = 0; i < TIDE_PIN_SETS; i++)
		a->set[i].percent = percents[i];
	/* a page's unit also counts what malloc itself has there */
	a->pinned_bytes = s->units.total < a->ledger.stranded ? s->units.total : a->ledger.stranded;
	s->least = worth_least(s);
	for (uint32_t tries = 0; a->pins < PINS_MOST && tries < TRIES_MOST; tries++) {
		uint32_t key = best_key(s);
		if (tries == 0)
			memcpy(s->all_touch, s->touch, s->keys.keys * sizeof *s->all_touch);
		if (key == NONE && s->least) { /* the rest is of little worth */
			s->least = 0;
			memset(s->passed, 0, s->keys.keys);
			continue;
		}
		struct tide_pin *pin = &a->pin[a->pins];
		if (key == NONE || (a->pins && s->all_touch[key] < s->units.total / TOO_LITTLE))
			break;
		if (!describe(s, key, pin))
			return false;
		if (pin->releases_bytes < s->least) {
			s->passed[key] = 1;
			continue;
		}
		released += take(s, key);
		a->pins++;
		a->worthy_pins += s->least > 0;
		for (; level < TIDE_PIN_SETS && released >= s->units.total / 100 * percents[level]; level++)
			a->set[level] = (struct tide_pin_set){percents[level], true, a->pins, 0, released};
	}
	bound_sets(s);
	return true;
}

enum tide_status tide_join_pins(struct tide_join *j)
{
	struct search s;
	j->a->pin = calloc(PINS_MOST, sizeof *j->a->pin);
	bool ok = search_init(&s, j) && j->a->pin && run(&s);
	search_release(&s);
	return ok ? TIDE_OK : TIDE_ERR_NOMEM;
}
