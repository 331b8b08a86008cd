/* diff: sites of two logs matched by their frames' function, file, line and module; what changed, biggest first. */
#include <stdlib.h>
#include <string.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "render/text.h"

static const char *text(const json_t *frame, const char *key)
{
	const char *value = json_string_value(json_object_get(frame, key));
	return value ? value : "";
}

/* Addresses differ between runs, so they are no part of the key unless there is nothing else. New reference. */
static json_t *key_of(const json_t *stack)
{
	json_t *parts = json_array();
	size_t i;
	const json_t *f;
	json_array_foreach(stack, i, f)
	{
		json_array_append_new(parts, json_string(text(f, "function")));
		json_array_append_new(parts, json_string(text(f, "file")));
		json_array_append(parts, json_object_get(f, "line"));
		json_array_append_new(parts, json_string(text(f, "module")));
		if (!json_is_string(json_object_get(f, "function")))
			json_array_append(parts, json_object_get(f, "offset"));
	}
	char *dump = json_dumps(parts, JSON_COMPACT);
	json_t *key = json_string(dump ? dump : "");
	free(dump);
	json_decref(parts);
	return key;
}

static void add(json_t *row, const char *name, long long value)
{
	json_object_set_new(row, name, json_integer(json_integer_value(json_object_get(row, name)) + value));
}

static void add_site(json_t *rows, const struct tide_loaded *l, uint32_t i, int sign)
{
	const struct tide_site *s = &l->analysis->state.site[i];
	json_t *stack = tide_build_stack(l, s->native, s->python), *key = key_of(stack);
	json_t *row = json_object_get(rows, json_string_value(key));
	if (!row) {
		row = json_object();
		json_object_set_new(row, "place", tide_build_place(l, i));
		json_object_set(row, "stack", stack);
		json_object_set_new(rows, json_string_value(key), row);
	}
	add(row, "live_bytes", sign * (long long)s->live_bytes);
	add(row, "live_blocks", sign * (long long)s->live_blocks);
	add(row, "peak_bytes", sign * (long long)s->peak_bytes);
	add(row, "alloc_bytes", sign * (long long)s->alloc_bytes);
	for (uint32_t p = 0; p < l->analysis->pins; p++)
		if (l->analysis->pin[p].site == i)
			add(row, "arenas", sign * (long long)l->analysis->pin[p].arenas);
	json_decref(stack);
	json_decref(key);
}

static long long live(const json_t *row)
{
	return json_integer_value(json_object_get(row, "live_bytes"));
}

static int biggest_first(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	long long p = llabs(live(x)), q = llabs(live(y));
	if (p != q)
		return p < q ? 1 : -1;
	return strcmp(text(x, "place"), text(y, "place"));
}

/* Rows whose live bytes changed, biggest first, at most `top`. New reference. */
static json_t *ranked(json_t *rows, unsigned top)
{
	json_t **row = malloc((json_object_size(rows) + 1) * sizeof(json_t *)), *value, *result = json_array();
	size_t n = 0;
	const char *key;
	json_object_foreach(rows, key, value)
	{
		if (row && live(value))
			row[n++] = value;
	}
	if (row)
		qsort(row, n, sizeof *row, biggest_first);
	for (size_t i = 0; row && i < n && i < top; i++)
		json_array_append(result, row[i]);
	free(row);
	return result;
}

static bool exceeds(const json_t *sites, uint64_t limit)
{
	size_t i;
	const json_t *row;
	json_array_foreach(sites, i, row)
	{
		if (live(row) > 0 && (uint64_t)live(row) > limit)
			return true;
	}
	return false;
}

static json_t *compare(const struct tide_loaded *base, const struct tide_loaded *new, unsigned top)
{
	json_t *rows = json_object();
	for (uint32_t i = 0; i < base->analysis->state.sites; i++)
		add_site(rows, base, i, -1);
	for (uint32_t i = 0; i < new->analysis->state.sites; i++)
		add_site(rows, new, i, 1);
	const struct tide_analysis *a = base->analysis, *b = new->analysis;
	json_t *doc = json_pack("{s:o, s:{s:I, s:I, s:I, s:I}}", "sites", ranked(rows, top), "totals", "live_bytes",
				(json_int_t)(b->state.live_bytes - a->state.live_bytes), "live_blocks",
				(json_int_t)(b->state.live_blocks - a->state.live_blocks), "peak_bytes",
				(json_int_t)(b->peak_bytes - a->peak_bytes), "alloc_bytes",
				(json_int_t)(b->alloc_bytes - a->alloc_bytes));
	json_decref(rows);
	return doc;
}

int tide_cmd_diff(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_loaded base, new;
	(void)cmd;
	if (tide_loaded_init(&base, args->path[0], err))
		return TIDE_EXIT_UNREADABLE;
	if (tide_loaded_init(&new, args->path[1], err)) {
		tide_loaded_release(&base);
		return TIDE_EXIT_UNREADABLE;
	}
	json_t *doc = compare(&base, &new, args->top);
	bool damaged = tide_log_losses(base.log)->damaged || tide_log_losses(new.log)->damaged;
	bool found = args->has_fail_on && exceeds(json_object_get(doc, "sites"), args->fail_on);
	if (args->json) {
		json_dumpf(doc, args->out, JSON_INDENT(1));
		fputc('\n', args->out);
	} else {
		tide_text_diff(args->out, doc);
	}
	json_decref(doc);
	tide_loaded_release(&base);
	tide_loaded_release(&new);
	return damaged ? TIDE_EXIT_DAMAGED : found ? TIDE_EXIT_FOUND : TIDE_EXIT_OK;
}
