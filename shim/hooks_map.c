/*
 * Mappings that the program makes itself. glibc's own heap growth does not come through here (its calls are internal):
 * the decoder sees that in the census.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>

#include "real.h"
#include "record.h"

#define HOOK __attribute__((visibility("default"), noinline))

HOOK void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
HOOK void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);
HOOK int munmap(void *at, size_t len);
HOOK void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...);
HOOK int madvise(void *at, size_t len, int advice);
HOOK int brk(void *end);
HOOK void *sbrk(intptr_t step);

static inline void mapped(const struct tide_regs *regs, void *at, size_t len, int prot, int flags, int fd)
{
	uint64_t how = (uint64_t)(unsigned)prot | (uint64_t)(unsigned)flags << 8;
	tide_record_range(TIDE_KIND_MMAP, regs, at, len, how, fd >= 0 && !(flags & MAP_ANONYMOUS));
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *got = tide_real_get()->mmap(at, len, prot, flags, fd, offset);
	if (got != MAP_FAILED && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		mapped(&regs, got, len, prot, flags, fd);
	}
	return got;
}

/* off_t has 64 bits here, so this is the same function; CPython calls only this one. */
void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *got = tide_real_get()->mmap(at, len, prot, flags, fd, offset);
	if (got != MAP_FAILED && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		mapped(&regs, got, len, prot, flags, fd);
	}
	return got;
}

int munmap(void *at, size_t len)
{
	bool valid = len && (uintptr_t)at % TIDE_PAGE == 0; /* else the kernel refuses, and nothing changes */
	if (valid && tide_on())
		tide_record_range(TIDE_KIND_MUNMAP, NULL, at, len, 0, 0);
	return tide_real_get()->munmap(at, len);
}

void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *to = NULL;
	if (flags & MREMAP_FIXED) {
		va_list rest;
		va_start(rest, flags);
		to = va_arg(rest, void *);
		va_end(rest);
	}
	void *got = tide_real_get()->mremap(old, old_len, new_len, flags, to);
	if (got != MAP_FAILED && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_range(TIDE_KIND_MREMAP, &regs, got, new_len, (uintptr_t)old, old_len);
	}
	return got;
}

int madvise(void *at, size_t len, int advice)
{
	if (tide_on())
		tide_record_range(TIDE_KIND_MADVISE, NULL, at, len, (unsigned)advice, 0);
	return tide_real_get()->madvise(at, len, advice);
}

int brk(void *end)
{
	int rc = tide_real_get()->brk(end);
	if (rc == 0 && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_plain(TIDE_KIND_BRK, &regs, (uintptr_t)end);
	}
	return rc;
}

void *sbrk(intptr_t step)
{
	char *old = tide_real_get()->sbrk(step);
	if (old != (char *)-1 && step && tide_on()) {
		struct tide_regs regs = TIDE_REGS_HERE();
		tide_record_plain(TIDE_KIND_BRK, &regs, (uintptr_t)old + (uintptr_t)step);
	}
	return old;
}
