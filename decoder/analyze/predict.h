/*
 * predict.h - what goes back to the system when given blocks die: each allocator's model asked for those blocks as a whole.
 * Internal to analyze/.
 */
#ifndef TIDE_ANALYZE_PREDICT_H
#define TIDE_ANALYZE_PREDICT_H

#include "analyze/join.h"

struct tide_prediction { /* resident bytes */
	uint64_t
		releases; /* by the frees and a malloc_trim(0) after them, beyond what malloc_trim(0) would give back now */
	uint64_t returns;   /* by the frees alone */
	uint64_t with_trim; /* by the frees and a malloc_trim(0) after them */
	uint64_t error;     /* these may be off by so much */
};
/* `sites`: by site, 1 for those whose blocks die. False: no memory. */
bool tide_predict(const struct tide_join *, const uint8_t *sites, struct tide_prediction *ret);

#endif
