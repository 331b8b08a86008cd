#include "read/census.h"

#include "format/layout.h"

#define CENSUS_VERSION 1u
#define POOL_FREE 255u
/* User addresses have at most 57 bits on any machine we read logs of; twice that leaves no product to overflow. */

static bool get_string(struct tide_in *in, const char **ret, uint32_t *ret_len)
{
	uint64_t len = tide_get_varint(in);
	const uint8_t *bytes = tide_get_bytes(in, len);
	if (!bytes || len > UINT32_MAX)
		return false;
	*ret = (const char *)bytes;
	*ret_len = (uint32_t)len;
	return true;
}

static bool get_run(struct tide_in *in, uint64_t *ret_pages, enum tide_page_state *ret_state)
{
	if (in->bad || tide_in_left(in) == 0)
		return false;
	uint64_t run = tide_get_varint(in);
	*ret_pages = run / 4;
	*ret_state = (enum tide_page_state)(run % 4);
	return !in->bad;
}

static bool runs_cover(struct tide_in runs, uint64_t pages)
{
	uint64_t n;
	enum tide_page_state state;
	while (get_run(&runs, &n, &state)) {
		if (n == 0 || n > pages)
			return false;
		pages -= n;
	}
	return !runs.bad && pages == 0;
}

static bool get_region(struct tide_in *in, struct tide_census_region *r)
{
	uint64_t start = tide_get_varint(in);
	r->pages = tide_get_varint(in);
	r->flags = tide_get_u8(in);
	uint64_t offset = tide_get_varint(in);
	r->inode = tide_get_varint(in);
	if (!get_string(in, &r->path, &r->path_len))
		return false;
	/* The kernel's [vsyscall] page stands at the top of the 64 bits, so the end may just touch 2^52 pages. */
	if (start >= UINT64_C(1) << 52 || r->pages > TIDE_REGION_PAGES_MAX || start + r->pages > UINT64_C(1) << 52)
		return false;
	r->start = start * TIDE_PAGE;
	r->file_offset = offset * TIDE_PAGE;
	r->has_runs = tide_in_left(in) > 0;
	r->runs = *in;
	return !r->has_runs || runs_cover(r->runs, r->pages);
}

static bool get_pool(struct tide_in *in, struct tide_census_pool *ret)
{
	uint8_t class = tide_get_u8(in);
	*ret = (struct tide_census_pool){.never_used = class == 0, .free_pool = class == POOL_FREE};
	if (class != 0 && class != POOL_FREE) {
		ret->size_class = class - 1;
		ret->live = tide_get_varint(in);
	}
	return !in->bad;
}

static bool get_pyarena(struct tide_in *in, struct tide_census_pyarena *a)
{
	uint64_t base = tide_get_varint(in);
	a->bytes = tide_get_varint(in);
	a->inherited = tide_get_u8(in) & 1;
	uint64_t pool_bytes = tide_get_varint(in);
	a->pools = tide_get_varint(in);
	if (in->bad || base >= UINT64_C(1) << 52 || pool_bytes > UINT32_MAX || a->bytes > UINT64_C(1) << 57)
		return false;
	if (a->pools > 0 && (pool_bytes == 0 || a->pools > a->bytes / pool_bytes))
		return false;
	a->base = base * TIDE_PAGE;
	a->pool_bytes = (uint32_t)pool_bytes;
	a->pool_bytes_in = *in;
	struct tide_census_pool pool;
	struct tide_in check = *in;
	for (uint64_t i = 0; i < a->pools; i++)
		if (!get_pool(&check, &pool))
			return false;
	return true;
}

static bool get_pysite(struct tide_in *in, struct tide_census_pysite *ret)
{
	uint64_t site = tide_get_varint(in);
	ret->size_class = tide_get_u8(in);
	uint64_t type = tide_get_varint(in);
	ret->blocks = tide_get_varint(in);
	ret->site = (uint32_t)site;
	ret->type = (uint32_t)type;
	return !in->bad && site <= UINT32_MAX && type <= UINT32_MAX && ret->blocks > 0 && ret->blocks <= UINT32_MAX;
}

