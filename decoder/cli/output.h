/*
 * output.h - where an answer goes: standard output, or a file that is there whole or not at all; and who is told meanwhile.
 */
#ifndef TIDE_CLI_OUTPUT_H
#define TIDE_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "format/status.h"

struct tide_output {
	FILE *file;
	char *path, *temporary; /* owned; NULL: standard output, or a file that is no regular one */
};
/* `path` NULL: standard output. TIDE_OK or TIDE_ERR_IO. */
enum tide_status tide_output_init(struct tide_output *, const char *path, struct tide_error *err);
/* Flushes and checks; a named file comes to be only now, and only if `keep`. A reader that went away (EPIPE) is no error. */
enum tide_status tide_output_finish(struct tide_output *, bool keep, struct tide_error *err);

/* A document, whole, with a line end; ASCII only, so that nothing in it can act on a terminal. */
void tide_output_json(FILE *, const json_t *);

/* Says on standard error, from a second after the beginning, what is being done; nothing unless `on`. One at a time. */
void tide_progress_begin(bool on);
/* `what` is hostile; it is copied. */
void tide_progress_say(const char *what, size_t done, size_t all);
void tide_progress_end(void);

#endif
