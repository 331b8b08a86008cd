#include "render/safe.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT 0xfffdu

static unsigned length_of(unsigned char first)
{
	return first < 0x80                    ? 1
	       : first >= 0xc2 && first < 0xe0 ? 2
	       : first >= 0xe0 && first < 0xf0 ? 3
	       : first >= 0xf0 && first < 0xf5 ? 4
					       : 0;
}

uint32_t tide_utf8_next(const char **text)
{
	const unsigned char *c = (const unsigned char *)*text;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned len = length_of(c[0]);
	uint32_t value = len == 1 ? c[0] : c[0] & (0x7fu >> len);
	if (!c[0])
		return 0;
	for (unsigned i = 1; i < len; i++) {
		if ((c[i] & 0xc0) != 0x80) /* also the end of the text */
			len = 0;
		else
			value = value << 6 | (c[i] & 0x3fu);
	}
	if (!len || value < least[len] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
		++*text;
		return REPLACEMENT;
	}
	*text += len;
	return value;
}

bool tide_utf8_harmless(uint32_t c)
{
	return c >= 0x20 && !(c >= 0x7f && c <= 0x9f) &&                         /* controls */
	       c != 0x61c && !(c >= 0x200b && c <= 0x200f) &&                    /* marks of direction, of no width */
	       !(c >= 0x2028 && c <= 0x202e) &&                                  /* line ends, overrides */
	       !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff &&                   /* isolates, invisible operators */
	       !(c >= 0xfff9 && c <= 0xfffb) && !(c >= 0xe0000 && c <= 0xe0fff); /* annotations, tags */
}

static char *put(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
		return out;
	}
	unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
	*out++ = (char)(first[more] | c >> 6 * more);
	while (more--)
		*out++ = (char)(0x80 | (c >> 6 * more & 0x3f));
	return out;
}

char *tide_utf8_clean(const char *text)
{
	/* a bad byte becomes three */
	char *copy = malloc(3 * strlen(text) + 1), *out = copy;
	uint32_t c;
	while (copy && (c = tide_utf8_next(&text)))
		out = put(out, c);
	if (copy)
		*out = '\0';
	return copy;
}

static size_t characters(const char *text)
{
	size_t n = 0;
	while (tide_utf8_next(&text))
		n++;
	return n;
}

size_t tide_safe_width(const char *text, size_t columns)
{
	size_t n = characters(text);
	return columns && n > columns ? columns : n;
}

size_t tide_safe_text(FILE *out, const char *text, size_t columns)
{
	size_t all = characters(text), written = 0, head = 0, tail = 0, i = 0;
	bool cut = columns && all > columns;
	char buf[4];
	uint32_t c;
	if (cut) { /* the end of a path says more than its beginning */
		head = columns > 3 ? (columns - 3) / 3 : 0;
		tail = columns > 3 ? columns - 3 - head : columns;
	}
	for (; (c = tide_utf8_next(&text)); i++) {
		if (cut && i == head && columns > 3)
			written += fwrite("...", 1, 3, out);
		if (cut && i >= head && i < all - tail)
			continue;
		if (tide_utf8_harmless(c))
			fwrite(buf, 1, (size_t)(put(buf, c) - buf), out);
		else
			fputc('?', out);
		written++;
	}
	return written;
}

void tide_safe_csv(FILE *out, const char *text)
{
	bool quote = strpbrk(text, ",\"\n\r") != NULL || text[0] == ' ';
	uint32_t c;
	char buf[4];
	if (quote)
		fputc('"', out);
	if (text[0] && strchr("=+-@\t\r", text[0]))
		fputc('\'', out);
	while ((c = tide_utf8_next(&text))) {
		if (c == '"')
			fputc('"', out);
		if (tide_utf8_harmless(c))
			fwrite(buf, 1, (size_t)(put(buf, c) - buf), out);
		else
			fputc('?', out);
	}
	if (quote)
		fputc('"', out);
}
