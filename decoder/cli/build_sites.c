/* Gathered stacks as rows. */
#include <stdlib.h>
#include <string.h>

#include "cli/build.h"

json_t *tide_build_frame(const struct tide_symbol *s)
{
	json_t *frame = json_object();
	json_object_set_new(frame, "function", s->cut ? json_string("[stack cut here]") : tide_json_text(s->function));
	json_object_set_new(frame, "file", tide_json_text(s->file));
	json_object_set_new(frame, "line", s->line > 0 ? json_integer(s->line) : json_null());
	json_object_set_new(frame, "module", tide_json_text(s->module));
	json_object_set_new(frame, "offset", tide_json_count(s->offset));
	json_object_set_new(frame, "language", json_string(s->python ? "python" : "native"));
	json_object_set_new(frame, "inlined", json_boolean(s->inlined));
	return frame;
}

/* The last part of a path; of a package's own file, with the package: json/__init__.py. NULL: NULL. */
static const char *short_path(const char *path)
{
	const char *last = path ? strrchr(path, '/') : NULL;
	if (!last)
		return path;
	if (strncmp(last, "/__", 3) == 0)
		for (const char *c = last; c > path; c--)
			if (c[-1] == '/')
				return c;
	return last + 1;
}

json_t *tide_build_place_of(const struct tide_symbol *s)
{
	char *text = NULL;
	if (!s)
		return json_string("(no stack)");
	const char *file = short_path(s->file), *module = short_path(s->module);
	int made;
	if (file && s->line > 0)
		made = asprintf(&text, "%s %s:%d", s->function ? s->function : "?", file, s->line);
	else if (s->function)
		made = asprintf(&text, "%s (%s)", s->function, file ? file : module ? module : "?");
	else
		made = asprintf(&text, "%s+0x%llx", module ? module : "?", (unsigned long long)s->offset);
	json_t *place = made > 0 ? tide_json_text(text) : json_null();
	free(text);
	return place;
}

json_t *tide_build_profile_stack(const struct tide_profile *p, const struct tide_profile_row *row)
{
	json_t *frames = json_array();
	for (uint32_t i = 0; i < row->stack_len; i++)
		json_array_append_new(frames, tide_build_frame(&p->frame[p->word[row->stack + i]]));
	return frames;
}

static bool is_live(const struct tide_analysis *a, uint32_t site)
{
	return a->state.site[site].live_blocks > 0;
}

static bool was_at_peak(const struct tide_analysis *a, uint32_t site)
{
	return a->state.site[site].peak_bytes > 0;
}

enum tide_status tide_gather_sites(struct tide_profile *p, const struct tide_loaded *l, const struct tide_table *table)
{
	return tide_profile_add(p, l->analysis, l->symbols,
				table == &tide_table_top    ? NULL
				: table == &tide_table_peak ? was_at_peak
							    : is_live,
				0);
}

struct ranked {
	uint64_t measure, blocks;
	const struct tide_profile *profile;
	const struct tide_profile_row *row;
};

