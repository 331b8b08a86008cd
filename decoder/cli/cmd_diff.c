/* diff: two sides, each a log or a directory of them, matched stack by stack; what changed, biggest first. */
#include <stdlib.h>
#include <string.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "cli/opts.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "render/text.h"

/* Sums over the logs of one side. */
struct side {
	long long live_bytes, live_blocks, peak_bytes, alloc_bytes, allocs, arenas;
	long long events, lost;
	size_t logs;
	bool damaged;
};

static enum tide_status add_log(struct side *side, unsigned number, const char *path, struct tide_profile *profile,
				struct tide_objects *objects, struct tide_error *err)
{
	struct tide_loaded l;
	enum tide_status status = tide_loaded_init(&l, path, objects, NULL, err);
	if (status)
		return status;
	const struct tide_losses *losses = tide_log_losses(l.log);
	side->logs++;
	side->live_bytes += (long long)l.analysis->state.live_bytes;
	side->live_blocks += (long long)l.analysis->state.live_blocks;
	side->peak_bytes += (long long)l.analysis->peak_bytes;
	side->alloc_bytes += (long long)l.analysis->alloc_bytes;
	side->allocs += (long long)l.analysis->allocs;
	side->arenas += l.analysis->arenas;
	side->events += (long long)losses->recorded;
	side->lost += (long long)losses->lost;
	side->damaged |= losses->damaged;
	if (tide_profile_add(profile, l.analysis, l.symbols, NULL, number))
		status = tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	tide_loaded_release(&l);
	return status;
}

static enum tide_status add_side(struct side *side, unsigned number, char *path, struct tide_profile *profile,
				 struct tide_objects *objects, struct tide_error *err)
{
	struct tide_paths paths;
	enum tide_status status = tide_paths_init(&paths, &path, 1, err);
	if (status)
		return status;
	for (size_t i = 0; i < paths.count && !status; i++) {
		tide_progress_say(paths.path[i], i, paths.count);
		status = add_log(side, number, paths.path[i], profile, objects, err);
	}
	tide_paths_release(&paths);
	return status;
}

static long long change(uint64_t base, uint64_t new)
{
	return (long long)new - (long long)base;
}

static long long live_change(const struct tide_profile_row *row)
{
	return change(row->side[0].live_bytes, row->side[1].live_bytes);
}

static long long held_change(const struct tide_profile_row *row)
{
	return change(row->side[0].arenas, row->side[1].arenas);
}

static long long peak_change(const struct tide_profile_row *row)
{
	return change(row->side[0].peak_bytes, row->side[1].peak_bytes);
}

static int by_size(long long p, long long q)
{
	return llabs(p) < llabs(q) ? 1 : llabs(p) > llabs(q) ? -1 : p < q ? 1 : p > q ? -1 : 0;
}

/* What is live counts first, then what was at the peak; the order in the profile decides between equals. */
static int biggest_first(const void *a, const void *b)
{
	const struct tide_profile_row *x = *(const struct tide_profile_row *const *)a,
				      *y = *(const struct tide_profile_row *const *)b;
	int order = by_size(live_change(x), live_change(y));
	if (!order)
		order = by_size(peak_change(x), peak_change(y));
	return order ? order : x < y ? -1 : x > y;
}

static json_t *difference(uint64_t base, uint64_t new)
{
	return json_integer(change(base, new));
}

static json_t *site_row(const struct tide_profile *p, const struct tide_profile_row *row)
{
	const struct tide_measures *a = &row->side[0], *b = &row->side[1];
	return tide_row(&tide_table_diff, difference(a->live_bytes, b->live_bytes),
			difference(a->live_blocks, b->live_blocks), difference(a->peak_bytes, b->peak_bytes),
			difference(a->alloc_bytes, b->alloc_bytes), difference(a->arenas, b->arenas),
			tide_build_place_of(tide_profile_place(p, row)), tide_json_count(a->live_bytes),
			tide_json_count(b->live_bytes), tide_build_profile_stack(p, row));
}

/* Rows in which something that stays changed: live bytes, the peak, arenas held. */
static json_t *sites(const struct tide_profile *p, size_t top)
{
	const struct tide_profile_row **row = calloc(p->rows + 1u, sizeof *row);
	json_t *rows = json_array();
	size_t count = 0;
	for (uint32_t i = 0; row && i < p->rows; i++)
		if (live_change(&p->row[i]) || peak_change(&p->row[i]) || held_change(&p->row[i]))
			row[count++] = &p->row[i];
	if (row)
		qsort(row, count, sizeof *row, biggest_first);
	for (size_t i = 0; i < count && i < top; i++)
		json_array_append_new(rows, site_row(p, row[i]));
	free(row);
	return rows;
}

