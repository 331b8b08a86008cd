/*
 * symbols.h - words of a stack -> function, file, line. Only for what is shown, and only from files on this machine that are
 * the recorded ones: a regular file with the recorded build-id, or its debug file below /usr/lib/debug. No network.
 */
#ifndef TIDE_SYMBOLS_SYMBOLS_H
#define TIDE_SYMBOLS_SYMBOLS_H

#include <stdbool.h>

#include "read/log.h"

struct tide_symbols;

/* Any text may be NULL: unknown. Texts are hostile; they belong to the symbols or the log. */
struct tide_symbol {
	const char *function;
	const char *file;
	int line; /* <= 0: unknown */
	const char *module;
	uint64_t offset; /* in the module; Python: in the code object, in bytes */
	bool python;
	bool inlined; /* into the next frame */
	bool cut;     /* not a frame: the stack goes on, and was not recorded */
};
typedef bool tide_symbol_fn(void *arg, const struct tide_symbol *);

/* NULL: no memory. The log must live longer. */
struct tide_symbols *tide_symbols_new(const struct tide_log *);
void tide_symbols_free(struct tide_symbols *);
/* Calls `each` for every frame of the site, innermost first, Python frames before the native ones that run them; until it
 * returns false. */
void tide_symbols_site(struct tide_symbols *, uint32_t native, uint32_t python, tide_symbol_fn *each, void *arg);

#endif
