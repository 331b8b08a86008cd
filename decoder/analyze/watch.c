#include "analyze/watch.h"

#include <stdlib.h>

#include "analyze/census_sites.h"
#include "analyze/join.h"

/* As the writer has it: less than that is no movement (shim/census.c). */
#define MOVED_LEAST (UINT64_C(1) << 20)
#define MOVED_SHARE 32u

/* Whether the census belongs to the story: whole, and not of a time when the program had taken itself apart. */
static bool is_usable(const struct tide_watch *w, uint32_t i, bool *ret_last)
{
	struct tide_census_blob blob;
	struct tide_census census;
	bool ended = w->a->ended;
	*ret_last = false;
	if (tide_log_census(w->log, i, &blob) || !blob.complete || !tide_census_init(&census, blob.bytes, blob.len))
		return false;
	w->at_ns[w->censuses] = blob.time_ns;
	*ret_last = ended && (census.reason == TIDE_WHY_EXIT || tide_why_ends(census.reason));
	return !(ended && census.reason == TIDE_WHY_EXIT);
}

/* Resident bytes, and which arenas' blocks it counted by site. False: it cannot be read. */
static bool look_into(struct tide_log *log, uint32_t i, enum tide_census_source *ret_source, uint64_t *ret_rss)
{
	struct tide_census_blob blob;
	struct tide_census census;
	struct tide_census_item item;
	if (tide_log_census(log, i, &blob) || !tide_census_init(&census, blob.bytes, blob.len))
		return false;
	*ret_source = blob.source;
	*ret_rss = 0;
	while (tide_census_next(&census, &item) == 1)
		if (item.kind == TIDE_RECORD_RSS)
			*ret_rss = item.rss.resident;
	return true;
}

/* The last one, but in the mode `sites`: only the process' own censuses tell whose Python's blocks are. So the last of those is worth more
 * than one that `tidemark record` took from outside after it, unless RSS has moved since. */
static uint32_t choose(const struct tide_watch *w)
{
	uint32_t last = w->censuses - 1, own = last;
	enum tide_census_source source;
	uint64_t now, then = 0;
	for (uint32_t i = 0; i < w->censuses; i++)
		if (tide_log_census_source(w->log, w->census[i]) == TIDE_CENSUS_ADDED)
			return i; /* it is what was asked for, whatever the process has taken itself by the time that its log was read */
	if (w->censuses == 0 || tide_log_process(w->log)->super.python_mode != TIDE_PYTHON_SITES ||
	    !look_into(w->log, w->census[last], &source, &now) || source != TIDE_CENSUS_BESIDE)
		return last;
	while (source == TIDE_CENSUS_BESIDE && own > 0)
		if (!look_into(w->log, w->census[--own], &source, &then))
			return last;
	uint64_t apart = now > then ? now - then : then - now;
	return source == TIDE_CENSUS_BESIDE || (apart >= MOVED_LEAST && apart >= then / MOVED_SHARE) ? last : own;
}

enum tide_status tide_watch_init(struct tide_watch *w, struct tide_analysis *a, struct tide_log *log)
{
	uint32_t count = tide_log_census_count(log);
	struct tide_glibc glibc;
	*w = (struct tide_watch){.a = a, .log = log, .next_ns = UINT64_MAX};
	w->census = calloc(count + 1ull, sizeof *w->census);
	w->at_ns = calloc(count + 1ull, sizeof *w->at_ns);
	a->moment = calloc(count + 1ull, sizeof *a->moment);
	if (!w->census || !w->at_ns || !a->moment) {
		tide_watch_release(w);
		return TIDE_ERR_NOMEM;
	}
	bool last = false;
	for (uint32_t i = 0; i < count && !last; i++)
		if (is_usable(w, i, &last))
			w->census[w->censuses++] = i;
	if (w->censuses)
		w->next_ns = w->at_ns[0];
	w->answer = choose(w);
	w->has_caches = tide_glibc_of(tide_log_process(log)->allocator, &glibc);
	if (w->has_caches)
		tide_caches_init(&w->caches, &glibc);
	if (w->has_caches && tide_log_thread_count(log))
		w->aside = tide_aside_new(&w->caches);
	return TIDE_OK;
}

