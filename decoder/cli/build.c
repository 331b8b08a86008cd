/* The report of one log. */
#include "cli/build.h"

#include <stdlib.h>
#include <string.h>

json_t *tide_build_place_at(const struct tide_loaded *l, uint32_t native, uint32_t python)
{
	struct tide_profile one = {0};
	struct tide_site site = {.native = native, .python = python, .allocs = 1, .live_blocks = 1, .live_bytes = 1};
	struct tide_analysis just = *l->analysis;
	just.state.site = &site;
	just.state.sites = 1;
	just.pins = just.worthy_pins = 0;
	just.growths = 0;
	json_t *place = tide_profile_add(&one, &just, l->symbols, NULL, 0) || !one.rows
				? tide_build_place_of(NULL)
				: tide_build_place_of(tide_profile_place(&one, &one.row[0]));
	tide_profile_release(&one);
	return place;
}

json_t *tide_build_place(const struct tide_loaded *l, uint32_t site)
{
	const struct tide_site *s = &l->analysis->state.site[site];
	return tide_build_place_at(l, s->native, s->python);
}

static json_t *ledger(const struct tide_ledger *l)
{
	if (!l->known)
		return json_null();
	json_t *o = json_object(), *rows = json_array();
	int64_t rest = (int64_t)l->rss;
	for (unsigned i = 0; i < TIDE_ROWS; i++) {
		json_array_append_new(rows, tide_row(&tide_table_ledger, json_string(tide_row_name((enum tide_row)i)),
						     tide_json_count(l->row[i])));
		rest -= (int64_t)l->row[i];
	}
	json_object_set_new(o, "at_ns", tide_json_count(l->at_ns));
	json_object_set_new(o, "rss_bytes", tide_json_count(l->rss));
	json_object_set_new(o, "rows", rows);
	json_object_set_new(o, "unexplained_bytes", json_integer(rest));
	return o;
}

static bool append_frame(void *frames, const struct tide_symbol *s)
{
	json_array_append_new(frames, tide_build_frame(s));
	return true;
}

static json_t *types_of(const struct tide_analysis *a, const struct tide_pin *p)
{
	json_t *types = json_array();
	for (uint32_t i = 0; i < p->types; i++)
		json_array_append_new(types, json_pack("{s:o, s:o}", "name",
						       tide_json_text(a->types.name[p->type[i].type - 1]), "blocks",
						       tide_json_count(p->type[i].blocks)));
	return types;
}

static json_t *pins(const struct tide_loaded *l, size_t top)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < l->analysis->worthy_pins && i < top; i++) {
		const struct tide_pin *p = &l->analysis->pin[i];
		const struct tide_site *s = &l->analysis->state.site[p->site];
		json_t *stack = json_array(), *place = tide_build_place_at(l, p->made_native, p->made_python);
		json_t *under = tide_build_place_at(l, p->native, p->python);
		tide_symbols_site(l->symbols, s->native, s->python, append_frame, stack);
		json_array_append_new(rows, tide_row(&tide_table_pins, tide_json_count(p->pins_bytes),
						     tide_json_count(p->releases_bytes), tide_json_count(p->arenas),
						     tide_json_count(p->blocks), tide_json_count(p->bytes),
						     tide_json_count(p->inherited_bytes), place, under,
						     types_of(l->analysis, p), stack));
	}
	return rows;
}

static json_t *arenas(const struct tide_analysis *a)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < a->arenas; i++) {
		const struct tide_arena *r = &a->arena[i];
		json_t *row = tide_row(&tide_table_arenas, json_string(r->kind), tide_json_count(r->base),
				       tide_json_count(r->reserved), tide_json_count(r->resident),
				       tide_json_count(r->live_bytes), tide_json_count(r->stranded),
				       tide_json_count(r->reserve), tide_json_count(r->live_blocks),
				       json_string(tide_consequence_name(r->consequence)));
		json_object_set_new(row, "map", *r->map ? json_string(r->map) : json_null());
		json_array_append_new(rows, row);
	}
	return rows;
}

static bool has_unseen(const struct tide_analysis *a)
{
	for (uint32_t i = 0; i < a->moments; i++)
		if (a->moment[i].unseen)
			return true;
	return false;
}

