/* report and its sections: one log, or several as one document. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "cli/copies.h"
#include "cli/opts.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "render/text.h"

enum { LOGS_MOST = 4096 };

/* What is gathered over all logs, beside their reports. */
struct gathered {
	json_t *reports;
	struct tide_profile profile;
	const struct tide_table *table; /* the sites that are asked for; NULL: none */
	json_t *unreadable;             /* of several logs: path and reason */
	json_t *copies;      /* logs that were left out, since another is of the same process: path and reason */
	struct tide_kin kin; /* the logs that are given, for forked children */
	bool damaged;
};

static enum tide_status add_log(struct gathered *g, const char *path, struct tide_objects *objects,
				const struct tide_wanted *wanted, bool several, struct tide_error *err)
{
	struct tide_loaded loaded;
	enum tide_status status = tide_loaded_init(&loaded, path, objects, &g->kin, err);
	if (status && several && status != TIDE_ERR_NOMEM) { /* the others still have an answer */
		json_array_append_new(g->unreadable, json_pack("{s:o, s:o}", "log", tide_json_text(path), "reason",
							       tide_json_text(err->text)));
		return TIDE_OK;
	}
	if (status)
		return status;
	json_array_append_new(g->reports, tide_build_report(&loaded, wanted));
	g->damaged |= tide_log_losses(loaded.log)->damaged;
	if (several && g->table && tide_gather_sites(&g->profile, &loaded, g->table))
		status = tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	tide_loaded_release(&loaded);
	return status;
}

static json_t *document(const struct gathered *g, size_t top)
{
	if (json_array_size(g->reports) == 1 && json_array_size(g->unreadable) + json_array_size(g->copies) == 0)
		return json_incref(json_array_get(g->reports, 0));
	json_t *doc = tide_build_merged(g->reports);
	json_object_set(doc, "unreadable", g->unreadable);
	json_object_set(doc, "copies", g->copies);
	if (g->table)
		json_object_set_new(doc, g->table->id, tide_build_sites(&g->profile, g->table, top));
	if (g->table == &tide_table_leaks)
		tide_build_lines(doc, &g->profile, top);
	return doc;
}

/* Tables of the processes get the process before each row; tables of all of them do not. */
static void csv(FILE *out, const json_t *doc, const struct tide_table *table)
{
	size_t i;
	const json_t *r, *rows = json_object_get(doc, table->id);
	bool ledger = table == &tide_table_ledger;
	if (json_object_get(doc, "overview") && (ledger || !rows)) {
		tide_grid_csv_heading(out, table, "pid,");
		json_array_foreach(json_object_get(doc, "processes"), i, r)
		{
			char prefix[32];
			snprintf(prefix, sizeof prefix, "%lld,",
				 (long long)json_integer_value(json_object_get(json_object_get(r, "process"), "pid")));
			rows = json_object_get(r, table->id);
			tide_grid_csv(out, table, ledger ? json_object_get(rows, "rows") : rows, prefix);
		}
		return;
	}
	tide_grid_csv_heading(out, table, NULL);
	tide_grid_csv(out, table, ledger ? json_object_get(rows, "rows") : rows, NULL);
}

static void show(const struct tide_args *args, const char *section, json_t *doc)
{
	if (args->format == TIDE_FORMAT_JSON)
		tide_output_json(args->sink.out, doc);
	else if (args->format == TIDE_FORMAT_CSV)
		csv(args->sink.out, doc, tide_table_named(section));
	else if (section)
		tide_text_section(&args->sink, doc, section, args->top);
	else
		tide_text_report(&args->sink, doc);
}

static bool exceeds(const json_t *rows, const char *measure, uint64_t limit)
{
	size_t i;
	const json_t *row;
	json_array_foreach(rows, i, row)
	{
		if ((uint64_t)json_integer_value(json_object_get(row, measure)) > limit)
			return true;
	}
	return false;
}

/* leaks: a stack with more live bytes; pins: one that holds more. */
static bool found(const struct tide_args *args, const char *section, const json_t *doc)
{
	size_t i;
	const json_t *r;
	const char *measure = section && strcmp(section, "pins") == 0 ? "pins_bytes" : "bytes";
	if (args->fail_on == TIDE_UNSET)
		return false;
	if (exceeds(json_object_get(doc, section), measure, args->fail_on))
		return true;
	json_array_foreach(json_object_get(doc, "processes"), i, r)
	{
		if (exceeds(json_object_get(r, section), measure, args->fail_on))
			return true;
	}
	return false;
}

