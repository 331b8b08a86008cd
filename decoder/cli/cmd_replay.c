/* replay: the log's allocations carried out again under other settings of glibc and under other allocators. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "cli/opts.h"
#include "cli/output.h"
#include "render/text.h"
#include "render/value.h"
#include "rerun/rerun.h"

enum {
	SETTINGS_MOST = 32,
	TRIM_MS = 1000,
	TIMEOUT_S = 600,
	POINTS_MOST = 256, /* of a timeline */
	BAR = 60           /* characters of the text plot */
};

static json_t *points(const struct tide_rerun *r, const struct tide_rerun_row *row)
{
	json_t *all = json_array();
	uint64_t step = row->samples / POINTS_MOST + 1;
	for (uint64_t i = 0; i < row->samples; i += step) { /* the highest of each step, so that no peak is lost */
		uint64_t best = i;
		for (uint64_t k = i; k < i + step && k < row->samples; k++)
			best = row->rss[k] > row->rss[best] ? k : best;
		json_array_append_new(all, json_pack("{s:o, s:o}", "at_ns", tide_json_count(r->plan.sample[best].at_ns),
						     "rss_bytes", tide_json_count(row->rss[best])));
	}
	return all;
}

static json_t *difference(uint64_t from, uint64_t to)
{
	return json_integer((json_int_t)(to - from));
}

/* A difference within the error bar says nothing. */
static const char *certainty(const struct tide_rerun *r, const struct tide_rerun_row *row)
{
	uint64_t a = r->row[0].end_rss, b = row->end_rss, pa = r->row[0].peak_rss, pb = row->peak_rss;
	uint64_t end = a > b ? a - b : b - a, peak = pa > pb ? pa - pb : pb - pa;
	if (row == &r->row[0] || !r->compared)
		return row == &r->row[0] ? "" : "unknown";
	return end > r->error_bytes || peak > r->error_bytes ? "yes" : "within error";
}

static json_t *row_of(const struct tide_rerun *r, const struct tide_rerun_row *row)
{
	const struct tide_rerun_row *as_is = &r->row[0];
	bool ran = row->ran;
	return tide_row(
		&tide_table_replay, json_string(row->setting->name), ran ? tide_json_count(row->peak_rss) : json_null(),
		ran ? difference(as_is->peak_rss, row->peak_rss) : json_null(),
		ran ? tide_json_count(row->end_rss) : json_null(),
		ran ? difference(as_is->end_rss, row->end_rss) : json_null(),
		ran ? json_string(certainty(r, row)) : json_string("did not run"), tide_json_text(row->title),
		ran ? json_null() : tide_json_text(row->why), tide_json_text(row->setting->note),
		ran ? tide_json_count(row->floor) : json_null(), ran ? tide_json_count(row->failed) : json_null(),
		ran ? tide_json_count(row->failed_bytes) : json_null(),
		ran ? tide_json_count((uint64_t)(row->seconds * 1000)) : json_null(),
		ran ? points(r, row) : json_array());
}

static json_t *recorded(const struct tide_rerun *r)
{
	json_t *censuses = json_array();
	for (uint32_t i = 0; i < r->survey.recordeds; i++)
		json_array_append_new(censuses, json_pack("{s:o, s:o, s:o}", "at_ns",
							  tide_json_count(r->survey.recorded[i].at_ns), "rss_bytes",
							  tide_json_count(r->survey.recorded[i].rss), "heap_bytes",
							  tide_json_count(r->survey.recorded[i].heap)));
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "peak_rss_bytes",
			 r->recorded_peak ? tide_json_count(r->recorded_peak) : json_null(), "end_rss_bytes",
			 r->recorded_end ? tide_json_count(r->recorded_end) : json_null(), "rest_bytes",
			 r->recorded_end ? tide_json_count(r->rest) : json_null(), "peak_live_bytes",
			 tide_json_count(r->survey.peak_live), "censuses", censuses);
}

