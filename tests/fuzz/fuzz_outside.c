/*
 * A running process as `live` and `record` see it, which says what it likes: the files of /proc/PID, its page map, and its memory with the beacon. The
 * input stands in for the kernel (outside/access.c is not linked): flags, and four parts with their lengths before them: maps, smaps_rollup, status and stat.
 * What remains is memory, and the page map. Flag 1: the beacon that stands in memory is put right, as only the shim's own is.
 *
 * Whatever it says, what is made of it is a census that the reader takes whole.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/layout.h"
#include "model/space.h"
#include "outside/census.h"
#include "read/census.h"

#define PAGES_IN_ALL \
	65536u /* of the page map, of one input: a reservation of terabytes takes its time, and shows nothing new */

enum { MAPS, ROLLUP, STATUS, STAT, TEXTS };
enum { FIX_BEACON = 1, NO_MEMORY = 2 };

static struct {
	const char *text[TEXTS];
	size_t len[TEXTS];
	const uint8_t *memory;
	size_t size;
	unsigned flags;
	uint32_t pages_left;
	uint64_t beacon; /* address; 0: unknown */
} now;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- in the kernel's place ---- */

FILE *tide_outside_file(int pid, const char *file)
{
	(void)pid;
	if (strcmp(file, "maps") != 0 || now.len[MAPS] == 0)
		return NULL;
	return fmemopen((void *)(uintptr_t)now.text[MAPS], now.len[MAPS], "r");
}

bool tide_outside_text(int pid, const char *file, char *buf, size_t cap)
{
	unsigned which = strcmp(file, "smaps_rollup") == 0 ? ROLLUP : strcmp(file, "status") == 0 ? STATUS : STAT;
	size_t len = now.len[which] < cap ? now.len[which] : cap - 1;
	(void)pid;
	memcpy(buf, now.text[which], len);
	buf[len] = '\0';
	return len > 0;
}

static uint8_t byte_at(uint64_t addr)
{
	return now.size ? now.memory[addr % now.size] : 0;
}

bool tide_outside_residency(int pagemap, uint64_t addr, uint64_t *entry, unsigned pages)
{
	(void)pagemap;
	if (pages > now.pages_left)
		return false;
	now.pages_left -= pages;
	for (unsigned i = 0; i < pages; i++) /* the three bits that are looked at */
		entry[i] = (uint64_t)(byte_at(addr / TIDE_PAGE + i) & 7) << 61;
	return true;
}

bool tide_outside_read(int pid, int pagemap, uint64_t addr, void *buf, size_t len)
{
	uint8_t *to = buf;
	(void)pid;
	(void)pagemap;
	if (now.flags & NO_MEMORY || addr + len < addr)
		return false;
	for (size_t i = 0; i < len; i++)
		to[i] = byte_at(addr + i);
	if (now.flags & FIX_BEACON && len >= sizeof(struct tide_beacon) && addr == now.beacon) {
		struct tide_beacon b;
		memcpy(&b, to, sizeof b);
		b.magic = TIDE_MAGIC_BEACON;
		b.self = addr;
		b.version = TIDE_BEACON_VERSION;
		b.len = sizeof b;
		memcpy(to, &b, sizeof b);
	}
	return true;
}

bool tide_outside_read_pieces(int pid, const struct tide_outside_piece *piece, unsigned pieces)
{
	bool ok = true;
	for (unsigned i = 0; i < pieces && ok; i++)
		ok = tide_outside_read(pid, -1, piece[i].addr, piece[i].buf, piece[i].len);
	return ok;
}

/* ---- what is made of it ---- */

static void walk_region(struct tide_census_region *r)
{
	uint64_t pages, total = 0;
	enum tide_page_state state;
	while (tide_region_run(r, &pages, &state))
		total += pages;
	if (r->pages == 0 || (r->has_runs && total != r->pages))
		abort();
}

static void walk(const struct tide_outside_census *c)
{
	struct tide_census census;
	struct tide_census_item item;
	uint32_t arenas = 0;
	int more = -1;
	if (tide_census_init(&census, c->bytes, c->len))
		while ((more = tide_census_next(&census, &item)) == 1) {
			struct tide_census_pool pool;
			uint32_t pools = 0;
			if (item.kind == TIDE_RECORD_REGION)
				walk_region(&item.region);
			if (item.kind != TIDE_RECORD_PYARENA)
				continue;
			uint64_t promised = item.pyarena.pools;
			while (tide_pyarena_pool(&item.pyarena, &pool))
				pools++;
			if (pools != promised)
				abort();
			arenas++;
		}
	if (more != 0 || arenas != c->arenas)
		abort();
}

static void use(const struct tide_outside_census *c)
{
	struct tide_census_blob blob = {.time_ns = c->at_ns, .complete = true, .bytes = c->bytes, .len = c->len};
	struct tide_space space;
	if (tide_space_init(&space, &blob) == TIDE_OK)
		tide_space_release(&space);
}

/* The first writable mapping of the shim: there its beacon is. */
static void place_beacon(void)
{
	FILE *maps = tide_outside_file(0, "maps");
	struct tide_outside_map m;
	char *line = NULL;
	size_t cap = 0;
	while (maps && !now.beacon && getline(&line, &cap, maps) > 0)
		if (tide_outside_map(line, &m) && tide_outside_is_shim(&m) && m.flags & TIDE_REGION_WRITE)
			now.beacon = m.start;
	free(line);
	if (maps)
		fclose(maps);
}

static size_t take_part(const uint8_t *data, size_t size, size_t at, unsigned which)
{
	size_t len = at + 2 <= size ? (size_t)data[at] | (size_t)data[at + 1] << 8 : 0;
	at = at + 2 <= size ? at + 2 : size;
	len = len < size - at ? len : size - at;
	now.text[which] = (const char *)data + at;
	now.len[which] = len;
	return at + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_outside process;
	struct tide_outside_census census;
	struct tide_error err;
	size_t at = 1;
	memset(&now, 0, sizeof now);
	if (size == 0)
		return 0;
	now.flags = data[0];
	now.pages_left = PAGES_IN_ALL;
	for (unsigned i = 0; i < TEXTS; i++)
		at = take_part(data, size, at, i);
	now.memory = data + at;
	now.size = size - at;
	place_beacon();
	int pid =
		getpid(); /* its threads and its page map are opened, and the one is counted, the other not looked at */
	if (tide_outside_init(&process, pid, &err))
		process = (struct tide_outside){.pid = pid};
	if (tide_outside_census_init(&census, &process, 1, &err) == TIDE_OK) {
		walk(&census);
		use(&census);
		tide_outside_census_release(&census);
	}
	tide_outside_rss(pid);
	return 0;
}
