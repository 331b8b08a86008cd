/* The parts of a page that are not tables. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "render/safe.h"
#include "render/text.h"
#include "render/value.h"

enum { LABEL = 15, BAR = 40, TIMELINE_ROWS = 40 };

void tide_wrapped(const struct tide_sink *sink, const char *label, const char *text)
{
	char *safe = NULL;
	size_t len = 0, column = LABEL;
	FILE *all = open_memstream(&safe, &len);
	if (!all)
		return;
	tide_safe_text(all, text, 0);
	fclose(all);
	tide_paint(sink, TIDE_DIM);
	fprintf(sink->out, "  %-*s", LABEL - 2, label);
	tide_paint(sink, TIDE_PLAIN);
	for (char *word = safe; safe && *word;) {
		size_t n = strcspn(word, " "), width;
		char end = word[n];
		word[n] = '\0';
		width = tide_safe_width(word, 0);
		if (column > LABEL && column + 1 + width > tide_columns(sink)) {
			fprintf(sink->out, "\n%*s", LABEL, "");
			column = LABEL;
		}
		fprintf(sink->out, "%s%s", column > LABEL ? " " : "", word);
		column += width + (column > LABEL);
		word += end ? n + 1 : n;
	}
	fputc('\n', sink->out);
	free(safe);
}

void tide_page_header(const struct tide_sink *sink, const json_t *p)
{
	long long ran = tide_number_at(p, "end_ns") - tide_number_at(p, "start_ns");
	const char *end = tide_text_at(p, "end");
	tide_paint(sink, TIDE_BOLD);
	tide_safe_text(sink->out, tide_text_at(p, "name"), 40);
	tide_paint(sink, TIDE_PLAIN);
	fprintf(sink->out, "  pid %lld, ", tide_number_at(p, "pid"));
	tide_safe_text(sink->out,
		       strcmp(end, "exit") == 0   ? "exited"
		       : strcmp(end, "exec") == 0 ? "became another program"
						  : end,
		       20);
	if (ran > 0)
		fprintf(sink->out, " after %.1f s", (double)ran / 1e9);
	fprintf(sink->out, "; ");
	tide_safe_text(sink->out, tide_text_at(p, "allocator"), 30);
	if (tide_known_at(p, "python")) {
		fprintf(sink->out, ", Python ");
		tide_safe_text(sink->out, tide_text_at(p, "python"), 20);
	}
	fputc('\n', sink->out);
}

static void each_wrapped(const struct tide_sink *sink, const char *label, const json_t *texts)
{
	size_t i;
	const json_t *text;
	json_array_foreach(texts, i, text)
		tide_wrapped(sink, i ? "" : label, json_string_value(text) ? json_string_value(text) : "");
}

void tide_page_live(const struct tide_sink *sink, const json_t *live)
{
	long long threads = tide_number_at(live, "threads");
	char line[120];
	snprintf(line, sizeof line, "LIVE  as it is now: looked at from outside for %.1f ms, while %lld %s went on",
		 (double)tide_number_at(live, "took_ns") / 1e6, threads, threads == 1 ? "thread" : "threads");
	tide_heading(sink, line);
	each_wrapped(sink, "note", json_object_get(live, "notes"));
}

void tide_page_unknown(const struct tide_sink *sink, const json_t *unknown)
{
	tide_heading(sink, "UNKNOWN  what only a log can tell");
	each_wrapped(sink, "", unknown);
}

static enum tide_paint paint_of(const char *class)
{
	if (strcmp(class, "leak") == 0)
		return TIDE_RED;
	if (strcmp(class, "retention") == 0 || strcmp(class, "growth_outside_heap") == 0)
		return TIDE_YELLOW;
	return strcmp(class, "cache_or_steady") == 0 ? TIDE_GREEN : TIDE_PLAIN;
}

void tide_page_verdict(const struct tide_sink *sink, const json_t *v)
{
	size_t i;
	const json_t *advice;
	const char *class = tide_text_at(v, "class");
	char buf[TIDE_VALUE_LEN];
	tide_paint(sink, TIDE_BOLD);
	fprintf(sink->out, "VERDICT  ");
	tide_paint(sink, paint_of(class));
	tide_safe_text(sink->out, class, 0);
	tide_paint(sink, TIDE_PLAIN);
	if (tide_number_at(v, "bytes") && strcmp(class, "unknown") != 0)
		fprintf(sink->out, ", %s", tide_bytes_text(buf, tide_number_at(v, "bytes")));
	fputc('\n', sink->out);
	tide_wrapped(sink, "state", tide_text_at(v, "state"));
	tide_wrapped(sink, "trigger", tide_text_at(v, "trigger"));
	tide_wrapped(sink, "consequence", tide_text_at(v, "consequence"));
	json_array_foreach(json_object_get(v, "advice"), i, advice)
	{
		char *text = NULL;
		bool known = tide_known_at(advice, "releases_bytes");
		if (asprintf(&text, "%s: releases %s (%s)", tide_text_at(advice, "action"),
			     known ? tide_bytes_text(buf, tide_number_at(advice, "releases_bytes"))
				   : "an unknown amount",
			     tide_text_at(advice, "evidence")) > 0)
			tide_wrapped(sink, i ? "" : "advice", text);
		free(text);
	}
}

/* What a newcomer needs to know of a row. */
static const char *meaning(const char *kind)
{
	static const char *const words[][2] = {
		{"live", "malloc blocks in use"},
		{"allocator_overhead", "malloc's headers and rounding, around blocks in use"},
		{"pinned_waste", "free, on pages that also hold a block in use"},
		{"trimmable", "free whole pages that malloc keeps"},
		{"pymalloc_live", "Python objects in use"},
		{"pymalloc_free_in_pools", "free, in pools that also hold an object in use"},
		{"pymalloc_free_pools", "free pools, in arenas that mostly hold one in use"},
		{"mmap_direct", "mapped by the program itself, not by malloc"},
		{"thread_stacks", "stacks"},
		{"file_private", "programs and libraries: data, and pages changed"},
		{"file_shared", "files: programs and libraries, shared with others"},
		{"tidemark", "tidemark's own log and tables"},
		{"malloc_main_heap", "malloc's brk heap, live or not"},
		{"malloc_thread_heaps", "malloc's heaps of threads, live or not"},
		{"anonymous_mappings", "of no file: malloc's big blocks and the program's own"},
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(words[i][0], kind) == 0)
			return words[i][1];
	return "";
}

