/* The program: dispatch, options, and the one place that speaks of errors. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd.h"

#define PATHS 256

static const struct tide_cmd commands[] = {
	{"report", "PATH...", "the answer on one page: verdict, ledger, pins, leak candidates, coverage", 1, PATHS,
	 tide_cmd_section, NULL},
	{"ledger", "PATH...", "what resident memory is made of", 1, PATHS, tide_cmd_section, "ledger"},
	{"pins", "PATH...", "the blocks that hold free memory", 1, PATHS, tide_cmd_section, "pins"},
	{"arenas", "PATH...", "every arena: reserved, resident, live, stranded", 1, PATHS, tide_cmd_section, "arenas"},
	{"leaks", "PATH...", "what is live, by stack", 1, PATHS, tide_cmd_section, "leaks"},
	{"peak", "PATH...", "what was live at the peak, by stack", 1, PATHS, tide_cmd_section, "at_peak"},
	{"top", "PATH...", "what allocated most, by stack", 1, PATHS, tide_cmd_section, "top"},
	{"timeline", "PATH...", "live bytes over time", 1, PATHS, tide_cmd_section, "timeline"},
	{"diff", "BASE NEW", "two logs, stack by stack", 2, 2, tide_cmd_diff, NULL},
	{"info", "LOG", "what the log is of, and what it holds", 1, 1, tide_cmd_info, NULL},
	{"dump", "LOG", "every event, a line each", 1, 1, tide_cmd_dump, NULL},
	{"verify", "LOG", "integrity: what was lost, and where", 1, 1, tide_cmd_verify, NULL},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void usage(FILE *out)
{
	fprintf(out, "usage: tidemark COMMAND [OPTIONS] PATH...\n\n");
	fprintf(out, "  %-9s %s\n", "record", "run a program under the shim");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\nexample: tidemark record --dir /tmp/logs -- python3 app.py && tidemark report /tmp/logs\n");
}

static void help(const struct tide_cmd *c)
{
	printf("usage: tidemark %s [OPTIONS] %s\n\n%s\n\n", c->name, c->synopsis, c->summary);
	printf("  --format text|json   text by default\n  -o FILE              write there\n  --top N              "
	       "rows of a table (20)\n");
	if (c->run == tide_cmd_diff)
		printf("  --fail-on BYTES      exit 1 when a row's live bytes grew by more (suffix K, M, G)\n");
	printf("\nexit status: 0 complete, 1 found (--fail-on), 2 usage, 3 damaged log, 4 unreadable\n");
}

static int complain(const char *what, const char *subject, const char *next)
{
	fprintf(stderr, "tidemark: %s '%s'; %s\n", what, subject, next);
	return TIDE_EXIT_USAGE;
}

static bool bytes_of(const char *text, uint64_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
	if (end == text || errno || *text == '-' || (shift ? end[1] : *end) || value > UINT64_MAX >> shift)
		return false;
	*ret = (uint64_t)value << shift;
	return true;
}

/* An option with a value at argv[*i]; 0 or an exit code. */
static int option(struct tide_args *a, int argc, char **argv, int *i)
{
	const char *name = argv[*i];
	uint64_t number;
	if (strcmp(name, "--help") == 0) {
		a->help = true;
		return 0;
	}
	if (*i + 1 >= argc)
		return complain("unknown option or missing value:", name, "try --help");
	const char *value = argv[++*i];
	if (strcmp(name, "--format") == 0 && (strcmp(value, "json") == 0 || strcmp(value, "text") == 0))
		a->json = value[0] == 'j';
	else if (strcmp(name, "-o") == 0)
		a->output = value;
	else if (strcmp(name, "--top") == 0 && bytes_of(value, &number) && number > 0 && number <= 1000000)
		a->top = (unsigned)number;
	else if (strcmp(name, "--fail-on") == 0 && bytes_of(value, &a->fail_on))
		a->has_fail_on = true;
	else if (strcmp(name, "--color") != 0)
		return complain("bad option or value:", name, "try --help");
	return 0;
}

static int parse(struct tide_args *a, const struct tide_cmd *c, int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		bool is_option = argv[i][0] == '-' && argv[i][1];
		int code = is_option ? option(a, argc, argv, &i) : 0;
		if (code)
			return code;
		if (!is_option)
			argv[2 + a->paths++] = argv[i];
	}
	a->path = argv + 2;
	if (!a->help && (a->paths < c->min_paths || a->paths > c->max_paths))
		return complain("wrong number of paths for", c->name, c->synopsis);
	return 0;
}

static int finish(struct tide_args *a, int code)
{
	bool failed = fflush(a->out) != 0 || ferror(a->out);
	if (a->output && fclose(a->out) != 0)
		failed = true;
	if (failed && errno == EPIPE)
		return code;
	if (failed) {
		fprintf(stderr, "tidemark: cannot write '%s': %s\n", a->output ? a->output : "standard output",
			strerror(errno));
		return TIDE_EXIT_UNREADABLE;
	}
	return code;
}

static int run(const struct tide_cmd *c, int argc, char **argv)
{
	struct tide_args a = {.top = 20, .out = stdout};
	struct tide_error err = {0};
	int code = parse(&a, c, argc, argv);
	if (code)
		return code;
	if (a.help) {
		help(c);
		return TIDE_EXIT_OK;
	}
	if (a.output && !(a.out = fopen(a.output, "we"))) {
		fprintf(stderr, "tidemark: cannot write '%s': %s\n", a.output, strerror(errno));
		return TIDE_EXIT_UNREADABLE;
	}
	code = c->run(&a, c, &err);
	if (err.text[0])
		fprintf(stderr, "tidemark: %s\n", err.text);
	return finish(&a, code);
}

int main(int argc, char **argv)
{
	struct tide_error err = {0};
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return TIDE_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return TIDE_EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("tidemark %s\n", TIDEMARK_VERSION);
		return TIDE_EXIT_OK;
	}
	if (strcmp(argv[1], "record") == 0) {
		int code = tide_cmd_record(argc - 2, argv + 2, &err);
		if (err.text[0])
			fprintf(stderr, "tidemark: %s\n", err.text);
		return code;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return run(&commands[i], argc, argv);
	return complain("no such command:", argv[1], "'tidemark --help' lists them");
}
