#include "outside/payload.h"

#include <stdlib.h>
#include <string.h>

#include "format/wire.h"

/* Room for `len` more bytes; NULL: there is none. */
static uint8_t *room(struct tide_payload *p, size_t len)
{
	if (p->len + len > p->cap && !p->nomem) {
		size_t cap = (p->len + len) * 2 > 65536 ? (p->len + len) * 2 : 65536;
		uint8_t *more = realloc(p->bytes, cap);
		p->nomem = !more;
		p->bytes = more ? more : p->bytes;
		p->cap = more ? cap : p->cap;
	}
	return p->nomem ? NULL : p->bytes + p->len;
}

void tide_payload_u8(struct tide_payload *p, uint8_t value)
{
	uint8_t *at = room(p, 1);
	if (at) {
		*at = value;
		p->len++;
	}
}

void tide_payload_varint(struct tide_payload *p, uint64_t value)
{
	uint8_t *at = room(p, TIDE_VARINT_MAX);
	if (at)
		p->len += (size_t)(tide_put_varint(at, value) - at);
}

void tide_payload_string(struct tide_payload *p, const char *text, size_t len)
{
	tide_payload_varint(p, len);
	uint8_t *at = room(p, len);
	if (at) {
		memcpy(at, text, len);
		p->len += len;
	}
}

size_t tide_payload_begin(struct tide_payload *p, uint8_t kind)
{
	tide_payload_u8(p, kind);
	return p->len;
}

/* The length goes before the content. */
void tide_payload_end(struct tide_payload *p, size_t mark)
{
	uint8_t head[TIDE_VARINT_MAX], *at = room(p, TIDE_VARINT_MAX);
	if (!at)
		return;
	size_t len = p->len - mark, n = (size_t)(tide_put_varint(head, len) - head);
	memmove(p->bytes + mark + n, p->bytes + mark, len);
	memcpy(p->bytes + mark, head, n);
	p->len += n;
}
