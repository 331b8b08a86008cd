/* The verdict in words. Every number in a sentence is one of the analysis'; without the evidence the class is unknown. */
#include <stdarg.h>
#include <stdio.h>

#include "analyze/verdict.h"
#include "cli/build.h"

#define MIB 1048576.0
#define TEXT 700u

__attribute__((format(printf, 1, 2))) static json_t *text(const char *format, ...)
{
	char line[TEXT];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	return tide_json_text(line);
}

static json_t *advise(const char *action, uint64_t releases, json_t *evidence)
{
	return json_pack("{s:s, s:o, s:o}", "action", action, "releases_bytes", tide_json_count(releases), "evidence",
			 evidence);
}

/* Where a pin's blocks come from: the application's line first, then the function below which all were made, if it is another's. */
static json_t *pin_place(const struct tide_loaded *l, const struct tide_pin *p)
{
	json_t *made = tide_build_place_at(l, p->made_native, p->made_python);
	json_t *under = tide_build_place_at(l, p->native, p->python), *both;
	if (json_equal(made, under) || (p->made_native == p->native && p->made_python == p->python)) {
		json_decref(made);
		return under;
	}
	both = text("%s (all made below %s)", json_string_value(made), json_string_value(under));
	json_decref(made);
	json_decref(under);
	return both;
}

/* Pins whose blocks would bring something back, as many as the smallest set for 80 % has, at most three. */
static void advise_pins(const struct tide_loaded *l, json_t *advice)
{
	const struct tide_analysis *a = l->analysis;
	for (uint32_t i = 0; i < a->worthy_pins && i < 3; i++) {
		const struct tide_pin *p = &a->pin[i];
		char action[TEXT];
		if (p->releases_bytes < a->ledger.stranded / 20 || p->releases_bytes < p->bytes)
			continue;
		json_t *place = pin_place(l, p);
		snprintf(action, sizeof action, "drop, or make elsewhere, the %llu blocks of %s",
			 (unsigned long long)p->blocks, json_string_value(place));
		json_decref(place);
		json_array_append_new(advice, advise(action, p->releases_bytes,
						     text("model of the allocator: %.1f MiB stranded where they sit%s",
							  (double)p->pins_bytes / MIB,
							  p->returns_bytes >= p->releases_bytes / 10 * 9
								  ? ""
								  : "; then call malloc_trim(0)")));
	}
}

static void advise_trim(const struct tide_analysis *a, json_t *advice)
{
	const struct tide_ledger *l = &a->ledger;
	if (!l->trim_known || l->trim < l->stranded / 20 || l->trim < (1u << 20))
		return;
	json_array_append_new(
		advice,
		advise("call malloc_trim(0) when idle", l->trim,
		       text("model of glibc: whole free pages between live chunks; up to %.1f MiB less for what thread "
			    "caches may hold",
			    (double)l->trim_error / MIB)));
}

static json_t *advice_of(const struct tide_loaded *l, const struct tide_verdict *v)
{
	json_t *advice = json_array();
	if (v->class != TIDE_VERDICT_RETENTION)
		return advice;
	if (v->kept >= v->idle / 2)
		json_array_append_new(
			advice,
			json_pack("{s:s, s:n, s:s}", "action", "let threads share arenas: set MALLOC_ARENA_MAX=1 or 2",
				  "releases_bytes", "evidence",
				  "not predicted: tidemark replay carries it out and measures it; a lower "
				  "MALLOC_TRIM_THRESHOLD_ released nothing where it was tried"));
	if (v->idle_python >= v->idle - v->idle_python) {
		advise_pins(l, advice);
		advise_trim(l->analysis, advice);
	} else {
		advise_trim(l->analysis, advice);
		advise_pins(l, advice);
	}
	return advice;
}

/* Live bytes grow, and no site is known to: too few censuses counted Python's blocks, or none did. */
static json_t *growth_without_site(const struct tide_loaded *l, const struct tide_verdict *v)
{
	const struct tide_replay *r = &l->analysis->state;
	uint32_t most = 0;
	for (uint32_t i = 1; i < r->sites; i++)
		most = r->site[i].live_bytes > r->site[most].live_bytes ? i : most;
	if (r->sites == 0 || r->site[most].live_bytes < v->live_grown / 10)
		return text(
			"live bytes rose by %.1f MiB over the later censuses; which lines made them is not in this log",
			(double)v->live_grown / MIB);
	json_t *place = tide_build_place(l, most), *line;
	line = text("live bytes rose by %.1f MiB over the later censuses; of which lines is not known, most is live of "
		    "%s: %.1f MiB",
		    (double)v->live_grown / MIB, json_string_value(place), (double)r->site[most].live_bytes / MIB);
	json_decref(place);
	return line;
}

static json_t *leak_trigger(const struct tide_loaded *l, const struct tide_verdict *v)
{
	const struct tide_analysis *a = l->analysis;
	if (!v->growing_sites || v->grown < v->live_grown / 10)
		return growth_without_site(l, v);
	json_t *place = tide_build_place(l, v->worst), *line;
	line = text("%u %s; most at %s: %.1f MiB more in the last half, %llu blocks now", v->growing_sites,
		    v->growing_sites == 1 ? "stack grows" : "stacks grow", json_string_value(place),
		    (double)a->growth[v->worst].bytes / MIB, (unsigned long long)a->state.site[v->worst].live_blocks);
	json_decref(place);
	return line;
}

#define TYPES_SAID 3u

