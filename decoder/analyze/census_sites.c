#include "analyze/census_sites.h"

#include <stdlib.h>
#include <string.h>

#include "read/census.h"

#define GRANULE 16u
#define TYPES_MOST 65536u

struct counting {
	struct tide_analysis *a;
	struct tide_replay *state;
	const struct tide_log *log;
	uint64_t time_ns;
	uint64_t arena, next; /* the arena in hand, and the next made-up address in it */
};

void tide_type_counts_release(struct tide_type_counts *t)
{
	for (uint32_t i = 0; i < t->names; i++)
		free(t->name[i]);
	free(t->name);
	free(t->count);
	*t = (struct tide_type_counts){0};
}

static bool add_name(struct tide_type_counts *t, const struct tide_census_pytype *type)
{
	if (t->names >= TYPES_MOST)
		return true;
	char **names = realloc(t->name, (t->names + 1) * sizeof *names);
	if (!names)
		return false;
	t->name = names;
	names[t->names] = strndup(type->name, type->name_len);
	return names[t->names] && ++t->names;
}

static bool add_count(struct tide_type_counts *t, uint32_t site, const struct tide_census_pysite *s)
{
	for (uint32_t i = t->counts; i-- > 0 && t->counts - i < 16;) /* entries of a site come close to each other */
		if (t->count[i].site == site && t->count[i].type == s->type) {
			t->count[i].blocks += s->blocks;
			return true;
		}
	if (t->counts == t->cap) {
		uint32_t cap = t->cap ? 2 * t->cap : 256;
		struct tide_type_count *count = realloc(t->count, cap * sizeof *count);
		if (!count)
			return false;
		t->count = count;
		t->cap = cap;
	}
	t->count[t->counts++] = (struct tide_type_count){site, s->type, s->blocks};
	return true;
}

static enum tide_status add_entry(struct counting *c, const struct tide_census_pysite *s)
{
	uint32_t node = 0;
	bool known = tide_log_pystack(c->log, s->site, &node);
	struct tide_block_live block = {
		.size = (s->size_class + 1u) * GRANULE,
		.time_ns = c->time_ns,
		.site = tide_replay_site(c->state, 0, node),
		.flags = TIDE_BLOCK_PYTHON | TIDE_BLOCK_COUNTED,
	};
	enum tide_status status = block.site == UINT32_MAX ? TIDE_ERR_NOMEM : TIDE_OK;
	c->a->counted_blocks += s->blocks;
	c->a->siteless_blocks += known ? 0 : s->blocks;
	for (uint64_t i = 0; i < s->blocks && !status; i++, c->next += GRANULE) {
		block.addr = c->next;
		status = tide_replay_add(c->state, &block);
	}
	bool typed = s->type && s->type <= c->a->types.names && !status;
	return !typed || add_count(&c->a->types, block.site, s) ? status : TIDE_ERR_NOMEM;
}

static enum tide_status add_arena(struct counting *c, struct tide_census_pysites *sites)
{
	struct tide_census_pysite entry;
	enum tide_status status = TIDE_OK;
	if (sites->base != c->arena) {
		c->arena = sites->base;
		c->next = sites->base + GRANULE;
	}
	while (!status && tide_pysites_next(sites, &entry))
		status = add_entry(c, &entry);
	return status;
}

/* Whether every record is what it should be, no arena has more blocks than fit, and there are any sites at all. */
static enum tide_status check(const struct tide_census_blob *blob, bool *ret_found)
{
	struct tide_census census;
	struct tide_census_item item;
	uint64_t arena = 0, bytes = 0, most = 0;
	int more = tide_census_init(&census, blob->bytes, blob->len) ? 1 : -1;
	while (more == 1 && (more = tide_census_next(&census, &item)) == 1) {
		struct tide_census_pysite entry;
		if (item.kind == TIDE_RECORD_PYARENA && item.pyarena.bytes > most)
			most = item.pyarena.bytes;
		if (item.kind != TIDE_RECORD_PYSITES)
			continue;
		*ret_found = true;
		if (item.pysites.base != arena)
			bytes = 0;
		arena = item.pysites.base;
		while (tide_pysites_next(&item.pysites, &entry) && bytes <= most)
			bytes += entry.blocks * GRANULE;
		if (bytes > most)
			more = -1;
	}
	return more < 0 ? TIDE_ERR_BAD : TIDE_OK;
}

enum tide_status tide_census_sites(struct tide_analysis *a, struct tide_replay *state, const struct tide_log *log,
				   const struct tide_census_blob *blob, bool *ret_found)
{
	struct counting c = {.a = a, .state = state, .log = log, .time_ns = blob->time_ns};
	struct tide_census census;
	struct tide_census_item item;
	bool found = false;
	enum tide_status status = check(blob, &found);
	if (status || !found)
		return status;
	tide_census_init(&census, blob->bytes, blob->len);
	while (!status && tide_census_next(&census, &item) == 1) {
		if (item.kind == TIDE_RECORD_PYTYPE && !add_name(&a->types, &item.pytype))
			status = TIDE_ERR_NOMEM;
		if (item.kind == TIDE_RECORD_PYSITES)
			status = add_arena(&c, &item.pysites);
	}
	a->sites_ns = blob->time_ns;
	*ret_found = !status;
	return status;
}

static enum tide_status add_bytes(struct tide_replay *r, const struct tide_log *log, struct tide_census_pysites *sites,
				  uint64_t **live, uint32_t *count)
{
	struct tide_census_pysite entry;
	while (tide_pysites_next(sites, &entry)) {
		uint32_t node = 0;
		tide_log_pystack(log, entry.site, &node);
		uint32_t site = tide_replay_site(r, 0, node);
		if (site == UINT32_MAX)
			return TIDE_ERR_NOMEM;
		if (site >= *count) {
			uint64_t *more = realloc(*live, (r->sites + 1ull) * sizeof *more);
			if (!more)
				return TIDE_ERR_NOMEM;
			memset(more + *count, 0, (r->sites - *count) * sizeof *more);
			*live = more;
			*count = r->sites;
		}
		(*live)[site] += (uint64_t)entry.blocks * (entry.size_class + 1u) * GRANULE;
	}
	return TIDE_OK;
}

enum tide_status tide_census_site_bytes(struct tide_replay *r, const struct tide_log *log,
					const struct tide_census_blob *blob, uint64_t **ret_live, uint32_t *ret_sites)
{
	struct tide_census census;
	struct tide_census_item item;
	uint64_t *live = NULL;
	uint32_t count = 0;
	bool found = false;
	enum tide_status status = check(blob, &found);
	if (!status && found)
		tide_census_init(&census, blob->bytes, blob->len);
	while (!status && found && tide_census_next(&census, &item) == 1)
		if (item.kind == TIDE_RECORD_PYSITES)
			status = add_bytes(r, log, &item.pysites, &live, &count);
	if (status) {
		free(live);
		return status;
	}
	*ret_live = live;
	*ret_sites = count;
	return TIDE_OK;
}
