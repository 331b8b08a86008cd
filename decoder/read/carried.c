#include "read/carried.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "read/defs.h"
#include "read/sites.h"

#define SITES_MAX (1u << 20) /* FORMAT.md 10 */
#define LANES_MAX 65536u

/* Room for `count` in a table that grows by doubling; what is new is zero. */
static bool grow(void **table, size_t *cap, size_t count, size_t size)
{
	size_t more = *cap ? *cap : 64;
	if (count <= *cap)
		return true;
	while (more < count)
		more *= 2;
	uint8_t *grown = realloc(*table, more * size);
	if (!grown)
		return false;
	memset(grown + *cap * size, 0, (more - *cap) * size);
	*table = grown;
	*cap = more;
	return true;
}

/* ---- sections ---- */

static bool add_entry(struct tide_carry_state *s, const struct tide_carry_block *b)
{
	if (!grow((void **)&s->entry, &s->entries_cap, s->entries + 1, sizeof *s->entry))
		return false;
	s->entry[s->entries] =
		(struct tide_carried_entry){b->addr, b->ticks, b->size, b->site, (uint32_t)s->entries, b->op};
	s->entries++;
	return true;
}

static bool parse_blocks(struct tide_carry_state *s, struct tide_in in, bool *whole)
{
	struct tide_carry_reader reader;
	struct tide_carry_block b;
	int got = 0;
	if (!tide_carry_open_blocks(&reader, in.at, tide_in_left(&in))) {
		*whole = false;
		return true;
	}
	while ((got = tide_carry_next_block(&reader, &b)) == 1)
		if (!add_entry(s, &b))
			return false;
	*whole = *whole && got == 0;
	return true;
}

static bool add_gone(struct tide_carry_state *s, uint64_t addr)
{
	if (!grow((void **)&s->gone, &s->gone_cap, s->gone_count + 1, sizeof *s->gone))
		return false;
	s->gone[s->gone_count++] = addr;
	return true;
}

static bool parse_gone(struct tide_carry_state *s, struct tide_in in, bool *whole)
{
	uint64_t addr = 0;
	int got;
	while ((got = tide_carry_next_gone(&in, &addr)) == 1)
		if (!add_gone(s, addr))
			return false;
	*whole = *whole && got == 0;
	return true;
}

/* Later frames come later and say how it is now. */
static bool parse_sums(struct tide_carry_state *s, struct tide_in in, bool *whole)
{
	uint64_t number = 0;
	while (tide_in_left(&in) > 0) {
		number += tide_get_varint(&in);
		uint64_t allocs = tide_get_varint(&in), bytes = tide_get_varint(&in);
		if (in.bad || number >= SITES_MAX) {
			*whole = false;
			return true;
		}
		if (!grow((void **)&s->site, &s->sites_cap, number + 1, sizeof *s->site))
			return false;
		s->sites = number >= s->sites ? (uint32_t)number + 1 : s->sites;
		s->site[number].allocs = allocs;
		s->site[number].alloc_bytes = bytes;
	}
	return true;
}

static bool parse_marks(struct tide_carry_state *s, struct tide_in in, bool *whole)
{
	uint64_t lane = 0;
	while (tide_in_left(&in) > 0) {
		lane += tide_get_varint(&in);
		uint64_t events = tide_get_varint(&in);
		if (in.bad || lane >= LANES_MAX || events > UINT64_C(1) << 48) {
			*whole = false;
			return true;
		}
		if (!grow((void **)&s->mark, &s->marks_cap, lane + 1, sizeof *s->mark))
			return false;
		s->marks = lane >= s->marks ? (uint32_t)lane + 1 : s->marks;
		s->mark[lane] = events;
	}
	return true;
}

bool tide_carried_parse(struct tide_carry_state *s, const uint8_t *payload, size_t len, bool last, bool *ret_whole)
{
	struct tide_in in = tide_in_of(payload, len), section;
	uint8_t kind;
	int got = 0;
	bool done = true, has_totals = false;
	*ret_whole = true;
	while (done && (got = tide_carry_next_section(&in, &kind, &section)) == 1) {
		if (kind == TIDE_CARRY_BLOCKS)
			done = parse_blocks(s, section, ret_whole);
		else if (kind == TIDE_CARRY_SUMS)
			done = parse_sums(s, section, ret_whole);
		else if (kind == TIDE_CARRY_GONE)
			done = parse_gone(s, section, ret_whole);
		else if (kind == TIDE_CARRY_MARKS && last)
			done = parse_marks(s, section, ret_whole);
		else if (kind == TIDE_CARRY_TOTALS && last)
			has_totals = tide_carry_get_totals(section, &s->told.totals);
	}
	*ret_whole = *ret_whole && got == 0 && (has_totals || !last);
	return done;
}

