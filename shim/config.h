/*
 * config.h - TIDEMARK_* from the environment (CONTRACT), read once, before anything else happens.
 */
#ifndef TIDE_CONFIG_H
#define TIDE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "format/layout.h"

struct tide_config {
	char dir[1024];       /* absolute or "."; where the log goes */
	char exe[1024];       /* this image's executable, "" unknown */
	const char *name;     /* last part of exe */
	uint64_t size;        /* bytes of the log file */
	uint64_t sample;      /* mean bytes between samples; 0: every event */
	uint64_t census_ns;   /* least time between censuses; UINT64_MAX: none */
	uint64_t dir_files;   /* most logs in the directory, 0: no limit */
	uint64_t dir_size;    /* most bytes of logs in the directory, 0: no limit */
	uint64_t session;     /* given by `tidemark record`; 0 without it */
	uint32_t stack_limit; /* native and Python frames kept, each */
	enum tide_python_mode python;
};

/* False: this image is not to be traced. A wrong value has been told on standard error then. */
bool tide_config_read(struct tide_config *ret);

#endif
