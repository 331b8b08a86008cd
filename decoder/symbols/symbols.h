/*
 * symbols.h - words of a stack -> function, file, line. Only for what is shown, and only from files on this machine that are
 * the recorded ones: a regular file with the recorded build-id, or its debug file below /usr/lib/debug. No network.
 */
#ifndef TIDE_SYMBOLS_SYMBOLS_H
#define TIDE_SYMBOLS_SYMBOLS_H

#include <stdbool.h>

#include "read/log.h"

struct tide_symbols;
struct tide_objects;

/* Any text may be NULL: unknown. Texts are hostile; they belong to the objects or the log. */
struct tide_symbol {
	const char *function;
	const char *file;
	int line;       /* <= 0: unknown */
	int first_line; /* Python: of the function; <= 0: unknown */
	const char *module;
	uint64_t offset; /* in the module; Python: in the code object, in bytes */
	bool python;
	bool inlined;    /* into the next frame */
	bool cut;        /* not a frame: the stack goes on, and was not recorded */
	uint32_t number; /* among those of one struct tide_symbols, counted from 0: the same each time a frame comes */
};
typedef bool tide_symbol_fn(void *arg, const struct tide_symbol *);

/* NULL: no memory. The log must live longer, and so must the objects: files that all logs of a run share (objects.h). */
struct tide_symbols *tide_symbols_new(const struct tide_log *, struct tide_objects *);
void tide_symbols_free(struct tide_symbols *);
/* What nearly every stack will ask for is read in a thread from now on: the program, the C library, the interpreter. Before the objects
 * are used again: tide_objects_settle. */
void tide_symbols_early(const struct tide_log *, struct tide_objects *);
/* Calls `each` for every frame of the site, innermost first, until it returns false. Python frames stand where the calls of the
 * interpreter's evaluation loop stood that ran them. Where the two stacks do not fit together (the loop cannot be told for want of
 * symbols, or one has been cut in a way that leaves open which call ran what), the Python frames come first and then all native ones. */
void tide_symbols_site(struct tide_symbols *, uint32_t native, uint32_t python, tide_symbol_fn *each, void *arg);
/* Path of the module that is the Python interpreter: a libpython, else the program itself. NULL: no Python in this log. */
const char *tide_symbols_interpreter(const struct tide_symbols *);

#endif
