/*
 * build.h - from an analysis to the report document: a JSON value with CONTRACT's names, which the renderers show.
 */
#ifndef TIDE_CLI_BUILD_H
#define TIDE_CLI_BUILD_H

#include <jansson.h>

#include "analyze/analysis.h"
#include "analyze/profile.h"
#include "read/kin.h"
#include "report/table.h"
#include "symbols/objects.h"

/* One log, analyzed and named; released as a whole. */
struct tide_loaded {
	struct tide_log *log;
	struct tide_analysis *analysis;
	struct tide_symbols *symbols;
};
/* The objects are shared by all logs of a run and live longer; so is the kin, which grows. With it, what a forked child inherited is told
 * of, if its parent's log is among them or beside it; NULL: it is not looked for. On failure nothing is held. */
enum tide_status tide_loaded_init(struct tide_loaded *, const char *path, struct tide_objects *, struct tide_kin *,
				  struct tide_error *err);
void tide_loaded_release(struct tide_loaded *);
/* The same, with a census that is not in the log. */
enum tide_status tide_loaded_init_now(struct tide_loaded *, const char *path, struct tide_objects *, struct tide_kin *,
				      const struct tide_census_blob *now, struct tide_error *err);

/* What a report has room for. */
struct tide_wanted {
	const char *section; /* the one part that is asked for; NULL: all that a report has */
	size_t top;          /* rows of a table */
};

/* New references, owned by the caller. */
json_t *tide_build_report(const struct tide_loaded *, const struct tide_wanted *);
json_t *tide_build_process(const struct tide_log *);
json_t *tide_build_format(const struct tide_log *); /* the log's version, "1.0" */
json_t *tide_build_coverage(const struct tide_log *, const struct tide_analysis *);
/* "function file:line" of the innermost frame that is the program's own: not an allocator's wrapper. */
json_t *tide_build_place(const struct tide_loaded *, uint32_t site);
/* The same for a stack that begins at these nodes. */
json_t *tide_build_place_at(const struct tide_loaded *, uint32_t native, uint32_t python);
json_t *tide_build_place_of(const struct tide_symbol *); /* NULL: no frame */
json_t *tide_build_frame(const struct tide_symbol *);
/* predictions.c: what would go back to the system, and when. null without a census. */
json_t *tide_build_predictions(const struct tide_loaded *);
/* verdict.c */
json_t *tide_build_verdict(const struct tide_loaded *);

/* build_bare.c: the report of a process without a log; of a report's members those that need one are null or not there. TIDE_OK, or
 * TIDE_ERR_BAD (the census), TIDE_ERR_NOMEM. */
struct tide_bare_subject {
	int pid, ppid;
	const char *name;
	uint64_t start_ns; /* CLOCK_MONOTONIC */
	const struct tide_census_blob *census;
};
enum tide_status tide_build_bare(const struct tide_bare_subject *, json_t **ret);

/* build_sites.c: one of the tables leaks, top, at_peak of one side, by its own measure, biggest first; and `places`: the same by line. */
json_t *tide_build_sites(const struct tide_profile *, const struct tide_table *, size_t top);
/* Sets the members "places" and "suspects": by line of the program, what lives, and what of it looks like a leak. */
void tide_build_lines(json_t *report, const struct tide_profile *, size_t top);
json_t *tide_build_profile_stack(const struct tide_profile *, const struct tide_profile_row *);
/* Adds to the profile what the table shows of this log. */
enum tide_status tide_gather_sites(struct tide_profile *, const struct tide_loaded *, const struct tide_table *);

/* build_merged.c: several reports as one document: sums, `overview`, `processes`. Steals nothing. */
json_t *tide_build_merged(const json_t *reports);

/* A string that is valid UTF-8 whatever the log said; null for NULL. */
json_t *tide_json_text(const char *);
json_t *tide_json_count(uint64_t);

#endif
