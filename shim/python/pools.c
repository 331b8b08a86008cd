/*
 * The census of pymalloc's pools: from their headers what is live (Objects/obmalloc.c, struct pool_header, the same from 3.8 to
 * 3.13), from the marks which site allocated it, from the objects themselves their types.
 *
 * With the GIL nothing in an arena changes meanwhile, and none goes away. Without it headers are copied by the kernel, which says so
 * where memory has gone, and blocks are not looked at.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#include "census.h"
#include "defs.h"
#include "python/interp.h"
#include "python/marks.h"
#include "sys.h"

struct pool {           /* 48 bytes; the first block follows */
	uint32_t count; /* blocks in use */
	uint32_t reserved;
	const uint8_t *free_block;
	void *next, *previous;
	uint32_t arena_index, size_class, next_offset, max_next_offset;
};
_Static_assert(sizeof(struct pool) == 48, "pool header");

#define POOLS_MOST 64u
#define CLASSES 32u
#define ALIGNMENT 16u
#define BLOCKS_MOST 1024u /* in a pool */
#define COUNTED_SLOTS 4096u
#define COUNTED_MOST 3072u
#define COUNTED_FIRST 512u /* slots in use at first: a small program's census touches few pages */
#define ENTRY_CAP 14u      /* bytes of one entry of a PYSITES record, at most */
#define TYPES_WHEN_LIVE 4u /* types are told of arenas of which at most one in so many bytes is live */

struct counted {
	uint32_t blocks; /* 0: free */
	uint16_t site;
	uint8_t size_class;
	uint32_t type;
};

static struct scratch {
	struct pool pool[POOLS_MOST];
	struct iovec iov[POOLS_MOST];
	struct counted slot[COUNTED_SLOTS];
	uint16_t used[COUNTED_MOST];
	uint32_t counted;
	uint32_t slots; /* in use, COUNTED_SLOTS at most */
	struct tide_py_site_set live;
	bool whole; /* all live blocks are in that set */
	uint8_t record[64 + COUNTED_MOST * ENTRY_CAP];
} * scratch; /* whoever takes a census has it alone */

struct taking {
	struct tide_census_writer *writer;
	bool direct; /* we have the GIL */
	bool sites;
	uintptr_t arena;
};

static bool is_used(const struct pool *p)
{
	uint32_t bytes = tide_py.version->pool;
	return p->next_offset > 0 && p->size_class < CLASSES && p->count <= bytes / ALIGNMENT;
}

static uint32_t block_bytes(const struct pool *p)
{
	return (p->size_class + 1) * ALIGNMENT;
}

/* Copies the headers of an arena's pools. Pools are carved in order, so behind the first that never was one nothing is looked at, and
 * none of it becomes resident by that. False: it is not there any more. */
static bool read_headers(const struct taking *t, uintptr_t first, uint32_t pools)
{
	uint32_t pool_bytes = tide_py.version->pool;
	if (t->direct) {
		uint32_t i = 0;
		do
			memcpy(&scratch->pool[i], (const void *)(first + i * (uintptr_t)pool_bytes),
			       sizeof(struct pool));
		while (scratch->pool[i].max_next_offset && ++i < pools);
		memset(scratch->pool + i, 0, (pools - i) * sizeof(struct pool));
		return true;
	}
	struct iovec to = {scratch->pool, pools * sizeof(struct pool)};
	for (uint32_t i = 0; i < pools; i++)
		scratch->iov[i] = (struct iovec){(void *)(first + i * (uintptr_t)pool_bytes), sizeof(struct pool)};
	return tide_syscall(SYS_process_vm_readv, tide_sys_getpid(), (long)&to, 1, (long)scratch->iov, pools, 0) ==
	       (long)to.iov_len;
}

static void put_pool(struct tide_out *out, const struct pool *p)
{
	if (!is_used(p)) {
		*out->at++ = 0;
	} else if (p->count == 0) {
		*out->at++ = 255;
	} else {
		*out->at++ = (uint8_t)(p->size_class + 1);
		tide_out_varint(out, p->count);
	}
}

