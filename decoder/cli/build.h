/*
 * build.h - from an analysis to the report document: a JSON value with CONTRACT's names, which the renderers show.
 */
#ifndef TIDE_CLI_BUILD_H
#define TIDE_CLI_BUILD_H

#include <jansson.h>

#include "analyze/analysis.h"

/* One log, analyzed and named; released as a whole. */
struct tide_loaded {
	struct tide_log *log;
	struct tide_analysis *analysis;
	struct tide_symbols *symbols;
};
/* On failure nothing is held. */
enum tide_status tide_loaded_init(struct tide_loaded *, const char *path, struct tide_error *err);
void tide_loaded_release(struct tide_loaded *);

/* New references, owned by the caller. `top`: rows of the tables. */
json_t *tide_build_report(const struct tide_loaded *, unsigned top);
json_t *tide_build_stack(const struct tide_loaded *, uint32_t native, uint32_t python);
json_t *tide_build_process(const struct tide_log *);
json_t *tide_build_coverage(const struct tide_log *, const struct tide_analysis *);
/* "function file:line" of the innermost frame that is the program's own: not an allocator's wrapper. New reference. */
json_t *tide_build_place(const struct tide_loaded *, uint32_t site);
/* verdict.c */
json_t *tide_build_verdict(const struct tide_loaded *);

/* A string that is valid UTF-8 whatever the log said. */
json_t *tide_json_text(const char *);

#endif
