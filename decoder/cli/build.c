#include "cli/build.h"

#include <stdlib.h>
#include <string.h>

#include "symbols/symbols.h"

json_t *tide_json_text(const char *text)
{
	if (!text)
		return json_null();
	json_t *value = json_string(text);
	if (value)
		return value;
	/* not UTF-8: bytes beyond ASCII become '?' */
	char *copy = strdup(text);
	for (char *c = copy; c && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	value = copy ? json_string(copy) : json_null();
	free(copy);
	return value;
}

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)(value > INT64_MAX ? INT64_MAX : value));
}

static bool add_frame(void *frames, const struct tide_symbol *s)
{
	json_t *frame = json_object();
	json_object_set_new(frame, "function", s->cut ? json_string("[stack cut here]") : tide_json_text(s->function));
	json_object_set_new(frame, "file", tide_json_text(s->file));
	json_object_set_new(frame, "line", s->line > 0 ? json_integer(s->line) : json_null());
	json_object_set_new(frame, "module", tide_json_text(s->module));
	json_object_set_new(frame, "offset", integer(s->offset));
	json_object_set_new(frame, "language", json_string(s->python ? "python" : "native"));
	json_object_set_new(frame, "inlined", json_boolean(s->inlined));
	json_array_append_new(frames, frame);
	return true;
}

json_t *tide_build_stack(const struct tide_loaded *l, uint32_t native, uint32_t python)
{
	json_t *frames = json_array();
	tide_symbols_site(l->symbols, native, python, add_frame, frames);
	return frames;
}

json_t *tide_build_process(const struct tide_log *log)
{
	static const char *const ends[] = {"exit", "exec", "killed", "running"};
	const struct tide_process *p = tide_log_process(log);
	json_t *o = json_object();
	json_object_set_new(o, "pid", json_integer(p->super.pid));
	json_object_set_new(o, "ppid", json_integer(p->super.ppid));
	json_object_set_new(o, "name", tide_json_text(p->name));
	json_object_set_new(o, "build_id", tide_json_text(p->build_id));
	json_object_set_new(o, "boot_id", tide_json_text(p->boot_id));
	json_object_set_new(o, "start_ns", integer(p->start_ns));
	json_object_set_new(o, "end_ns", integer(p->end_ns));
	json_object_set_new(o, "end", json_string(ends[p->end]));
	json_object_set_new(o, "allocator", tide_json_text(p->allocator));
	json_object_set_new(o, "python", tide_json_text(p->python));
	json_object_set_new(o, "parent_pid", p->super.parent_uid ? json_integer(p->super.parent_pid) : json_null());
	json_object_set_new(o, "log", tide_json_text(p->path));
	return o;
}

json_t *tide_build_coverage(const struct tide_log *log, const struct tide_analysis *a)
{
	const struct tide_losses *l = tide_log_losses(log);
	const struct tide_process *p = tide_log_process(log);
	json_t *o = json_object(), *reasons = json_object();
	json_object_set_new(o, "events", integer(l->recorded));
	json_object_set_new(o, "in_window", integer(l->in_window));
	json_object_set_new(o, "evicted", integer(l->evicted));
	json_object_set_new(o, "lost", integer(l->lost));
	for (unsigned i = 0; tide_loss_name(i); i++)
		json_object_set_new(reasons, tide_loss_name(i), integer(l->dropped[i]));
	json_object_set_new(o, "lost_by_reason", reasons);
	json_object_set_new(o, "unmatched_frees", a ? integer(a->unmatched_frees) : json_null());
	json_object_set_new(o, "truncated_stacks", a ? integer(a->cut_stacks) : json_null());
	json_object_set_new(o, "uncertain_bytes", a ? integer(a->uncertain_bytes) : json_null());
	json_object_set_new(o, "sample_bytes", integer(p->super.sample_bytes));
	json_object_set_new(o, "window_start_ns", integer(l->first_ns));
	json_object_set_new(o, "order_anomalies", integer(l->order_anomalies));
	json_object_set_new(o, "python_frames", json_boolean(p->python && p->python_usable));
	return o;
}

