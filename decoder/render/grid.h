/*
 * grid.h - a table as text, and as CSV.
 */
#ifndef TIDE_RENDER_GRID_H
#define TIDE_RENDER_GRID_H

#include <jansson.h>
#include <stdio.h>

#include "report/table.h"

enum { TIDE_TEXT_COLUMNS = 100, TIDE_TEXT_LEAST = 60, TIDE_TEXT_MOST = 400 };

/* Where text goes. */
struct tide_sink {
	FILE *out;
	bool color;
	unsigned columns; /* the terminal's; 0: there is none */
};
/* How wide text may be. */
static inline size_t tide_columns(const struct tide_sink *s)
{
	return !s->columns                    ? TIDE_TEXT_COLUMNS
	       : s->columns < TIDE_TEXT_LEAST ? TIDE_TEXT_LEAST
	       : s->columns > TIDE_TEXT_MOST  ? TIDE_TEXT_MOST
					      : s->columns;
}
enum tide_paint { TIDE_PLAIN, TIDE_BOLD, TIDE_DIM, TIDE_RED, TIDE_GREEN, TIDE_YELLOW };
/* Switches the colour on, or off (TIDE_PLAIN); nothing without colours. */
void tide_paint(const struct tide_sink *, enum tide_paint);
/* A section's first line; what stands before two spaces is bold. */
void tide_heading(const struct tide_sink *, const char *title);

struct tide_grid {
	const struct tide_table *table;
	const json_t *rows;  /* array */
	size_t most;         /* rows shown; SIZE_MAX: all */
	bool stacks;         /* the stack below each row */
	long long origin_ns; /* where times begin */
};
/* The rows, aligned, in tide_columns(); without the title. */
void tide_grid_text(const struct tide_sink *, const struct tide_grid *);
/* One CSV record a row, no heading; `prefix` (NULL: none) is put before each: cells, with their last comma. */
void tide_grid_csv(FILE *, const struct tide_table *, const json_t *rows, const char *prefix);
void tide_grid_csv_heading(FILE *, const struct tide_table *, const char *prefix);

/* A stack below a row: a frame a line, at most `most`. */
void tide_stack_text(const struct tide_sink *, const json_t *frames, size_t most);

#endif
