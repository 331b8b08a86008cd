#include "symbols/pylines.h"

/* co_lnotab, CPython 3.8 and 3.9 (Objects/lnotab_notes.txt): pairs of byte and signed line increments. */
static int64_t in_lnotab(const struct tide_code *c, uint32_t target)
{
	int64_t line = c->first_line;
	uint64_t at = 0;
	for (uint32_t i = 0; i + 1 < c->table_len; i += 2) {
		at += c->table[i];
		if (at > target)
			break;
		line += (int8_t)c->table[i + 1];
	}
	return line;
}

/* PEP 626, CPython 3.10 (Objects/lnotab_notes.txt): ranges; line increment -128 means no line. */
static int64_t in_pep626(const struct tide_code *c, uint32_t target)
{
	int64_t line = c->first_line;
	uint64_t end = 0;
	for (uint32_t i = 0; i + 1 < c->table_len; i += 2) {
		int8_t step = (int8_t)c->table[i + 1];
		end += c->table[i];
		line += step == -128 ? 0 : step;
		if (end > target)
			return step == -128 ? -1 : line;
	}
	return -1;
}

static int64_t signed_varint(const struct tide_code *c, uint32_t *i)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte = 0x40;
	while (byte & 0x40 && *i < c->table_len && shift < 60) {
		byte = c->table[(*i)++];
		value |= (uint64_t)(byte & 0x3f) << shift;
		shift += 6;
	}
	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

/* Location table, CPython 3.11 and later (Objects/locations.md): entries of 1 to 8 units with a line step each; a byte
 * with the high bit set begins an entry, so columns can be passed over. */
static int64_t in_locations(const struct tide_code *c, uint32_t target)
{
	int64_t line = c->first_line;
	uint64_t end = 0;
	for (uint32_t i = 0; i < c->table_len;) {
		uint8_t first = c->table[i++];
		unsigned kind = first >> 3 & 15;
		end += ((first & 7u) + 1) * 2;
		if (kind == 13 || kind == 14)
			line += signed_varint(c, &i);
		else if (kind >= 10 && kind <= 12)
			line += kind - 10;
		if (end > target)
			return kind == 15 ? -1 : line;
		while (i < c->table_len && !(c->table[i] & 0x80))
			i++;
	}
	return -1;
}

int tide_python_line(const struct tide_code *c, uint32_t offset)
{
	int64_t line = -1;
	if (offset <= UINT32_MAX / 2 && c->table_kind == TIDE_LINES_LNOTAB)
		line = in_lnotab(c, offset * 2);
	else if (offset <= UINT32_MAX / 2 && c->table_kind == TIDE_LINES_PEP626)
		line = in_pep626(c, offset * 2);
	else if (offset <= UINT32_MAX / 2 && c->table_kind == TIDE_LINES_LOCATIONS)
		line = in_locations(c, offset * 2);
	return line > 0 && line <= INT32_MAX ? (int)line : -1;
}