static bool put_headers(const struct taking *t, const struct tide_py_arena *a, uint32_t pools)
{
	struct tide_out out = tide_out_of(scratch->record, sizeof scratch->record);
	tide_out_varint(&out, t->arena / TIDE_PAGE);
	tide_out_varint(&out, a->bytes);
	*out.at++ = a->inherited;
	tide_out_varint(&out, tide_py.version->pool);
	tide_out_varint(&out, pools);
	for (uint32_t i = 0; i < pools; i++)
		put_pool(&out, &scratch->pool[i]);
	return tide_census_put(t->writer, TIDE_CENSUS_PYARENA, out.begin, tide_out_len(&out));
}

/* ---- sites ---- */

static bool put_counted(const struct taking *t)
{
	struct tide_out out = tide_out_of(scratch->record, sizeof scratch->record);
	if (!scratch->counted)
		return true;
	tide_out_varint(&out, t->arena / TIDE_PAGE);
	for (uint32_t i = 0; i < scratch->counted; i++) {
		struct counted *c = &scratch->slot[scratch->used[i]];
		tide_out_varint(&out, c->site);
		*out.at++ = c->size_class;
		tide_out_varint(&out, c->type);
		tide_out_varint(&out, c->blocks);
		c->blocks = 0;
	}
	scratch->counted = 0;
	return tide_py_types_put(t->writer) &&
	       tide_census_put(t->writer, TIDE_CENSUS_PYSITES, out.begin, tide_out_len(&out));
}

static bool count(const struct taking *t, const struct counted *what)
{
	uint64_t key = what->site | (uint64_t)what->size_class << 16 | (uint64_t)what->type << 24;
	uint32_t i = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 40);
	for (;; i++) {
		struct counted *c = &scratch->slot[i & (scratch->slots - 1)];
		if (c->blocks && (c->site != what->site || c->size_class != what->size_class || c->type != what->type))
			continue;
		if (!c->blocks) {
			*c = *what;
			tide_py_site_set_add(&scratch->live, what->site);
			scratch->used[scratch->counted++] = (uint16_t)(i & (scratch->slots - 1));
		} else {
			c->blocks += what->blocks;
		}
		break;
	}
	if (scratch->counted < scratch->slots / 4 * 3)
		return true;
	bool ok = put_counted(t);
	if (scratch->slots < COUNTED_SLOTS)
		scratch->slots *= 2; /* they are all free now */
	return ok;
}

/* Sets the bits of the pool's free blocks. False: it is not as a pool should be. */
static bool find_free(const struct pool *p, const uint8_t *pool, uint32_t carved, uint64_t *free)
{
	uint32_t size = block_bytes(p), found = 0;
	const uint8_t *block = p->free_block, *first = pool + sizeof *p;
	for (; block && found < carved; found++) {
		uintptr_t offset = (uintptr_t)block - (uintptr_t)first;
		if (offset >= (uintptr_t)carved * size || offset % size)
			return false;
		free[offset / size / 64] |= UINT64_C(1) << (offset / size % 64);
		memcpy(&block, block, sizeof block);
	}
	return found + p->count == carved;
}

/* How many blocks a pool has been carved into, with the bits of the free ones set. 0: it is not as a pool should be. */
static uint32_t look_into(const struct pool *p, const uint8_t *pool, uint64_t *free)
{
	uint32_t carved = 0;
	if (p->next_offset > sizeof *p && p->next_offset <= tide_py.version->pool)
		carved = (p->next_offset - (uint32_t)sizeof *p) / block_bytes(p);
	return find_free(p, pool, carved, free) ? carved : 0;
}

static inline bool is_free(const uint64_t *free, uint32_t block)
{
	return free[block / 64] >> (block % 64) & 1;
}

static bool count_pool(const struct taking *t, const struct pool *p, const uint8_t *pool, bool types)
{
	uint64_t free[BLOCKS_MOST / 64] = {0};
	uint32_t size = block_bytes(p), carved = look_into(p, pool, free);
	const uint16_t *marks = tide_py_mark_of(pool);
	struct counted what = {.size_class = (uint8_t)p->size_class, .blocks = p->count};
	if (!marks || !carved) {
		scratch->whole = false;
		return count(t, &what);
	}
	what.blocks = 1;
	for (uint32_t i = 0; i < carved; i++) {
		uint32_t at = (uint32_t)sizeof *p + i * size + tide_py_block_skew;
		if (is_free(free, i))
			continue;
		what.site = marks[at / ALIGNMENT];
		what.type = types ? tide_py_type_of(pool + at, (uint32_t)sizeof *p + (i + 1) * size - at) : 0;
		if (!count(t, &what))
			return false;
	}
	return true;
}

