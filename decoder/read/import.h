/*
 * import.h - stacks of one log taken over into another: those of blocks that a forked child had from its parent. The child was a copy of
 * its parent, so addresses mean the same in both, and so do the code ids that the parent had given out by then.
 */
#ifndef TIDE_READ_IMPORT_H
#define TIDE_READ_IMPORT_H

#include "read/log.h"

struct tide_import {
	struct tide_log *to;
	const struct tide_log *from;
	uint32_t *node; /* by node of `from`: that of `to`; 0: not taken over yet (the root stays the root) */
	uint32_t nodes;
	uint32_t last_code; /* greatest id that a stack taken over names */
};
/* Of stacks that `from` knows by now. Both logs are the caller's. TIDE_OK or TIDE_ERR_NOMEM; on failure nothing is held. */
enum tide_status tide_import_init(struct tide_import *, struct tide_log *to, const struct tide_log *from);
void tide_import_release(struct tide_import *);
/* The number in `to` of a pair of stacks given by nodes of `from`. UINT32_MAX: no memory. */
uint32_t tide_import_pair(struct tide_import *, uint32_t native, uint32_t python);
/* After the last pair: the definitions that these stacks need and `to` lacks: code, and modules that `from` had seen by until_ns.
 * Texts are copied. TIDE_OK or TIDE_ERR_NOMEM. */
enum tide_status tide_import_definitions(struct tide_import *, uint64_t until_ns);

#endif
