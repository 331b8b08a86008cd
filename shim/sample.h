/*
 * sample.h - which allocations are recorded when TIDEMARK_SAMPLE asks for a sample: points of a Poisson process over the bytes
 * that each thread allocates, N bytes apart on average. So an allocation of s bytes is recorded with probability
 * 1 - exp(-s / N), whatever came before it, and a reader makes unbiased sums by dividing by that (decoder/replay).
 *
 * The shadow byte (shadow.h) tells which blocks those were. A free of another one costs a look at a small table of counts first,
 * which stays in the processor's nearest cache, where the shadow of a large heap does not. Draws are per thread; a signal handler
 * that comes in between draws once too often or too seldom, which is no matter.
 */
#ifndef TIDE_SAMPLE_H
#define TIDE_SAMPLE_H

#include <stdatomic.h>
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

/* How many sampled blocks live, by a hash of their addresses. A count that reached 255 stays: it only costs a look at the shadow. */
#define TIDE_SAMPLE_BITS 14u
extern atomic_uchar tide_sample_counts[1u << TIDE_SAMPLE_BITS];

static inline atomic_uchar *tide_sample_count(const void *addr)
{
	return &tide_sample_counts[((uintptr_t)addr >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TIDE_SAMPLE_BITS)];
}
/* False: the block is none of the sample. */
static inline bool tide_sample_may_have(const void *addr)
{
	return atomic_load_explicit(tide_sample_count(addr), memory_order_relaxed) != 0;
}
/* A block of the sample comes, before anybody else knows of it, or goes. */
void tide_sample_comes(const void *addr);
void tide_sample_goes(const void *addr);

#endif
