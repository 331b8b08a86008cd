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
	/* Bytes before the next point: the allocation that has more is of the sample. 0 also: none was drawn. */
	uint64_t room;
	uint64_t random; /* 0: the thread has not drawn yet */
};
extern __thread struct tide_draw tide_draw __attribute__((tls_model("initial-exec")));

/* For an allocation that tide_sample_skips did not pass over: draws the next point. False: it is not of the sample after all. */
bool tide_draw_next(size_t size);

/* True: the allocation is not of the sample, and is accounted for. Never true without a sample, nor before the real functions
 * are known; an allocation of nothing, which counts as one byte, is left to tide_draw_next. It may be asked before the real call:
 * a point that falls into an allocation that fails is lost, and those that follow lie as if it had never been. */
static inline bool tide_sample_skips(size_t size)
{
	uint64_t room = tide_draw.room;
	if (size - 1 >= room)
		return false;
	tide_draw.room = room - size;
	return true;
}
static inline bool tide_sampled(size_t size)
{
	return !tide_sample_skips(size) && tide_draw_next(size);
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
