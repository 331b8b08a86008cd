#include "sample.h"

#include <limits.h>

#include "sys.h"

uint64_t tide_sample_mean;
__thread struct tide_draw tide_draw __attribute__((tls_model("initial-exec")));
atomic_uchar tide_sample_counts[1u << TIDE_SAMPLE_BITS] TIDE_BIG;

/* Natural logarithm of x in (0, 1], without libm: 2 * atanh((m - 1) / (m + 1)) for a mantissa m near 1. */
static double logarithm(double x)
{
	const double ln2 = 0.69314718055994530942;
	int twos = 0;
	for (; x < 0.70710678118654752440; twos++)
		x *= 2;
	double t = (x - 1) / (x + 1), square = t * t, sum = 0;
	for (int n = 15; n > 0; n -= 2)
		sum = sum * square + 1.0 / n;
	return 2 * t * sum - twos * ln2;
}

/* xorshift64*, Marsaglia 2003, Vigna 2016. */
static uint64_t next_random(void)
{
	uint64_t x = tide_draw.random;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	tide_draw.random = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

/* Exponentially distributed with the mean; at least 1 for the byte that is drawn. Of that, what lies before the byte. */
static uint64_t room_before(void)
{
	double u = (double)((next_random() >> 11) + 1) * 0x1p-53;
	double bytes = -logarithm(u) * (double)tide_sample_mean;
	return bytes < 0x1p62 ? (uint64_t)bytes : UINT64_C(1) << 62;
}

static void seed(void)
{
	uint64_t random = 0;
	if (tide_sys_random(&random, sizeof random) != 0)
		random = tide_ticks() * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)&tide_draw;
	tide_draw.random = random ? random : 1;
}

bool tide_draw_next(size_t size)
{
	if (tide_draw.random == 0) {
		seed();
		tide_draw.room = room_before();
	}
	if (tide_sample_skips(size ? size : 1))
		return false;
	tide_draw.room = room_before();
	return true;
}

static void count(const void *addr, int step)
{
	atomic_uchar *at = tide_sample_count(addr);
	unsigned char now = atomic_load_explicit(at, memory_order_relaxed);
	while (now != UCHAR_MAX && (now || step > 0) &&
	       !atomic_compare_exchange_weak_explicit(at, &now, (unsigned char)(now + step), memory_order_relaxed,
						      memory_order_relaxed))
		;
}

void tide_sample_comes(const void *addr)
{
	count(addr, 1);
}

void tide_sample_goes(const void *addr)
{
	count(addr, -1);
}