/* What a reader must know beside the numbers. */
static json_t *notes(const struct tide_log *log, const struct tide_rerun *r)
{
	const struct tide_process *p = tide_log_process(log);
	json_t *all = json_array();
	if (!r->compared)
		json_array_append_new(
			all, json_string("the log has no census: nothing to compare with, and what was written of big "
					 "blocks is not known"));
	if (r->touch_all)
		json_array_append_new(
			all,
			json_string("all bytes of every block are written: the recorded curve is met better so than by "
				    "what the censuses saw resident"));
	const struct tide_carried *c = tide_log_carried(log);
	if (c->epoch)
		json_array_append_new(
			all,
			json_sprintf("the first events were overwritten: the replay begins with the %zu blocks that "
				     "lived then, without the holes between them and without earlier mappings%s",
				     c->blocks, c->incomplete ? "; some of these blocks were lost" : ""));
	if (p->super.parent_uid)
		json_array_append_new(
			all, json_string("a forked child: what it inherited is not replayed, and counts as rest"));
	if (r->survey.unmatched)
		json_array_append_new(all, json_sprintf("%" JSON_INTEGER_FORMAT
							" frees of blocks that the log does not know are left out",
							(json_int_t)r->survey.unmatched));
	if (r->plan.left_out)
		json_array_append_new(all, json_sprintf("%" JSON_INTEGER_FORMAT " events could not be replayed",
							(json_int_t)r->plan.left_out));
	if (r->plan.shared_threads)
		json_array_append_new(
			all, json_sprintf("more than %u threads at a time: some share one", TIDE_RERUN_THREADS));
	if (strncmp(p->allocator, "glibc", 5) != 0)
		json_array_append_new(
			all,
			json_string(
				"the recorded program did not use glibc's allocator: as-is is not what it ran with"));
	return all;
}

static json_t *document(const struct tide_log *log, const struct tide_rerun *r)
{
	json_t *settings = json_array();
	bool python = tide_log_process(log)->python != NULL;
	for (uint32_t i = 0; i < r->rows; i++)
		if (python || !r->row[i].setting->python_objects)
			json_array_append_new(settings, row_of(r, &r->row[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o}, s:o, s:s, s:o, s:o}", "process",
			 tide_build_process(log), "coverage", tide_build_coverage(log, NULL), "recorded", recorded(r),
			 "floor_bytes", tide_json_count(r->row[0].floor), "error", "bytes",
			 r->compared ? tide_json_count(r->error_bytes) : json_null(), "at_end_bytes",
			 r->compared ? tide_json_count(r->error_at_end) : json_null(), "censuses",
			 tide_json_count(r->compared), "operations", tide_json_count(r->plan.ops), "written",
			 r->touch_all ? "all" : "as seen", "settings", settings, "notes", notes(log, r));
}

/* ---- text ---- */

static void say_recorded(const struct tide_sink *sink, const json_t *doc)
{
	const json_t *rec = json_object_get(doc, "recorded"), *error = json_object_get(doc, "error");
	char a[TIDE_VALUE_LEN], b[TIDE_VALUE_LEN], c[TIDE_VALUE_LEN];
	tide_heading(sink, "RECORDED  what the program itself was seen to use");
	if (!tide_known_at(rec, "end_rss_bytes")) {
		fputs("  unknown: the log has no census\n\n", sink->out);
		return;
	}
	fprintf(sink->out,
		"  peak RSS %s, RSS at the last census %s, of which %s is not heap: files, static data, stacks\n",
		tide_bytes_text(a, tide_number_at(rec, "peak_rss_bytes")),
		tide_bytes_text(b, tide_number_at(rec, "end_rss_bytes")),
		tide_bytes_text(c, tide_number_at(rec, "rest_bytes")));
	fprintf(sink->out,
		"  the as-is replay is off by at most %s at %lld censuses, %s at the last: the error bar of all rows\n",
		tide_bytes_text(a, tide_number_at(error, "bytes")), tide_number_at(error, "censuses"),
		tide_bytes_text(b, tide_number_at(error, "at_end_bytes")));
	fprintf(sink->out,
		"  the runner itself takes %s, which is subtracted; the %s of the rest are added to every row\n\n",
		tide_bytes_text(a, tide_number_at(doc, "floor_bytes")), c);
}

