#include "render/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { PAGE_ROWS = 5, STACK_FRAMES = 8 };

void tide_text_safe(FILE *out, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		bool c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f;
		/* U+200E, U+200F, U+202A..E, U+2066..9 */
		bool bidi = c[0] == 0xe2 &&
			    ((c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xaa && c[2] <= 0xae))) ||
			     (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
		if (c1 || bidi) {
			fputc('?', out);
			c += c1 ? 1 : 2;
		} else {
			fputc(*c < 0x20 || *c == 0x7f ? '?' : *c, out);
		}
	}
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));
	return text ? text : "unknown";
}

static long long number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void bytes(FILE *out, long long value, int width)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double scaled = (double)value;
	unsigned unit = 0;
	while ((scaled >= 1024 || scaled <= -1024) && unit < 4) {
		scaled /= 1024;
		unit++;
	}
	fprintf(out, unit ? "%*.1f %s" : "%*.0f %s", width, scaled, units[unit]);
	if (width)
		fprintf(out, "%*s", 3 - (int)strlen(units[unit]), "");
}

static void labelled(FILE *out, const char *label, const char *text)
{
	fprintf(out, "  %-12s", label);
	tide_text_safe(out, text);
	fputc('\n', out);
}

static void stack(FILE *out, const json_t *frames, const char *indent)
{
	size_t i;
	const json_t *f;
	unsigned shown = 0;
	json_array_foreach(frames, i, f)
	{
		bool eval = strncmp(text_of(f, "function"), "_PyEval", 7) == 0;
		if (eval || ++shown > STACK_FRAMES)
			continue;
		fprintf(out, "%s", indent);
		if (json_is_string(json_object_get(f, "function"))) {
			tide_text_safe(out, text_of(f, "function"));
		} else {
			tide_text_safe(out, text_of(f, "module"));
			fprintf(out, "+0x%llx", number_of(f, "offset"));
		}
		if (json_is_integer(json_object_get(f, "line"))) {
			fprintf(out, "  ");
			tide_text_safe(out, text_of(f, "file"));
			fprintf(out, ":%lld", number_of(f, "line"));
		}
		fputc('\n', out);
	}
	if (shown > STACK_FRAMES)
		fprintf(out, "%s... %u more\n", indent, shown - STACK_FRAMES);
}

static void verdict(FILE *out, const json_t *v)
{
	size_t i;
	const json_t *advice;
	fprintf(out, "VERDICT  ");
	tide_text_safe(out, text_of(v, "class"));
	fputc('\n', out);
	labelled(out, "state", text_of(v, "state"));
	labelled(out, "trigger", text_of(v, "trigger"));
	labelled(out, "consequence", text_of(v, "consequence"));
	json_array_foreach(json_object_get(v, "advice"), i, advice)
	{
		fprintf(out, "  %-12s", "advice");
		tide_text_safe(out, text_of(advice, "action"));
		fprintf(out, ": releases ");
		bytes(out, number_of(advice, "releases_bytes"), 0);
		fprintf(out, " (");
		tide_text_safe(out, text_of(advice, "evidence"));
		fprintf(out, ")\n");
	}
}

static void ledger(FILE *out, const json_t *l)
{
	size_t i;
	const json_t *row;
	fprintf(out, "LEDGER  what resident memory is made of\n");
	if (!json_is_object(l)) {
		fprintf(out, "  unknown: no census in this log\n");
		return;
	}
	json_array_foreach(json_object_get(l, "rows"), i, row)
	{
		if (!number_of(row, "bytes"))
			continue;
		fprintf(out, "  ");
		bytes(out, number_of(row, "bytes"), 8);
		fprintf(out, "  %s\n", text_of(row, "kind"));
	}
	fprintf(out, "  ");
	bytes(out, number_of(l, "unexplained_bytes"), 8);
	fprintf(out, "  unexplained\n  ");
	bytes(out, number_of(l, "rss_bytes"), 8);
	fprintf(out, "  = resident (RSS)\n");
}

static void pins(FILE *out, const json_t *rows, size_t most, bool whole)
{
	size_t i;
	const json_t *row;
	fprintf(out, "PINS  blocks that hold free memory\n");
	if (json_array_size(rows) == 0)
		fprintf(out, "  none known\n");
	json_array_foreach(rows, i, row)
	{
		if (i >= most)
			break;
		fprintf(out, "  %lld blocks made at ", number_of(row, "blocks"));
		tide_text_safe(out, text_of(row, "place"));
		fprintf(out, " hold ");
		bytes(out, number_of(row, "pins_bytes"), 0);
		fprintf(out, " in %lld arenas; of these, held by nothing else: ", number_of(row, "arenas"));
		bytes(out, number_of(row, "releases_bytes"), 0);
		fputc('\n', out);
		if (whole)
			stack(out, json_object_get(row, "stack"), "        ");
	}
}

static void sites(FILE *out, const char *title, const json_t *rows, const char *measure, size_t most)
{
	size_t i;
	const json_t *row;
	fprintf(out, "%s\n", title);
	if (json_array_size(rows) == 0)
		fprintf(out, "  none\n");
	json_array_foreach(rows, i, row)
	{
		if (i >= most)
			break;
		fprintf(out, "  ");
		bytes(out, number_of(row, measure), 8);
		fprintf(out, " %9lld blocks  ", number_of(row, "blocks"));
		tide_text_safe(out, text_of(row, "place"));
		fputc('\n', out);
		if (most > PAGE_ROWS)
			stack(out, json_object_get(row, "stack"), "        ");
	}
}

