/*
 * value.h - one cell, as text: bytes in binary units, counts with separators, times in seconds, null as "unknown".
 */
#ifndef TIDE_RENDER_VALUE_H
#define TIDE_RENDER_VALUE_H

#include <jansson.h>

#include "report/table.h"

enum { TIDE_VALUE_LEN = 40 };

/* Where times begin: the start of the process. */
struct tide_value_style {
	long long origin_ns;
	bool padded; /* bytes: units of equal width, so that a column of them lines up */
};

/* buf: TIDE_VALUE_LEN bytes. Not for texts and stacks. Returns buf. */
const char *tide_value_text(char *buf, const struct tide_column *, const json_t *cell, const struct tide_value_style *);
const char *tide_bytes_text(char *buf, long long bytes);
const char *tide_count_text(char *buf, long long count);

/* Members of a document's object; "unknown" and 0 where there is none. */
const char *tide_text_at(const json_t *object, const char *key);
long long tide_number_at(const json_t *object, const char *key);
bool tide_known_at(const json_t *object, const char *key);

#endif
