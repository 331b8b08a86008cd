/*
 * Every block of pymalloc's pools, through the OBJ and MEM domains' allocators. `objects`: as an event. `sites`: as a mark of the
 * site that allocated it; then frees are not looked at, and go past us. Blocks that are not in a pool come from malloc,
 * whose hook records them; so a wrapper looks only at addresses inside known arenas.
 */
#include "python/interp.h"
#include "record.h"
#include "shadow.h"

enum { DOMAIN_MEM = 1, DOMAIN_OBJ = 2 };
#define POOL_BLOCK_MOST 512u /* obmalloc.c, SMALL_REQUEST_THRESHOLD; what is bigger is never in a pool */

/* The allocator that a wrapper stands in front of. In `objects` mode ctx points here. */
static struct tide_py_allocator inner[3];

static void record(enum tide_kind kind, const void *block, size_t size)
{
	if (block && tide_on() && tide_py_in_arena(block))
		tide_record_alloc(kind, NULL, block, size, 0);
}

static void *on_malloc(void *ctx, size_t size)
{
	struct tide_py_allocator *next = ctx;
	void *block = next->malloc(next->ctx, size);
	record(TIDE_KIND_PYALLOC, block, size);
	return block;
}

static void *on_calloc(void *ctx, size_t count, size_t size)
{
	struct tide_py_allocator *next = ctx;
	void *block = next->calloc(next->ctx, count, size);
	record(TIDE_KIND_PYALLOC, block, count * size);
	return block;
}

static void *on_realloc(void *ctx, void *block, size_t size)
{
	struct tide_py_allocator *next = ctx;
	bool was_in_pool = block && tide_on() && tide_py_in_arena(block);
	struct tide_moving was = {0};
	if (was_in_pool)
		was = tide_record_moves(TIDE_KIND_PYREALLOC_FREE, block);
	void *now = next->realloc(next->ctx, block, size);
	if (!was_in_pool)
		record(TIDE_KIND_PYALLOC, now, size);
	else if (!now) {
		tide_record_stays(block, was);
		tide_record_plain(TIDE_KIND_PYREALLOC_FAILED, NULL, 0);
	} else if (tide_py_in_arena(now))
		tide_record_alloc(TIDE_KIND_PYREALLOC_ALLOC, NULL, now, size, 0);
	else
		tide_record_plain(TIDE_KIND_PYREALLOC_GONE, NULL, 0);
	return now;
}

static void on_free(void *ctx, void *block)
{
	struct tide_py_allocator *next = ctx;
	if (block && tide_on() && tide_py_in_arena(block))
		tide_record_free(TIDE_KIND_PYFREE, block);
	next->free(next->ctx, block);
}

/* ---- sites: a wrapper for each domain, so that the inner free can stay in its place with its own ctx ---- */

/* What is bigger is none of ours, and the call leaves no frame of ours on the stack that malloc's hook tells. */
#define WRAPPERS(name, domain)                                                              \
	static void *name##_malloc(void *ctx, size_t size)                                  \
	{                                                                                   \
		if (__builtin_expect(size > POOL_BLOCK_MOST, 0))                            \
			return inner[domain].malloc(ctx, size);                             \
		return tide_py_mark(inner[domain].malloc(ctx, size));                       \
	}                                                                                   \
	static void *name##_calloc(void *ctx, size_t count, size_t size)                    \
	{                                                                                   \
		size_t bytes;                                                               \
		if (__builtin_mul_overflow(count, size, &bytes) || bytes > POOL_BLOCK_MOST) \
			return inner[domain].calloc(ctx, count, size);                      \
		return tide_py_mark(inner[domain].calloc(ctx, count, size));                \
	}                                                                                   \
	static void *name##_realloc(void *ctx, void *block, size_t size)                    \
	{                                                                                   \
		if (size > POOL_BLOCK_MOST)                                                 \
			return inner[domain].realloc(ctx, block, size);                     \
		return tide_py_mark(inner[domain].realloc(ctx, block, size));               \
	}
WRAPPERS(mem, DOMAIN_MEM)
WRAPPERS(obj, DOMAIN_OBJ)
#undef WRAPPERS

static struct tide_py_allocator wrapper_of(int domain)
{
	struct tide_py_allocator *next = &inner[domain];
	if (tide_py.mode != TIDE_PYTHON_SITES)
		return (struct tide_py_allocator){next, on_malloc, on_calloc, on_realloc, on_free};
	if (domain == DOMAIN_MEM)
		return (struct tide_py_allocator){next->ctx, mem_malloc, mem_calloc, mem_realloc, next->free};
	return (struct tide_py_allocator){next->ctx, obj_malloc, obj_calloc, obj_realloc, next->free};
}

void tide_py_hook_objects(void)
{
	if (tide_py.mode == TIDE_PYTHON_SITES)
		tide_py_sites_init();
	for (int domain = DOMAIN_MEM; domain <= DOMAIN_OBJ; domain++) {
		tide_py.get_allocator(domain, &inner[domain]);
		struct tide_py_allocator ours = wrapper_of(domain);
		tide_py.set_allocator(domain, &ours);
	}
}