/* Of equal ones, the order of their key's frames decides, so that the same input gives the same output. */
static int biggest_first(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	if (x->measure != y->measure)
		return x->measure < y->measure ? 1 : -1;
	if (x->blocks != y->blocks)
		return x->blocks < y->blocks ? 1 : -1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static uint64_t measure_of(const struct tide_measures *m, const struct tide_table *table)
{
	return table == &tide_table_top ? m->alloc_bytes : table == &tide_table_peak ? m->peak_bytes : m->suspect_bytes;
}

/* How much of what lives looks like a leak, 0 to 1 (analyze/trend.h): it grows, it has outlived its kind, nothing of it was freed. */
static json_t *score_of(const struct tide_measures *m)
{
	double score = m->judged_bytes ? (double)m->suspect_bytes / (double)m->judged_bytes : 0;
	return m->judged_bytes ? json_real(score < 1 ? score : 1) : json_null();
}

static json_t *site_row(const struct tide_profile *p, const struct tide_profile_row *row,
			const struct tide_table *table)
{
	const struct tide_measures *m = &row->side[0];
	json_t *cells[16], *place = tide_build_place_of(tide_profile_place(p, row)),
			   *stack = tide_build_profile_stack(p, row);
	struct {
		const char *id;
		json_t *cell;
	} known[] = {
		{"bytes", tide_json_count(m->live_bytes)},
		{"blocks", tide_json_count(m->live_blocks)},
		{"score", score_of(m)},
		{"place", place},
		{"allocs", tide_json_count(m->allocs)},
		{"alloc_bytes", tide_json_count(m->alloc_bytes)},
		{"peak_bytes", tide_json_count(m->peak_bytes)},
		{"uncertain_bytes", tide_json_count(m->uncertain_bytes)},
		{"inherited_bytes", tide_json_count(m->inherited_bytes)},
		{"first_ns", m->first_ns ? tide_json_count(m->first_ns) : json_null()},
		{"last_ns", m->last_ns ? tide_json_count(m->last_ns) : json_null()},
		{"stack", stack},
	};
	for (size_t c = 0; c < table->columns; c++)
		for (size_t k = 0; k < sizeof known / sizeof *known; k++)
			if (strcmp(table->column[c].id, known[k].id) == 0)
				cells[c] = known[k].cell;
	return tide_row_new(table, cells, table->columns);
}

json_t *tide_build_sites(const struct tide_profile *p, const struct tide_table *table, size_t top)
{
	json_t *rows = json_array();
	struct ranked *ranked = calloc(p->rows + 1u, sizeof *ranked);
	size_t count = 0;
	for (uint32_t i = 0; ranked && i < p->rows; i++) {
		const struct tide_measures *m = &p->row[i].side[0];
		if (measure_of(m, table))
			ranked[count++] = (struct ranked){measure_of(m, table), m->live_blocks, p, &p->row[i]};
	}
	if (ranked)
		qsort(ranked, count, sizeof *ranked, biggest_first);
	for (size_t i = 0; i < count && i < top; i++)
		json_array_append_new(rows, site_row(p, ranked[i].row, table));
	free(ranked);
	return rows;
}

/* Of a line's live bytes, weighed by their scores: below that it only is what was allocated and kept (analyze/trend.h: 0.1). */
#define SUSPECT_LEAST 0.2
/* And a line that holds less of all that lives is no answer to why a process is big; `leaks` has all of them. */
#define SUSPECT_SHARE 0.001

struct line { /* of the program: all rows that are called after it */
	const struct tide_symbol *place;
	uint64_t bytes, blocks, suspect, judged, inherited;
	size_t stacks;
};

static int by_place(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	return x->place < y->place ? -1 : x->place > y->place;
}

static int most_bytes(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return by_place(a, b); /* frames are numbered as they come: the same for the same input */
}

static int most_suspect(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	if (x->suspect != y->suspect)
		return x->suspect < y->suspect ? 1 : -1;
	return most_bytes(a, b);
}

/* Sorts by place and adds up what is of one. Returns how many are left. */
static size_t add_up(struct line *line, size_t count)
{
	size_t kept = 0;
	qsort(line, count, sizeof *line, by_place);
	for (size_t i = 0; i < count; i++) {
		if (kept && line[kept - 1].place == line[i].place) {
			line[kept - 1].bytes += line[i].bytes;
			line[kept - 1].blocks += line[i].blocks;
			line[kept - 1].suspect += line[i].suspect;
			line[kept - 1].judged += line[i].judged;
			line[kept - 1].inherited += line[i].inherited;
			line[kept - 1].stacks += line[i].stacks;
		} else {
			line[kept++] = line[i];
		}
	}
	return kept;
}

/* Lines that look like leaks rather than like what a program keeps, to the front. */
static size_t sort_lines(struct line *line, size_t count, const struct tide_table *table)
{
	if (table != &tide_table_suspects) {
		qsort(line, count, sizeof *line, most_bytes);
		return count;
	}
	qsort(line, count, sizeof *line, most_suspect);
	size_t suspects = 0;
	uint64_t live = 0;
	for (size_t i = 0; i < count; i++)
		live += line[i].bytes;
	for (size_t i = 0; i < count; i++)
		if ((double)line[i].suspect >= SUSPECT_LEAST * (double)line[i].bytes &&
		    (double)line[i].bytes >= SUSPECT_SHARE * (double)live)
			line[suspects++] = line[i];
	return suspects;
}

static json_t *lines(const struct tide_profile *p, const struct tide_table *table, size_t top)
{
	json_t *rows = json_array();
	struct line *line = calloc(p->rows + 1u, sizeof *line);
	size_t count = 0;
	for (uint32_t i = 0; line && i < p->rows; i++) {
		const struct tide_measures *m = &p->row[i].side[0];
		if (m->live_bytes)
			line[count++] = (struct line){tide_profile_place(p, &p->row[i]),
						      m->live_bytes,
						      m->live_blocks,
						      m->suspect_bytes,
						      m->judged_bytes,
						      m->inherited_bytes,
						      1};
	}
	count = line ? sort_lines(line, add_up(line, count), table) : 0;
	for (size_t i = 0; i < count && i < top; i++) {
		struct tide_measures m = {.judged_bytes = line[i].judged, .suspect_bytes = line[i].suspect};
		json_array_append_new(rows,
				      tide_row(table, tide_json_count(line[i].bytes), tide_json_count(line[i].blocks),
					       score_of(&m), tide_json_count(line[i].inherited),
					       tide_json_count(line[i].stacks), tide_build_place_of(line[i].place)));
	}
	free(line);
	return rows;
}

void tide_build_lines(json_t *report, const struct tide_profile *p, size_t top)
{
	static const struct tide_table *const tables[] = {&tide_table_places, &tide_table_suspects};
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		json_object_set_new(report, tables[i]->id, lines(p, tables[i], top));
}
