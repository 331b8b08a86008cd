/*
 * wire.h - variable-length integers over bounded byte ranges, and the checksum. Both sides use it.
 *
 * A varint is LEB128: seven bits a byte, least significant first, high bit = more follows, at most ten bytes.
 * zigzag maps signed to unsigned: 0, -1, 1, -2 ... -> 0, 1, 2, 3 ...
 */
#ifndef TIDE_FORMAT_WIRE_H
#define TIDE_FORMAT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TIDE_VARINT_MAX 10

static inline uint64_t tide_zigzag(int64_t value)
{
	return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}
static inline int64_t tide_unzigzag(uint64_t value)
{
	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* Writes at `out`, which has room for TIDE_VARINT_MAX bytes; returns the byte after. */
static inline uint8_t *tide_put_varint(uint8_t *out, uint64_t value)
{
	while (value >= 0x80) {
		*out++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*out++ = (uint8_t)value;
	return out;
}

/* A reader's place in bytes it does not trust. `bad` sticks: after it every get returns 0. */
struct tide_in {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};
static inline struct tide_in tide_in_of(const void *bytes, size_t len)
{
	return (struct tide_in){bytes, (const uint8_t *)bytes + len, false};
}
static inline size_t tide_in_left(const struct tide_in *in)
{
	return (size_t)(in->end - in->at);
}
static inline uint8_t tide_get_u8(struct tide_in *in)
{
	if (in->bad || in->at == in->end) {
		in->bad = true;
		return 0;
	}
	return *in->at++;
}
static inline uint64_t tide_get_varint_slow(struct tide_in *in)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = tide_get_u8(in);
		if (shift == 63 && byte > 1)
			in->bad = true;
		if (in->bad)
			return 0;
		value |= (uint64_t)(byte & 0x7f) << (shift & 63);
		if (byte < 0x80)
			return value;
	}
	in->bad = true;
	return 0;
}
static inline uint64_t tide_get_varint(struct tide_in *in)
{
	const uint8_t *at = in->at;
	if (__builtin_expect(in->bad || tide_in_left(in) < 4, 0))
		return tide_get_varint_slow(in);
	if (at[0] < 0x80) {
		in->at = at + 1;
		return at[0];
	}
	uint64_t value = (at[0] & 0x7f) | (uint64_t)(at[1] & 0x7f) << 7;
	if (at[1] < 0x80) {
		in->at = at + 2;
		return value;
	}
	value |= (uint64_t)(at[2] & 0x7f) << 14;
	if (at[2] < 0x80) {
		in->at = at + 3;
		return value;
	}
	return tide_get_varint_slow(in);
}
/* `len` bytes, or NULL and bad. They stay owned by whoever owns the range. */
static inline const uint8_t *tide_get_bytes(struct tide_in *in, uint64_t len)
{
	if (in->bad || len > tide_in_left(in)) {
		in->bad = true;
		return NULL;
	}
	const uint8_t *bytes = in->at;
	in->at += len;
	return bytes;
}
static inline uint64_t tide_get_u64(struct tide_in *in)
{
	uint64_t value = 0;
	const uint8_t *bytes = tide_get_bytes(in, 8);
	if (bytes)
		memcpy(&value, bytes, 8);
	return value;
}
static inline uint32_t tide_get_u32(struct tide_in *in)
{
	uint32_t value = 0;
	const uint8_t *bytes = tide_get_bytes(in, 4);
	if (bytes)
		memcpy(&value, bytes, 4);
	return value;
}

/* XXH64 (xxhash, a well-kept library); in checksum.c so that its header is compiled once. */
uint64_t tide_checksum(const void *bytes, size_t len, uint64_t seed);

#endif
