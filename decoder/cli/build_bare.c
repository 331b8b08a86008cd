/* The report of a process that has no log: what can be told of its address space from outside, and what not. */
#include <stdio.h>

#include "analyze/bare.h"
#include "cli/build.h"

#define MIB 1048576.0

static json_t *text_or_null(const char *text)
{
	return tide_json_text(text && *text ? text : NULL);
}

static json_t *process(const struct tide_bare_subject *s, const struct tide_bare *b)
{
	json_t *o = json_object();
	json_object_set_new(o, "pid", json_integer(s->pid));
	json_object_set_new(o, "ppid", json_integer(s->ppid));
	json_object_set_new(o, "name", text_or_null(s->name));
	json_object_set_new(o, "build_id", json_null());
	json_object_set_new(o, "boot_id", json_null());
	json_object_set_new(o, "start_ns", tide_json_count(s->start_ns));
	json_object_set_new(o, "end_ns", tide_json_count(s->census->time_ns));
	json_object_set_new(o, "end", json_string("running"));
	json_object_set_new(o, "allocator", text_or_null(b->allocator));
	json_object_set_new(o, "python", json_null());
	json_object_set_new(o, "log", json_null());
	return o;
}

static json_t *ledger(const struct tide_space *space, const struct tide_bare *b)
{
	json_t *rows = json_array();
	int64_t rest = (int64_t)space->rss.resident;
	for (unsigned i = 0; i < TIDE_BARE_ROWS; i++) {
		json_array_append_new(rows, tide_row(&tide_table_ledger,
						     json_string(tide_bare_row_name((enum tide_bare_row)i)),
						     tide_json_count(b->row[i])));
		rest -= (int64_t)b->row[i];
	}
	return json_pack("{s:o, s:o, s:o, s:I}", "at_ns", tide_json_count(space->at_ns), "rss_bytes",
			 tide_json_count(space->rss.resident), "rows", rows, "unexplained_bytes", (json_int_t)rest);
}

static json_t *heaps(const struct tide_bare *b)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < b->heaps; i++) {
		const struct tide_bare_heap *h = &b->heap[i];
		json_array_append_new(rows, tide_row(&tide_table_arenas,
						     json_string(h->thread ? "glibc-thread" : "glibc-main"),
						     tide_json_count(h->base), tide_json_count(h->reserved),
						     tide_json_count(h->resident), json_null(), json_null(),
						     json_null(), json_null(), json_null()));
	}
	return rows;
}

static json_t *verdict(const struct tide_space *space, const struct tide_bare *b)
{
	uint64_t heap = b->row[TIDE_BARE_HEAP] + b->row[TIDE_BARE_THREAD_HEAPS];
	uint64_t files = b->row[TIDE_BARE_FILE_PRIVATE] + b->row[TIDE_BARE_FILE_SHARED];
	char state[200];
	snprintf(state, sizeof state,
		 "%.1f MiB resident: %.1f MiB in malloc's heaps, %.1f MiB in other mappings of no file, %.1f MiB of "
		 "files",
		 (double)space->rss.resident / MIB, (double)heap / MIB, (double)b->row[TIDE_BARE_ANONYMOUS] / MIB,
		 (double)files / MIB);
	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:[]}", "class", "unknown", "bytes", 0, "state", state, "trigger",
			 "unknown: this process has no log", "consequence", "unknown", "advice");
}

/* What only a log can tell. */
static json_t *unknown(const struct tide_bare *b)
{
	json_t *list = json_array();
	char line[200];
	json_array_append_new(list, json_string("which blocks of the heaps live, and which stacks allocated them"));
	json_array_append_new(list, json_string("what of the heaps malloc_trim would give back"));
	json_array_append_new(
		list, json_string("which of the other mappings are malloc's big blocks, and which the program's own"));
	if (*b->python) {
		snprintf(line, sizeof line, "which of them are Python's arenas (%s is loaded)", b->python);
		json_array_append_new(list, tide_json_text(line));
	}
	return list;
}

enum tide_status tide_build_bare(const struct tide_bare_subject *s, json_t **ret)
{
	struct tide_space space;
	struct tide_bare bare;
	enum tide_status status = tide_space_init(&space, s->census);
	if (status)
		return status;
	status = tide_bare_init(&bare, &space);
	if (!status) {
		json_t *o = json_object();
		json_object_set_new(o, "tidemark", json_pack("{s:s, s:n}", "version", TIDEMARK_VERSION, "format"));
		json_object_set_new(o, "process", process(s, &bare));
		json_object_set_new(o, "coverage", json_null());
		json_object_set_new(o, "verdict", verdict(&space, &bare));
		json_object_set_new(o, "ledger", ledger(&space, &bare));
		json_object_set_new(o, "peak",
				    json_pack("{s:n, s:n, s:o}", "at_ns", "live_bytes", "rss_bytes",
					      space.rss.peak ? tide_json_count(space.rss.peak) : json_null()));
		json_object_set_new(o, "totals", json_null());
		json_object_set_new(o, "arenas", heaps(&bare));
		json_object_set_new(o, "unknown", unknown(&bare));
		tide_bare_release(&bare);
		*ret = o;
	}
	tide_space_release(&space);
	return status;
}
