/*
 * defs.h - appending definitions to the log (FORMAT.md 4), and building their payloads. Cold paths only.
 */
#ifndef TIDE_DEFS_H
#define TIDE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/layout.h"
#include "format/wire.h"

/* A payload that is being built in the caller's buffer. `full` sticks: what does not fit is left out. */
struct tide_out {
	uint8_t *begin, *at, *end;
	bool full;
};
static inline struct tide_out tide_out_of(void *buf, size_t cap)
{
	return (struct tide_out){buf, buf, (uint8_t *)buf + cap, false};
}
static inline size_t tide_out_len(const struct tide_out *out)
{
	return (size_t)(out->at - out->begin);
}
static inline void tide_out_varint(struct tide_out *out, uint64_t value)
{
	if (out->end - out->at < TIDE_VARINT_MAX)
		out->full = true;
	else
		out->at = tide_put_varint(out->at, value);
}
/* Varint length, then the bytes. */
static inline void tide_out_bytes(struct tide_out *out, const void *bytes, size_t len)
{
	if ((size_t)(out->end - out->at) < len + TIDE_VARINT_MAX) {
		out->full = true;
		return;
	}
	out->at = tide_put_varint(out->at, len);
	memcpy(out->at, bytes, len);
	out->at += len;
}

/* A piece of a payload. */
struct tide_part {
	const void *bytes;
	size_t len;
};
/* Appends one definition; lock-free, signal-safe. False, and TIDE_LOSS_DEFINITIONS counted: the region is full or there is
 * no log. A forked child's log begins empty: whoever defines things must define them again (tide_*_fork_child). */
bool tide_define(enum tide_def_kind, const struct tide_part *parts, unsigned count);

#endif