static bool get_pysites(struct tide_in *in, struct tide_census_pysites *s)
{
	struct tide_census_pysite entry;
	uint64_t base = tide_get_varint(in);
	s->base = base * TIDE_PAGE;
	s->entries = *in;
	bool ok = !in->bad && base < UINT64_C(1) << 52;
	while (ok && tide_in_left(in) > 0)
		ok = get_pysite(in, &entry);
	return ok;
}

static bool get_record(struct tide_in *in, uint8_t kind, struct tide_census_item *ret)
{
	*ret = (struct tide_census_item){.kind = (enum tide_census_kind)kind};
	switch (ret->kind) {
	case TIDE_RECORD_RSS:
		ret->rss.resident = tide_get_varint(in);
		ret->rss.peak = tide_get_varint(in);
		ret->rss.anon = tide_get_varint(in);
		ret->rss.file = tide_get_varint(in);
		ret->rss.shmem = tide_get_varint(in);
		ret->rss.huge = tide_in_left(in) > 0 ? tide_get_varint(in) : 0;
		return !in->bad;
	case TIDE_RECORD_REGION:
		return get_region(in, &ret->region);
	case TIDE_RECORD_PYARENA:
		return get_pyarena(in, &ret->pyarena);
	case TIDE_RECORD_MALLINFO:
		ret->mallinfo.arena = tide_get_varint(in);
		ret->mallinfo.hblkhd = tide_get_varint(in);
		ret->mallinfo.uordblks = tide_get_varint(in);
		ret->mallinfo.fordblks = tide_get_varint(in);
		ret->mallinfo.keepcost = tide_get_varint(in);
		return !in->bad;
	case TIDE_RECORD_PYSITES:
		return get_pysites(in, &ret->pysites);
	case TIDE_RECORD_PYTYPE:
		return get_string(in, &ret->pytype.name, &ret->pytype.name_len);
	case TIDE_RECORD_THREADS:
		ret->threads.ids = *in;
		return true;
	}
	return false;
}

static bool is_known(uint8_t kind)
{
	return (kind >= TIDE_RECORD_RSS && kind <= TIDE_RECORD_THREADS) || kind == TIDE_RECORD_PYSITES ||
	       kind == TIDE_RECORD_PYTYPE;
}

bool tide_census_init(struct tide_census *c, const void *bytes, uint64_t len)
{
	if (len > SIZE_MAX)
		return false;
	struct tide_in in = tide_in_of(bytes, (size_t)len);
	uint64_t version = tide_get_varint(&in), reason = tide_get_varint(&in);
	if (in.bad || version != CENSUS_VERSION || reason > UINT32_MAX)
		return false;
	*c = (struct tide_census){(uint32_t)version, (uint32_t)reason, in};
	return true;
}

int tide_census_next(struct tide_census *c, struct tide_census_item *ret)
{
	while (!c->in.bad && tide_in_left(&c->in) > 0) {
		uint8_t kind = tide_get_u8(&c->in);
		uint64_t len = tide_get_varint(&c->in);
		const uint8_t *bytes = tide_get_bytes(&c->in, len);
		if (!bytes)
			return -1;
		if (!is_known(kind))
			continue;
		struct tide_in in = tide_in_of(bytes, (size_t)len);
		if (get_record(&in, kind, ret))
			return 1;
		c->in.bad = true;
	}
	return c->in.bad ? -1 : 0;
}

bool tide_region_run(struct tide_census_region *r, uint64_t *ret_pages, enum tide_page_state *ret_state)
{
	return r->has_runs && get_run(&r->runs, ret_pages, ret_state);
}

bool tide_pyarena_pool(struct tide_census_pyarena *a, struct tide_census_pool *ret)
{
	if (a->pools == 0 || !get_pool(&a->pool_bytes_in, ret))
		return false;
	a->pools--;
	return true;
}

bool tide_pysites_next(struct tide_census_pysites *s, struct tide_census_pysite *ret)
{
	return tide_in_left(&s->entries) > 0 && get_pysite(&s->entries, ret);
}

bool tide_threads_next(struct tide_census_threads *t, uint32_t *ret_tid)
{
	uint64_t id = tide_in_left(&t->ids) > 0 ? tide_get_varint(&t->ids) : 0;
	if (t->ids.bad || id == 0 || id > UINT32_MAX)
		return false;
	*ret_tid = (uint32_t)id;
	return true;
}
