/* Rows that are the same stack in code that moved: they differ in nothing but lines. */
#include <stdlib.h>
#include <string.h>

#include "analyze/profile.h"
#include "format/wire.h"

enum { GROUP_MOST = 2048 }; /* lines of one function: a hostile log has more, and must not cost their square */

struct lone {           /* a row of which one side is empty */
	uint64_t loose; /* digest of its key without lines */
	uint32_t row;
	unsigned side;
	bool joined;
};

static const char *last_part(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path;
}

static uint64_t mix_text(uint64_t digest, const char *text)
{
	return tide_checksum(text ? text : "", text ? strlen(text) + 1 : 0, digest);
}

static uint64_t loose(const struct tide_profile *p, const struct tide_profile_row *row)
{
	uint64_t digest = row->key_len;
	for (uint32_t i = 0; i < row->key_len; i++) {
		const struct tide_symbol *s = &p->frame[p->word[row->key + i]];
		uint64_t offset = s->function ? 0 : s->offset;
		digest = tide_checksum(&offset, sizeof offset, digest ^ s->python);
		digest = mix_text(mix_text(digest, s->function), last_part(s->file));
		if (!s->python)
			digest = mix_text(digest, last_part(s->module));
	}
	return digest;
}

static int compare_lines(const struct tide_profile *p, const struct tide_profile_row *x,
			 const struct tide_profile_row *y)
{
	for (uint32_t i = 0; i < x->key_len && i < y->key_len; i++) {
		int a = p->frame[p->word[x->key + i]].line, b = p->frame[p->word[y->key + i]].line;
		if (a != b)
			return a < b ? -1 : 1;
	}
	return 0;
}

static int by_group(const void *a, const void *b, void *arg)
{
	const struct lone *x = a, *y = b;
	const struct tide_profile *p = arg;
	if (x->loose != y->loose)
		return x->loose < y->loose ? -1 : 1;
	if (x->side != y->side)
		return x->side < y->side ? -1 : 1;
	int order = compare_lines(p, &p->row[x->row], &p->row[y->row]);
	return order ? order : x->row < y->row ? -1 : x->row > y->row;
}

static bool same_measure(const struct tide_measures *x, const struct tide_measures *y)
{
	return x->allocs == y->allocs && x->alloc_bytes == y->alloc_bytes && x->live_bytes == y->live_bytes;
}

/* The new side's row takes over the base side's measures. */
static void join(struct tide_profile *p, struct lone *base, struct lone *new)
{
	p->row[new->row].side[0] = p->row[base->row].side[0];
	p->row[base->row].side[0] = (struct tide_measures){0};
	base->joined = new->joined = true;
}

/* lone[0..bases) are of the base, lone[bases..count) of the new side; all alike but for lines, in order of their lines. */
static void join_group(struct tide_profile *p, struct lone *lone, size_t bases, size_t count)
{
	size_t left = bases, right = count - bases;
	if (count > GROUP_MOST)
		return;
	for (size_t i = 0; i < bases; i++)
		for (size_t k = bases; k < count && !lone[i].joined; k++)
			if (!lone[k].joined &&
			    same_measure(&p->row[lone[i].row].side[0], &p->row[lone[k].row].side[1])) {
				join(p, &lone[i], &lone[k]);
				left--;
				right--;
			}
	if (left != right)
		return; /* which of them is new cannot be said */
	for (size_t i = 0, k = bases; i < bases; i++) {
		if (lone[i].joined)
			continue;
		while (lone[k].joined)
			k++;
		join(p, &lone[i], &lone[k]);
	}
}

static bool empty(const struct tide_measures *m)
{
	return m->allocs == 0 && m->live_blocks == 0;
}

enum tide_status tide_profile_join_moved(struct tide_profile *p)
{
	struct lone *lone = calloc(p->rows + 1u, sizeof *lone);
	size_t count = 0;
	if (!lone)
		return TIDE_ERR_NOMEM;
	for (uint32_t i = 0; i < p->rows; i++) {
		const struct tide_profile_row *row = &p->row[i];
		if (empty(&row->side[0]) != empty(&row->side[1]))
			lone[count++] = (struct lone){loose(p, row), i, empty(&row->side[0]), false};
	}
	qsort_r(lone, count, sizeof *lone, by_group, p);
	for (size_t first = 0, end, bases; first < count; first = end) {
		for (end = bases = first; end < count && lone[end].loose == lone[first].loose; end++)
			bases += lone[end].side == 0;
		join_group(p, lone + first, bases - first, end - first);
	}
	free(lone);
	return TIDE_OK;
}
