/*
 * residency.h - the kernel's view at one instant: every mapping, which of its pages are resident, and RSS.
 */
#ifndef TIDE_RESIDENCY_H
#define TIDE_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>

struct tide_census_writer;

#define TIDE_RESIDENCY_SCRATCH (36u << 10)

/* Writes REGION records (a mapping is cut into pieces of at most 2048 pages and at the borders of the shim's own memory) and
 * one RSS record. `scratch`: TIDE_RESIDENCY_SCRATCH bytes. False: /proc could not be read, or the census was given up. */
bool tide_residency(struct tide_census_writer *, void *scratch);

#endif
