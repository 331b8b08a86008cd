/*
 * aside.h - a thread in which the model of the caches follows the replay while a core has nothing else to do. It gets the same
 * operations in the same order as without a thread, so what it says when it has finished is the same.
 */
#ifndef TIDE_ANALYZE_ASIDE_H
#define TIDE_ANALYZE_ASIDE_H

#include "model/caches.h"

struct tide_aside;

/* NULL: no memory, or no thread. */
struct tide_aside *tide_aside_new(struct tide_caches *);
void tide_aside_free(struct tide_aside *); /* NULL is fine */

/* Takes operations over, at most TIDE_ASIDE_MOST; may wait for the thread. False: it has none, and shall have none as long as `idle`,
 * whether a core is, is false; so the caches are the caller's for these. */
#define TIDE_ASIDE_MOST 8192u
bool tide_aside_give(struct tide_aside *, const struct tide_change *, uint32_t count, bool idle);

/* Waits until all is taken in; then the caches are the caller's. False: memory ran out in it. */
bool tide_aside_finish(struct tide_aside *);

#endif
