#include "read/sites.h"

/* No log has more; a number beyond it is nonsense, and a table of so many would fit memory. */
#define NUMBER_MAX (1u << 24)

void tide_site_reader_init(struct tide_site_reader *r, const uint8_t *payload, size_t len)
{
	r->in = tide_in_of(payload, len);
	uint64_t first = tide_get_varint(&r->in);
	if (first == 0 || first > NUMBER_MAX)
		r->in.bad = true;
	r->number = (uint32_t)first;
	r->any = false;
	r->native.last = r->python.last = 0;
	r->native.len = r->python.len = 0;
}

static void next_stack(struct tide_in *in, struct tide_site_stack *s)
{
	uint64_t keep = tide_get_varint(in), push = tide_get_varint(in);
	if (keep > s->len || push > TIDE_SITE_WORDS - keep) {
		in->bad = true;
		return;
	}
	s->keep = (uint32_t)keep;
	s->len = (uint32_t)(keep + push);
	for (uint64_t i = keep; i < s->len && !in->bad; i++)
		s->word[i] = s->last += (uint64_t)tide_unzigzag(tide_get_varint(in));
}

int tide_site_reader_next(struct tide_site_reader *r)
{
	if (r->in.bad)
		return -1;
	if (tide_in_left(&r->in) == 0)
		return 0;
	r->number += r->any;
	r->any = true;
	next_stack(&r->in, &r->native);
	next_stack(&r->in, &r->python);
	return r->in.bad || r->number > NUMBER_MAX ? -1 : 1;
}