static json_t *totals(const struct side *a, const struct side *b)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "live_bytes", (json_int_t)(b->live_bytes - a->live_bytes),
			 "live_blocks", (json_int_t)(b->live_blocks - a->live_blocks), "peak_bytes",
			 (json_int_t)(b->peak_bytes - a->peak_bytes), "alloc_bytes",
			 (json_int_t)(b->alloc_bytes - a->alloc_bytes), "allocs", (json_int_t)(b->allocs - a->allocs),
			 "arenas", (json_int_t)(b->arenas - a->arenas));
}

static json_t *side_of(const struct side *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "logs", (json_int_t)s->logs, "live_bytes",
			 (json_int_t)s->live_bytes, "live_blocks", (json_int_t)s->live_blocks, "peak_bytes",
			 (json_int_t)s->peak_bytes, "alloc_bytes", (json_int_t)s->alloc_bytes);
}

static json_t *document(const struct tide_profile *p, const struct side *base, const struct side *new, size_t top)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:{s:I, s:I, s:b}}", "sites", sites(p, top), "totals", totals(base, new),
			 "base", side_of(base), "new", side_of(new), "coverage", "events",
			 (json_int_t)(base->events + new->events), "lost", (json_int_t)(base->lost + new->lost),
			 "damaged", base->damaged || new->damaged);
}

/* Over all rows, not only those that are shown. */
static bool exceeds(const struct tide_profile *p, uint64_t limit)
{
	for (uint32_t i = 0; i < p->rows; i++)
		if (live_change(&p->row[i]) > 0 && (uint64_t)live_change(&p->row[i]) > limit)
			return true;
	return false;
}

static void show(const struct tide_args *args, const json_t *doc)
{
	if (args->format == TIDE_FORMAT_JSON) {
		tide_output_json(args->sink.out, doc);
	} else if (args->format == TIDE_FORMAT_CSV) {
		tide_grid_csv_heading(args->sink.out, &tide_table_diff, NULL);
		tide_grid_csv(args->sink.out, &tide_table_diff, json_object_get(doc, "sites"), NULL);
	} else {
		tide_text_diff(&args->sink, doc);
	}
}

static int compare(const struct tide_args *args, struct tide_profile *profile, struct tide_objects *objects,
		   struct tide_error *err)
{
	struct side side[TIDE_SIDES] = {0};
	for (unsigned i = 0; i < TIDE_SIDES; i++)
		if (add_side(&side[i], i, args->operand[i], profile, objects, err))
			return TIDE_EXIT_UNREADABLE;
	if (tide_profile_join_moved(profile)) {
		tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
		return TIDE_EXIT_UNREADABLE;
	}
	json_t *doc = document(profile, &side[0], &side[1], args->top);
	show(args, doc);
	json_decref(doc);
	if (side[0].damaged || side[1].damaged)
		return TIDE_EXIT_DAMAGED;
	return args->fail_on != TIDE_UNSET && exceeds(profile, args->fail_on) ? TIDE_EXIT_FOUND : TIDE_EXIT_OK;
}

static int run(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_profile profile = {0};
	struct tide_objects *objects = tide_objects_new();
	(void)cmd;
	int code = objects ? compare(args, &profile, objects, err) : TIDE_EXIT_UNREADABLE;
	tide_profile_release(&profile);
	tide_objects_free(objects);
	return code;
}

static const struct tide_opt options[] = {
	TIDE_OPT_FORMAT_TABLE,
	TIDE_OPT_OUTPUT,
	TIDE_OPT_COLOR,
	TIDE_OPT_TOP,
	TIDE_OPT("--fail-on", "BYTES", "exit 1 when a stack's live bytes grew by more (suffix K, M, G)", TIDE_OPT_BYTES,
		 fail_on),
	TIDE_OPT_END,
};
const struct tide_cmd tide_cmd_diff = {
	.name = "diff",
	.synopsis = "BASE NEW",
	.summary =
		"What changed between two runs, stack by stack. BASE and NEW are each a log, or a directory of them.",
	.example = "tidemark diff logs-before logs-after --fail-on 64K",
	.opts = options,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};
