#include "render/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "render/safe.h"
#include "render/value.h"

enum { PAGE_ROWS = 8 };

static void table(const struct tide_sink *sink, const struct tide_table *table, const json_t *report, size_t most,
		  bool stacks)
{
	const json_t *rows = json_object_get(report, table->id);
	struct tide_grid grid = {table, rows, most, stacks,
				 tide_number_at(json_object_get(report, "process"), "start_ns")};
	tide_heading(sink, table->title);
	tide_grid_text(sink, &grid);
	if (json_array_size(rows) > most)
		fprintf(sink->out, "  ... %zu more\n", json_array_size(rows) - most);
}

/* Of a process without a log. */
static void bare_page(const struct tide_sink *sink, const json_t *r)
{
	tide_page_header(sink, json_object_get(r, "process"));
	fputc('\n', sink->out);
	tide_page_live(sink, json_object_get(r, "live"));
	fputc('\n', sink->out);
	tide_page_ledger(sink, r);
	fputc('\n', sink->out);
	tide_page_arena_rows(sink, json_object_get(r, "arenas"), PAGE_ROWS);
	fputc('\n', sink->out);
	tide_page_unknown(sink, json_object_get(r, "unknown"));
}

static void page(const struct tide_sink *sink, const json_t *r)
{
	tide_page_header(sink, json_object_get(r, "process"));
	tide_text_losses(sink, json_object_get(r, "coverage"));
	fputc('\n', sink->out);
	if (json_object_get(r, "live")) {
		tide_page_live(sink, json_object_get(r, "live"));
		fputc('\n', sink->out);
	}
	tide_page_verdict(sink, json_object_get(r, "verdict"));
	fputc('\n', sink->out);
	tide_page_ledger(sink, r);
	fputc('\n', sink->out);
	table(sink, &tide_table_pins, r, PAGE_ROWS, false);
	tide_page_pins_sum(sink, r);
	fputc('\n', sink->out);
	tide_page_arenas(sink, json_object_get(r, "arenas"));
	fputc('\n', sink->out);
	table(sink, &tide_table_places, r, PAGE_ROWS, false);
	fputc('\n', sink->out);
	table(sink, &tide_table_suspects, r, PAGE_ROWS, false);
	fputc('\n', sink->out);
	tide_page_peak(sink, r);
	tide_page_coverage(sink, json_object_get(r, "coverage"));
}

/* A row a process, children below their parents. */
static void overview(const struct tide_sink *sink, const json_t *doc)
{
	size_t i;
	const json_t *row;
	json_t *rows = json_array();
	char title[80];
	json_array_foreach(json_object_get(doc, "overview"), i, row)
	{
		json_t *shown = json_copy((json_t *)row);
		long long depth = tide_number_at(row, "depth");
		json_object_set_new(shown, "name",
				    json_sprintf("%*s%s%s", (int)(depth > 1 && depth < 20 ? 2 * (depth - 1) : 0), "",
						 depth ? "`- " : "", tide_text_at(row, "name")));
		json_array_append_new(rows, shown);
	}
	snprintf(title, sizeof title, "PROCESSES  %zu, each below the one that forked it", json_array_size(rows));
	tide_heading(sink, title);
	tide_grid_text(sink, &(struct tide_grid){.table = &tide_table_processes, .rows = rows, .most = SIZE_MAX});
	json_decref(rows);
}

/* Logs that are left out, and why. */
static void left_out(const struct tide_sink *sink, const json_t *logs)
{
	size_t i;
	const json_t *log;
	tide_paint(sink, TIDE_RED);
	json_array_foreach(logs, i, log)
	{
		fprintf(sink->out, "NOT READ  ");
		tide_safe_text(sink->out, tide_text_at(log, "reason"), 0);
		fputc('\n', sink->out);
	}
	tide_paint(sink, TIDE_PLAIN);
}

static void merged(const struct tide_sink *sink, const json_t *doc)
{
	const json_t *worst = json_array_get(json_object_get(doc, "processes"), (size_t)tide_number_at(doc, "worst"));
	left_out(sink, json_object_get(doc, "unreadable"));
	left_out(sink, json_object_get(doc, "copies"));
	tide_text_losses(sink, json_object_get(doc, "coverage"));
	overview(sink, doc);
	fputc('\n', sink->out);
	table(sink, &tide_table_places, doc, PAGE_ROWS, false);
	fputc('\n', sink->out);
	table(sink, &tide_table_suspects, doc, PAGE_ROWS, false);
	tide_page_peak(sink, doc);
	tide_page_coverage(sink, json_object_get(doc, "coverage"));
	fprintf(sink->out, "\n----  the process to look at first; the others: tidemark report LOG\n\n");
	page(sink, worst);
}

void tide_text_report(const struct tide_sink *sink, const json_t *r)
{
	if (json_object_get(r, "overview"))
		merged(sink, r);
	else if (json_object_get(r, "unknown"))
		bare_page(sink, r);
	else
		page(sink, r);
}

static void section_of(const struct tide_sink *sink, const json_t *r, const char *section, size_t most)
{
	const struct tide_table *t = tide_table_named(section);
	if (strcmp(section, "ledger") == 0) {
		tide_page_ledger(sink, r);
	} else if (strcmp(section, "timeline") == 0) {
		tide_page_timeline(sink, r);
	} else if (t == &tide_table_arenas) {
		tide_page_arena_rows(sink, json_object_get(r, "arenas"), most);
		tide_page_map(sink, json_object_get(r, "arenas"), most);
	} else if (t) {
		if (strcmp(section, "at_peak") == 0)
			tide_page_peak(sink, r);
		table(sink, t, r, SIZE_MAX, true);
		if (t == &tide_table_pins)
			tide_page_pins_sum(sink, r);
	}
}

void tide_text_section(const struct tide_sink *sink, const json_t *doc, const char *section, size_t most)
{
	size_t i;
	const json_t *r, *processes = json_object_get(doc, "processes");
	if (json_object_get(doc, "overview")) {
		left_out(sink, json_object_get(doc, "unreadable"));
		left_out(sink, json_object_get(doc, "copies"));
		overview(sink, doc);
		fputc('\n', sink->out);
	} else {
		tide_page_header(sink, json_object_get(doc, "process"));
	}
	tide_text_losses(sink, json_object_get(doc, "coverage"));
	if (json_object_get(doc, section))
		section_of(sink, doc, section, most);
	else
		json_array_foreach(processes, i, r)
		{
			fputs(i ? "\n" : "", sink->out);
			tide_page_header(sink, json_object_get(r, "process"));
			section_of(sink, r, section, most);
		}
	fputc('\n', sink->out);
	tide_page_coverage(sink, json_object_get(doc, "coverage"));
}

static void change(FILE *out, const json_t *totals, const char *key, const char *words)
{
	char buf[TIDE_VALUE_LEN];
	static const struct tide_column column = {"", "", TIDE_TYPE_BYTES, true};
	struct tide_value_style style = {0};
	fprintf(out, "%s %s", tide_value_text(buf, &column, json_object_get(totals, key), &style), words);
}

void tide_text_diff(const struct tide_sink *sink, const json_t *d)
{
	const json_t *totals = json_object_get(d, "totals");
	tide_text_losses(sink, json_object_get(d, "coverage"));
	tide_heading(sink, "DIFF  new minus base");
	fprintf(sink->out, "  ");
	change(sink->out, totals, "live_bytes", "live, ");
	change(sink->out, totals, "peak_bytes", "at the peak, ");
	change(sink->out, totals, "alloc_bytes", "allocated\n");
	table(sink, &tide_table_diff, d, SIZE_MAX, true);
}
