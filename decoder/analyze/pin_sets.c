/*
 * The fewest groups whose blocks, removed together, release half, 80 % and 95 % of the stranded bytes.
 *
 * A unit is a set of groups that together hold something, and what it strands: it is released when all of them are gone. Units are
 * pymalloc arenas, and pages of malloc heaps. Finding the smallest set is a hard problem; the search is greedy: it takes
 * what releases most, with what it already has, per group added. What it finds can be done; `at_least` is a bound from below:
 * a group cannot release more than all that it touches.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/join.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define HOLDERS_MOST 12u   /* what more groups hold together is not worth planning for */
#define UNITS_MOST 100000u /* different sets of holders */
#define STEPS_MOST 64u     /* groups in a set; with more of them it is no advice */

struct holders {
	uint32_t group[HOLDERS_MOST]; /* ascending; unused: TIDE_NO_GROUP */
};

struct unit {
	struct holders by;
	uint32_t count;
	bool released;
	uint64_t bytes;
	UT_hash_handle hh;
};

struct search {
	struct tide_join *j;
	struct unit *units;
	uint64_t total;    /* stranded, of all units, also those of no use here */
	uint8_t *taken;    /* by group */
	uint64_t *touches; /* by group: stranded bytes of the units it holds */
	uint64_t *single;  /* by group: what it would release by itself now */
	uint32_t *pin_of;  /* by group: index of its pin, plus 1 */
};

/* False: no memory. The bytes count in any case. */
static bool add_unit(struct search *s, const uint32_t *group, uint32_t count, uint64_t bytes)
{
	struct holders by;
	struct unit *u;
	s->total += bytes;
	for (uint32_t i = 0; i < count; i++)
		if (group[i] != TIDE_NO_GROUP)
			s->touches[group[i]] += bytes;
	if (bytes == 0 || count == 0 || count > HOLDERS_MOST)
		return true;
	memset(&by, 0xff, sizeof by);
	memcpy(by.group, group, count * sizeof *group);
	if (by.group[count - 1] == TIDE_NO_GROUP)
		return true; /* a block of an unknown site holds it too */
	HASH_FIND(hh, s->units, &by, sizeof by, u);
	if (!u) {
		if (HASH_COUNT(s->units) >= UNITS_MOST)
			return true;
		u = calloc(1, sizeof *u);
		if (!u)
			return false;
		u->by = by;
		u->count = count;
		HASH_ADD(hh, s->units, by, sizeof u->by, u);
		if (!u->hh.tbl) {
			free(u);
			return false;
		}
	}
	u->bytes += bytes;
	return true;
}

/* Adds to a sorted list without repetition, up to one more than is of use. */
static void add_holder(uint32_t *group, uint32_t *count, uint32_t which)
{
	uint32_t i = 0;
	while (i < *count && group[i] < which)
		i++;
	if ((i < *count && group[i] == which) || *count > HOLDERS_MOST)
		return;
	memmove(group + i + 1, group + i, (*count - i) * sizeof *group);
	group[i] = which;
	++*count;
}

static bool arena_unit(struct search *s, const struct tide_arena *a)
{
	uint32_t group[HOLDERS_MOST + 2], count = 0;
	const struct tide_join *j = s->j;
	if (a->live_blocks == 0)
		return true;
	if (a->holders == 0 || a->holders > HOLDERS_MOST) {
		s->total += a->stranded;
		return true;
	}
	for (size_t i = tide_join_block(j, a->base); i < j->blocks && j->block[i].addr < a->base + a->reserved; i++)
		add_holder(group, &count, tide_join_group(j, &j->block[i]));
	return add_unit(s, group, count, a->stranded);
}

struct page {
	uint64_t at; /* address; 0: none in hand */
	uint64_t used;
	uint32_t group[HOLDERS_MOST + 2], count;
};

static bool close_page(struct search *s, struct page *p)
{
	bool ok = true;
	if (p->at && p->used < TIDE_SPACE_PAGE && tide_space_anon(&s->j->space, p->at, p->at + TIDE_SPACE_PAGE))
		ok = add_unit(s, p->group, p->count, TIDE_SPACE_PAGE - p->used);
	p->count = 0;
	p->used = 0;
	p->at = 0;
	return ok;
}

static bool touch(struct search *s, struct page *p, uint64_t at, uint64_t bytes, uint32_t group)
{
	bool ok = true;
	if (p->at != at)
		ok = close_page(s, p);
	p->at = at;
	p->used += bytes;
	add_holder(p->group, &p->count, group);
	return ok;
}

/* The first and the last page of each block; those in between are all its own. */
static bool heap_units(struct search *s, const struct tide_heap *heap)
{
	const struct tide_join *j = s->j;
	struct page page = {0};
	bool ok = true;
	for (size_t i = heap->first; i < heap->first + heap->count && ok; i++) {
		uint64_t from, to, size = TIDE_SPACE_PAGE;
		uint32_t group = tide_join_group(j, &j->block[i]);
		if (j->block[i].flags & TIDE_BLOCK_PYTHON)
			continue;
		tide_heap_chunk(heap, &j->block[i], &from, &to);
		uint64_t first = from / size * size, last = (to - 1) / size * size;
		ok = touch(s, &page, first, (to < first + size ? to : first + size) - from, group);
		if (last > first)
			ok = ok && touch(s, &page, last, to - last, group);
	}
	return close_page(s, &page) && ok;
}