/* ---- frames ---- */

struct carry_walk {
	struct tide_lane_env *env;
	const struct tide_ring *ring;
	uint32_t segments;
	uint8_t *raw;
	size_t first; /* CARRY frames are ring->frame[first .. count) by (pass, part) */
};

static uint64_t epoch_of(const struct carry_walk *w, const struct tide_frame *f)
{
	return (uint64_t)(f->lap - 1) * w->segments + f->segment + 1;
}

/* OK: its payload is in w->raw. */
static enum tide_load load(struct carry_walk *w, const struct tide_frame_at *f)
{
	uint8_t *raw = realloc(w->raw, f->head.raw_len + 1u);
	if (!raw)
		return TIDE_LOAD_NOMEM;
	w->raw = raw;
	return tide_frame_load(f, &w->env->feed, &w->env->scratch, raw);
}

static void tell(struct carry_walk *w, struct tide_carry_state *s, const struct tide_frame_at *f)
{
	s->told.lost_blocks += f->head.events_before;
	s->told.incomplete = true;
	w->env->bad_frames++;
	tide_damage_add(w->env->damages, f->offset, f->head.header_len + (uint64_t)f->head.stored_len,
			"frame %" PRIu64 ": %" PRIu64 " carried blocks, or sums", f->head.frame_seq,
			f->head.events_before);
}

/* The last pass whose last frame is there and good: *ret_done, 0 if none is. False: no memory. */
static bool find_done(struct carry_walk *w, struct tide_carry_state *s, uint64_t *ret_done)
{
	*ret_done = 0;
	for (size_t i = w->ring->count; i-- > w->first && *ret_done == 0;) {
		const struct tide_frame_at *f = &w->ring->frame[i];
		bool whole = false;
		if (f->head.events != 1)
			continue;
		enum tide_load got = load(w, f);
		if (got == TIDE_LOAD_NOMEM ||
		    (got == TIDE_LOAD_OK && !tide_carried_parse(s, w->raw, f->head.raw_len, true, &whole)))
			return false;
		if (got == TIDE_LOAD_BAD) /* a pass had ended here, and an earlier one is taken for the last */
			tell(w, s, f);
		if (whole)
			*ret_done = f->head.block_seq;
		else
			s->marks = 0;
	}
	s->entries = 0;
	s->gone_count = 0;
	s->sites = 0;
	return true;
}

static bool read_frames(struct carry_walk *w, struct tide_carry_state *s)
{
	for (size_t i = w->first; i < w->ring->count; i++) {
		const struct tide_frame_at *f = &w->ring->frame[i];
		bool whole = true;
		if (f->head.block_seq > s->told.epoch || epoch_of(w, &f->head) <= s->told.epoch)
			continue; /* a pass that did not end; or carried on by a later one */
		enum tide_load got = load(w, f);
		if (got == TIDE_LOAD_NOMEM ||
		    (got == TIDE_LOAD_OK && !tide_carried_parse(s, w->raw, f->head.raw_len, false, &whole)))
			return false;
		if (got == TIDE_LOAD_BAD || !whole)
			tell(w, s, f);
		s->told.incomplete = s->told.incomplete || got == TIDE_LOAD_GONE;
	}
	return true;
}

