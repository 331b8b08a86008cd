/*
 * table.h - rows of typed columns: what every answer that is a table is made of. Text, JSON and CSV all come from it, so a
 * column has one name, one type and one order.
 *
 * A row is a JSON object with a member for each column, in the order of the columns. A cell is a value of its column's type,
 * or null: unknown.
 */
#ifndef TIDE_REPORT_TABLE_H
#define TIDE_REPORT_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum tide_type {
	TIDE_TYPE_TEXT,  /* string, hostile */
	TIDE_TYPE_ECHO,  /* the same; text leaves the column out where every row has the same in the column before */
	TIDE_TYPE_BYTES, /* integer */
	TIDE_TYPE_COUNT, /* integer */
	TIDE_TYPE_RARE, /* integer: bytes, a part of what the row counts; text leaves the column out where no row has any */
	TIDE_TYPE_NUMBER,  /* integer that is a name, such as a process id */
	TIDE_TYPE_TIME,    /* integer: nanoseconds of CLOCK_MONOTONIC */
	TIDE_TYPE_SHARE,   /* real, 1 is all */
	TIDE_TYPE_ADDRESS, /* integer */
	TIDE_TYPE_STACK,   /* array of frames, innermost first */
	TIDE_TYPE_NAMES,   /* array of {name, blocks}; text shows it below its row; not in CSV */
	TIDE_TYPE_LIST     /* array of objects; not in text and CSV */
};

struct tide_column {
	const char *id;    /* member of the row, heading in CSV */
	const char *title; /* heading in text; NULL: not in text tables */
	enum tide_type type;
	bool change; /* a difference: shown with its sign */
};

struct tide_table {
	const char *id;    /* member of the report */
	const char *title; /* "PINS  live blocks that keep ..." */
	const char *empty; /* what text says when there is no row */
	const struct tide_column *column;
	size_t columns;
};

/* The tables of the product (tables.c). */
extern const struct tide_table tide_table_processes, tide_table_ledger, tide_table_pins, tide_table_leaks,
	tide_table_top, tide_table_peak, tide_table_arenas, tide_table_timeline, tide_table_places, tide_table_suspects,
	tide_table_diff, tide_table_replay;
/* By the report's member; NULL: none. */
const struct tide_table *tide_table_named(const char *id);

/* Takes over the cells, one a column; a cell of a wrong type is a mistake of the program's (abort). New reference. */
json_t *tide_row_new(const struct tide_table *, json_t *const *cells, size_t count);
#define tide_row(table, ...) \
	tide_row_new(table, (json_t *[]){__VA_ARGS__}, sizeof((json_t *[]){__VA_ARGS__}) / sizeof(json_t *))

#endif
