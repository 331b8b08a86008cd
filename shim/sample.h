/*
 * sample.h - which allocations are recorded when TIDEMARK_SAMPLE asks for a sample: points of a Poisson process over the bytes
 * that each thread allocates, N bytes apart on average. So an allocation of s bytes is recorded with probability
 * 1 - exp(-s / N), whatever came before it, and a reader makes unbiased sums by dividing by that (decoder/replay).
 *
 * The shadow byte (shadow.h) tells which blocks those were, so a free of another one costs a look at it. All per thread; a signal
 * handler that comes in between draws once too often or too seldom, which is no matter.
 */
#ifndef TIDE_SAMPLE_H
#define TIDE_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Mean bytes between samples; 0: everything is recorded. */
extern uint64_t tide_sample_mean;

struct tide_draw {
	int64_t left;    /* bytes up to the next point */
	uint64_t random; /* 0: the thread has not drawn yet */
};
extern __thread struct tide_draw tide_draw __attribute__((tls_model("initial-exec")));

/* The next point lies in this allocation, or there is none yet: draws. */
bool tide_draw_next(size_t size);

static inline bool tide_sampled(size_t size)
{
	tide_draw.left -= size ? (int64_t)(size & INT64_MAX) : 1;
	return __builtin_expect(tide_draw.left <= 0, 0) && tide_draw_next(size);
}

#endif