/* The same without a census, for its sites alone. */
static bool sites_of_pool(const struct pool *p, const uint8_t *pool, struct tide_py_site_set *set)
{
	uint64_t free[BLOCKS_MOST / 64] = {0};
	uint32_t carved = look_into(p, pool, free);
	const uint16_t *marks = tide_py_mark_of(pool);
	for (uint32_t i = 0; i < carved && marks; i++)
		if (!is_free(free, i))
			tide_py_site_set_add(set,
					     marks[(sizeof *p + i * block_bytes(p) + tide_py_block_skew) / ALIGNMENT]);
	return carved && marks;
}

static bool sites_of_arena(void *arg, const struct tide_py_arena *a)
{
	uintptr_t pool_bytes = tide_py.version->pool, base = atomic_load_explicit(&a->base, memory_order_relaxed);
	bool whole = true;
	for (uintptr_t at = (base + pool_bytes - 1) / pool_bytes * pool_bytes; at + pool_bytes <= base + a->bytes;
	     at += pool_bytes) {
		const struct pool *p = (const struct pool *)at;
		if (!p->max_next_offset) /* nor are those behind it (read_headers) */
			break;
		if (is_used(p) && p->count)
			whole = sites_of_pool(p, (const uint8_t *)at, arg) && whole;
	}
	return whole;
}

bool tide_py_live_sites(struct tide_py_site_set *ret)
{
	memset(ret, 0, sizeof *ret);
	return tide_py_each_arena(sites_of_arena, ret);
}

static bool put_sites(const struct taking *t, const struct tide_py_arena *a, uintptr_t first, uint32_t pools)
{
	uint64_t live = 0;
	bool ok = true;
	for (uint32_t i = 0; i < pools; i++)
		if (is_used(&scratch->pool[i]))
			live += (uint64_t)scratch->pool[i].count * block_bytes(&scratch->pool[i]);
	for (uint32_t i = 0; i < pools && ok; i++) {
		const struct pool *p = &scratch->pool[i];
		const uint8_t *pool = (const uint8_t *)(first + i * (uintptr_t)tide_py.version->pool);
		if (is_used(p) && p->count)
			ok = count_pool(t, p, pool, live * TYPES_WHEN_LIVE <= a->bytes);
	}
	return ok && put_counted(t);
}

static bool put_arena(void *arg, const struct tide_py_arena *a)
{
	struct taking *t = arg;
	uint32_t pool_bytes = tide_py.version->pool;
	t->arena = atomic_load_explicit(&a->base, memory_order_relaxed);
	uintptr_t first = (t->arena + pool_bytes - 1) / pool_bytes * pool_bytes;
	uint32_t pools = (uint32_t)((t->arena + a->bytes - first) / pool_bytes);
	if (pools > POOLS_MOST || !read_headers(t, first, pools)) {
		scratch->whole = false;
		return true;
	}
	return put_headers(t, a, pools) && (!t->sites || put_sites(t, a, first, pools));
}

bool tide_python_census_is_poor(void)
{
	return tide_py.version && tide_py.mode == TIDE_PYTHON_SITES && !tide_py.has_gil();
}

uint32_t tide_py_block_skew;

void tide_py_learn_skew(const void *block)
{
	uint32_t offset = (uint32_t)((uintptr_t)block % tide_py.version->pool);
	const struct pool *p = (const struct pool *)((uintptr_t)block - offset);
	if (tide_py_in_arena(block) && is_used(p) && offset >= sizeof *p)
		tide_py_block_skew = (offset - (uint32_t)sizeof *p) % block_bytes(p);
}

void tide_python_census(struct tide_census_writer *w)
{
	if (!tide_py.version)
		return;
	if (!scratch)
		scratch = tide_sys_memory(sizeof *scratch);
	struct taking t = {.writer = w, .direct = tide_py.has_gil()};
	t.sites = t.direct && tide_py.mode == TIDE_PYTHON_SITES;
	if (!scratch)
		return;
	scratch->whole = true;
	if (!scratch->slots)
		scratch->slots = COUNTED_FIRST;
	if (t.sites) {
		memset(&scratch->live, 0, sizeof scratch->live);
		tide_py_types_begin();
	}
	bool all = tide_py_each_arena(put_arena, &t);
	if (t.sites)
		tide_py_define_sites(&scratch->live, all && scratch->whole);
}
