/* live: the report of a process that goes on: its log as it is at this instant, beside a census taken from outside. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/build.h"
#include "cli/cmd.h"
#include "cli/opts.h"
#include "cli/output.h"
#include "outside/census.h"
#include "outside/find.h"
#include "render/text.h"

#define TRIES 4u
#define MIB 1048576.0

struct subject {
	struct tide_outside process;
	struct tide_outside_census census;
	enum tide_outside_found found;
	char *log; /* owned; NULL: none that can be read */
	json_t *notes;
};

static void note(struct subject *s, const char *text)
{
	json_array_append_new(s->notes, json_string(text));
}

/* Why there is no log to read, and what of a census from outside is not as one from inside would be. */
static void note_all(struct subject *s, bool census_used)
{
	const struct tide_outside_census *c = &s->census;
	if (s->found == TIDE_FOUND_ANOTHERS)
		note(s, "it was forked, and has recorded too little to have a log of its own yet");
	else if (s->found == TIDE_FOUND_UNREADABLE)
		note(s, "it writes a log, whose file cannot be opened from here");
	else if (s->found == TIDE_FOUND_NONE && c->shim)
		note(s, "libtidemark.so is loaded, but no log is mapped");
	else if (s->found == TIDE_FOUND_NONE)
		note(s, "it does not run under tidemark: `tidemark record -- PROG` gives a program a log");
	if (!census_used)
		note(s, "its memory may not be read (ptrace(2), Yama): the ledger is the program's own last census");
	else if (c->shim && !c->beacon)
		note(s, c->refused
				? "its memory may not be read (ptrace(2), Yama): tidemark's own tables are told as the "
				  "program's"
				: "another version of libtidemark.so is loaded: its tables are told as the program's");
}

static json_t *about(const struct subject *s)
{
	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:O}", "pid", s->process.pid, "at_ns",
			 tide_json_count(s->census.at_ns), "took_ns", tide_json_count(s->census.took_ns), "threads",
			 tide_json_count(s->census.threads), "log", tide_json_text(s->log), "notes", s->notes);
}

static int number_of(const char *text)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	return end == text || *end || errno || n <= 0 || n > INT_MAX ? 0 : (int)n;
}

static bool is_number(const char *text)
{
	text += *text == '-' || *text == '+';
	return *text && text[strspn(text, "0123456789")] == '\0';
}

/* The process that is asked for: by its number, or as the writer of a log. An exit code. */
static int find(const char *what, int *ret_pid, struct tide_error *err)
{
	int pid = number_of(what), logged = 0;
	if (pid) {
		*ret_pid = pid;
		return TIDE_EXIT_OK;
	}
	if (is_number(what)) {
		tide_error_set(err, TIDE_ERR_USAGE, "'%.60s' is not the number of a process", what);
		return TIDE_EXIT_USAGE;
	}
	enum tide_status status = tide_outside_writer(what, &pid, &logged, err);
	if (status == TIDE_ERR_IO && !strchr(what, '/') && !strchr(what, '.')) {
		tide_error_set(err, TIDE_ERR_USAGE, "'%.60s' is neither the number of a process nor a log", what);
		return TIDE_EXIT_USAGE;
	}
	if (!status && !pid)
		status = tide_error_set(err, TIDE_ERR_IO,
					"process %d does not write '%.120s' any more: `tidemark report` has its answer",
					logged, what);
	*ret_pid = pid;
	return status ? TIDE_EXIT_UNREADABLE : TIDE_EXIT_OK;
}

/* Which lines made Python's blocks: how old that is, and why it is no newer. */
static void note_sites(struct subject *s, const struct tide_analysis *a)
{
	char line[300];
	if (!a->sites_ns) {
		note(s, "which lines made Python's blocks is unknown: only the program's own census counts them, under "
			"the "
			"interpreter's lock, and it has taken none that did yet");
		return;
	}
	uint64_t age = s->census.at_ns > a->sites_ns ? s->census.at_ns - a->sites_ns : 0;
	snprintf(line, sizeof line,
		 "which lines made Python's blocks is as of %.1f s ago, when they were %.1f MiB; now they are %.1f "
		 "MiB: only "
		 "the program's own census counts them by line, under the interpreter's lock, as it allocates",
		 (double)age / 1e9, (double)a->state.counted_bytes / MIB, (double)a->pymalloc.live_bytes / MIB);
	note(s, line);
}

