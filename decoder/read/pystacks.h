/*
 * pystacks.h - Python stacks by number (PYSTACKS definitions, FORMAT.md 4), for the censuses of `sites` mode.
 */
#ifndef TIDE_READ_PYSTACKS_H
#define TIDE_READ_PYSTACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "read/stacks.h"

#define TIDE_PYSTACK_NUMBERS 65536u

/* Zero is a valid empty table. */
struct tide_pystacks {
	uint32_t *node_plus_one; /* by site, TIDE_PYSTACK_NUMBERS of them; 0: not defined. NULL: none is */
};

void tide_pystacks_release(struct tide_pystacks *);
/* One definition's payload. 1: taken. 0: it breaks its rules; sites before the place where it does are taken. TIDE_ERR_NOMEM. */
int tide_pystacks_parse(struct tide_pystacks *, struct tide_stacks *, const uint8_t *payload, size_t len);

#endif