/* Live bytes at moments spread over the events, and all three at each census. Where no event tells of what is in pymalloc's pools, that
 * is as of the last census, and live bytes are unknown before the first one. */
static json_t *timeline(const struct tide_analysis *a)
{
	json_t *rows = json_array();
	bool known = !has_unseen(a);
	uint64_t unseen = 0; /* as of the last census */
	uint32_t i = 0, k = 0;
	while (i < a->samples || k < a->moments) {
		const struct tide_moment *m = k < a->moments ? &a->moment[k] : NULL;
		const struct tide_sample *s = i < a->samples ? &a->sample[i] : NULL;
		if (!m || (s && s->at_ns <= m->at_ns)) {
			json_t *live = known ? tide_json_count(s->live_bytes + unseen) : json_null();
			json_array_append_new(rows, tide_row(&tide_table_timeline, tide_json_count(s->at_ns), live,
							     json_null(), json_null()));
			i++;
		} else {
			json_array_append_new(rows, tide_row(&tide_table_timeline, tide_json_count(m->at_ns),
							     tide_json_count(m->live), tide_json_count(m->rss),
							     tide_json_count(m->reserved)));
			known = true;
			unseen = m->unseen;
			k++;
		}
	}
	return rows;
}

static json_t *peak(const struct tide_analysis *a)
{
	return json_pack("{s:o, s:o, s:o}", "at_ns", tide_json_count(a->peak_ns), "live_bytes",
			 tide_json_count(a->peak_bytes), "rss_bytes",
			 a->ledger.peak_rss ? tide_json_count(a->ledger.peak_rss) : json_null());
}

static json_t *totals(const struct tide_analysis *a)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "allocs", tide_json_count(a->allocs), "frees",
			 tide_json_count(a->frees), "alloc_bytes", tide_json_count(a->alloc_bytes), "live_bytes",
			 tide_json_count(a->state.live_bytes), "live_blocks", tide_json_count(a->state.live_blocks),
			 "inherited_bytes", tide_json_count(a->state.inherited_bytes), "inherited_blocks",
			 tide_json_count(a->state.inherited_blocks), "counted_bytes",
			 tide_json_count(a->state.counted_bytes), "counted_blocks", tide_json_count(a->counted_blocks));
}

static void add_sites(json_t *o, const struct tide_loaded *l, const struct tide_table *table, size_t top)
{
	struct tide_profile profile = {0};
	if (tide_gather_sites(&profile, l, table) == TIDE_OK) {
		json_object_set_new(o, table->id, tide_build_sites(&profile, table, top));
		if (table == &tide_table_leaks)
			tide_build_lines(o, &profile, top);
	}
	tide_profile_release(&profile);
}

static bool asked(const struct tide_wanted *w, const char *member)
{
	return !w->section || strcmp(w->section, member) == 0;
}

json_t *tide_build_report(const struct tide_loaded *l, const struct tide_wanted *w)
{
	const struct tide_analysis *a = l->analysis;
	json_t *o = json_object();
	json_object_set_new(o, "tidemark",
			    json_pack("{s:s, s:o}", "version", TIDEMARK_VERSION, "format", tide_build_format(l->log)));
	json_object_set_new(o, "process", tide_build_process(l->log));
	json_object_set_new(o, "coverage", tide_build_coverage(l->log, a));
	json_object_set_new(o, "totals", totals(a));
	json_object_set_new(o, "peak", peak(a));
	json_object_set_new(o, "ledger", ledger(&a->ledger));
	json_object_set_new(o, "verdict", tide_build_verdict(l));
	if (asked(w, "leaks"))
		add_sites(o, l, &tide_table_leaks, w->top);
	if (asked(w, "top"))
		add_sites(o, l, &tide_table_top, w->top);
	if (asked(w, "at_peak"))
		add_sites(o, l, &tide_table_peak, w->top);
	if (asked(w, "pins"))
		json_object_set_new(o, "pins", pins(l, w->top));
	if (asked(w, "arenas"))
		json_object_set_new(o, "arenas", arenas(a));
	if (asked(w, "predictions") || asked(w, "pins"))
		json_object_set_new(o, "predictions", tide_build_predictions(l));
	if (asked(w, "timeline"))
		json_object_set_new(o, "timeline", timeline(a));
	return o;
}