/* " (40 Session, 40 str)", or nothing. */
static void types_of(const struct tide_analysis *a, const struct tide_pin *p, char *ret, size_t room)
{
	size_t len = 0;
	*ret = '\0';
	for (uint32_t i = 0; i < p->types && i < TYPES_SAID && len < room; i++)
		len += (size_t)snprintf(ret + len, room - len, "%s%llu %.40s", i ? ", " : " (",
					(unsigned long long)p->type[i].blocks, a->types.name[p->type[i].type - 1]);
	if (len && len < room)
		snprintf(ret + len, room - len, ")");
}

static json_t *retention_trigger(const struct tide_loaded *l, const struct tide_verdict *v)
{
	const struct tide_analysis *a = l->analysis;
	bool python = v->idle_python >= v->idle - v->idle_python;
	if (!python && v->thread_arenas > 1 && v->thread_idle >= v->idle / 2)
		return text("%u thread arenas keep %.1f MiB of freed memory", v->thread_arenas,
			    (double)v->thread_idle / MIB);
	if (a->worthy_pins == 0 || a->pin[0].pins_bytes < v->idle / 10)
		return text(python ? "unknown: TIDEMARK_PYTHON=sites shows which blocks hold the arenas"
				   : "freed memory that the allocator keeps; no few blocks hold it");
	const struct tide_pin *p = &a->pin[0];
	json_t *place = pin_place(l, p), *line;
	char types[200];
	types_of(a, p, types, sizeof types);
	line = text("%llu %s%s made at %s %s %.1f MiB in %llu %s", (unsigned long long)p->blocks,
		    p->blocks == 1 ? "block" : "blocks", types, json_string_value(place),
		    p->blocks == 1 ? "holds" : "hold", (double)p->pins_bytes / MIB, (unsigned long long)p->arenas,
		    p->arenas == 1 ? "arena" : "arenas");
	json_decref(place);
	return line;
}

static json_t *outside_trigger(const struct tide_verdict *v)
{
	if (v->mapped >= v->stacks && v->mapped >= v->data)
		return text("%.1f MiB resident in mappings that the program made itself", (double)v->mapped / MIB);
	if (v->stacks >= v->data)
		return text("%.1f MiB resident in stacks", (double)v->stacks / MIB);
	return text("%.1f MiB resident of mapped files", (double)v->data / MIB);
}

static json_t *trigger_of(const struct tide_loaded *l, const struct tide_verdict *v)
{
	switch (v->class) {
	case TIDE_VERDICT_LEAK:
		return leak_trigger(l, v);
	case TIDE_VERDICT_RETENTION:
		return retention_trigger(l, v);
	case TIDE_VERDICT_OUTSIDE:
		return outside_trigger(v);
	case TIDE_VERDICT_STEADY:
		return text("what is live does not grow any more");
	default:
		return text("unknown: too little happened to tell growth from a cache");
	}
}

static const char *consequence_of(const struct tide_analysis *a, const struct tide_verdict *v)
{
	switch (v->class) {
	case TIDE_VERDICT_LEAK:
		return "grows until the process is ended";
	case TIDE_VERDICT_RETENTION:
		if (v->idle_python >= v->idle - v->idle_python)
			return "pymalloc gives an arena back only when its last pool is empty";
		if (a->ledger.by_itself >= v->idle / 2)
			return "glibc gives it back by itself with the next frees";
		if (a->ledger.trim_known && a->ledger.trim >= v->idle / 2)
			return "stays until malloc_trim is called, or new allocations use it";
		if (v->kept >= v->idle / 2)
			return "stays for the threads' next allocations: malloc_trim does not cut the end of a "
			       "thread's heap";
		return a->ledger.trim_known ? "stays until the blocks on its pages die"
					    : "unknown: the allocator is not glibc's";
	case TIDE_VERDICT_OUTSIDE:
		if (v->data > v->mapped && v->data > v->stacks)
			return "the kernel takes clean file pages back when it needs memory";
		return "stays until the program unmaps it";
	case TIDE_VERDICT_STEADY:
		return "stays as it is";
	default:
		return "unknown";
	}
}

/* Adds up to what is resident; what no row explains is among programs and libraries. */
static json_t *state_of(const struct tide_ledger *l, const struct tide_verdict *v)
{
	uint64_t ours = l->row[TIDE_ROW_TIDEMARK], rest = v->own + ours;
	if (!l->known)
		return text("no census of resident memory in this log");
	return text("%.1f MiB resident: %.1f MiB live, %.1f MiB free and kept, %.1f MiB outside the heaps; programs "
		    "and libraries %.1f MiB, tidemark itself %.1f MiB",
		    (double)l->rss / MIB, (double)v->live / MIB, (double)v->idle / MIB, (double)v->outside / MIB,
		    (double)(l->rss > rest ? l->rss - rest : 0) / MIB, (double)ours / MIB);
}

json_t *tide_build_verdict(const struct tide_loaded *l)
{
	static const char *const names[] = {"unknown", "leak", "retention", "growth_outside_heap", "cache_or_steady"};
	struct tide_verdict v;
	tide_verdict_of(l->analysis, &v);
	json_t *state = state_of(&l->analysis->ledger, &v);
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:o}", "class", names[v.class], "bytes", tide_json_count(v.bytes),
			 "state", state, "trigger", trigger_of(l, &v), "consequence", consequence_of(l->analysis, &v),
			 "advice", advice_of(l, &v));
}
