/*
 * text.h - strings and byte tables that live as long as the log, in blocks that are freed together.
 */
#ifndef TIDE_READ_TEXT_H
#define TIDE_READ_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct tide_text_block;

/* `len` bytes, aligned for anything; NULL: no memory. Owned by *text. */
void *tide_text_room(struct tide_text_block **text, size_t len);
void tide_text_free(struct tide_text_block *text);

/* How Python stores a name (FORMAT.md 4). */
enum tide_text_kind { TIDE_TEXT_UTF8 = 1, TIDE_TEXT_LATIN1 = 2, TIDE_TEXT_UCS2 = 3, TIDE_TEXT_UCS4 = 4 };

/* A NUL-terminated UTF-8 copy: NULs, surrogates and numbers beyond Unicode become U+FFFD; bytes of kind UTF8 are taken as
 * they are otherwise (hostile). NULL: no memory, or no such kind. */
const char *tide_text_copy(struct tide_text_block **text, unsigned kind, const uint8_t *bytes, size_t len);
/* `len` bytes as lower-case hex. */
const char *tide_text_hex(struct tide_text_block **text, const uint8_t *bytes, size_t len);

#endif