static void ledger_line(const struct tide_sink *sink, long long bytes, long long rss, const char *kind,
			const char *words)
{
	char buf[TIDE_VALUE_LEN], share[16] = "";
	static const struct tide_column column = {"bytes", "", TIDE_TYPE_BYTES, false};
	struct tide_value_style style = {0, true};
	json_t *cell = json_integer(bytes);
	if (rss > 0)
		snprintf(share, sizeof share, "%.1f %%", (double)bytes * 100 / (double)rss);
	fprintf(sink->out, "  %10s  %7s  ", tide_value_text(buf, &column, cell, &style), share);
	json_decref(cell);
	size_t width = tide_safe_text(sink->out, kind, 24);
	if (*words) {
		tide_paint(sink, TIDE_DIM);
		fprintf(sink->out, "%*s%s", (int)(width < 24 ? 24 - width : 1), "", words);
		tide_paint(sink, TIDE_PLAIN);
	}
	fputc('\n', sink->out);
}

static int more_bytes(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	long long p = tide_number_at(x, "bytes"), q = tide_number_at(y, "bytes");
	return p != q ? (p < q ? 1 : -1) : strcmp(tide_text_at(x, "kind"), tide_text_at(y, "kind"));
}

static void ledger_rows(const struct tide_sink *sink, const json_t *rows, long long rss)
{
	size_t n = json_array_size(rows);
	const json_t **row = calloc(n + 1, sizeof *row);
	for (size_t i = 0; row && i < n; i++)
		row[i] = json_array_get(rows, i);
	if (row)
		qsort(row, n, sizeof *row, more_bytes);
	for (size_t i = 0; row && i < n; i++)
		if (tide_number_at(row[i], "bytes"))
			ledger_line(sink, tide_number_at(row[i], "bytes"), rss, tide_text_at(row[i], "kind"),
				    meaning(tide_text_at(row[i], "kind")));
	free(row);
}