struct place {
	char text[600];
	const char *function;
};

/* The innermost Python frame, else the innermost native one that is no library's allocation wrapper. */
static bool note_place(void *arg, const struct tide_symbol *s)
{
	static const char *const wrappers[] = {"operator new", "strdup",    "__libc_",   "g_malloc",
					       "PyMem_",       "PyObject_", "_PyObject_"};
	struct place *p = arg;
	const char *file = s->file ? strrchr(s->file, '/') : NULL;
	if (s->cut)
		return false;
	for (size_t i = 0; !s->python && s->function && i < sizeof wrappers / sizeof *wrappers; i++)
		if (strncmp(s->function, wrappers[i], strlen(wrappers[i])) == 0)
			return true;
	file = file ? file + 1 : s->file;
	if (file && s->line > 0)
		snprintf(p->text, sizeof p->text, "%s %s:%d", s->function ? s->function : "?", file, s->line);
	else if (s->function)
		snprintf(p->text, sizeof p->text, "%s", s->function);
	else
		snprintf(p->text, sizeof p->text, "%s+0x%llx", s->module ? s->module : "?",
			 (unsigned long long)s->offset);
	return false;
}

json_t *tide_build_place(const struct tide_loaded *l, uint32_t site)
{
	struct place place = {.text = "(unknown)"};
	const struct tide_site *s = &l->analysis->state.site[site];
	tide_symbols_site(l->symbols, s->native, s->python, note_place, &place);
	return tide_json_text(place.text);
}

static json_t *site_row(const struct tide_loaded *l, uint32_t i)
{
	const struct tide_site *s = &l->analysis->state.site[i];
	uint64_t bytes = s->live_bytes;
	json_t *row = json_object();
	bool gap = l->analysis->uncertain_bytes >= l->analysis->state.live_bytes && l->analysis->uncertain_bytes;
	json_object_set_new(row, "place", tide_build_place(l, i));
	json_object_set_new(row, "bytes", integer(bytes));
	json_object_set_new(row, "blocks", integer(s->live_blocks));
	/* how much of what the site ever allocated is still there: 1 means that nothing was ever freed */
	json_object_set_new(row, "score", json_real(s->alloc_bytes ? (double)bytes / (double)s->alloc_bytes : 0));
	json_object_set_new(row, "uncertain_bytes", integer(gap ? bytes : 0));
	json_object_set_new(row, "first_ns", integer(s->first_ns));
	json_object_set_new(row, "last_ns", integer(s->last_ns));
	json_object_set_new(row, "allocs", integer(s->allocs));
	json_object_set_new(row, "alloc_bytes", integer(s->alloc_bytes));
	json_object_set_new(row, "peak_bytes", integer(s->peak_bytes));
	json_object_set_new(row, "stack", tide_build_stack(l, s->native, s->python));
	return row;
}

static json_t *sites(const struct tide_loaded *l, enum tide_order order, unsigned top)
{
	json_t *rows = json_array();
	uint32_t *site = tide_sites_by(l->analysis, order);
	for (uint32_t i = 0; site && i < l->analysis->state.sites && i < top; i++)
		if (tide_site_measure(&l->analysis->state.site[site[i]], order))
			json_array_append_new(rows, site_row(l, site[i]));
	free(site);
	return rows;
}

static json_t *ledger(const struct tide_ledger *l)
{
	if (!l->known)
		return json_null();
	json_t *o = json_object(), *rows = json_array();
	int64_t rest = (int64_t)l->rss;
	for (unsigned i = 0; i < TIDE_ROWS; i++) {
		json_array_append_new(rows, json_pack("{s:s, s:o}", "kind", tide_row_name((enum tide_row)i), "bytes",
						      integer(l->row[i])));
		rest -= (int64_t)l->row[i];
	}
	json_object_set_new(o, "at_ns", integer(l->at_ns));
	json_object_set_new(o, "rss_bytes", integer(l->rss));
	json_object_set_new(o, "rows", rows);
	json_object_set_new(o, "unexplained_bytes", json_integer(rest));
	return o;
}

