/* What a log is of, and what of it was not seen. */
#include <stdlib.h>

#include "cli/build.h"
#include "render/safe.h"

json_t *tide_json_text(const char *text)
{
	char *clean = text ? tide_utf8_clean(text) : NULL;
	json_t *value = clean ? json_string(clean) : json_null();
	free(clean);
	return value;
}

json_t *tide_json_count(uint64_t value)
{
	return json_integer((json_int_t)(value > INT64_MAX ? INT64_MAX : value));
}

/* Log texts are "" where unknown; JSON says null. */
static json_t *text_or_null(const char *text)
{
	return tide_json_text(text && *text ? text : NULL);
}

json_t *tide_build_process(const struct tide_log *log)
{
	static const char *const ends[] = {"exit", "exec", "killed", "running"};
	const struct tide_process *p = tide_log_process(log);
	json_t *o = json_object();
	json_object_set_new(o, "pid", json_integer(p->super.pid));
	json_object_set_new(o, "ppid", json_integer(p->super.ppid));
	json_object_set_new(o, "name", text_or_null(p->name));
	json_object_set_new(o, "build_id", text_or_null(p->build_id));
	json_object_set_new(o, "boot_id", text_or_null(p->boot_id));
	json_object_set_new(o, "start_ns", tide_json_count(p->start_ns));
	json_object_set_new(o, "end_ns", tide_json_count(p->end_ns));
	json_object_set_new(o, "end", json_string(ends[p->end]));
	json_object_set_new(o, "allocator", text_or_null(p->allocator));
	json_object_set_new(o, "python", tide_json_text(p->python));
	json_object_set_new(o, "parent_pid", p->super.parent_uid ? json_integer(p->super.parent_pid) : json_null());
	json_object_set_new(o, "log", tide_json_text(p->path));
	return o;
}

json_t *tide_build_format(const struct tide_log *log)
{
	const struct tide_superblock *super = &tide_log_process(log)->super;
	return json_sprintf("%u.%u", (unsigned)super->version_major, (unsigned)super->version_minor);
}

/* null for what is no forked child. */
static json_t *inheritance(const struct tide_analysis *a)
{
	static const char *const known[] = {"", "whole", "some", "unsure"};
	if (!a || a->heir == TIDE_HEIR_NONE)
		return json_null();
	bool told = a->heir <= TIDE_HEIR_UNSURE;
	json_t *o = json_object();
	json_object_set_new(o, "known", json_string(a->heir_forgot ? "unsure" : told ? known[a->heir] : "no"));
	const char *reason = a->heir_forgot ? "this log no longer tells what of it was freed" : tide_heir_text(a->heir);
	json_object_set_new(o, "reason", text_or_null(reason));
	json_object_set_new(o, "blocks", told ? tide_json_count(a->heir_blocks) : json_null());
	json_object_set_new(o, "bytes", told ? tide_json_count(a->heir_bytes) : json_null());
	return o;
}

json_t *tide_build_coverage(const struct tide_log *log, const struct tide_analysis *a)
{
	const struct tide_losses *l = tide_log_losses(log);
	const struct tide_process *p = tide_log_process(log);
	const struct tide_carried *c = tide_log_carried(log);
	json_t *o = json_object(), *reasons = json_object();
	json_object_set_new(o, "events", tide_json_count(l->recorded));
	json_object_set_new(o, "in_window", tide_json_count(l->in_window));
	json_object_set_new(o, "evicted", tide_json_count(l->evicted));
	json_object_set_new(o, "lost", tide_json_count(l->lost));
	for (unsigned i = 0; tide_loss_name(i); i++)
		json_object_set_new(reasons, tide_loss_name(i), tide_json_count(l->dropped[i]));
	json_object_set_new(o, "lost_by_reason", reasons);
	json_object_set_new(o, "unmatched_frees", a ? tide_json_count(a->unmatched_frees) : json_null());
	json_object_set_new(o, "inherited_frees", a ? tide_json_count(a->inherited_frees) : json_null());
	json_object_set_new(o, "inheritance", inheritance(a));
	json_object_set_new(o, "double_allocations", a ? tide_json_count(a->doubled) : json_null());
	json_object_set_new(o, "truncated_stacks", a ? tide_json_count(a->cut_stacks) : json_null());
	json_object_set_new(o, "deep_stacks", a ? tide_json_count(a->deep_stacks) : json_null());
	json_object_set_new(o, "uncertain_bytes", a ? tide_json_count(a->uncertain_bytes) : json_null());
	json_object_set_new(o, "sample_bytes", tide_json_count(p->super.sample_bytes));
	json_object_set_new(o, "window_start_ns", tide_json_count(l->first_ns));
	json_object_set_new(o, "carried_blocks", tide_json_count(c->blocks));
	json_object_set_new(o, "carried_sample_bytes", tide_json_count(c->totals.sample_bytes));
	json_object_set_new(o, "forgotten_blocks",
			    tide_json_count(c->totals.dropped + c->totals.unknown + c->lost_blocks));
	json_object_set_new(o, "unverified_events", tide_json_count(l->unverified));
	json_object_set_new(o, "order_anomalies", tide_json_count(l->order_anomalies));
	json_object_set_new(o, "damaged", json_boolean(l->damaged));
	json_object_set_new(o, "python_sites_ns", a && a->sites_ns ? tide_json_count(a->sites_ns) : json_null());
	json_object_set_new(o, "python_siteless_blocks",
			    a && a->sites_ns ? tide_json_count(a->siteless_blocks) : json_null());
	json_object_set_new(o, "python_frames", p->python ? json_boolean(p->python_usable) : json_null());
	return o;
}