void tide_page_ledger(const struct tide_sink *sink, const json_t *report)
{
	const json_t *l = json_object_get(report, "ledger"), *p = json_object_get(report, "process");
	tide_heading(sink, "LEDGER  what resident memory is made of");
	if (!json_is_object(l)) {
		fprintf(sink->out, "  unknown: no census of resident memory in this log\n");
		return;
	}
	ledger_rows(sink, json_object_get(l, "rows"), tide_number_at(l, "rss_bytes"));
	ledger_line(sink, tide_number_at(l, "unexplained_bytes"), tide_number_at(l, "rss_bytes"), "unexplained", "");
	ledger_line(sink, tide_number_at(l, "rss_bytes"), 0, "= resident (RSS)", "");
	if (p && tide_known_at(l, "at_ns"))
		fprintf(sink->out, "  as of %.1f s after the start\n",
			(double)(tide_number_at(l, "at_ns") - tide_number_at(p, "start_ns")) / 1e9);
}

/* "80 %: rows 1 to 3 (at least 2)" */
static void pin_set(FILE *out, const json_t *set)
{
	long long pins = tide_number_at(set, "pins"), at_least = tide_number_at(set, "at_least");
	fprintf(out, "%lld %%: ", tide_number_at(set, "percent"));
	if (!json_is_true(json_object_get(set, "reached")))
		fprintf(out, "no set that was tried");
	else
		fprintf(out, pins == 1 ? "row 1" : "rows 1 to %lld", pins);
	if (json_is_true(json_object_get(set, "reached")) && at_least < pins)
		fprintf(out, " (at least %lld)", at_least);
}

void tide_page_pins_sum(const struct tide_sink *sink, const json_t *report)
{
	const json_t *p = json_object_get(report, "predictions"), *set;
	char bytes[TIDE_VALUE_LEN], *text = NULL;
	size_t i, len = 0;
	if (!json_is_object(p) || json_array_size(json_object_get(report, "pins")) == 0)
		return;
	FILE *out = open_memstream(&text, &len);
	if (!out)
		return;
	fprintf(out, "of %s held, the fewest lines that release ",
		tide_bytes_text(bytes, tide_number_at(p, "pinned_bytes")));
	json_array_foreach(json_object_get(p, "sets"), i, set)
	{
		fputs(i ? "; " : "", out);
		pin_set(out, set);
	}
	if (fclose(out) == 0)
		tide_wrapped(sink, "together", text);
	free(text);
	fprintf(sink->out, "  %-*s%s is free and held by no block\n", LABEL - 2, "the rest",
		tide_bytes_text(bytes, tide_number_at(p, "unheld_bytes")));
	if (tide_number_at(p, "reserve_bytes"))
		fprintf(sink->out, "  %-*s%s: one empty arena, which Python keeps whatever dies\n", LABEL - 2,
			"in reserve", tide_bytes_text(bytes, tide_number_at(p, "reserve_bytes")));
}

void tide_page_peak(const struct tide_sink *sink, const json_t *report)
{
	const json_t *p = json_object_get(report, "peak"), *t = json_object_get(report, "totals");
	char peak[TIDE_VALUE_LEN], now[TIDE_VALUE_LEN], blocks[TIDE_VALUE_LEN], allocs[TIDE_VALUE_LEN],
		frees[TIDE_VALUE_LEN];
	char line[300];
	if (tide_known_at(p, "live_bytes"))
		snprintf(line, sizeof line, "PEAK  %s live; ", tide_bytes_text(peak, tide_number_at(p, "live_bytes")));
	else
		snprintf(line, sizeof line, "LIVE  ");
	size_t len = strlen(line);
	snprintf(line + len, sizeof line - len, "now %s in %s blocks, after %s allocations and %s frees",
		 tide_bytes_text(now, tide_number_at(t, "live_bytes")),
		 tide_count_text(blocks, tide_number_at(t, "live_blocks")),
		 tide_count_text(allocs, tide_number_at(t, "allocs")),
		 tide_count_text(frees, tide_number_at(t, "frees")));
	tide_heading(sink, line);
	if (tide_number_at(t, "counted_blocks"))
		fprintf(sink->out,
			"  %s in %s blocks of it are Python's, counted by a census, and in no other number here\n",
			tide_bytes_text(now, tide_number_at(t, "counted_bytes")),
			tide_count_text(blocks, tide_number_at(t, "counted_blocks")));
}

