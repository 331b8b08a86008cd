#include "replay/amount.h"

#include <math.h>

/* How many allocations of that size each recorded one stands for. */
static double weight_of(uint64_t sample_bytes, double size)
{
	return -1 / expm1(-(size < 1 ? 1 : size) / (double)sample_bytes);
}

struct tide_amount tide_amount_in_sample(uint64_t sample_bytes, const struct tide_block_live *b)
{
	double weight = weight_of(sample_bytes, (double)b->size);
	double part = (double)((b->addr ^ b->size) * UINT64_C(0x9e3779b97f4a7c15) >> 11) * 0x1p-53; /* in [0, 1) */
	return (struct tide_amount){(uint64_t)(weight * (double)b->size + 0.5), (uint64_t)(weight + part)};
}

struct tide_amount tide_amount_of_sum(uint64_t sample_bytes, uint64_t bytes, uint64_t blocks)
{
	if (sample_bytes == 0 || blocks == 0)
		return (struct tide_amount){bytes, blocks};
	double weight = weight_of(sample_bytes, (double)bytes / (double)blocks);
	return (struct tide_amount){(uint64_t)(weight * (double)bytes + 0.5),
				    (uint64_t)(weight * (double)blocks + 0.5)};
}