static void plot(const struct tide_sink *sink, const json_t *doc)
{
	static const char marks[] = " .:-=+*#%@";
	size_t i;
	const json_t *row;
	long long most = 1;
	json_array_foreach(json_object_get(doc, "settings"), i, row) if (tide_number_at(row, "peak_rss_bytes") > most)
		most = tide_number_at(row, "peak_rss_bytes");
	char text[TIDE_VALUE_LEN];
	fprintf(sink->out, "\n");
	tide_heading(sink, "OVER TIME  resident memory, from the first event to the end");
	json_array_foreach(json_object_get(doc, "settings"), i, row)
	{
		const json_t *line = json_object_get(row, "timeline");
		size_t count = json_array_size(line);
		if (!count)
			continue;
		fprintf(sink->out, "  %-16.16s |", tide_text_at(row, "name"));
		for (size_t k = 0; k < BAR; k++) {
			long long rss = tide_number_at(json_array_get(line, k * (count - 1) / (BAR - 1)), "rss_bytes");
			fputc(marks[rss * 9 / most > 9 ? 9 : rss * 9 / most], sink->out);
		}
		fputs("|\n", sink->out);
	}
	fprintf(sink->out, "  '@' is %s\n", tide_bytes_text(text, most));
}

/* What each row is, and what is to be said of it. */
static void legend(const struct tide_sink *sink, const json_t *settings)
{
	size_t i;
	const json_t *row;
	json_array_foreach(settings, i, row)
	{
		fprintf(sink->out, "  %-16s  %s", tide_text_at(row, "name"), tide_text_at(row, "title"));
		if (tide_known_at(row, "why_not"))
			fprintf(sink->out, ": not run, %s", tide_text_at(row, "why_not"));
		else if (tide_known_at(row, "note"))
			fprintf(sink->out, ": %s", tide_text_at(row, "note"));
		if (tide_number_at(row, "failed_allocations"))
			fprintf(sink->out, "; %lld allocations failed within the limit on memory",
				tide_number_at(row, "failed_allocations"));
		fputc('\n', sink->out);
	}
}

static void show_text(const struct tide_sink *sink, const json_t *doc)
{
	size_t i;
	const json_t *note;
	tide_page_header(sink, json_object_get(doc, "process"));
	tide_text_losses(sink, json_object_get(doc, "coverage"));
	fputc('\n', sink->out);
	say_recorded(sink, doc);
	tide_heading(sink, tide_table_replay.title);
	tide_grid_text(sink, &(struct tide_grid){.table = &tide_table_replay,
						 .rows = json_object_get(doc, "settings"),
						 .most = SIZE_MAX});
	plot(sink, doc);
	fputc('\n', sink->out);
	legend(sink, json_object_get(doc, "settings"));
	fputc('\n', sink->out);
	json_array_foreach(json_object_get(doc, "notes"), i, note)
		tide_wrapped(sink, "note      ", json_string_value(note));
}

static void show(const struct tide_args *args, const json_t *doc)
{
	if (args->format == TIDE_FORMAT_JSON) {
		tide_output_json(args->sink.out, doc);
	} else if (args->format == TIDE_FORMAT_CSV) {
		tide_grid_csv_heading(args->sink.out, &tide_table_replay, NULL);
		tide_grid_csv(args->sink.out, &tide_table_replay, json_object_get(doc, "settings"), NULL);
	} else {
		show_text(&args->sink, doc);
	}
}

/* ---- which settings ---- */

static enum tide_status choose_named(const char *names, const struct tide_setting **chosen, uint32_t *count,
				     struct tide_error *err)
{
	char name[40];
	for (const char *at = names; *at;) {
		size_t len = strcspn(at, ",");
		snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), at);
		const struct tide_setting *s = tide_setting_named(name);
		if (!s || *count == SETTINGS_MOST)
			return tide_error_set(err, TIDE_ERR_USAGE, "no setting '%s'; tidemark-replay(1) lists them",
					      name);
		if (s != tide_setting_named("as-is"))
			chosen[(*count)++] = s;
		at += len + (at[len] == ',');
	}
	return TIDE_OK;
}