/* Of what is told of an address, the last counts: a birth, or a death. */
static int compare_entries(const void *va, const void *vb)
{
	const struct tide_carried_entry *a = va, *b = vb;
	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	if (a->ticks != b->ticks)
		return a->ticks < b->ticks ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

static void keep_last(struct tide_carry_state *s)
{
	size_t kept = 0;
	if (s->entries > 1)
		qsort(s->entry, s->entries, sizeof *s->entry, compare_entries);
	for (size_t i = 0; i < s->entries; i++) {
		bool last = i + 1 == s->entries || s->entry[i + 1].addr != s->entry[i].addr;
		if (last && s->entry[i].op != TIDE_CARRY_DIED && s->entry[i].addr)
			s->entry[kept++] = s->entry[i];
	}
	s->entries = kept;
}

static int compare_addresses(const void *va, const void *vb)
{
	const uint64_t *a = va, *b = vb;
	return (*a > *b) - (*a < *b);
}

static void sort_gone(struct tide_carry_state *s)
{
	if (s->gone_count > 1)
		qsort(s->gone, s->gone_count, sizeof *s->gone, compare_addresses);
	s->told.gone = s->gone;
	s->told.gone_count = s->gone_count;
}

bool tide_carried_is_gone(const struct tide_carried *c, uint64_t addr)
{
	return c->gone_count && bsearch(&addr, c->gone, c->gone_count, sizeof addr, compare_addresses);
}

bool tide_carried_tells_deaths(const struct tide_carried *c)
{
	return c->epoch == 0 || (c->totals.deaths == TIDE_DEATHS_ALL && !c->incomplete && !c->totals.unreadable);
}

/* When the first epoch that is still there began. */
static uint64_t find_cut(const struct tide_file *file, const struct tide_geometry *g, uint64_t epoch, uint32_t segments)
{
	struct tide_segment s;
	uint64_t offset = g->ring_off + epoch % segments * g->segment_len;
	if (tide_file_read(file, offset, &s, sizeof s) != sizeof s || s.magic != TIDE_MAGIC_SEGMENT ||
	    s.lap != epoch / segments + 1)
		return 0;
	return s.mono_ns;
}

bool tide_carried_read(struct tide_lane_env *env, const struct tide_geometry *g, const struct tide_ring *ring,
		       struct tide_carry_state *ret)
{
	struct carry_walk w = {env, ring, (uint32_t)(g->ring_len / g->segment_len), NULL, ring->carry_first};
	uint64_t done;
	*ret = (struct tide_carry_state){0};
	bool fine = find_done(&w, ret, &done);
	if (fine && done > 0 && done < UINT32_MAX) {
		ret->told.epoch = (uint32_t)done;
		ret->told.cut_ns = find_cut(env->feed.file, g, done, w.segments);
		fine = read_frames(&w, ret);
		keep_last(ret);
		sort_gone(ret);
	}
	free(w.raw);
	if (!fine)
		tide_carried_release(ret);
	return fine;
}

/* ---- names and times ---- */

static uint32_t node_of(struct tide_stacks *stacks, const struct tide_site_stack *s, uint32_t *nodes)
{
	for (uint32_t i = s->keep; i < s->len; i++) {
		nodes[i + 1] = tide_stacks_child(stacks, nodes[i], s->word[i]);
		if (nodes[i + 1] == 0)
			return UINT32_MAX;
	}
	return nodes[s->len];
}

/* The stacks of the sites that sums or blocks name. False: no memory. */
static bool name_sites(struct tide_carry_state *s, const struct tide_defs *defs, struct tide_stacks *stacks)
{
	struct tide_site_reader *r = malloc(sizeof *r);
	uint32_t native[TIDE_SITE_WORDS + 1] = {0}, python[TIDE_SITE_WORDS + 1] = {0};
	bool done = r != NULL;
	for (uint32_t i = 0; i < defs->site_records && done; i++) {
		tide_site_reader_init(r, defs->site_record[i].bytes, defs->site_record[i].len);
		while (done && tide_site_reader_next(r) == 1) {
			uint32_t n = node_of(stacks, &r->native, native), p = node_of(stacks, &r->python, python);
			done = n != UINT32_MAX && p != UINT32_MAX;
			if (!done || r->number >= s->sites)
				continue;
			s->site[r->number].native = n;
			s->site[r->number].python = p;
			s->site[r->number].known = true;
		}
	}
	free(r);
	return done;
}

bool tide_carried_finish(struct tide_carry_state *s, const struct tide_defs *defs, struct tide_lane_env *env)
{
	if (s->told.epoch == 0)
		return true;
	/* site 0 is always there, for what names none */
	if (!grow((void **)&s->site, &s->sites_cap, s->sites + 1u, sizeof *s->site))
		return false;
	s->sites += s->sites == 0;
	s->block = calloc(s->entries + 1, sizeof *s->block);
	if (!s->block || !name_sites(s, defs, env->stacks))
		return false;
	for (size_t i = 0; i < s->entries; i++) {
		const struct tide_carried_entry *e = &s->entry[i];
		bool known = e->site < s->sites;
		s->told.incomplete = s->told.incomplete || !known;
		s->block[i] = (struct tide_carried_block){e->addr, e->size, tide_clock_ns(env->clock, e->ticks),
							  known ? e->site : 0, e->op == TIDE_CARRY_BORN_PY};
	}
	s->told.block = s->block;
	s->told.blocks = s->entries;
	s->told.site = s->site;
	s->told.sites = s->sites;
	free(s->entry);
	s->entry = NULL;
	return true;
}

void tide_carried_release(struct tide_carry_state *s)
{
	free(s->entry);
	free(s->gone);
	free(s->site);
	free(s->block);
	free(s->mark);
	*s = (struct tide_carry_state){0};
}
