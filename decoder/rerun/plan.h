/*
 * plan.h - a log as operations for the runner (ops.h), in a file: blocks and mappings by number, threads by number, and the places
 * where resident memory is looked at.
 */
#ifndef TIDE_RERUN_PLAN_H
#define TIDE_RERUN_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "read/log.h"
#include "rerun/ops.h"
#include "rerun/survey.h"

#define TIDE_SAMPLES_MOST 4096u

struct tide_sample_at {
	uint64_t at_ns;
	int32_t recorded; /* number of the census that was taken here; -1: none */
};

struct tide_plan {
	struct tide_ops_head head;
	struct tide_sample_at *sample; /* head.samples of them */
	uint64_t ops;
	uint64_t left_out;       /* events that could not become operations: impossible sizes, too many mappings */
	uint64_t shared_threads; /* threads that had to share another's, for want of room */
};

/* Writes the operations to `fd`, from its beginning. Reads the log as the survey did and rewinds it. TIDE_OK, _NOMEM, _IO
 * (with *err filled). On failure nothing is held. */
enum tide_status tide_plan_init(struct tide_plan *, struct tide_log *, const struct tide_survey *, int fd,
				struct tide_error *err);
void tide_plan_release(struct tide_plan *);

#endif
