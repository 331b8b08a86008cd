#include "read/damage.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void tide_damage_add(struct tide_damages *damages, uint64_t offset, uint64_t len, const char *format, ...)
{
	damages->places++;
	if (damages->kept == TIDE_DAMAGE_KEPT)
		return;
	struct tide_damage *place = &damages->place[damages->kept++];
	place->offset = offset;
	place->len = len;
	va_list args;
	va_start(args, format);
	vsnprintf(place->what, sizeof place->what, format, args);
	va_end(args);
}

bool tide_gap_add(struct tide_gaps *gaps, const struct tide_gap *gap)
{
	if (gaps->count == gaps->cap) {
		uint32_t cap = gaps->cap ? 2 * gaps->cap : 16;
		struct tide_gap *more = realloc(gaps->gap, cap * sizeof *more);
		if (!more)
			return false;
		gaps->gap = more;
		gaps->cap = cap;
	}
	gaps->gap[gaps->count++] = *gap;
	return true;
}

static int compare_gaps(const void *va, const void *vb)
{
	const struct tide_gap *a = va, *b = vb;
	if (a->lane != b->lane)
		return a->lane < b->lane ? -1 : 1;
	if (a->from_ns != b->from_ns)
		return a->from_ns < b->from_ns ? -1 : 1;
	return (a->to_ns > b->to_ns) - (a->to_ns < b->to_ns);
}

void tide_gaps_sort(struct tide_gaps *gaps)
{
	if (gaps->count > 1)
		qsort(gaps->gap, gaps->count, sizeof *gaps->gap, compare_gaps);
}

void tide_gaps_release(struct tide_gaps *gaps)
{
	free(gaps->gap);
	*gaps = (struct tide_gaps){0};
}
