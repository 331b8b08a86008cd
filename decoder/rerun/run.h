/*
 * run.h - one run of the runner under one setting: resident memory at every sample.
 */
#ifndef TIDE_RERUN_RUN_H
#define TIDE_RERUN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "format/status.h"
#include "rerun/settings.h"

struct tide_run_how {
	const char *runner; /* path of tidemark-rerun */
	int ops;            /* file of operations; its place is moved */
	uint64_t samples;   /* that the operations have */
	uint32_t trim_ms;   /* for settings that trim */
	bool touch_all;     /* write all of every block, whatever was seen resident */
	uint64_t memory;    /* bytes that the runner may use; what does not fit fails as it would for a program */
	uint32_t arenas;    /* MALLOC_ARENA_MAX, over the setting's; 0: as the setting has it */
	uint32_t timeout_s; /* for the whole run */
};
struct tide_run {
	uint64_t floor;                /* anonymous bytes resident before the first operation */
	uint64_t *anon;                /* at each sample; `samples` of them */
	uint64_t samples;              /* reached */
	uint64_t failed, failed_bytes; /* allocations that the allocator refused */
	double seconds;
};

/* TIDE_OK; TIDE_ERR_IO: the runner could not be started, died, or took too long (*err says which). On failure nothing is held. */
enum tide_status tide_run_init(struct tide_run *, const struct tide_setting *, const struct tide_run_how *,
			       struct tide_error *err);
void tide_run_release(struct tide_run *);

#endif