/* Without names, every setting; with --arena-max alone, only that one. */
static enum tide_status choose(const struct tide_args *args, struct tide_setting *arenas,
			       const struct tide_setting **chosen, uint32_t *count, struct tide_error *err)
{
	static char variable[48], title[48];
	const struct tide_setting *all;
	uint32_t settings = tide_settings(&all);
	bool asked = args->arena_max != TIDE_UNSET;
	*count = 0;
	if (asked && args->arena_max > 100000)
		return tide_error_set(err, TIDE_ERR_USAGE, "bad value for '--arena-max': it is at most 100000");
	if (asked) {
		snprintf(variable, sizeof variable, "MALLOC_ARENA_MAX=%" PRIu64, args->arena_max);
		snprintf(title, sizeof title, "%s", variable);
		*arenas = (struct tide_setting){.name = "arena-max", .title = title, .env = {variable}};
		chosen[(*count)++] = arenas;
	}
	if (args->allocator)
		return choose_named(args->allocator, chosen, count, err);
	for (uint32_t i = 1; i < settings && !asked; i++)
		chosen[(*count)++] = &all[i];
	return TIDE_OK;
}

static void progress(const char *title)
{
	tide_progress_say(title, 0, 0);
}

static int run(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	const struct tide_setting *chosen[SETTINGS_MOST];
	struct tide_setting arenas;
	char runner[4096];
	struct tide_rerun_options o = {
		.runner = runner,
		.setting = chosen,
		.trim_ms = args->trim_every == TIDE_UNSET ? TRIM_MS : (uint32_t)(args->trim_every & 0x7fffffff),
		.timeout_s = args->timeout == TIDE_UNSET ? TIMEOUT_S : (uint32_t)(args->timeout & 0x7fffffff),
		.progress = progress,
	};
	struct tide_log *log;
	struct tide_rerun r;
	(void)cmd;
	if (choose(args, &arenas, chosen, &o.settings, err))
		return TIDE_EXIT_USAGE;
	if (!tide_rerun_find_runner(runner, sizeof runner)) {
		tide_error_set(err, TIDE_ERR_IO, "tidemark-rerun is not beside this program");
		return TIDE_EXIT_UNREADABLE;
	}
	if (tide_log_open(args->operand[0], &log, err))
		return TIDE_EXIT_UNREADABLE;
	int code = TIDE_EXIT_UNREADABLE;
	if (tide_rerun_init(&r, log, &o, err) == TIDE_OK) {
		json_t *doc = document(log, &r);
		show(args, doc);
		json_decref(doc);
		tide_rerun_release(&r);
		code = tide_log_losses(log)->damaged ? TIDE_EXIT_DAMAGED : TIDE_EXIT_OK;
	}
	tide_log_free(log);
	return code;
}

static const struct tide_opt options[] = {
	TIDE_OPT_FORMAT_TABLE,
	TIDE_OPT_OUTPUT,
	TIDE_OPT_COLOR,
	TIDE_OPT("--allocator", "NAME,...", "only these settings; all of them by default", TIDE_OPT_TEXT, allocator),
	TIDE_OPT("--arena-max", "N", "glibc with at most N arenas", TIDE_OPT_COUNT, arena_max),
	TIDE_OPT("--trim-every", "MS", "for the setting 'trim': milliseconds of the recorded time; 1000 by default",
		 TIDE_OPT_COUNT, trim_every),
	TIDE_OPT("--timeout", "SECONDS", "for each run; 600 by default", TIDE_OPT_COUNT, timeout),
	TIDE_OPT_END,
};
const struct tide_cmd tide_cmd_replay = {
	.name = "replay",
	.synopsis = "LOG",
	.summary = "What the same allocations would have cost elsewhere: carried out again under other settings of "
		   "glibc and other "
		   "allocators.",
	.example = "tidemark replay logs/worker-812-a1b2c3d4.tide --allocator arena-max-1,jemalloc",
	.opts = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