static uint32_t missing(const struct search *s, const struct unit *u)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < u->count; i++)
		n += !s->taken[u->by.group[i]];
	return n;
}

/* The unit that is best taken next: its missing groups are. NULL: none left. */
static struct unit *best(struct search *s)
{
	struct unit *u, *found = NULL;
	double most = 0;
	memset(s->single, 0, (s->j->a->groups + 1ull) * sizeof *s->single);
	for (u = s->units; u; u = u->hh.next)
		if (!u->released && missing(s, u) == 1)
			for (uint32_t i = 0; i < u->count; i++)
				if (!s->taken[u->by.group[i]])
					s->single[u->by.group[i]] += u->bytes;
	for (u = s->units; u; u = u->hh.next) {
		uint64_t gain = u->bytes;
		uint32_t left = u->released ? 0 : missing(s, u);
		if (!left)
			continue;
		for (uint32_t i = 0; i < u->count; i++)
			if (!s->taken[u->by.group[i]])
				gain += left == 1 ? s->single[u->by.group[i]] - u->bytes : s->single[u->by.group[i]];
		if ((double)gain / left > most) {
			most = (double)gain / left;
			found = u;
		}
	}
	return found;
}

static void take(struct search *s, const struct unit *u)
{
	struct tide_analysis *a = s->j->a;
	for (uint32_t i = 0; i < u->count; i++) {
		uint32_t group = u->by.group[i];
		if (s->taken[group])
			continue;
		s->taken[group] = 1;
		if (s->pin_of[group])
			a->set_pin[a->set_pins++] = s->pin_of[group] - 1;
	}
}

static uint64_t release_units(struct search *s)
{
	uint64_t bytes = 0;
	for (struct unit *u = s->units; u; u = u->hh.next)
		if (!u->released && missing(s, u) == 0) {
			u->released = true;
			bytes += u->bytes;
		}
	return bytes;
}

static int most_first(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? 1 : *x > *y ? -1 : 0;
}

/* The fewest groups that touch so much. */
static uint32_t fewest(const uint64_t *touches, uint32_t groups, uint64_t bytes)
{
	uint64_t sum = 0;
	uint32_t n = 0;
	while (n < groups && sum < bytes)
		sum += touches[n++];
	return n;
}

static void run(struct search *s)
{
	static const unsigned percents[TIDE_PIN_SETS] = {50, 80, 95};
	struct tide_analysis *a = s->j->a;
	uint64_t released = 0;
	uint32_t level = 0;
	for (unsigned i = 0; i < TIDE_PIN_SETS; i++)
		a->set[i].percent = percents[i];
	while (level < TIDE_PIN_SETS && s->total && a->set_pins + HOLDERS_MOST < STEPS_MOST) {
		const struct unit *u = best(s);
		if (!u)
			break;
		take(s, u);
		released += release_units(s);
		for (; level < TIDE_PIN_SETS && released >= (double)s->total * percents[level] / 100; level++)
			a->set[level] = (struct tide_pin_set){percents[level], true, a->set_pins, 0, 0, released};
	}
	qsort(s->touches, a->groups, sizeof *s->touches, most_first);
	for (unsigned i = 0; i < TIDE_PIN_SETS; i++) {
		a->set[i].at_least = fewest(s->touches, a->groups, s->total / 100 * percents[i]);
		for (uint32_t k = 0; k < a->set[i].groups; k++)
			a->set[i].blocks += a->pin[a->set_pin[k]].blocks;
	}
}

static bool search_init(struct search *s, struct tide_join *j)
{
	size_t groups = j->a->groups + 1ull;
	*s = (struct search){.j = j};
	s->taken = calloc(groups, 1);
	s->touches = calloc(groups, sizeof *s->touches);
	s->single = calloc(groups, sizeof *s->single);
	s->pin_of = calloc(groups, sizeof *s->pin_of);
	j->a->set_pin = calloc(STEPS_MOST + HOLDERS_MOST, sizeof *j->a->set_pin);
	if (!s->taken || !s->touches || !s->single || !s->pin_of || !j->a->set_pin)
		return false;
	for (uint32_t i = 0; i < j->a->pins; i++)
		s->pin_of[j->a->pin[i].group] = i + 1;
	return true;
}

static void search_release(struct search *s)
{
	struct unit *u, *next;
	HASH_ITER(hh, s->units, u, next)
	{
		HASH_DEL(s->units, u);
		free(u);
	}
	free(s->taken);
	free(s->touches);
	free(s->single);
	free(s->pin_of);
}

enum tide_status tide_join_sets(struct tide_join *j)
{
	struct search s;
	bool ok = search_init(&s, j);
	for (uint32_t i = 0; i < j->a->arenas && ok; i++)
		if (strcmp(j->a->arena[i].kind, "pymalloc") == 0)
			ok = arena_unit(&s, &j->a->arena[i]);
	for (uint32_t i = 0; i < j->heaps.heaps && ok && j->known_allocator; i++)
		if (j->heaps.heap[i].kind != TIDE_HEAP_MAPPED)
			ok = heap_units(&s, &j->heaps.heap[i]);
	if (ok)
		run(&s);
	search_release(&s);
	return ok ? TIDE_OK : TIDE_ERR_NOMEM;
}
