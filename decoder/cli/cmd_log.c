/* info, dump, verify: the log itself, before any replay. */
#include <inttypes.h>
#include <string.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "cli/opts.h"
#include "cli/output.h"
#include "render/safe.h"
#include "render/text.h"

/* Reads all events, so that the losses are complete. */
static enum tide_status drain(struct tide_log *log, const char *path, struct tide_error *err)
{
	struct tide_event e;
	struct tide_census_blob census;
	int more;
	while ((more = tide_log_next(log, &e)) == 1)
		;
	for (uint32_t i = 0; i < tide_log_census_count(log) && more == 0; i++)
		if (tide_log_census(log, i, &census) == TIDE_ERR_NOMEM)
			more = TIDE_ERR_NOMEM;
	return more < 0 ? tide_error_set(err, (enum tide_status)more, "cannot read '%s': out of memory", path)
			: TIDE_OK;
}

static int ended(const struct tide_log *log)
{
	return tide_log_losses(log)->damaged ? TIDE_EXIT_DAMAGED : TIDE_EXIT_OK;
}

static json_t *info(const struct tide_log *log)
{
	const struct tide_losses *l = tide_log_losses(log);
	const struct tide_process *p = tide_log_process(log);
	json_t *doc = json_object(), *places = json_array();
	json_object_set_new(doc, "process", tide_build_process(log));
	json_object_set_new(doc, "exe", tide_json_text(p->exe));
	json_object_set_new(doc, "coverage", tide_build_coverage(log, NULL));
	json_object_set_new(doc, "file_bytes", tide_json_count(p->super.file_size));
	json_object_set_new(doc, "frames", tide_json_count(l->frames));
	json_object_set_new(doc, "frame_events", tide_json_count(l->frame_events));
	json_object_set_new(doc, "frame_bytes", tide_json_count(l->frame_bytes));
	json_object_set_new(doc, "open_blocks", tide_json_count(l->open_blocks));
	json_object_set_new(doc, "censuses", json_integer(tide_log_census_count(log)));
	json_object_set_new(doc, "damaged", json_boolean(l->damaged));
	for (uint32_t i = 0; i < l->damage_count; i++)
		json_array_append_new(places,
				      json_pack("{s:o, s:o, s:o}", "offset", tide_json_count(l->damage[i].offset),
						"bytes", tide_json_count(l->damage[i].len), "what",
						tide_json_text(l->damage[i].what)));
	json_object_set_new(doc, "damage", places);
	json_object_set_new(doc, "damage_places", tide_json_count(l->damage_places));
	return doc;
}

static void damage(const struct tide_sink *sink, const struct tide_losses *l)
{
	for (uint32_t i = 0; i < l->damage_count; i++) {
		fprintf(sink->out, "damage at %" PRIu64 ", %" PRIu64 " bytes: ", l->damage[i].offset, l->damage[i].len);
		tide_safe_text(sink->out, l->damage[i].what, 0);
		fputc('\n', sink->out);
	}
	if (l->damage_places > l->damage_count)
		fprintf(sink->out, "damage at %" PRIu64 " more places\n", l->damage_places - l->damage_count);
	if (l->lost)
		fprintf(sink->out, "lost events: %" PRIu64 "\n", l->lost);
	if (l->unverified)
		fprintf(sink->out, "events under no checksum, where damage could pass unseen: %" PRIu64 "\n",
			l->unverified);
}

static void info_line(FILE *out, const char *label, const char *text)
{
	fprintf(out, "%-11s", label);
	tide_safe_text(out, text && *text ? text : "unknown", 0);
	fputc('\n', out);
}

static void info_text(const struct tide_sink *sink, const struct tide_log *log, const json_t *doc)
{
	static const char *const ends[] = {"it exited", "it became another program (exec)", "it was killed",
					   "it is running"};
	const struct tide_process *p = tide_log_process(log);
	const struct tide_losses *l = tide_log_losses(log);
	FILE *out = sink->out;
	info_line(out, "program", p->exe);
	info_line(out, "build-id", p->build_id);
	fprintf(out, "%-11s%d, parent %d; %s\n", "pid", p->super.pid, p->super.ppid, ends[p->end]);
	if (p->super.parent_uid)
		fprintf(out, "%-11sfrom pid %d, whose log is %016" PRIx64 "\n", "forked", p->super.parent_pid,
			p->super.parent_uid);
	info_line(out, "allocator", p->allocator);
	info_line(out, "python", p->python ? p->python : "none");
	fprintf(out, "%-11s%" PRIu64 ".%" PRIu64 ", %" PRIu64 " bytes\n", "format", (uint64_t)p->super.version_major,
		(uint64_t)p->super.version_minor, (uint64_t)p->super.file_size);
	fprintf(out, "%-11s%" PRIu64 " frames, %" PRIu64 " open blocks, %u censuses\n", "holds", l->frames,
		l->open_blocks, tide_log_census_count(log));
	if (l->frame_events)
		fprintf(out, "%-11s%.2f bytes an event in the frames\n", "size",
			(double)l->frame_bytes / (double)l->frame_events);
	tide_page_coverage(sink, json_object_get(doc, "coverage"));
	damage(sink, l);
}

