/*
 * cmd.h - what a command is. One file a command; commands[] in main.c is the list that dispatch, help, completion and
 * tools/check-docs go by.
 */
#ifndef TIDE_CLI_CMD_H
#define TIDE_CLI_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "format/status.h"
#include "render/grid.h"

enum tide_exit {
	TIDE_EXIT_OK = 0,
	TIDE_EXIT_FOUND = 1, /* done, and it found what was asked to be told of */
	TIDE_EXIT_USAGE = 2,
	TIDE_EXIT_DAMAGED = 3, /* done on a damaged log */
	TIDE_EXIT_UNREADABLE = 4,
	TIDE_EXIT_UNSURE = 5,   /* check cannot tell */
	TIDE_EXIT_RECORD = 125, /* record's own failure, and as env(1): */
	TIDE_EXIT_CANNOT_RUN = 126,
	TIDE_EXIT_NOT_FOUND = 127,
};

#define TIDE_UNSET UINT64_MAX /* an option that was not given */

enum tide_opt_kind {
	TIDE_OPT_FLAG,   /* bool */
	TIDE_OPT_TEXT,   /* const char * */
	TIDE_OPT_COUNT,  /* uint64_t, at least 1 */
	TIDE_OPT_BYTES,  /* uint64_t, with a suffix K, M, G */
	TIDE_OPT_WORD,   /* const char *: one of the words in `value` */
	TIDE_OPT_CHOICE, /* uint64_t: which of the words in `value`, from 0 */
};
struct tide_opt {
	const char *name;  /* "--top" */
	const char *value; /* its value's name in help; CHOICE: the words, "text|json"; NULL: a flag */
	const char *help;
	enum tide_opt_kind kind;
	size_t field; /* offset in struct tide_args */
};

enum { TIDE_FORMAT_TEXT, TIDE_FORMAT_JSON, TIDE_FORMAT_CSV };
enum { TIDE_COLOR_AUTO, TIDE_COLOR_ALWAYS, TIDE_COLOR_NEVER };

/* A parsed command line. Fields of options are set where the command's table has the option. */
struct tide_args {
	bool help;
	uint64_t format, color;
	const char *output;                                                      /* NULL: standard output */
	uint64_t top;                                                            /* rows of a table */
	uint64_t fail_on;                                                        /* bytes; TIDE_UNSET */
	const char *dir, *size, *sample, *python, *exe, *stack, *census, *watch; /* record; NULL: not given */
	const char *allocator;                                                   /* replay; NULL: every setting */
	const char *older_than;                                                  /* prune; NULL: not given */
	uint64_t keep;                                                           /* prune: logs; TIDE_UNSET */
	bool dry_run;                                                            /* prune */
	uint64_t arena_max, trim_every, timeout; /* replay: arenas, milliseconds, seconds; TIDE_UNSET */
	int operands;
	char **operand;
	struct tide_sink sink; /* where the answer goes */
	bool progress;         /* say on stderr what is being done when it lasts */
};

struct tide_cmd {
	const char *name, *synopsis, *summary;
	const char *example;
	const struct tide_opt *opts; /* ends with a name of NULL */
	int min_operands, max_operands;
	bool stops_at_operand; /* options end at the first operand: the rest is another program's command line */
	/* Fills *err when it returns USAGE, UNREADABLE or RECORD; main says it. */
	int (*run)(const struct tide_args *, const struct tide_cmd *, struct tide_error *err);
	const char *section; /* member of the report that it shows; NULL: other */
};

extern const struct tide_cmd tide_cmd_report, tide_cmd_ledger, tide_cmd_pins, tide_cmd_arenas, tide_cmd_leaks,
	tide_cmd_peak, tide_cmd_top, tide_cmd_timeline, tide_cmd_diff, tide_cmd_info, tide_cmd_dump, tide_cmd_verify,
	tide_cmd_record, tide_cmd_replay, tide_cmd_prune, tide_cmd_live;

/* NULL-terminated, in the order of the help. main.c */
extern const struct tide_cmd *const tide_commands[];

#endif