void tide_watch_release(struct tide_watch *w)
{
	free(w->census);
	free(w->at_ns);
	tide_aside_free(w->aside);
	if (w->has_caches)
		tide_caches_release(&w->caches);
	tide_trend_release(&w->trend);
	tide_trend_release(&w->counted);
	*w = (struct tide_watch){.next_ns = UINT64_MAX};
}

/* Resident bytes by what they are, for the timeline and the trend: the same claims as the ledger's, without blocks. */
static void note_moment(const struct tide_space *s, const struct tide_replay *r, bool events_tell,
			struct tide_moment *m)
{
	uint64_t pools = 0;
	*m = (struct tide_moment){.at_ns = s->at_ns, .rss = s->rss.resident, .reason = s->reason};
	m->stacks = tide_join_stacks(s);
	for (uint32_t i = 0; i < s->arenas; i++) {
		struct tide_pymalloc_sum sum;
		tide_pymalloc_sum(s, &s->arena[i], &sum);
		pools += sum.live_bytes;
	}
	m->live = r->live_bytes - r->python_bytes + (pools ? pools : r->python_bytes);
	uint64_t seen = r->python_bytes - r->counted_bytes;
	m->unseen = events_tell || pools < seen ? 0 : pools - seen;
	for (uint32_t i = 0; i < s->regions; i++) {
		const struct tide_space_region *region = &s->region[i];
		m->files += tide_space_file(s, region->start, region->end);
		if (tide_join_is_stack(s, i) || !tide_space_is_anonymous(region))
			continue;
		m->reserved += region->end - region->start;
		m->heap += tide_space_anon(s, region->start, region->end);
	}
}

static enum tide_status join_last(struct tide_watch *w, const struct tide_replay *r,
				  const struct tide_census_blob *blob)
{
	struct tide_join j;
	if (w->aside && !tide_aside_finish(w->aside))
		return TIDE_ERR_NOMEM;
	enum tide_status status = tide_join_init(&j, w->a, w->log, r, blob, w->has_caches ? &w->caches : NULL);
	if (status)
		return status;
	status = tide_join_ledger(&j);
	if (!status)
		status = tide_join_pins(&j);
	tide_join_release(&j);
	return status;
}

/* A census by a thread without the GIL counts no sites: then those of an earlier one are the latest known. */
static enum tide_status add_sites(struct tide_watch *w, struct tide_replay *r)
{
	struct tide_census_blob blob;
	enum tide_status status = TIDE_OK;
	bool found = tide_log_process(w->log)->super.python_mode != TIDE_PYTHON_SITES;
	for (uint32_t i = w->answer + 1; i-- > 0 && !found && status != TIDE_ERR_NOMEM;) {
		status = tide_log_census(w->log, w->census[i], &blob);
		if (!status)
			status = tide_census_sites(w->a, r, w->log, &blob, &found);
	}
	return status == TIDE_ERR_NOMEM ? status : TIDE_OK;
}

/* What sites held at another census than the one that is joined: how they grow. Those from outside count no sites. */
static enum tide_status note_sites(struct tide_watch *w, struct tide_replay *r, const struct tide_census_blob *blob)
{
	uint64_t *live = NULL;
	uint32_t sites = 0;
	if (tide_log_process(w->log)->super.python_mode != TIDE_PYTHON_SITES || blob->source != TIDE_CENSUS_OWN ||
	    !tide_trend_wants(&w->counted, w->own++))
		return TIDE_OK;
	enum tide_status status = tide_census_site_bytes(r, w->log, blob, &live, &sites);
	if (!status && live)
		tide_trend_add(&w->counted, live, sites);
	return status;
}

static enum tide_status take_census(struct tide_watch *w, struct tide_replay *r, uint32_t which)
{
	struct tide_census_blob blob;
	struct tide_space space;
	bool last = which == w->answer;
	enum tide_status status = last ? add_sites(w, r) : TIDE_OK;
	if (!status)
		status = tide_log_census(w->log, w->census[which], &blob);
	if (!status)
		status = tide_space_init(&space, &blob);
	if (!status) {
		bool events_tell = tide_log_process(w->log)->super.python_mode == TIDE_PYTHON_OBJECTS;
		note_moment(&space, r, events_tell, &w->a->moment[w->a->moments++]);
		tide_space_release(&space);
	}
	if (!status && !last)
		status = note_sites(w, r, &blob);
	if (!status && last)
		status = join_last(w, r, &blob);
	return status == TIDE_ERR_BAD ? TIDE_OK : status; /* a damaged census tells nothing, and spoils nothing */
}

