#include "read/text.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_LEN (64u << 10)
#define REPLACEMENT 0xfffdu

struct tide_text_block {
	struct tide_text_block *next;
	size_t used, cap;
	alignas(max_align_t) uint8_t bytes[];
};

void *tide_text_room(struct tide_text_block **text, size_t len)
{
	size_t rounded = (len + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	struct tide_text_block *block = *text;
	if (!block || block->cap - block->used < rounded) {
		size_t cap = rounded > BLOCK_LEN ? rounded : BLOCK_LEN;
		block = malloc(sizeof *block + cap);
		if (!block)
			return NULL;
		*block = (struct tide_text_block){.next = *text, .cap = cap};
		*text = block;
	}
	void *room = block->bytes + block->used;
	block->used += rounded;
	return room;
}

void tide_text_free(struct tide_text_block *text)
{
	while (text) {
		struct tide_text_block *next = text->next;
		free(text);
		text = next;
	}
}

static char *put_utf8(char *out, uint32_t c)
{
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		c = REPLACEMENT;
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 63));
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	}
	return out;
}

static uint32_t unit_at(const uint8_t *bytes, size_t width)
{
	uint32_t c = 0;
	memcpy(&c, bytes, width); /* little-endian file, little-endian reader */
	return c;
}

const char *tide_text_copy(struct tide_text_block **text, unsigned kind, const uint8_t *bytes, size_t len)
{
	if (kind < TIDE_TEXT_UTF8 || kind > TIDE_TEXT_UCS4)
		return NULL;
	size_t width = kind == TIDE_TEXT_UCS4 ? 4 : kind == TIDE_TEXT_UCS2 ? 2 : 1;
	/* No unit becomes more than four bytes, and no byte of UTF-8 more than three. */
	char *copy = tide_text_room(text, len / width * 4 + 1), *out = copy;
	if (!copy)
		return NULL;
	for (size_t i = 0; i + width <= len; i += width) {
		if (kind == TIDE_TEXT_UTF8 && bytes[i])
			*out++ = (char)bytes[i];
		else
			out = put_utf8(out, unit_at(bytes + i, width));
	}
	*out = 0;
	return copy;
}

const char *tide_text_hex(struct tide_text_block **text, const uint8_t *bytes, size_t len)
{
	static const char digit[] = "0123456789abcdef";
	char *copy = tide_text_room(text, 2 * len + 1);
	if (!copy)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		copy[2 * i] = digit[bytes[i] >> 4];
		copy[2 * i + 1] = digit[bytes[i] & 15];
	}
	copy[2 * len] = 0;
	return copy;
}
