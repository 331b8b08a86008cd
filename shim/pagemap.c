#include "pagemap.h"

#include "format/layout.h"
#include "sys.h"

/* Documentation/admin-guide/mm/pagemap.rst: an entry of the file */
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_FILE (UINT64_C(1) << 61)

/* The same, PAGEMAP_SCAN; in linux/fs.h since 6.7 */
#define CATEGORY_FILE (UINT64_C(1) << 2)
#define CATEGORY_PRESENT (UINT64_C(1) << 3)
#define CATEGORY_SWAPPED (UINT64_C(1) << 4)
#define CATEGORY_ZERO (UINT64_C(1) << 5) /* the page that all share who only read; RSS does not count it */
struct scan {
	uint64_t size, flags, start, end, walk_end, runs, runs_most, pages_most;
	uint64_t inverted, all_of, any_of, told;
};
#define SCAN 0xc0606610 /* _IOWR('f', 16, struct scan) */
_Static_assert(sizeof(struct scan) == 0x60, "as the number says");

#define SCAN_MOST (UINT64_C(1) << 30) /* address space of one question, with all the mappings in it */
#define SCAN_END \
	UINT64_C(0x7ffffffff000) /* the kernel takes no question beyond; with five levels it would, and is asked less */

enum { ABSENT, ANONYMOUS, FILE_OR_SHARED, SWAPPED };

static void put_run(struct tide_out *out, uint64_t start, uint64_t end, unsigned state)
{
	tide_out_varint(out, (end - start) / TIDE_PAGE * 4 + state);
}

static bool ask(struct tide_pagemap *m, uint64_t start, uint64_t end)
{
	uint64_t most = start < SCAN_END - SCAN_MOST ? start + SCAN_MOST : SCAN_END;
	struct scan scan = {
		.size = sizeof scan,
		.start = start,
		.end = end > most ? end : most,
		.runs = (uintptr_t)m->run,
		.runs_most = sizeof m->run / sizeof *m->run,
		.any_of = CATEGORY_PRESENT | CATEGORY_SWAPPED,
		.told = CATEGORY_PRESENT | CATEGORY_SWAPPED | CATEGORY_FILE | CATEGORY_ZERO,
	};
	long n = tide_sys_ioctl(m->fd, SCAN, &scan);
	if (n < 0 || scan.walk_end <= start)
		return false;
	m->from = start;
	m->until = scan.walk_end;
	m->runs = (uint32_t)n;
	m->at = 0;
	return true;
}

static unsigned state_of_run(uint64_t categories)
{
	if (categories & CATEGORY_ZERO)
		return ABSENT;
	if (categories & CATEGORY_PRESENT)
		return categories & CATEGORY_FILE ? FILE_OR_SHARED : ANONYMOUS;
	return SWAPPED;
}

static bool put_asked(struct tide_pagemap *m, struct tide_out *out, uint64_t at, uint64_t end)
{
	while (at < end) {
		if ((at < m->from || at >= m->until) && !ask(m, at, end))
			return false;
		uint64_t until = end < m->until ? end : m->until;
		while (m->at < m->runs && m->run[m->at].end <= at)
			m->at++;
		const struct tide_page_run *run = m->at < m->runs ? &m->run[m->at] : NULL;
		bool inside = run && run->start <= at;
		unsigned state = inside ? state_of_run(run->categories) : ABSENT;
		uint64_t edge = !run ? until : inside ? run->end : run->start;
		if (edge > until)
			edge = until;
		put_run(out, at, edge, state);
		at = edge;
	}
	return true;
}

static unsigned state_of_entry(uint64_t entry)
{
	if (entry & ENTRY_PRESENT)
		return entry & ENTRY_FILE ? FILE_OR_SHARED : ANONYMOUS;
	return entry & ENTRY_SWAPPED ? SWAPPED : ABSENT;
}

static bool put_read(struct tide_pagemap *m, struct tide_out *out, uint64_t start, uint64_t end)
{
	uint64_t pages = (end - start) / TIDE_PAGE;
	size_t len = pages * sizeof *m->entry;
	m->from = m->until = 0; /* the entries are where the runs were */
	if (tide_sys_pread(m->fd, m->entry, len, start / TIDE_PAGE * sizeof *m->entry) != (long)len)
		return false;
	for (uint64_t i = 0; i < pages;) {
		unsigned state = state_of_entry(m->entry[i]);
		uint64_t begin = i;
		while (i < pages && state_of_entry(m->entry[i]) == state)
			i++;
		put_run(out, begin * TIDE_PAGE, i * TIDE_PAGE, state);
	}
	return true;
}

bool tide_pagemap_put(struct tide_pagemap *m, struct tide_out *out, uint64_t start, uint64_t end)
{
	uint8_t *begin = out->at;
	if (!m->cannot_ask && end <= SCAN_END) {
		if (put_asked(m, out, start, end))
			return true;
		out->at = begin;
		m->cannot_ask = true;
	}
	return put_read(m, out, start, end);
}
