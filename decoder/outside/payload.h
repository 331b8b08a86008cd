/*
 * payload.h - the bytes of a census as they grow: records of a kind, a length, and that many bytes (FORMAT.md 9).
 */
#ifndef TIDE_OUTSIDE_PAYLOAD_H
#define TIDE_OUTSIDE_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tide_payload {
	uint8_t *bytes; /* owned by whoever has the structure */
	size_t len, cap;
	bool nomem; /* sticks; what is added after it is dropped */
};
void tide_payload_u8(struct tide_payload *, uint8_t);
void tide_payload_varint(struct tide_payload *, uint64_t);
void tide_payload_string(struct tide_payload *, const char *, size_t len);
/* A record: what is added between the two is its content. */
size_t tide_payload_begin(struct tide_payload *, uint8_t kind);
void tide_payload_end(struct tide_payload *, size_t mark);

#endif
