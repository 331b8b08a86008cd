/* churn.h - blocks that live shortly, in an order that is the same each time; none is left. By any number of threads. */
#ifndef TIDE_TESTS_CHURN_H
#define TIDE_TESTS_CHURN_H

#include <stdint.h>
#include <stdlib.h>

static inline void churn(uint64_t operations)
{
	static _Thread_local void *volatile slot[64];
	uint64_t state = 88172645463325252u;
	for (uint64_t i = 0; i < operations; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		free(slot[state & 63]);
		slot[state & 63] = malloc((state >> 8) % 30 * 16 + 8);
	}
	for (unsigned i = 0; i < 64; i++) {
		free(slot[i]);
		slot[i] = NULL;
	}
}

#endif