static json_t *pins(const struct tide_loaded *l, unsigned top)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < l->analysis->pins && i < top; i++) {
		const struct tide_pin *p = &l->analysis->pin[i];
		const struct tide_site *s = &l->analysis->state.site[p->site];
		json_t *row = json_object();
		json_object_set_new(row, "place", tide_build_place(l, p->site));
		json_object_set_new(row, "releases_bytes", integer(p->releases_bytes));
		json_object_set_new(row, "pins_bytes", integer(p->pins_bytes));
		json_object_set_new(row, "blocks", integer(p->blocks));
		json_object_set_new(row, "bytes", integer(p->bytes));
		json_object_set_new(row, "types", json_array()); /* none known: no log says types yet */
		json_object_set_new(row, "arenas", integer(p->arenas));
		json_object_set_new(row, "stack", tide_build_stack(l, s->native, s->python));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *arenas(const struct tide_analysis *a)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < a->arenas; i++) {
		const struct tide_arena *r = &a->arena[i];
		json_array_append_new(rows, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", r->kind, "base",
						      integer(r->base), "reserved_bytes", integer(r->reserved),
						      "resident_bytes", integer(r->resident), "live_bytes",
						      integer(r->live_bytes), "live_blocks", integer(r->live_blocks),
						      "stranded_bytes", integer(r->stranded)));
	}
	return rows;
}

static json_t *timeline(const struct tide_analysis *a)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < a->samples; i++)
		json_array_append_new(rows, json_pack("{s:o, s:n, s:o, s:n}", "at_ns", integer(a->sample[i].at_ns),
						      "rss_bytes", "live_bytes", integer(a->sample[i].live_bytes),
						      "reserved_bytes"));
	return rows;
}

json_t *tide_build_report(const struct tide_loaded *l, unsigned top)
{
	const struct tide_analysis *a = l->analysis;
	json_t *o = json_object(), *totals = json_object();
	json_object_set_new(o, "tidemark", json_pack("{s:s, s:s}", "version", TIDEMARK_VERSION, "format", "1.0"));
	json_object_set_new(o, "process", tide_build_process(l->log));
	json_object_set_new(o, "coverage", tide_build_coverage(l->log, a));
	json_object_set_new(o, "verdict", tide_build_verdict(l));
	json_object_set_new(o, "ledger", ledger(&a->ledger));
	json_object_set_new(o, "peak",
			    json_pack("{s:o, s:o, s:o}", "at_ns", integer(a->peak_ns), "live_bytes",
				      integer(a->peak_bytes), "rss_bytes",
				      a->ledger.peak_rss ? integer(a->ledger.peak_rss) : json_null()));
	json_object_set_new(totals, "allocs", integer(a->allocs));
	json_object_set_new(totals, "frees", integer(a->frees));
	json_object_set_new(totals, "alloc_bytes", integer(a->alloc_bytes));
	json_object_set_new(totals, "live_bytes", integer(a->state.live_bytes));
	json_object_set_new(totals, "live_blocks", integer(a->state.live_blocks));
	json_object_set_new(o, "totals", totals);
	json_object_set_new(o, "leaks", sites(l, TIDE_BY_LIVE, top));
	json_object_set_new(o, "top", sites(l, TIDE_BY_ALLOCATED, top));
	json_object_set_new(o, "at_peak", sites(l, TIDE_BY_PEAK, top));
	json_object_set_new(o, "pins", pins(l, top));
	json_object_set_new(o, "arenas", arenas(a));
	json_object_set_new(o, "timeline", timeline(a));
	return o;
}
