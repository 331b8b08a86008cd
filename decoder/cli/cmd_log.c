/* info, dump, verify: the log itself, before any replay. */
#include <inttypes.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "render/text.h"

/* Reads all events, so that the losses are complete. */
static enum tide_status drain(struct tide_log *log)
{
	struct tide_event e;
	int more;
	while ((more = tide_log_next(log, &e)) == 1)
		;
	return more < 0 ? (enum tide_status)more : TIDE_OK;
}

static int ended(const struct tide_log *log)
{
	return tide_log_losses(log)->damaged ? TIDE_EXIT_DAMAGED : TIDE_EXIT_OK;
}

static json_t *info(const struct tide_log *log)
{
	const struct tide_losses *l = tide_log_losses(log);
	json_t *doc = json_object(), *events = json_object();
	json_object_set_new(doc, "process", tide_build_process(log));
	json_object_set_new(doc, "coverage", tide_build_coverage(log, NULL));
	json_object_set_new(events, "recorded", json_integer((json_int_t)l->recorded));
	json_object_set_new(events, "in_window", json_integer((json_int_t)l->in_window));
	json_object_set_new(doc, "events", events);
	json_object_set_new(doc, "frames", json_integer((json_int_t)l->frames));
	json_object_set_new(doc, "frame_events", json_integer((json_int_t)l->frame_events));
	json_object_set_new(doc, "frame_bytes", json_integer((json_int_t)l->frame_bytes));
	json_object_set_new(doc, "open_blocks", json_integer((json_int_t)l->open_blocks));
	json_object_set_new(doc, "censuses", json_integer(tide_log_census_count(log)));
	json_object_set_new(doc, "damaged", json_boolean(l->damaged));
	return doc;
}

static void damage(FILE *out, const struct tide_losses *l)
{
	for (uint32_t i = 0; i < l->damage_count; i++) {
		fprintf(out, "damage at %" PRIu64 ", %" PRIu64 " bytes: ", l->damage[i].offset, l->damage[i].len);
		tide_text_safe(out, l->damage[i].what);
		fputc('\n', out);
	}
	if (l->lost)
		fprintf(out, "lost events: %" PRIu64 "\n", l->lost);
}

static void info_text(FILE *out, const struct tide_log *log)
{
	static const char *const ends[] = {"exit", "exec", "killed", "running"};
	const struct tide_process *p = tide_log_process(log);
	const struct tide_losses *l = tide_log_losses(log);
	fprintf(out, "exe        ");
	tide_text_safe(out, p->exe);
	fprintf(out, "\npid        %d (parent %d), ended: %s\n", p->super.pid, p->super.ppid, ends[p->end]);
	if (p->super.parent_uid)
		fprintf(out, "forked     from pid %d, log %016" PRIx64 "\n", p->super.parent_pid, p->super.parent_uid);
	fprintf(out, "allocator  ");
	tide_text_safe(out, p->allocator);
	fprintf(out, "\npython     ");
	tide_text_safe(out, p->python ? p->python : "none");
	fprintf(out,
		"\nevents     %" PRIu64 " recorded, %" PRIu64 " in this log, %" PRIu64 " overwritten, %" PRIu64
		" lost\n",
		l->recorded, l->in_window, l->evicted, l->lost);
	fprintf(out, "frames     %" PRIu64 ", open blocks %" PRIu64 ", censuses %u\n", l->frames, l->open_blocks,
		tide_log_census_count(log));
	if (l->frame_events)
		fprintf(out, "size       %.2f bytes an event in the frames\n",
			(double)l->frame_bytes / (double)l->frame_events);
	damage(out, l);
}

int tide_cmd_info(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_log *log;
	(void)cmd;
	if (tide_log_open(args->path[0], &log, err))
		return TIDE_EXIT_UNREADABLE;
	int code = drain(log) ? TIDE_EXIT_UNREADABLE : ended(log);
	if (args->json) {
		json_t *doc = info(log);
		json_dumpf(doc, args->out, JSON_INDENT(1));
		fputc('\n', args->out);
		json_decref(doc);
	} else {
		info_text(args->out, log);
	}
	tide_log_free(log);
	return code;
}

static void words(FILE *out, const struct tide_log *log, uint32_t node)
{
	for (; node; node = tide_log_node_parent(log, node))
		fprintf(out, " %" PRIx64, tide_log_node_word(log, node));
}

int tide_cmd_dump(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_log *log;
	struct tide_event e;
	(void)cmd;
	if (tide_log_open(args->path[0], &log, err))
		return TIDE_EXIT_UNREADABLE;
	while (tide_log_next(log, &e) == 1) {
		fprintf(args->out,
			"%" PRIu64 " %" PRIu64 " lane %" PRIu32 " tid %" PRIu32 " %s %" PRIx64 " %" PRIu64 " %" PRIu64,
			e.index, e.time_ns, e.lane, e.tid, tide_kind_name(e.kind), e.addr, e.size, e.value);
		if (tide_kind_fields(e.kind) & (TIDE_F_STACK | TIDE_F_PYSTACK)) {
			words(args->out, log, e.python);
			words(args->out, log, e.native);
		}
		fputc('\n', args->out);
	}
	int code = ended(log);
	tide_log_free(log);
	return code;
}

int tide_cmd_verify(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct tide_log *log;
	(void)cmd;
	if (tide_log_open(args->path[0], &log, err))
		return TIDE_EXIT_UNREADABLE;
	int code = drain(log) ? TIDE_EXIT_UNREADABLE : ended(log);
	const struct tide_losses *l = tide_log_losses(log);
	fprintf(args->out,
		"%s: %" PRIu64 " events recorded = %" PRIu64 " here + %" PRIu64 " overwritten + %" PRIu64 " lost\n",
		code ? "damaged" : "whole", l->recorded, l->in_window, l->evicted, l->lost);
	damage(args->out, l);
	tide_log_free(log);
	return code;
}