enum tide_status tide_watch_until(struct tide_watch *w, struct tide_replay *r, uint64_t time_ns)
{
	enum tide_status status = TIDE_OK;
	while (w->next_ns < time_ns && !status) {
		status = take_census(w, r, w->next++);
		w->next_ns = w->next < w->censuses ? w->at_ns[w->next] : UINT64_MAX;
	}
	return status;
}

struct tide_change *tide_watch_room(struct tide_watch *w, const struct tide_batch *b)
{
	if (!w->has_caches)
		return NULL;
	w->changes = 0;
	if (w->tid != b->tid)
		w->change[w->changes++] = (struct tide_change){w->tid = b->tid, TIDE_KIND_THREAD};
	return w->change + w->changes;
}

/* Of memalign and the like the caches need to know the alignment. */
static void tell_alignments(const struct tide_batch *b, struct tide_change *change)
{
	const struct tide_extra *extra = b->extra;
	for (uint32_t i = 0; i < b->count; i++) {
		if (b->op[i].kind == TIDE_KIND_ALIGNED)
			change[i].size_and_kind =
				(extra->value < TIDE_BLOCK_SIZE_MAX ? extra->value : TIDE_BLOCK_SIZE_MAX) << 8 |
				TIDE_KIND_ALIGNED;
		extra += (tide_kind_fields(b->op[i].kind) & TIDE_F_VALUE) != 0;
	}
}

/* False: no memory. */
static bool tell_caches(struct tide_watch *w, const struct tide_batch *b)
{
	if (!w->has_caches)
		return true;
	if (b->has_extra)
		tell_alignments(b, w->change + w->changes);
	uint32_t count = w->changes + b->count;
	return (w->aside && tide_aside_give(w->aside, w->change, count, tide_log_is_ahead(w->log))) ||
	       tide_caches_take(&w->caches, w->change, count);
}

uint64_t tide_watch_most(const struct tide_watch *w, uint64_t index)
{
	uint64_t most = index < w->trend.next ? w->trend.next - index + 1 : 1;
	return most < TIDE_WATCH_MOST ? most : TIDE_WATCH_MOST;
}

enum tide_status tide_watch_batch(struct tide_watch *w, const struct tide_replay *r, const struct tide_batch *b)
{
	w->last_ns = b->time_ns > w->last_ns ? b->time_ns : w->last_ns;
	bool ok = tide_trend_event(&w->trend, r, b->index + b->count - 1) && tell_caches(w, b);
	return ok ? TIDE_OK : TIDE_ERR_NOMEM;
}

#define LIVES_LEAST 8u /* of so many freed blocks the mean lifetime is worth something */
#define LIVES_LONG 8u  /* and a block that has lived so many times as long has outlived its kind */

static void note_old_blocks(struct tide_analysis *a, const struct tide_replay *r, uint64_t now_ns)
{
	struct tide_block_live b;
	for (size_t at = 0; tide_blocks_next(&r->blocks, &at, &b);) {
		const struct tide_site *s = &r->site[b.site];
		if (b.flags & TIDE_BLOCK_INHERITED) /* old, and no more than it was at the fork */
			continue;
		if (s->frees >= LIVES_LEAST && now_ns > b.time_ns &&
		    (now_ns - b.time_ns) / LIVES_LONG > s->lifetime_ns / s->frees)
			a->growth[b.site].old_bytes += b.size;
	}
}

enum tide_status tide_watch_finish(struct tide_watch *w, const struct tide_replay *r)
{
	struct tide_analysis *a = w->a;
	a->growth = calloc(r->sites + 1ull, sizeof *a->growth);
	if (!a->growth)
		return TIDE_ERR_NOMEM;
	for (uint32_t i = 0; i < r->sites; i++)
		tide_trend_site(r->site[i].counted_bytes ? &w->counted : &w->trend, r, i, &a->growth[i]);
	note_old_blocks(a, r, w->last_ns);
	for (uint32_t i = 0; i < r->sites; i++)
		a->growth[i].score = tide_growth_score(&a->growth[i], &r->site[i]);
	a->growths = r->sites;
	a->trend_points = w->trend.points;
	return TIDE_OK;
}
