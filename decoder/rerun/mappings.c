#include "rerun/mappings.h"

#include <stdlib.h>
#include <string.h>

void tide_mappings_release(struct tide_mappings *m)
{
	free(m->piece);
	*m = (struct tide_mappings){0};
}

/* The first piece that ends after addr. */
static uint32_t from(const struct tide_mappings *m, uint64_t addr)
{
	uint32_t low = 0, high = m->pieces;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (m->piece[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Room for one more at index i. */
static bool open_gap(struct tide_mappings *m, uint32_t i)
{
	if (m->pieces == TIDE_MAPPINGS_MOST) {
		m->left_out++;
		return false;
	}
	if (m->pieces == m->cap) {
		uint32_t cap = m->cap ? 2 * m->cap : 64;
		struct tide_piece *more = realloc(m->piece, cap * sizeof *more);
		if (!more) {
			m->left_out++;
			return false;
		}
		m->piece = more;
		m->cap = cap;
	}
	memmove(&m->piece[i + 1], &m->piece[i], (m->pieces - i) * sizeof *m->piece);
	m->pieces++;
	return true;
}

static struct tide_piece part_of(const struct tide_piece *p, uint64_t start, uint64_t end)
{
	struct tide_piece part = *p;
	part.start = start > p->start ? start : p->start;
	part.end = end < p->end ? end : p->end;
	return part;
}

void tide_mappings_each(const struct tide_mappings *m, uint64_t start, uint64_t end, tide_piece_fn *each, void *arg)
{
	for (uint32_t i = from(m, start); i < m->pieces && m->piece[i].start < end; i++) {
		struct tide_piece part = part_of(&m->piece[i], start, end);
		each(arg, &part);
	}
}

void tide_mappings_cut(struct tide_mappings *m, uint64_t start, uint64_t end, tide_piece_fn *each, void *arg)
{
	uint32_t first = from(m, start), i = first;
	if (each)
		tide_mappings_each(m, start, end, each, arg);
	if (i < m->pieces && m->piece[i].start < start) { /* keeps its head, and perhaps its tail */
		struct tide_piece tail = part_of(&m->piece[i], end, UINT64_MAX);
		bool has_tail = m->piece[i].end > end;
		m->piece[i].end = start;
		if (has_tail && open_gap(m, i + 1))
			m->piece[i + 1] = tail;
		if (has_tail)
			return;
		first = ++i;
	}
	while (i < m->pieces && m->piece[i].end <= end)
		i++;
	if (i < m->pieces && m->piece[i].start < end)
		m->piece[i].start = end;
	memmove(&m->piece[first], &m->piece[i], (m->pieces - i) * sizeof *m->piece);
	m->pieces -= i - first;
}

bool tide_mappings_add(struct tide_mappings *m, uint64_t start, uint64_t end, uint32_t id)
{
	uint32_t i = from(m, start);
	if (!open_gap(m, i))
		return false;
	m->piece[i] = (struct tide_piece){start, end, start, id};
	return true;
}

const struct tide_piece *tide_mappings_at(const struct tide_mappings *m, uint64_t start)
{
	uint32_t i = from(m, start);
	return i < m->pieces && m->piece[i].start == start && m->piece[i].base == start ? &m->piece[i] : NULL;
}
