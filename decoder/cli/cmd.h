/*
 * cmd.h - what a command is. One file a command; commands[] in main.c is the list that help and dispatch go by.
 */
#ifndef TIDE_CLI_CMD_H
#define TIDE_CLI_CMD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "format/status.h"

enum tide_exit {
	TIDE_EXIT_OK = 0,
	TIDE_EXIT_FOUND = 1,
	TIDE_EXIT_USAGE = 2,
	TIDE_EXIT_DAMAGED = 3,
	TIDE_EXIT_UNREADABLE = 4,
};

/* Parsed command line: the options that all commands share. */
struct tide_args {
	bool json, help;
	const char *output; /* NULL: standard output */
	unsigned top;       /* rows of a table */
	bool has_fail_on;
	uint64_t fail_on; /* bytes */
	int paths;
	char **path;
	FILE *out;
};

struct tide_cmd {
	const char *name, *synopsis, *summary;
	int min_paths, max_paths;
	/* Fills *err and returns TIDE_EXIT_UNREADABLE when it cannot answer; main says it. */
	int (*run)(const struct tide_args *, const struct tide_cmd *, struct tide_error *err);
	const char *section; /* the part of the report that it shows; NULL: other */
};

int tide_cmd_section(const struct tide_args *, const struct tide_cmd *, struct tide_error *);
int tide_cmd_diff(const struct tide_args *, const struct tide_cmd *, struct tide_error *);
int tide_cmd_info(const struct tide_args *, const struct tide_cmd *, struct tide_error *);
int tide_cmd_dump(const struct tide_args *, const struct tide_cmd *, struct tide_error *);
int tide_cmd_verify(const struct tide_args *, const struct tide_cmd *, struct tide_error *);
int tide_cmd_record(int argc, char **argv, struct tide_error *);

#endif
