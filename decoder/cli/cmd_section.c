/* report and its sections: each log by itself; several logs also get the sums of their totals. */
#include <string.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "cli/paths.h"
#include "render/text.h"

static void add_totals(json_t *sum, const json_t *totals)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)totals, key, value)
	{
		json_int_t so_far = json_integer_value(json_object_get(sum, key));
		json_object_set_new(sum, key, json_integer(so_far + json_integer_value(value)));
	}
}

/* For JSON: the one report, or { totals, processes }; a section is the same with only that part. */
static json_t *document(json_t *reports, const char *section)
{
	size_t i;
	json_t *r, *sum, *all;
	if (section)
		json_array_foreach(reports, i, r)
		{
			json_t *part =
				json_pack("{s:O, s:O, s:O, s:O}", "process", json_object_get(r, "process"), section,
					  json_object_get(r, section), "totals", json_object_get(r, "totals"),
					  "coverage", json_object_get(r, "coverage"));
			json_array_set_new(reports, i, part);
		}
	if (json_array_size(reports) == 1)
		return json_incref(json_array_get(reports, 0));
	sum = json_object();
	json_array_foreach(reports, i, r) add_totals(sum, json_object_get(r, "totals"));
	all = json_pack("{s:o, s:O}", "totals", sum, "processes", reports);
	return all;
}

static void show(const struct tide_args *args, const char *section, json_t *reports)
{
	size_t i;
	const json_t *r;
	if (args->json) {
		json_t *doc = document(reports, section);
		json_dumpf(doc, args->out, JSON_INDENT(1));
		fputc('\n', args->out);
		json_decref(doc);
		return;
	}
	json_array_foreach(reports, i, r)
	{
		if (i)
			fprintf(args->out, "\n----\n");
		if (section)
			tide_text_section(args->out, r, section);
		else
			tide_text_report(args->out, r);
	}
}

int tide_cmd_section(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_paths paths;
	int code = TIDE_EXIT_OK;
	if (tide_paths_init(&paths, args->path, args->paths, err))
		return TIDE_EXIT_UNREADABLE;
	json_t *reports = json_array();
	for (size_t i = 0; i < paths.count && code != TIDE_EXIT_UNREADABLE; i++) {
		struct tide_loaded loaded;
		if (tide_loaded_init(&loaded, paths.path[i], err)) {
			code = TIDE_EXIT_UNREADABLE;
			break;
		}
		json_array_append_new(reports, tide_build_report(&loaded, args->top));
		if (tide_log_losses(loaded.log)->damaged)
			code = TIDE_EXIT_DAMAGED;
		tide_loaded_release(&loaded);
	}
	if (code != TIDE_EXIT_UNREADABLE)
		show(args, cmd->section, reports);
	json_decref(reports);
	tide_paths_release(&paths);
	return code;
}