static void fact(const struct tide_sink *sink, long long value, const char *words)
{
	char buf[TIDE_VALUE_LEN];
	if (value)
		fprintf(sink->out, "  %s %s\n", tide_count_text(buf, value), words);
}

static void inheritance(const struct tide_sink *sink, const json_t *told)
{
	char blocks[TIDE_VALUE_LEN], bytes[TIDE_VALUE_LEN];
	if (tide_number_at(told, "blocks"))
		fprintf(sink->out, "  %s blocks, %s, were there at the fork%s\n",
			tide_count_text(blocks, tide_number_at(told, "blocks")),
			tide_bytes_text(bytes, tide_number_at(told, "bytes")),
			strcmp(tide_text_at(told, "known"), "whole") != 0 ? ", perhaps not all that were" : "");
	if (tide_known_at(told, "reason"))
		fprintf(sink->out, "  not known, or not all of it: what was inherited (%s)\n",
			tide_text_at(told, "reason"));
}

void tide_page_coverage(const struct tide_sink *sink, const json_t *c)
{
	char a[TIDE_VALUE_LEN], b[TIDE_VALUE_LEN], line[300];
	long long events = tide_number_at(c, "events"), here = tide_number_at(c, "in_window");
	if (events == here)
		snprintf(line, sizeof line, "COVERAGE  %s events, all in %s", tide_count_text(a, events),
			 tide_known_at(c, "logs") ? "these logs" : "this log");
	else
		snprintf(line, sizeof line, "COVERAGE  %s events, %s of them here", tide_count_text(a, events),
			 tide_count_text(b, here));
	tide_heading(sink, line);
	fact(sink, tide_number_at(c, "evicted"), "overwritten: the log was full, the newest were kept");
	fact(sink, tide_number_at(c, "carried_blocks"), "live blocks, and all sums by site, carried over from those");
	fact(sink, tide_number_at(c, "carried_sample_bytes"),
	     "bytes: what lives outgrew the log, and only a sample with this mean was carried over");
	fact(sink, tide_number_at(c, "forgotten_blocks"), "blocks may have lived and could not be carried over");
	fact(sink, tide_number_at(c, "lost"), "lost");
	const char *reason;
	json_t *count;
	json_object_foreach(json_object_get(c, "lost_by_reason"), reason, count)
	{
		if (json_integer_value(count))
			fprintf(sink->out, "  %s not recorded: %s\n", tide_count_text(a, json_integer_value(count)),
				reason);
	}
	fact(sink, tide_number_at(c, "unmatched_frees"), "frees of blocks whose allocation was not seen");
	fact(sink, tide_number_at(c, "inherited_frees"),
	     "frees of blocks from before the fork, whose allocation is in the parent's log");
	inheritance(sink, json_object_get(c, "inheritance"));
	fact(sink, tide_number_at(c, "deep_stacks"), "allocations deeper than the frames kept (TIDEMARK_STACK)");
	fact(sink, tide_number_at(c, "truncated_stacks") - tide_number_at(c, "deep_stacks"),
	     "allocations whose stack could not be followed to its end");
	if (tide_number_at(c, "uncertain_bytes"))
		fprintf(sink->out, "  %s called live may have been freed unseen\n",
			tide_bytes_text(a, tide_number_at(c, "uncertain_bytes")));
	if (tide_number_at(c, "sample_bytes"))
		fprintf(sink->out, "  sampled, one in %s on average: sizes and counts are estimates\n",
			tide_bytes_text(a, tide_number_at(c, "sample_bytes")));
	if (tide_number_at(c, "python_sites_ns"))
		fprintf(sink->out,
			"  Python's blocks are as of the last census that counted them (TIDEMARK_PYTHON=sites)\n");
	fact(sink, tide_number_at(c, "python_siteless_blocks"), "of Python's blocks: not known where they were made");
	if (json_is_false(json_object_get(c, "python_frames")))
		fprintf(sink->out, "  this Python version's frames are not known: native stacks only\n");
}

