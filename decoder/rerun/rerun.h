/*
 * rerun.h - a log's allocations carried out again under other settings, and what would have been resident.
 *
 * How it is reckoned: a runner (runner.c) carries out the operations; what is anonymous and resident in it, less what was before
 * the first operation (the floor of the as-is run, for all settings alike), is the heap. To that comes the rest: what the
 * recorded process had resident beside its heap at the nearest census (files, static data, stacks), but for the recorder. The as-is run is compared with every
 * census of the log; how far it is off is the error bar of all the others.
 */
#ifndef TIDE_RERUN_RERUN_H
#define TIDE_RERUN_RERUN_H

#include "read/log.h"
#include "rerun/plan.h"
#include "rerun/run.h"
#include "rerun/survey.h"

struct tide_rerun_options {
	const char *runner;
	const struct tide_setting *const *setting; /* beside as-is */
	uint32_t settings;
	uint32_t trim_ms, arenas, timeout_s;
	void (*progress)(const char *title); /* before each run; NULL: none */
};

struct tide_rerun_row {
	const struct tide_setting *setting;
	char title[64];
	bool ran;
	char why[240];    /* not */
	uint64_t *rss;    /* at each sample of the plan, with the rest */
	uint64_t samples; /* of them */
	uint64_t peak_rss, end_rss, floor, failed, failed_bytes;
	double seconds;
};

struct tide_rerun {
	struct tide_survey survey;
	struct tide_plan plan;
	struct tide_rerun_row *row; /* row[0] is as-is */
	uint32_t rows;
	bool touch_all;         /* this came closer to the recorded curve than what censuses saw */
	uint64_t memory;        /* bytes, the limit set for each run */
	uint32_t compared;      /* censuses compared with */
	uint64_t error_bytes;   /* the most that as-is is off at a census */
	uint64_t error_at_end;  /* at the last one */
	uint64_t recorded_peak; /* RSS less the recorder; 0 unknown */
	uint64_t recorded_end;  /* RSS at the last census; 0: there is none */
	uint64_t rest;          /* of recorded_end: not heap */
};

/* TIDE_OK when the as-is run came to its end; rows that could not run say why. Else *err says what failed. TIDE_ERR_UNSUPPORTED: the
 * log does not begin at the program's start, nor with what lived when it begins. On failure nothing is held. */
enum tide_status tide_rerun_init(struct tide_rerun *, struct tide_log *, const struct tide_rerun_options *,
				 struct tide_error *err);
void tide_rerun_release(struct tide_rerun *);

/* Where the runner is: beside this program (build tree) or in ../lib/tidemark (installed). False: nowhere. */
bool tide_rerun_find_runner(char *buf, size_t cap);

#endif
