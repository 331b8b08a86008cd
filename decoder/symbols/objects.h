/*
 * objects.h - ELF files that logs name, each opened once a run and known by its build-id; an address in one -> its frames, each
 * looked up once. Files are opened only when something in them is asked for, and believed only when their build-id is the
 * recorded one. Debug information is looked for below /usr/lib/debug; never on the network.
 */
#ifndef TIDE_SYMBOLS_OBJECTS_H
#define TIDE_SYMBOLS_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "read/log.h"

struct tide_objects;
struct tide_object;

/* Any text may be NULL: unknown. Texts belong to the objects. */
struct tide_found {
	const char *function;
	const char *file;
	int line;     /* <= 0: unknown */
	bool inlined; /* into the next one */
};
struct tide_place {
	uint32_t count; /* innermost first; at least 1, whatever is known */
	struct tide_found found[];
};

/* NULL: no memory. One thread at a time. */
struct tide_objects *tide_objects_new(void);
void tide_objects_free(struct tide_objects *); /* NULL is fine */
/* The object that a module is; the same for every log that names the same file with the same build-id. NULL: no memory.
 * Owned by the objects. */
struct tide_object *tide_objects_of(struct tide_objects *, const struct tide_module *);
/* Opens these files and reads their debug information, most of which is inflating it, in a thread: until tide_objects_settle the
 * objects are the thread's. At most TIDE_EARLY_MOST. No thread to be had is no failure: it is done when it is asked for. */
#define TIDE_EARLY_MOST 4u
void tide_objects_early(struct tide_objects *, struct tide_object *const *, uint32_t count);
/* Waits for it. NULL is fine. */
void tide_objects_settle(struct tide_objects *);
/* `address` as in the ELF file, of the call rather than of what comes after. NULL: no memory. Owned by the objects. */
const struct tide_place *tide_object_place(struct tide_object *, uint64_t address);

#endif
