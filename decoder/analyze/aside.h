/*
 * aside.h - a thread in which the model of the caches follows the replay. It gets the same operations in the same order as without
 * a thread, so what it says when it has finished is the same.
 */
#ifndef TIDE_ANALYZE_ASIDE_H
#define TIDE_ANALYZE_ASIDE_H

#include "model/caches.h"

struct tide_aside;

/* The caches are the thread's until tide_aside_finish, and again from the next operation on. NULL: no memory, or no thread. */
struct tide_aside *tide_aside_new(struct tide_caches *);
void tide_aside_free(struct tide_aside *); /* NULL is fine */

/* Room for so many operations, at most TIDE_ASIDE_MOST; may wait for the thread. Then how many there are. */
#define TIDE_ASIDE_MOST 8192u
struct tide_change *tide_aside_room(struct tide_aside *, uint32_t count);
void tide_aside_add(struct tide_aside *, uint32_t count);

/* Waits until all is taken in. False: memory ran out in it. */
bool tide_aside_finish(struct tide_aside *);

#endif
