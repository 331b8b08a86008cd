/*
 * The malloc family. RULE (FORMAT.md 6): a free is recorded before the real call, an allocation after it; realloc is both.
 * Nothing of ours runs inside the real call, so an exception, longjmp or cancellation out of it leaves no state behind.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "real.h"
#include "record.h"
#include "shadow.h"

#define HOOK __attribute__((visibility("default"), noinline))

/* Declared here, not by <stdlib.h>: several are not in every C library's headers. */
HOOK void *malloc(size_t size);
HOOK void free(void *block);
HOOK void cfree(void *block);
HOOK void free_sized(void *block, size_t size);
HOOK void free_aligned_sized(void *block, size_t alignment, size_t size);
HOOK void *calloc(size_t count, size_t size);
HOOK void *realloc(void *block, size_t size);
HOOK void *reallocarray(void *block, size_t count, size_t size);
HOOK void *memalign(size_t alignment, size_t size);
HOOK void *aligned_alloc(size_t alignment, size_t size);
HOOK int posix_memalign(void **ret, size_t alignment, size_t size);
HOOK void *valloc(size_t size);
HOOK void *pvalloc(size_t size);
HOOK size_t malloc_usable_size(void *block);
HOOK int malloc_trim(size_t pad);

/* What may have to be recorded. Reached by a jump (CMakeLists.txt), so its caller is the hook's. */
#define AFTER_JUMP static __attribute__((noinline))

AFTER_JUMP void *malloc_told(size_t size)
{
	void *block = tide_real_get()->malloc(size);
	if (block && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_alloc(TIDE_KIND_ALLOC, &regs, block, size, 0);
	}
	return block;
}

/* With a sample, what is not of it passes on by a jump, before anything else is looked at: some ten instructions a call, where a
 * frame of our own and asking after the real call took 24 of malloc and free together. */
void *malloc(size_t size)
{
	return tide_sample_skips(size) ? tide_real.malloc(size) : malloc_told(size);
}

AFTER_JUMP void release_early(void *block)
{
	if (block && tide_on())
		tide_record_free_now(TIDE_KIND_FREE, block);
	tide_real_get()->free(block);
}

AFTER_JUMP void release_told(void *block)
{
	if (__builtin_expect(tide_alive.on != 1 || !block, 0)) {
		release_early(block);
		return;
	}
	tide_record_free_now(TIDE_KIND_FREE, block);
	tide_real.free(block);
}

AFTER_JUMP void release_sampled(void *block)
{
	if (block && tide_on())
		tide_record_sampled_free(TIDE_KIND_FREE, block);
	tide_real.free(block);
}

static inline void release(void *block)
{
	if (__builtin_expect(tide_sample_mean == 0, 1))
		release_told(block);
	else if (tide_sample_may_have(block))
		release_sampled(block);
	else
		tide_real.free(block);
}

void free(void *block)
{
	release(block);
}

/* Names that not every provider has. If another allocator comes before us (tide_real.comes_first) and lacks one of these, the call
 * lands here with a block that is neither ours nor the C library's: it goes to the functions that the program itself uses. */
static void release_whichever(void *block)
{
	if (tide_real_get()->comes_first)
		release(block);
	else
		tide_real_get()->public_free(block);
}

void cfree(void *block)
{
	release_whichever(block);
}

/* C23; the size is only a hint, and the next provider need not have these. */
void free_sized(void *block, size_t size)
{
	(void)size;
	release_whichever(block);
}

void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	(void)alignment;
	(void)size;
	release_whichever(block);
}

AFTER_JUMP void *calloc_told(size_t count, size_t size)
{
	void *block = tide_real_get()->calloc(count, size);
	if (block && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_alloc(TIDE_KIND_CALLOC, &regs, block, count * size, 0);
	}
	return block;
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	if (!__builtin_mul_overflow(count, size, &bytes) && tide_sample_skips(bytes))
		return tide_real.calloc(count, size);
	return calloc_told(count, size);
}

/* realloc(p, 0) frees p with every provider that returns NULL for it, so NULL is no failure then. */
static void *resize(const struct tide_regs *regs, void *block, size_t size)
{
	bool moves = block && size;
	struct tide_moving was = {0};
	if (moves && tide_on())
		was = tide_record_moves(TIDE_KIND_REALLOC_FREE, block);
	else if (block && tide_on())
		tide_record_free(TIDE_KIND_FREE, block);
	void *now = tide_real_get()->realloc(block, size);
	if (!tide_on())
		return now;
	if (now)
		tide_record_alloc(moves ? TIDE_KIND_REALLOC_ALLOC : TIDE_KIND_ALLOC, regs, now, size, 0);
	else if (moves) {
		tide_record_stays(block, was);
		tide_record_plain(TIDE_KIND_REALLOC_FAILED, NULL, 0);
	}
	return now;
}

void *realloc(void *block, size_t size)
{
	struct tide_regs regs = TIDE_REGS_HERE();
	return resize(&regs, block, size);
}

void *reallocarray(void *block, size_t count, size_t size)
{
	struct tide_regs regs = TIDE_REGS_HERE();
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	if (!tide_real_get()->comes_first)
		return tide_real_get()->public_realloc(block, bytes);
	return resize(&regs, block, bytes);
}

void *memalign(size_t alignment, size_t size)
{
	void *block = tide_real_get()->memalign(alignment, size);
	if (block && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_alloc(TIDE_KIND_ALIGNED, &regs, block, size, alignment);
	}
	return block;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	void *block = tide_real_get()->aligned_alloc(alignment, size);
	if (block && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_alloc(TIDE_KIND_ALIGNED, &regs, block, size, alignment);
	}
	return block;
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
	int rc = tide_real_get()->posix_memalign(ret, alignment, size);
	if (rc == 0 && *ret && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_alloc(TIDE_KIND_ALIGNED, &regs, *ret, size, alignment);
	}
	return rc;
}

void *valloc(size_t size)
{
	void *block = tide_real_get()->valloc(size);
	if (block && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_alloc(TIDE_KIND_ALIGNED, &regs, block, size, TIDE_PAGE);
	}
	return block;
}

void *pvalloc(size_t size)
{
	void *block = tide_real_get()->pvalloc(size);
	if (block && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_alloc(TIDE_KIND_ALIGNED, &regs, block, size, TIDE_PAGE);
	}
	return block;
}

size_t malloc_usable_size(void *block)
{
	return tide_real_get()->malloc_usable_size(block);
}

int malloc_trim(size_t pad)
{
	int rc = tide_real_get()->malloc_trim(pad);
	if (tide_on())
		tide_record_plain(TIDE_KIND_MARK, NULL, TIDE_MARK_TRIM);
	return rc;
}
