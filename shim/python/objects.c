/*
 * Every block of pymalloc's pools as an event, through the OBJ and MEM domains' allocators. Blocks that are not in a pool come from
 * malloc, whose hook records them; so a wrapper records only addresses inside known arenas.
 */
#include "python/interp.h"
#include "record.h"
#include "shadow.h"

enum { DOMAIN_MEM = 1, DOMAIN_OBJ = 2 };

/* The allocator that a wrapper stands in front of; its ctx points here. */
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
	uint8_t known = was_in_pool ? tide_shadow_peek(block) : TIDE_TAG_NONE;
	if (was_in_pool)
		tide_record_free(TIDE_KIND_PYREALLOC_FREE, block);
	void *now = next->realloc(next->ctx, block, size);
	if (!was_in_pool)
		record(TIDE_KIND_PYALLOC, now, size);
	else if (!now) {
		tide_shadow_set(block, known);
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

void tide_py_hook_objects(void)
{
	for (int domain = DOMAIN_MEM; domain <= DOMAIN_OBJ; domain++) {
		tide_py.get_allocator(domain, &inner[domain]);
		struct tide_py_allocator ours = {&inner[domain], on_malloc, on_calloc, on_realloc, on_free};
		tide_py.set_allocator(domain, &ours);
	}
}