/* Finds copies of other logs, which are told of and not read, and gathers what the others are. */
static enum tide_status sort_out(struct gathered *g, const struct tide_paths *paths, const char **instead)
{
	enum tide_status status = paths->count > 1 ? tide_copies_find(paths, instead) : TIDE_OK;
	for (size_t i = 0; i < paths->count && paths->count > 1 && !status; i++) {
		char *reason = NULL;
		if (!instead[i]) {
			status = tide_kin_add(&g->kin, paths->path[i]) ? TIDE_OK : TIDE_ERR_NOMEM;
			continue;
		}
		if (asprintf(&reason, "'%s' is a copy of '%s'", paths->path[i], instead[i]) < 0)
			return TIDE_ERR_NOMEM;
		json_array_append_new(g->copies, json_pack("{s:o, s:o}", "log", tide_json_text(paths->path[i]),
							   "reason", tide_json_text(reason)));
		free(reason);
	}
	return status;
}

static int run(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_paths paths;
	if (tide_paths_init(&paths, args->operand, args->operands, err))
		return TIDE_EXIT_UNREADABLE;
	struct gathered g = {.reports = json_array(), .unreadable = json_array(), .copies = json_array()};
	struct tide_wanted wanted = {cmd->section, args->top};
	struct tide_objects *objects = tide_objects_new();
	const char **instead = calloc(paths.count + 1, sizeof *instead);
	const struct tide_table *sites[] = {&tide_table_leaks, &tide_table_top, &tide_table_peak};
	int code = TIDE_EXIT_OK;
	for (size_t i = 0; i < 3; i++)
		if (strcmp(cmd->section ? cmd->section : "leaks", sites[i]->id) == 0)
			g.table = sites[i];
	if (!objects || !instead || sort_out(&g, &paths, instead)) {
		tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
		code = TIDE_EXIT_UNREADABLE;
	}
	for (size_t i = 0; i < paths.count && code == TIDE_EXIT_OK; i++) {
		if (instead[i])
			continue;
		tide_progress_say(paths.path[i], i, paths.count);
		if (add_log(&g, paths.path[i], objects, &wanted, paths.count > 1, err))
			code = TIDE_EXIT_UNREADABLE;
	}
	if (code == TIDE_EXIT_OK && json_array_size(g.reports) == 0)
		code = TIDE_EXIT_UNREADABLE; /* *err says why of the last one */
	if (code == TIDE_EXIT_OK) {
		err->text[0] = '\0'; /* what could not be read is in the document */
		g.damaged |= json_array_size(g.unreadable) > 0;
		json_t *doc = document(&g, args->top);
		show(args, cmd->section, doc);
		code = g.damaged ? TIDE_EXIT_DAMAGED : found(args, cmd->section, doc) ? TIDE_EXIT_FOUND : TIDE_EXIT_OK;
		json_decref(doc);
	}
	tide_kin_release(&g.kin);
	tide_profile_release(&g.profile);
	json_decref(g.reports);
	json_decref(g.unreadable);
	json_decref(g.copies);
	free(instead);
	tide_objects_free(objects);
	tide_paths_release(&paths);
	return code;
}

static const struct tide_opt page_options[] = {TIDE_OPT_FORMAT, TIDE_OPT_OUTPUT, TIDE_OPT_COLOR, TIDE_OPT_TOP,
					       TIDE_OPT_END};
static const struct tide_opt table_options[] = {TIDE_OPT_FORMAT_TABLE, TIDE_OPT_OUTPUT, TIDE_OPT_COLOR, TIDE_OPT_TOP,
						TIDE_OPT_END};
static const struct tide_opt limit_options[] = {
	TIDE_OPT_FORMAT_TABLE,
	TIDE_OPT_OUTPUT,
	TIDE_OPT_COLOR,
	TIDE_OPT_TOP,
	TIDE_OPT("--fail-on", "BYTES", "exit 1 when a row has more (suffix K, M, G)", TIDE_OPT_BYTES, fail_on),
	TIDE_OPT_END,
};

#define READING(command, words, text, options, member) \
	const struct tide_cmd tide_cmd_##command = {   \
		.name = #command,                      \
		.synopsis = "PATH...",                 \
		.summary = (words),                    \
		.example = (text),                     \
		.opts = (options),                     \
		.min_operands = 1,                     \
		.max_operands = LOGS_MOST,             \
		.run = run,                            \
		.section = (member),                   \
	}
READING(report, "The answer on one page: verdict, ledger, pins, leak candidates, coverage.", "tidemark report logs",
	page_options, NULL);
READING(ledger, "What resident memory is made of, in rows that add up.", "tidemark ledger logs --format csv",
	table_options, "ledger");
READING(pins, "The live blocks that keep free memory from being given back.", "tidemark pins logs", limit_options,
	"pins");
READING(arenas, "Every arena: reserved, resident, live, stranded bytes.", "tidemark arenas app-123-4f.tide",
	table_options, "arenas");
READING(leaks, "What is live, by stack, what looks like a leak first.", "tidemark leaks logs --top 5", limit_options,
	"leaks");
READING(peak, "What was live when live bytes were highest, by stack.", "tidemark peak logs", table_options, "at_peak");
READING(top, "What was allocated most, by stack, freed or not.", "tidemark top logs --format csv", table_options,
	"top");
READING(timeline, "Live and resident bytes over time.", "tidemark timeline app-123-4f.tide", table_options, "timeline");