static void arenas(FILE *out, const json_t *rows, size_t most)
{
	size_t i;
	const json_t *row;
	fprintf(out, "ARENAS  %zu\n", json_array_size(rows));
	json_array_foreach(rows, i, row)
	{
		if (i >= most)
			break;
		fprintf(out, "  %-12s %12llx  resident ", text_of(row, "kind"), number_of(row, "base"));
		bytes(out, number_of(row, "resident_bytes"), 8);
		fprintf(out, "  live ");
		bytes(out, number_of(row, "live_bytes"), 8);
		fprintf(out, "  stranded ");
		bytes(out, number_of(row, "stranded_bytes"), 8);
		fputc('\n', out);
	}
	if (json_array_size(rows) > most)
		fprintf(out, "  ... %zu more: tidemark arenas\n", json_array_size(rows) - most);
}

static void peak(FILE *out, const json_t *report)
{
	const json_t *p = json_object_get(report, "peak"), *t = json_object_get(report, "totals");
	fprintf(out, "PEAK  live ");
	bytes(out, number_of(p, "live_bytes"), 0);
	fprintf(out, ", now ");
	bytes(out, number_of(t, "live_bytes"), 0);
	fprintf(out, " in %lld blocks; %lld allocations, %lld frees\n", number_of(t, "live_blocks"),
		number_of(t, "allocs"), number_of(t, "frees"));
}

static void coverage(FILE *out, const json_t *c)
{
	fprintf(out, "COVERAGE  %lld events, %lld in this log, %lld overwritten, %lld lost\n", number_of(c, "events"),
		number_of(c, "in_window"), number_of(c, "evicted"), number_of(c, "lost"));
	fprintf(out, "  frees of blocks that this log does not know: %lld; cut stacks: %lld\n",
		number_of(c, "unmatched_frees"), number_of(c, "truncated_stacks"));
	if (number_of(c, "uncertain_bytes"))
		fprintf(out, "  uncertain: %lld live bytes may have been freed in a gap of the log\n",
			number_of(c, "uncertain_bytes"));
}

static void timeline(FILE *out, const json_t *rows)
{
	size_t i;
	const json_t *row;
	long long most = 1, first = number_of(json_array_get(rows, 0), "at_ns");
	json_array_foreach(rows, i, row)
	{
		if (number_of(row, "live_bytes") > most)
			most = number_of(row, "live_bytes");
	}
	size_t step = json_array_size(rows) / 40 + 1;
	fprintf(out, "TIMELINE  live bytes\n");
	for (i = 0; i < json_array_size(rows); i += step) {
		row = json_array_get(rows, i);
		fprintf(out, "  %10.3f s  ", (double)(number_of(row, "at_ns") - first) / 1e9);
		bytes(out, number_of(row, "live_bytes"), 8);
		fprintf(out, "  %.*s\n", (int)(number_of(row, "live_bytes") * 50 / most),
			"##################################################");
	}
}

static void header(FILE *out, const json_t *report)
{
	const json_t *p = json_object_get(report, "process");
	tide_text_safe(out, text_of(p, "name"));
	fprintf(out, "  pid %lld  (%s)  ", number_of(p, "pid"), text_of(p, "end"));
	tide_text_safe(out, text_of(p, "allocator"));
	if (json_is_string(json_object_get(p, "python"))) {
		fprintf(out, ", Python ");
		tide_text_safe(out, text_of(p, "python"));
	}
	fprintf(out, "\n");
}

void tide_text_report(FILE *out, const json_t *r)
{
	header(out, r);
	verdict(out, json_object_get(r, "verdict"));
	fputc('\n', out);
	ledger(out, json_object_get(r, "ledger"));
	fputc('\n', out);
	pins(out, json_object_get(r, "pins"), PAGE_ROWS, false);
	fputc('\n', out);
	sites(out, "LIVE  leak candidates, biggest first", json_object_get(r, "leaks"), "bytes", PAGE_ROWS);
	fputc('\n', out);
	arenas(out, json_object_get(r, "arenas"), PAGE_ROWS);
	peak(out, r);
	coverage(out, json_object_get(r, "coverage"));
}

void tide_text_section(FILE *out, const json_t *r, const char *section)
{
	const json_t *part = json_object_get(r, section);
	header(out, r);
	if (strcmp(section, "ledger") == 0)
		ledger(out, part);
	else if (strcmp(section, "pins") == 0)
		pins(out, part, SIZE_MAX, true);
	else if (strcmp(section, "arenas") == 0)
		arenas(out, part, SIZE_MAX);
	else if (strcmp(section, "leaks") == 0)
		sites(out, "LIVE  leak candidates, biggest first", part, "bytes", SIZE_MAX);
	else if (strcmp(section, "top") == 0)
		sites(out, "TOP  by bytes ever allocated", part, "alloc_bytes", SIZE_MAX);
	else if (strcmp(section, "timeline") == 0)
		timeline(out, part);
	else if (strcmp(section, "at_peak") == 0) {
		peak(out, r);
		sites(out, "AT THE PEAK", part, "peak_bytes", SIZE_MAX);
	}
	coverage(out, json_object_get(r, "coverage"));
}

void tide_text_diff(FILE *out, const json_t *d)
{
	size_t i;
	const json_t *row;
	fprintf(out, "DIFF  live bytes ");
	bytes(out, number_of(json_object_get(d, "totals"), "live_bytes"), 0);
	fputc('\n', out);
	json_array_foreach(json_object_get(d, "sites"), i, row)
	{
		fprintf(out, "  ");
		bytes(out, number_of(row, "live_bytes"), 9);
		fprintf(out, " %+9lld blocks  ", number_of(row, "live_blocks"));
		tide_text_safe(out, text_of(row, "place"));
		fputc('\n', out);
	}
}
