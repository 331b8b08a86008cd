#include "render/grid.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "render/safe.h"
#include "render/value.h"

enum { COLUMNS_MOST = 16, STACK_FRAMES = 6, NATIVE_FRAMES = 2, TEXT_LEAST = 16, CELL_MOST = 32, NAME_MOST = 24 };

void tide_paint(const struct tide_sink *sink, enum tide_paint paint)
{
	static const char *const codes[] = {"\033[0m", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m"};
	if (sink->color)
		fputs(codes[paint], sink->out);
}

void tide_heading(const struct tide_sink *sink, const char *title)
{
	const char *rest = strstr(title, "  ");
	int len = rest ? (int)(rest - title) : (int)strlen(title);
	tide_paint(sink, TIDE_BOLD);
	fprintf(sink->out, "%.*s", len, title);
	tide_paint(sink, TIDE_PLAIN);
	fprintf(sink->out, "%s\n", title + len);
}

static bool is_text(const struct tide_column *c)
{
	return c->type == TIDE_TYPE_TEXT || c->type == TIDE_TYPE_ECHO;
}

static bool is_empty(const struct tide_grid *g, const struct tide_column *c)
{
	const json_t *row;
	size_t i;
	json_array_foreach(g->rows, i, row)
	{
		if (i < g->most && json_integer_value(json_object_get(row, c->id)))
			return false;
	}
	return true;
}

/* Whether a row has something else there than in the column before. */
static bool differs(const struct tide_grid *g, const struct tide_column *c)
{
	const json_t *row;
	size_t i;
	json_array_foreach(g->rows, i, row)
	{
		if (i < g->most && !json_equal(json_object_get(row, c->id), json_object_get(row, c[-1].id)))
			return true;
	}
	return false;
}

static bool is_shown(const struct tide_grid *g, const struct tide_column *c)
{
	if (c->type == TIDE_TYPE_ECHO && !differs(g, c))
		return false;
	return c->title && (c->type != TIDE_TYPE_RARE || !is_empty(g, c));
}

/* Width of every column that text shows, 0 of others; the last text gets what is left of the line. */
static void measure(const struct tide_grid *g, const struct tide_value_style *style, size_t columns, size_t *width)
{
	size_t used = 0, last = SIZE_MAX, i;
	const json_t *row;
	char buf[TIDE_VALUE_LEN];
	for (size_t c = 0; c < g->table->columns && c < COLUMNS_MOST; c++) {
		const struct tide_column *column = &g->table->column[c];
		if (!is_shown(g, column))
			continue;
		width[c] = strlen(column->title);
		json_array_foreach(g->rows, i, row)
		{
			const json_t *cell = json_object_get(row, column->id);
			size_t len =
				is_text(column)
					? tide_safe_width(json_is_string(cell) ? json_string_value(cell) : "unknown", 0)
					: strlen(tide_value_text(buf, column, cell, style));
			if (i < g->most && len > width[c])
				width[c] = len;
		}
		if (is_text(column))
			last = c;
	}
	for (size_t c = 0; c < g->table->columns && c < COLUMNS_MOST; c++) {
		if (c != last && is_text(&g->table->column[c]) && width[c] > CELL_MOST)
			width[c] = CELL_MOST;
		used += c != last && width[c] ? width[c] + 2 : 0;
	}
	if (last != SIZE_MAX && used + 2 + width[last] > columns)
		width[last] = used + 2 + TEXT_LEAST < columns ? columns - used - 2 : TEXT_LEAST;
}

static void spaces(FILE *out, size_t n)
{
	fprintf(out, "%*s", (int)n, "");
}

/* Blanks that end a line are not written: they are owed until something follows them. */
static void text_cell(FILE *out, const char *text, size_t width, size_t *owed)
{
	spaces(out, *owed);
	*owed = width - tide_safe_text(out, text, width);
}

static void value_cell(FILE *out, const char *text, size_t width, size_t *owed)
{
	size_t len = strlen(text), blank = 0;
	while (blank < len && text[len - 1 - blank] == ' ')
		blank++;
	spaces(out, *owed + width - len);
	fprintf(out, "%.*s", (int)(len - blank), text);
	*owed = blank;
}

static void line(FILE *out, const struct tide_grid *g, const json_t *row, const size_t *width)
{
	struct tide_value_style style = {g->origin_ns, true};
	char buf[TIDE_VALUE_LEN];
	size_t owed = 0;
	for (size_t c = 0; c < g->table->columns && c < COLUMNS_MOST; c++) {
		const struct tide_column *column = &g->table->column[c];
		const json_t *cell = json_object_get(row, column->id);
		if (!width[c])
			continue;
		owed += 2;
		if (!row && is_text(column))
			text_cell(out, column->title, width[c], &owed);
		else if (!row)
			value_cell(out, column->title, width[c], &owed);
		else if (is_text(column))
			text_cell(out, json_is_string(cell) ? json_string_value(cell) : "unknown", width[c], &owed);
		else
			value_cell(out, tide_value_text(buf, column, cell, &style), width[c], &owed);
	}
	fputc('\n', out);
}

static bool is_csv(const struct tide_column *c)
{
	return c->type != TIDE_TYPE_LIST && c->type != TIDE_TYPE_NAMES;
}

/* "12 int, 12 str", below a row. */
static void names_text(const struct tide_sink *sink, const struct tide_table *table, const json_t *row)
{
	char buf[TIDE_VALUE_LEN];
	size_t i;
	const json_t *name;
	for (size_t c = 0; c < table->columns; c++) {
		const json_t *names = json_object_get(row, table->column[c].id);
		if (table->column[c].type != TIDE_TYPE_NAMES || json_array_size(names) == 0)
			continue;
		tide_paint(sink, TIDE_DIM);
		spaces(sink->out, 12);
		json_array_foreach(names, i, name)
		{
			fprintf(sink->out, "%s%s ",
				i ? ", " : "of these: ", tide_count_text(buf, tide_number_at(name, "blocks")));
			tide_safe_text(sink->out, tide_text_at(name, "name"), NAME_MOST);
		}
		fputc('\n', sink->out);
		tide_paint(sink, TIDE_PLAIN);
	}
}

void tide_grid_text(const struct tide_sink *sink, const struct tide_grid *g)
{
	struct tide_value_style style = {g->origin_ns, true};
	size_t width[COLUMNS_MOST] = {0}, i;
	const json_t *row;
	if (json_array_size(g->rows) == 0) {
		fprintf(sink->out, "  %s\n", g->table->empty);
		return;
	}
	measure(g, &style, tide_columns(sink), width);
	tide_paint(sink, TIDE_DIM);
	line(sink->out, g, NULL, width);
	tide_paint(sink, TIDE_PLAIN);
	json_array_foreach(g->rows, i, row)
	{
		if (i >= g->most)
			break;
		line(sink->out, g, row, width);
		names_text(sink, g->table, row);
		if (g->stacks)
			tide_stack_text(sink, json_object_get(row, "stack"), STACK_FRAMES);
	}
}

static void frame_name(FILE *out, const json_t *f, size_t columns)
{
	char offset[TIDE_VALUE_LEN];
	if (tide_known_at(f, "function")) {
		tide_safe_text(out, tide_text_at(f, "function"), columns);
		return;
	}
	const char *module = tide_text_at(f, "module"), *base = strrchr(module, '/');
	snprintf(offset, sizeof offset, "+0x%llx", tide_number_at(f, "offset"));
	tide_safe_text(out, base ? base + 1 : module, columns);
	fputs(offset, out);
}

/* How Python came from an import to a module's first line, in a dozen frames that are the same for all. */
static bool of_importing(const json_t *f)
{
	return strncmp(tide_text_at(f, "file"), "<frozen importlib", 17) == 0;
}

static void frame_line(const struct tide_sink *sink, const json_t *f)
{
	spaces(sink->out, 12);
	frame_name(sink->out, f, 40);
	if (tide_known_at(f, "line")) {
		fprintf(sink->out, "  ");
		tide_safe_text(sink->out, tide_text_at(f, "file"), 38);
		fprintf(sink->out, ":%lld", tide_number_at(f, "line"));
	}
	fputc('\n', sink->out);
}

/* Native frames that ran a Python one are the interpreter's own way from line to line, but the innermost, which say what it does. */
static size_t last_python(const json_t *frames)
{
	size_t i, last = 0;
	const json_t *f;
	json_array_foreach(frames, i, f)
	{
		if (strcmp(tide_text_at(f, "language"), "python") == 0)
			last = i + 1;
	}
	return last;
}

void tide_stack_text(const struct tide_sink *sink, const json_t *frames, size_t most)
{
	size_t i, shown = 0, python = last_python(frames);
	const json_t *f;
	tide_paint(sink, TIDE_DIM);
	json_array_foreach(frames, i, f)
	{
		bool way = i >= NATIVE_FRAMES && i < python && strcmp(tide_text_at(f, "language"), "native") == 0;
		if (shown >= most || way || (i > 0 && of_importing(f)))
			continue;
		frame_line(sink, f);
		shown++;
	}
	if (json_array_size(frames) > shown)
		fprintf(sink->out, "%12s... %zu more frames\n", "", json_array_size(frames) - shown);
	tide_paint(sink, TIDE_PLAIN);
}

/* Outermost first, as folded stacks are. */
static void csv_stack(FILE *out, const json_t *frames)
{
	char *text = NULL;
	size_t len = 0;
	FILE *all = open_memstream(&text, &len);
	for (size_t i = json_array_size(frames); all && i-- > 0;) {
		const json_t *f = json_array_get(frames, i);
		frame_name(all, f, 0);
		if (tide_known_at(f, "line"))
			fprintf(all, " %s:%lld", tide_text_at(f, "file"), tide_number_at(f, "line"));
		fputs(i ? ";" : "", all);
	}
	if (all && fclose(all) == 0)
		tide_safe_csv(out, text);
	free(text);
}

static void csv_cell(FILE *out, const struct tide_column *c, const json_t *cell)
{
	if (!cell || json_is_null(cell))
		return; /* unknown: empty */
	if (c->type == TIDE_TYPE_STACK)
		csv_stack(out, cell);
	else if (c->type == TIDE_TYPE_SHARE)
		fprintf(out, "%.6f", json_real_value(cell));
	else if (is_text(c))
		tide_safe_csv(out, json_string_value(cell));
	else
		fprintf(out, "%lld", json_integer_value(cell));
}

void tide_grid_csv_heading(FILE *out, const struct tide_table *table, const char *prefix)
{
	fputs(prefix ? prefix : "", out);
	for (size_t c = 0, shown = 0; c < table->columns; c++)
		if (is_csv(&table->column[c]))
			fprintf(out, "%s%s", shown++ ? "," : "", table->column[c].id);
	fputs("\n", out);
}

void tide_grid_csv(FILE *out, const struct tide_table *table, const json_t *rows, const char *prefix)
{
	size_t i;
	const json_t *row;
	json_array_foreach(rows, i, row)
	{
		fputs(prefix ? prefix : "", out);
		for (size_t c = 0, shown = 0; c < table->columns; c++) {
			if (!is_csv(&table->column[c]))
				continue;
			fputs(shown++ ? "," : "", out);
			csv_cell(out, &table->column[c], json_object_get(row, table->column[c].id));
		}
		fputs("\n", out);
	}
}
