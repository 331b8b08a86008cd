/* All that outside/ asks the kernel of another process; what it answers is taken apart elsewhere (tests/fuzz/fuzz_outside.c is in its place). */
#include "outside/access.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "format/layout.h"

#define PAGES_AT_ONCE 256u

FILE *tide_outside_file(int pid, const char *file)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	return fopen(path, "re");
}

bool tide_outside_text(int pid, const char *file, char *buf, size_t cap)
{
	FILE *f = tide_outside_file(pid, file);
	if (!f)
		return false;
	size_t len = fread(buf, 1, cap - 1, f);
	bool ok = !ferror(f);
	fclose(f);
	buf[len] = '\0';
	return ok && len > 0;
}

/* PAGEMAP_SCAN, Documentation/admin-guide/mm/pagemap.rst; in linux/fs.h since 6.7 */
struct run {
	uint64_t start, end, categories;
};
struct scan {
	uint64_t size, flags, start, end, walk_end, runs, runs_most, pages_most;
	uint64_t inverted, all_of, any_of, told;
};
#define SCAN _IOWR('f', 16, struct scan)
#define CATEGORY_ZERO (UINT64_C(1) << 5)

/* The page that all share who only read is present, and RSS does not count it. A kernel that cannot tell leaves it in. */
static void leave_out_zero_page(int pagemap, uint64_t addr, uint64_t *entry, unsigned pages)
{
	struct run run[64];
	uint64_t end = addr + pages * (uint64_t)TIDE_PAGE;
	for (uint64_t at = addr; at < end;) {
		struct scan scan = {.size = sizeof scan,
				    .start = at,
				    .end = end,
				    .runs = (uintptr_t)run,
				    .runs_most = 64,
				    .all_of = CATEGORY_ZERO,
				    .told = CATEGORY_ZERO};
		int n = ioctl(pagemap, SCAN, &scan);
		if (n < 0 || scan.walk_end <= at)
			return;
		for (int i = 0; i < n; i++)
			for (uint64_t page = run[i].start; page < run[i].end; page += TIDE_PAGE)
				entry[(page - addr) / TIDE_PAGE] = 0;
		at = scan.walk_end;
	}
}

bool tide_outside_residency(int pagemap, uint64_t addr, uint64_t *entry, unsigned pages)
{
	size_t len = pages * sizeof *entry;
	if (pread(pagemap, entry, len, (off_t)(addr / TIDE_PAGE * sizeof *entry)) != (ssize_t)len)
		return false;
	leave_out_zero_page(pagemap, addr - addr % TIDE_PAGE, entry, pages);
	return true;
}

bool tide_outside_read(int pid, int pagemap, uint64_t addr, void *buf, size_t len)
{
	uint64_t entry[PAGES_AT_ONCE];
	uint8_t *out = buf;
	for (unsigned page = 0; len > 0; page = (page + 1) % PAGES_AT_ONCE) {
		size_t left = TIDE_PAGE - addr % TIDE_PAGE, n = left < len ? left : len;
		size_t pages = (len - n + TIDE_PAGE - 1) / TIDE_PAGE + 1;
		struct iovec to = {out, n}, from = {(void *)(uintptr_t)addr, n};
		if (page == 0 && !tide_outside_residency(pagemap, addr, entry,
							 pages < PAGES_AT_ONCE ? (unsigned)pages : PAGES_AT_ONCE))
			return false;
		if (!tide_outside_is_resident(entry[page]))
			memset(out, 0, n);
		else if (process_vm_readv(pid, &to, 1, &from, 1, 0) != (ssize_t)n)
			return false;
		out += n;
		addr += n;
		len -= n;
	}
	return true;
}

bool tide_outside_read_pieces(int pid, const struct tide_outside_piece *piece, unsigned pieces)
{
	struct iovec to[TIDE_OUTSIDE_PIECES], from[TIDE_OUTSIDE_PIECES];
	size_t len = 0;
	if (pieces > TIDE_OUTSIDE_PIECES)
		return false;
	for (unsigned i = 0; i < pieces; i++) {
		to[i] = (struct iovec){piece[i].buf, piece[i].len};
		from[i] = (struct iovec){(void *)(uintptr_t)piece[i].addr, piece[i].len};
		len += piece[i].len;
	}
	return pieces == 0 || process_vm_readv(pid, to, pieces, from, pieces, 0) == (ssize_t)len;
}
