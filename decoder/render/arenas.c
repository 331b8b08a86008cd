/* Arenas as text: by kind, one by one, and drawn. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "render/safe.h"
#include "render/text.h"
#include "render/value.h"

enum { MAP_MARGIN = 32 }; /* columns of a drawn arena's name and frame */

/* By kind: how many, and what they hold. */
void tide_page_arenas(const struct tide_sink *sink, const json_t *arenas)
{
	static const struct tide_column columns[] = {
		{"kind", "kind", TIDE_TYPE_TEXT, false},
		{"count", "arenas", TIDE_TYPE_COUNT, false},
		{"reserved_bytes", "reserved", TIDE_TYPE_BYTES, false},
		{"resident_bytes", "resident", TIDE_TYPE_BYTES, false},
		{"live_bytes", "live", TIDE_TYPE_BYTES, false},
		{"stranded_bytes", "stranded", TIDE_TYPE_BYTES, false},
		{"reserve_bytes", "in reserve", TIDE_TYPE_RARE, false},
	};
	static const struct tide_table table = {"kinds", "", "none known", columns, sizeof columns / sizeof *columns};
	json_t *kinds = json_object(), *rows = json_array(), *row;
	const json_t *a;
	size_t i;
	const char *key;
	json_array_foreach(arenas, i, a)
	{
		const char *kind = tide_text_at(a, "kind");
		row = json_object_get(kinds, kind);
		if (!row) {
			row = json_pack("{s:s, s:i}", "kind", kind, "count", 0);
			json_object_set_new(kinds, kind, row);
		}
		json_object_set_new(row, "count", json_integer(tide_number_at(row, "count") + 1));
		for (size_t c = 2; c < table.columns; c++)
			json_object_set_new(
				row, columns[c].id,
				json_integer(tide_number_at(row, columns[c].id) + tide_number_at(a, columns[c].id)));
	}
	json_object_foreach(kinds, key, row) json_array_append(rows, row);
	tide_heading(sink, "ARENAS  memory that allocators took from the system; stranded: resident, not live");
	tide_grid_text(sink, &(struct tide_grid){.table = &table, .rows = rows, .most = SIZE_MAX});
	json_decref(rows);
	json_decref(kinds);
}

static int more_stranded(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	long long p = tide_number_at(x, "stranded_bytes"), q = tide_number_at(y, "stranded_bytes");
	long long r = tide_number_at(x, "resident_bytes"), s = tide_number_at(y, "resident_bytes");
	long long i = tide_number_at(x, "base"), k = tide_number_at(y, "base");
	if (p != q)
		return p < q ? 1 : -1;
	return r != s ? (r < s ? 1 : -1) : (i > k) - (i < k);
}

/* The arenas that have a member `with` (NULL: all), with the most stranded memory first: a new array. */
static json_t *sorted(const json_t *arenas, const char *with)
{
	size_t i, n = 0;
	json_t *rows = json_array(), *a, **row = calloc(json_array_size(arenas) + 1, sizeof *row);
	json_array_foreach(arenas, i, a) if (row && (!with || tide_known_at(a, with))) row[n++] = a;
	if (n)
		qsort(row, n, sizeof *row, more_stranded);
	for (i = 0; i < n; i++)
		json_array_append(rows, row[i]);
	free(row);
	return rows;
}

static long long sum_of(const json_t *rows, size_t from, const char *key)
{
	long long sum = 0;
	for (size_t i = from; i < json_array_size(rows); i++)
		sum += tide_number_at(json_array_get(rows, i), key);
	return sum;
}

void tide_page_arena_rows(const struct tide_sink *sink, const json_t *arenas, size_t most)
{
	char resident[TIDE_VALUE_LEN], live[TIDE_VALUE_LEN], stranded[TIDE_VALUE_LEN], count[TIDE_VALUE_LEN];
	json_t *rows = sorted(arenas, NULL);
	size_t n = json_array_size(rows);
	tide_heading(sink, n > 1 ? "ARENAS  the most stranded first" : "ARENAS");
	tide_grid_text(sink, &(struct tide_grid){.table = &tide_table_arenas, .rows = rows, .most = most});
	if (n > most) {
		bool known = tide_known_at(json_array_get(rows, most), "live_bytes");
		fprintf(sink->out, "  ... and %s more, together %s resident",
			tide_count_text(count, (long long)(n - most)),
			tide_bytes_text(resident, sum_of(rows, most, "resident_bytes")));
		if (known)
			fprintf(sink->out, ", %s live, %s stranded",
				tide_bytes_text(live, sum_of(rows, most, "live_bytes")),
				tide_bytes_text(stranded, sum_of(rows, most, "stranded_bytes")));
		fprintf(sink->out, " (--top N)\n");
	}
	json_decref(rows);
}

/* `each` parts as one: what most of them say, and stranded only if nothing lives in any. */
static char fold(const char *map, size_t each)
{
	size_t resident = 0, live = 0, thin = 0;
	for (size_t i = 0; i < each && map[i]; i++) {
		resident += map[i] != ' ';
		live += map[i] == '#';
		thin += map[i] == '+';
	}
	if (resident == 0)
		return ' ';
	return live + thin == 0 ? '-' : 4 * live + thin >= 2 * resident ? '#' : '+';
}

static void map_row(const struct tide_sink *sink, const json_t *arena)
{
	const char *map = tide_text_at(arena, "map");
	size_t cells = strlen(map), room = tide_columns(sink) > MAP_MARGIN + 8 ? tide_columns(sink) - MAP_MARGIN : 8;
	size_t each = cells > room ? (cells + room - 1) / room : 1;
	size_t width = tide_safe_text(sink->out, tide_text_at(arena, "kind"), 12);
	fprintf(sink->out, "%*s  %12llx  |", (int)(width < 12 ? 12 - width : 0), "",
		(unsigned long long)tide_number_at(arena, "base"));
	for (size_t i = 0; i < cells; i += each)
		fputc(fold(map + i, cells - i < each ? cells - i : each), sink->out);
	fputs("|\n", sink->out);
}

void tide_page_map(const struct tide_sink *sink, const json_t *arenas, size_t most)
{
	json_t *rows = sorted(arenas, "map");
	size_t n = json_array_size(rows);
	tide_heading(sink, "MAP  by address: # live, + less than half of it live, - free, blank not resident");
	for (size_t i = 0; i < n && i < most; i++) {
		fputs("  ", sink->out);
		map_row(sink, json_array_get(rows, i));
	}
	if (n > most)
		fprintf(sink->out, "  ... %zu more, with less stranded in each (--top N)\n", n - most);
	json_decref(rows);
}
