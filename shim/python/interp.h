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
	_Atomic uint32_t
		code_deaths; /* known code objects that died: what was kept of frames before may be of other code */
	void *(*thread_state)(void);      /* PyGILState_GetThisThreadState: no lock, NULL outside Python */
	void *(*first_interpreter)(void); /* PyInterpreterState_Head, _Next */
	void *(*next_interpreter)(void *);
	void *(*holder_state)(void); /* _PyThreadState_UncheckedGet: of whoever has the GIL; faster */
	int (*has_gil)(void);        /* PyGILState_Check */
	int (*is_finalizing)(void);
	void (*get_allocator)(int domain, struct tide_py_allocator *);
	void (*set_allocator)(int domain, struct tide_py_allocator *);
	void (*get_arenas)(struct tide_py_arena_allocator *);
	void (*set_arenas)(struct tide_py_arena_allocator *);
};
extern struct tide_py tide_py;

/* arenas.c: the registry. */
struct tide_py_arena {
	_Atomic uintptr_t base; /* 0: free; 1: was used, may be used again */
	uint32_t bytes;
	bool inherited;
};
void tide_py_hook_arenas(void);
bool tide_py_in_arena(const void *block); /* lock-free */
/* Calls `each` for every arena, which cannot go away meanwhile; until it returns false. False: it did, or the registry is in use. */
bool tide_py_each_arena(bool (*each)(void *arg, const struct tide_py_arena *), void *arg);
void tide_py_arenas_fork_child(void);

/* objects.c: from inside the first arena callback, when no later set-up of the interpreter undoes it. */
void tide_py_hook_objects(void);

/* codes.c: id of a code object on the calling thread's stack, defined at first sight; 0: unknown. */
uint32_t tide_py_code_id(const uint8_t *code);
struct tide_py_known {
	_Atomic uintptr_t code; /* stored last; 0: free */
	_Atomic uint32_t id;    /* 0: the code object died */
};
/* The table of them, for who remembers places in it; NULL while what is in it is not to be believed. An older one can still be
 * read, but deaths are not told in it. */
extern const struct tide_py_known *_Atomic tide_py_known;
/* Its place in that table, if that has not changed meanwhile; NULL: it has none. */
const struct tide_py_known *tide_py_known_code(const uint8_t *code);
uint32_t tide_py_last_code_id(void);
void tide_py_codes_fork_child(void);

/* sites.c */
#define TIDE_PY_SITE_UNKNOWN 0u
#define TIDE_PY_SITE_OVERFLOW UINT16_MAX
/* A block of at most 512 bytes that the calling thread, which has the GIL, was just given, or NULL; it is returned. If it is in an
 * arena, its mark gets the site of the thread's stack, which is made at its first sight. */
void *tide_py_mark(void *block);
void tide_py_sites_init(void);
/* A set of sites, by number. */
struct tide_py_site_set {
	uint64_t bit[(UINT16_MAX + 1) / 64];
};
static inline void tide_py_site_set_add(struct tide_py_site_set *set, uint16_t site)
{
	set->bit[site / 64] |= UINT64_C(1) << (site % 64);
}
/* After a census: defines those sites of live blocks that no definition names yet. If the census was `whole`, numbers of sites
 * that no live block has and no definition names may be given out again. With the GIL. */
void tide_py_define_sites(const struct tide_py_site_set *live, bool whole);
void tide_py_sites_fork_child(void);

/* pools.c: the sites of all live blocks. With the GIL. False: not all could be seen. */
bool tide_py_live_sites(struct tide_py_site_set *ret);
/* Bytes from a pool's block to what the allocator hands out: 0, but with debugging allocators. */
extern uint32_t tide_py_block_skew;
void tide_py_learn_skew(const void *block);

/* types.c: names of the types of objects that a census meets. */
void tide_py_types_begin(void);
/* Number of the type of the object in a block, as in tide_py_types_put; 0: none that can be told. */
uint32_t tide_py_type_of(const uint8_t *block, size_t bytes);
/* Writes PYTYPE records of those met since tide_py_types_begin and not yet written. */
bool tide_py_types_put(struct tide_census_writer *);

#endif
