/*
 * numbers.h - numbers for pairs of numbers, within one block: 1, 2 ... in the order in which the pairs come.
 */
#ifndef TIDE_READ_NUMBERS_H
#define TIDE_READ_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

struct tide_number {
	uint64_t key;
	uint32_t number, block; /* valid only if `block` is the table's */
};
struct tide_numbers { /* zero is a valid empty one */
	struct tide_number *slot;
	uint32_t mask, count, block;
};
void tide_numbers_release(struct tide_numbers *);
/* A new block begins: all pairs are new again. */
void tide_numbers_forget(struct tide_numbers *);
/* The number of a pair; 0: no memory. *ret_new: set if it is a new one. */
uint32_t tide_number_of(struct tide_numbers *, uint32_t a, uint32_t b, bool *ret_new);

#endif
