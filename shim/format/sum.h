/*
 * sum.h - the check word of a staging block (FORMAT.md 5): how many bytes of its items are under a sum, and the sum. The writer
 * adds to it a few events at a time, so it must be a sum that can be gone on with; the reader begins anew.
 */
#ifndef TIDE_FORMAT_SUM_H
#define TIDE_FORMAT_SUM_H

#include <stdint.h>
#include <string.h>

/* The header's own checksum tells one block of a lane from the next. */
static inline uint64_t tide_sum_begin(uint64_t file_uid, uint32_t header_checksum)
{
	return file_uid ^ header_checksum;
}

/* One word of eight bytes. For a given word no two sums become the same, so a single wrong one is never lost again. */
static inline uint64_t tide_sum_word(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return sum ^ sum >> 32;
}

/* Goes on over bytes [*at, len), in whole words only; *at, a multiple of 8, becomes what is behind. */
static inline uint64_t tide_sum_words(uint64_t sum, const uint8_t *items, uint32_t *at, uint32_t len)
{
	for (; len - *at >= 8; *at += 8) {
		uint64_t word;
		memcpy(&word, items + *at, 8);
		sum = tide_sum_word(sum, word);
	}
	return sum;
}

/* The last 0 to 7 bytes, as a word filled up with zeros. */
static inline uint64_t tide_sum_rest(uint64_t sum, const uint8_t *items, uint32_t at, uint32_t len)
{
	uint64_t word = 0;
	if (at == len)
		return sum;
	memcpy(&word, items + at, len - at);
	return tide_sum_word(sum, word);
}

static inline uint64_t tide_check_word(uint64_t sum, uint32_t len)
{
	return sum << 32 | len;
}

#endif