void tide_text_losses(const struct tide_sink *sink, const json_t *c)
{
	char a[TIDE_VALUE_LEN], b[TIDE_VALUE_LEN];
	if (!json_is_true(json_object_get(c, "damaged")))
		return;
	tide_paint(sink, TIDE_RED);
	fprintf(sink->out,
		"DAMAGED  %s of %s events are lost; the answer is of what is left (tidemark verify says where)\n",
		tide_count_text(a, tide_number_at(c, "lost")), tide_count_text(b, tide_number_at(c, "events")));
	tide_paint(sink, TIDE_PLAIN);
}

/* What is known of the time up to the end of a row: live: -1, rss: 0 where not known. */
struct moment {
	long long live, rss;
	bool has_rss; /* told in this row's time, not before */
};

static size_t advance(const json_t *rows, size_t i, long long until, struct moment *m)
{
	m->has_rss = false;
	for (; i < json_array_size(rows) && tide_number_at(json_array_get(rows, i), "at_ns") <= until; i++) {
		const json_t *row = json_array_get(rows, i);
		m->live = tide_known_at(row, "live_bytes") ? tide_number_at(row, "live_bytes") : m->live;
		m->rss = tide_known_at(row, "rss_bytes") ? tide_number_at(row, "rss_bytes") : m->rss;
		m->has_rss = m->has_rss || tide_known_at(row, "rss_bytes");
	}
	return i;
}

static long long most_of(const json_t *rows)
{
	long long most = 1;
	size_t i;
	const json_t *row;
	json_array_foreach(rows, i, row)
	{
		most = tide_number_at(row, "live_bytes") > most ? tide_number_at(row, "live_bytes") : most;
		most = tide_number_at(row, "rss_bytes") > most ? tide_number_at(row, "rss_bytes") : most;
	}
	return most;
}

static void timeline_row(const struct tide_sink *sink, long long after_ns, const struct moment *m, long long most)
{
	char live[TIDE_VALUE_LEN], rss[TIDE_VALUE_LEN];
	long long column = 0, solid = m->live * BAR / most, light = m->rss * BAR / most;
	fprintf(sink->out, "  %10.3f s  %11s  %11s  ", (double)after_ns / 1e9,
		m->live < 0 ? "unknown" : tide_bytes_text(live, m->live),
		m->has_rss ? tide_bytes_text(rss, m->rss) : "");
	for (; column < solid; column++)
		fputc('#', sink->out);
	for (; column < light; column++)
		fputc('-', sink->out);
	fputc('\n', sink->out);
}

void tide_page_timeline(const struct tide_sink *sink, const json_t *report)
{
	const json_t *rows = json_object_get(report, "timeline");
	size_t count = json_array_size(rows), i = 0;
	long long start = tide_number_at(json_object_get(report, "process"), "start_ns"), most = most_of(rows);
	struct moment now = {.live = -1};
	tide_heading(sink, "TIMELINE  # live, - resident at the last census");
	if (count == 0) {
		fprintf(sink->out, "  nothing happened\n");
		return;
	}
	long long first = tide_number_at(json_array_get(rows, 0), "at_ns"),
		  span = tide_number_at(json_array_get(rows, count - 1), "at_ns") - first;
	fprintf(sink->out, "  %12s  %11s  %11s\n", "at", "live", "resident");
	for (long long row = 1; row <= TIMELINE_ROWS; row++) {
		long long until = first + (long long)((double)span * (double)row / TIMELINE_ROWS);
		i = advance(rows, i, row == TIMELINE_ROWS ? first + span : until, &now);
		timeline_row(sink, until - start, &now, most);
	}
}
