/*
 * opts.h - options as tables: one table gives parsing, --help and completion.
 */
#ifndef TIDE_CLI_OPTS_H
#define TIDE_CLI_OPTS_H

#include "cli/cmd.h"

/* Entries that several commands have. */
#define TIDE_OPT(name, value, help, kind, member)                           \
	{                                                                   \
		name, value, help, kind, offsetof(struct tide_args, member) \
	}
#define TIDE_OPT_FORMAT_TABLE \
	TIDE_OPT("--format", "text|json|csv", "how to print; text by default", TIDE_OPT_CHOICE, format)
#define TIDE_OPT_FORMAT TIDE_OPT("--format", "text|json", "how to print; text by default", TIDE_OPT_CHOICE, format)
#define TIDE_OPT_OUTPUT TIDE_OPT("-o", "FILE", "write there: all of it, or nothing", TIDE_OPT_TEXT, output)
#define TIDE_OPT_COLOR \
	TIDE_OPT("--color", "auto|always|never", "auto: on a terminal, unless NO_COLOR is set", TIDE_OPT_CHOICE, color)
#define TIDE_OPT_TOP TIDE_OPT("--top", "N", "rows of a table; 20 by default", TIDE_OPT_COUNT, top)
#define TIDE_OPT_END                               \
	{                                          \
		NULL, NULL, NULL, TIDE_OPT_FLAG, 0 \
	}

/* Fills *args from argv (without the command's name). Operands are moved to the front of argv, which args->operand then is.
 * TIDE_OK, or TIDE_ERR_USAGE with *err filled. */
enum tide_status tide_opts_parse(const struct tide_cmd *, int argc, char **argv, struct tide_args *args,
				 struct tide_error *err);
void tide_opts_help(const struct tide_cmd *, FILE *);
/* Words that may come next on `tidemark WORD...`, a line each: argv[0..argc) are the words so far, the last one unfinished. */
void tide_opts_complete(int argc, char **argv, FILE *);
/* "64K" and the like. False: no such number. */
bool tide_opts_bytes(const char *text, uint64_t *ret);
/* "1s", "20ms", or seconds without a unit, as the shim takes them: nanoseconds. False: no such time. */
bool tide_opts_time(const char *text, uint64_t *ret);

#endif