/* Of the log and the census together; *ret_damaged of the log. */
static enum tide_status logged(struct subject *s, const struct tide_args *args, json_t **ret, bool *ret_damaged,
			       struct tide_error *err)
{
	struct tide_census_blob now = {TIDE_CENSUS_ADDED, 0, s->census.at_ns, true, s->census.bytes, s->census.len};
	struct tide_wanted wanted = {NULL, args->top};
	struct tide_kin kin = {0};
	struct tide_loaded loaded;
	struct tide_objects *objects = tide_objects_new();
	/* without the tables of the shim Python's arenas would be taken for the program's own mappings */
	bool used = s->census.beacon || !s->census.refused;
	enum tide_status status = TIDE_ERR_NOMEM;
	if (objects)
		status = tide_loaded_init_now(&loaded, s->log, objects, &kin, used ? &now : NULL, err);
	if (!status) {
		const struct tide_analysis *a = loaded.analysis;
		note_all(s, used);
		if (a->pools_by_census && tide_log_process(loaded.log)->super.python_mode == TIDE_PYTHON_SITES)
			note_sites(s, a);
		*ret = tide_build_report(&loaded, &wanted);
		*ret_damaged = tide_log_losses(loaded.log)->damaged;
		tide_loaded_release(&loaded);
	}
	tide_kin_release(&kin);
	tide_objects_free(objects);
	return status;
}

static enum tide_status unlogged(struct subject *s, json_t **ret, struct tide_error *err)
{
	struct tide_census_blob now = {TIDE_CENSUS_ADDED, 0, s->census.at_ns, true, s->census.bytes, s->census.len};
	struct tide_bare_subject subject = {s->process.pid, s->process.ppid, s->process.name, s->process.start_ns,
					    &now};
	enum tide_status status = tide_build_bare(&subject, ret);
	if (status)
		return tide_error_set(err, status, "process %d: %s", s->process.pid,
				      status == TIDE_ERR_NOMEM ? "out of memory" : "its census cannot be read");
	note_all(s, true);
	return TIDE_OK;
}

/* The census first: what the log shows then reaches beyond it. */
static int answer(struct subject *s, const struct tide_args *args, int pid, struct tide_error *err)
{
	json_t *doc = NULL;
	bool damaged = false;
	enum tide_status status = tide_outside_init(&s->process, pid, err);
	if (!status)
		status = tide_outside_census_init(&s->census, &s->process, TRIES, err);
	if (status)
		return TIDE_EXIT_UNREADABLE;
	s->found = tide_outside_log(&s->process, &s->log);
	if (s->found != TIDE_FOUND_LOG) {
		free(s->log);
		s->log = NULL;
	}
	status = s->log ? logged(s, args, &doc, &damaged, err) : unlogged(s, &doc, err);
	if (status)
		return TIDE_EXIT_UNREADABLE;
	json_object_set_new(doc, "live", about(s));
	if (args->format == TIDE_FORMAT_JSON)
		tide_output_json(args->sink.out, doc);
	else
		tide_text_report(&args->sink, doc);
	json_decref(doc);
	return damaged ? TIDE_EXIT_DAMAGED : TIDE_EXIT_OK;
}

static int run(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct subject s = {.notes = json_array()};
	int pid = 0, code = find(args->operand[0], &pid, err);
	(void)cmd;
	if (code == TIDE_EXIT_OK)
		code = answer(&s, args, pid, err);
	tide_outside_census_release(&s.census);
	json_decref(s.notes);
	free(s.log);
	return code;
}

static const struct tide_opt options[] = {TIDE_OPT_FORMAT, TIDE_OPT_OUTPUT, TIDE_OPT_COLOR, TIDE_OPT_TOP, TIDE_OPT_END};
const struct tide_cmd tide_cmd_live = {
	.name = "live",
	.synopsis = "PID|LOG",
	.summary =
		"The report of a process as it is now, without stopping it: its log beside a look at its pages from\n"
		"outside. Of a process without a log: what its address space is made of, and what is not known of it.",
	.example = "tidemark live 4242",
	.opts = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
