/*
 * safe.h - strings of a log are hostile: they hold escape sequences, line ends, bidirectional overrides, bytes that are no UTF-8, and
 * kilobytes. Here, and nowhere else, they become harmless.
 */
#ifndef TIDE_RENDER_SAFE_H
#define TIDE_RENDER_SAFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The next character of a NUL-terminated text, moved past; U+FFFD for a byte that is not UTF-8. 0: the end. */
uint32_t tide_utf8_next(const char **text);
/* False: a character that moves, colours, hides or reorders what stands around it. */
bool tide_utf8_harmless(uint32_t c);
/* A copy that is UTF-8 whatever the text was: bytes that are not become U+FFFD. Owned by the caller (free); NULL: no memory. */
char *tide_utf8_clean(const char *text);

/* For a terminal: harmful characters become '?'; what is longer than `columns` characters loses its middle ("..."); 0: no limit.
 * Returns the characters written. */
size_t tide_safe_text(FILE *, const char *text, size_t columns);
/* Characters that tide_safe_text would write. */
size_t tide_safe_width(const char *text, size_t columns);
/* One CSV cell: quoted where it must be, and not a formula (a leading = + - @ gets an apostrophe before it). */
void tide_safe_csv(FILE *, const char *text);

#endif
