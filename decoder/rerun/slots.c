#include "rerun/slots.h"

#include <stdlib.h>

void tide_slots_release(struct tide_slots *s)
{
	free(s->back);
	*s = (struct tide_slots){0};
}

uint64_t tide_slots_take(struct tide_slots *s)
{
	return s->backs ? s->back[--s->backs] : s->used++;
}

bool tide_slots_give(struct tide_slots *s, uint64_t slot)
{
	if (s->backs == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 256;
		uint64_t *more = realloc(s->back, cap * sizeof *more);
		if (!more)
			return false;
		s->back = more;
		s->cap = cap;
	}
	s->back[s->backs++] = slot;
	return true;
}
