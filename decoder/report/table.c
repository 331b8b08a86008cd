#include "report/table.h"

#include <stdlib.h>

static bool fits(enum tide_type type, const json_t *cell)
{
	if (json_is_null(cell))
		return true;
	switch (type) {
	case TIDE_TYPE_TEXT:
	case TIDE_TYPE_ECHO:
		return json_is_string(cell);
	case TIDE_TYPE_SHARE:
		return json_is_real(cell);
	case TIDE_TYPE_STACK:
	case TIDE_TYPE_NAMES:
	case TIDE_TYPE_LIST:
		return json_is_array(cell);
	default:
		return json_is_integer(cell);
	}
}

json_t *tide_row_new(const struct tide_table *table, json_t *const *cells, size_t count)
{
	json_t *row = json_object();
	if (count != table->columns)
		abort();
	for (size_t i = 0; i < count; i++) {
		if (cells[i] && !fits(table->column[i].type, cells[i]))
			abort();
		json_object_set_new(row, table->column[i].id, cells[i]);
	}
	return row;
}
