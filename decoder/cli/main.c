/* The program: dispatch, and the one place that speaks of errors. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/opts.h"
#include "cli/output.h"
#include "render/safe.h"

const struct tide_cmd *const tide_commands[] = {
	&tide_cmd_record,
	&tide_cmd_report,
	&tide_cmd_ledger,
	&tide_cmd_pins,
	&tide_cmd_arenas,
	&tide_cmd_leaks,
	&tide_cmd_peak,
	&tide_cmd_top,
	&tide_cmd_timeline,
	&tide_cmd_live,
	&tide_cmd_diff,
	&tide_cmd_replay,
	&tide_cmd_info,
	&tide_cmd_dump,
	&tide_cmd_verify,
	&tide_cmd_prune,
	NULL,
};

/* Ten lines: what to do first, and the names of the rest. */
static void usage(FILE *out)
{
	fputs("usage: tidemark COMMAND [OPTIONS] ...\n\n"
	      "  tidemark record --dir LOGS -- PROG ARGS...   run a program and record its allocations\n"
	      "  tidemark report LOGS                         why its memory is what it is, on one page\n"
	      "  tidemark diff BASE NEW                       what changed between two runs\n\n",
	      out);
	size_t column = 0;
	for (size_t i = 0; tide_commands[i]; i++) {
		const char *before = i == 0 ? "commands: " : column > 70 ? ",\n          " : ", ";
		if (column > 70)
			column = 0;
		column += (size_t)fprintf(out, "%s%s", before, tide_commands[i]->name);
	}
	fputs("\n\n`tidemark COMMAND --help` has the options; `man tidemark` the rest.\n", out);
}

static void say(const char *text)
{
	fputs("tidemark: ", stderr);
	tide_safe_text(stderr, text, 0);
	fputc('\n', stderr);
}

static bool colors(uint64_t choice, const FILE *out)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	if (choice != TIDE_COLOR_AUTO)
		return choice == TIDE_COLOR_ALWAYS;
	return !(no && *no) && out == stdout && isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

/* How wide the terminal is that text goes to; 0: to none. */
static unsigned columns(const FILE *out)
{
	struct winsize size;
	if (out != stdout || !isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
		return 0;
	return size.ws_col;
}

/* The command's answer goes to the output, which is kept unless there is no answer. */
static int answer(const struct tide_cmd *c, struct tide_args *args, struct tide_error *err)
{
	struct tide_output out;
	signal(SIGPIPE, SIG_IGN);
	if (tide_output_init(&out, args->output, err))
		return TIDE_EXIT_UNREADABLE;
	args->sink = (struct tide_sink){out.file, colors(args->color, out.file), columns(out.file)};
	tide_progress_begin(args->progress);
	int code = c->run(args, c, err);
	tide_progress_end();
	bool answered = code != TIDE_EXIT_UNREADABLE && code != TIDE_EXIT_USAGE;
	struct tide_error failure = {0};
	if (tide_output_finish(&out, answered, &failure)) {
		if (!err->text[0])
			*err = failure;
		return TIDE_EXIT_UNREADABLE;
	}
	return code;
}

static int run(const struct tide_cmd *c, int argc, char **argv)
{
	struct tide_args args = {
		.top = 20,
		.fail_on = TIDE_UNSET,
		.keep = TIDE_UNSET,
		.arena_max = TIDE_UNSET,
		.trim_every = TIDE_UNSET,
		.timeout = TIDE_UNSET,
		.progress = isatty(STDERR_FILENO),
	};
	struct tide_error err = {0};
	int code = TIDE_EXIT_OK;
	if (tide_opts_parse(c, argc, argv, &args, &err))
		code = c->stops_at_operand ? TIDE_EXIT_RECORD : TIDE_EXIT_USAGE; /* 2 may be the program's */
	else if (args.help)
		tide_opts_help(c, stdout);
	else if (c->stops_at_operand) /* another program's output is none of ours */
		code = c->run(&args, c, &err);
	else
		code = answer(c, &args, &err);
	if (err.text[0])
		say(err.text);
	return code;
}

/* ENOSPC is an error for help and version, too. */
static int flushed(int code)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? code : TIDE_EXIT_UNREADABLE;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return TIDE_EXIT_USAGE;
	}
	if (strcmp(argv[1], "__complete") == 0) { /* for the completion scripts */
		tide_opts_complete(argc - 2, argv + 2, stdout);
		return flushed(TIDE_EXIT_OK);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return flushed(TIDE_EXIT_OK);
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("tidemark %s\n", TIDEMARK_VERSION);
		return flushed(TIDE_EXIT_OK);
	}
	for (size_t i = 0; tide_commands[i]; i++)
		if (strcmp(argv[1], tide_commands[i]->name) == 0)
			return run(tide_commands[i], argc - 2, argv + 2);
	char text[200];
	snprintf(text, sizeof text, "no such command '%.60s'; 'tidemark --help' lists them", argv[1]);
	say(text);
	return TIDE_EXIT_USAGE;
}
