/*
 * interp.h - the interpreter of this process, once found: its version's offsets and the functions we call of it. Shared
 * by the files of this folder.
 */
#ifndef TIDE_PYTHON_INTERP_H
#define TIDE_PYTHON_INTERP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/python.h"
#include "python/versions.h"

/* CPython's PyMemAllocatorEx and PyObjectArenaAllocator (Include/cpython/pymem.h, objimpl.h; the same since 3.5). */
struct tide_py_allocator {
	void *ctx;
	void *(*malloc)(void *ctx, size_t size);
	void *(*calloc)(void *ctx, size_t count, size_t size);
	void *(*realloc)(void *ctx, void *block, size_t size);
	void (*free)(void *ctx, void *block);
};
struct tide_py_arena_allocator {
	void *ctx;
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *arena, size_t size);
};

struct tide_py {
	const struct tide_py_version *version; /* NULL: no usable interpreter */
	enum tide_python_mode mode;
	void *(*thread_state)(void); /* PyGILState_GetThisThreadState: no lock, NULL outside Python */
	int (*is_finalizing)(void);
	void (*get_allocator)(int domain, struct tide_py_allocator *);
	void (*set_allocator)(int domain, struct tide_py_allocator *);
	void (*get_arenas)(struct tide_py_arena_allocator *);
	void (*set_arenas)(struct tide_py_arena_allocator *);
};
extern struct tide_py tide_py;

/* arenas.c */
void tide_py_hook_arenas(void);
bool tide_py_in_arena(const void *block); /* lock-free */
void tide_py_arenas_fork_child(void);
/* objects.c: from inside the first arena callback, when no later set-up of the interpreter undoes it. */
void tide_py_hook_objects(void);
/* codes.c: id of a code object, defined at first sight; 0: unknown. */
uint32_t tide_py_code_id(const uint8_t *code);
void tide_py_codes_fork_child(void);

#endif