static int run_info(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_log *log;
	(void)cmd;
	if (tide_log_open(args->operand[0], &log, err))
		return TIDE_EXIT_UNREADABLE;
	tide_progress_say(args->operand[0], 0, 1);
	int code = drain(log, args->operand[0], err) ? TIDE_EXIT_UNREADABLE : ended(log);
	json_t *doc = info(log);
	if (args->format == TIDE_FORMAT_JSON)
		tide_output_json(args->sink.out, doc);
	else
		info_text(&args->sink, log, doc);
	json_decref(doc);
	tide_log_free(log);
	return code;
}

static void words(FILE *out, const struct tide_log *log, uint32_t node)
{
	for (; node; node = tide_log_node_parent(log, node))
		fprintf(out, " %" PRIx64, tide_log_node_word(log, node));
}

static void dump_event(FILE *out, const struct tide_log *log, const struct tide_event *e)
{
	fprintf(out, "%" PRIu64 " %" PRIu64 " lane %" PRIu32 " tid %" PRIu32 " %s %" PRIx64 " %" PRIu64 " %" PRIu64,
		e->index, e->time_ns, e->lane, e->tid, tide_kind_name(e->kind), e->addr, e->size, e->value);
	if (tide_kind_fields(e->kind) & (TIDE_F_STACK | TIDE_F_PYSTACK)) {
		words(out, log, e->python);
		words(out, log, e->native);
	}
	fputc('\n', out);
}

static int run_dump(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_log *log;
	struct tide_event e;
	int more = 0;
	(void)cmd;
	if (tide_log_open(args->operand[0], &log, err))
		return TIDE_EXIT_UNREADABLE;
	while (!ferror(args->sink.out) && (more = tide_log_next(log, &e)) == 1)
		dump_event(args->sink.out, log, &e);
	int code = ended(log);
	if (more < 0) {
		tide_error_set(err, (enum tide_status)more, "cannot read '%s': out of memory", args->operand[0]);
		code = TIDE_EXIT_UNREADABLE;
	} else if (code == TIDE_EXIT_DAMAGED) {
		const struct tide_losses *l = tide_log_losses(log);
		tide_error_set(err, TIDE_ERR_BAD, "'%s' is damaged: %" PRIu64 " of %" PRIu64 " events are lost",
			       args->operand[0], l->lost, l->recorded);
	}
	tide_log_free(log);
	return code;
}

static int run_verify(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_log *log;
	(void)cmd;
	if (tide_log_open(args->operand[0], &log, err))
		return TIDE_EXIT_UNREADABLE;
	tide_progress_say(args->operand[0], 0, 1);
	int code = drain(log, args->operand[0], err) ? TIDE_EXIT_UNREADABLE : ended(log);
	const struct tide_losses *l = tide_log_losses(log);
	if (args->format == TIDE_FORMAT_JSON) {
		json_t *doc = info(log);
		tide_output_json(args->sink.out, doc);
		json_decref(doc);
	} else {
		fprintf(args->sink.out,
			"%s: %" PRIu64 " events recorded = %" PRIu64 " here + %" PRIu64 " overwritten + %" PRIu64
			" lost\n",
			code ? "damaged" : "whole", l->recorded, l->in_window, l->evicted, l->lost);
		damage(&args->sink, l);
	}
	tide_log_free(log);
	return code;
}

static const struct tide_opt options[] = {TIDE_OPT_FORMAT, TIDE_OPT_OUTPUT, TIDE_OPT_COLOR, TIDE_OPT_END};
static const struct tide_opt dump_options[] = {TIDE_OPT_OUTPUT, TIDE_OPT_END};

const struct tide_cmd tide_cmd_info = {
	.name = "info",
	.synopsis = "LOG",
	.summary = "What the log is of, and what it holds.",
	.example = "tidemark info app-123-4f.tide",
	.opts = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_info,
};
const struct tide_cmd tide_cmd_dump = {
	.name = "dump",
	.synopsis = "LOG",
	.summary =
		"Every event, a line each: number, time in ns, lane, thread, kind, address, size, value, stack words.",
	.example = "tidemark dump app-123-4f.tide | head",
	.opts = dump_options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_dump,
};
const struct tide_cmd tide_cmd_verify = {
	.name = "verify",
	.synopsis = "LOG",
	.summary = "Integrity: is everything there, what was lost, and where.",
	.example = "tidemark verify app-123-4f.tide",
	.opts = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run_verify,
};
