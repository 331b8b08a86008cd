#include "candidates.h"

#include <stdatomic.h>
#include <string.h>

#include "logfile.h"
#include "pass.h"
#include "ring.h"
#include "shadow.h"
#include "sites.h"
#include "survive.h"
#include "sys.h"

#define RING_SHARE 8u /* the pool has one byte for so many of the ring's */
#define PAGES_LEAST 1024u
#define PAGES_MOST (1u << 25) /* more than can be told of */
#define SWEEP_SHARE 2u        /* pages looked through for the dead for each one that is filled, when room gets scarce */
#define SWEEP_IN_NEED 8u      /* when there is hardly any */
#define LATEST 16384u         /* candidates found by address; a hash */
#define AHEAD 8u              /* of those, asked of memory before they are needed */
#define A_PAGE 63u

struct sum {
	uint32_t site, allocs;
	uint64_t bytes;
};

/* Number 0 is none. */
struct page {
	uint32_t next, count, epoch;
	uint32_t is_sums;
	union {
		struct tide_digest_block block[A_PAGE]; /* `when` counts from the epoch's base, both ways */
		struct sum sum[A_PAGE];
	} u;
};
_Static_assert(sizeof(struct page) == 1024, "no part of one is lost");

struct list {
	uint32_t first, last;
};
/* What is known of an epoch; kept modulo TIDE_SEGMENTS_MAX. */
struct known {
	uint32_t epoch;
	uint64_t base; /* ticks >> TIDE_CARRY_SHIFT_FRESH */
	uint64_t frees;
	struct list blocks, sums;
};
struct latest {
	uint32_t
		what; /* address / 16 and epoch, mixed: most that are of another epoch are told without a look at their page */
	uint32_t where; /* its page * 64 + its place there */
};

/* Where pages are to be looked through for the dead: behind this page of the epoch's. One at a time: another could free the page. */
struct sweep {
	uint32_t epoch, page;
	uint32_t again; /* where it goes on when the young epoch is done */
	bool is_young;
};

static struct {
	struct page *page;           /* NULL: no memory */
	uint32_t pages, fresh, free; /* fresh: the first that was never used; free: of the list of free ones */
	uint32_t in_use;
	struct known known[TIDE_SEGMENTS_MAX];
	struct latest *latest;
	/* a bit for each unit of TIDE_FRAME_ALIGN in the ring: of a frame that begins there is known what is of its first epoch, of its second */
	uint64_t *frame, *second;
	struct sweep sweep;
	uint32_t over;                /* the last epoch that was looked through for the first time, or is */
	_Atomic uint8_t spoiled[256]; /* by tag */
} pool;

static size_t frame_words(void)
{
	return tide_logfile.geometry.ring_len / TIDE_FRAME_ALIGN / 64 + 1;
}

void tide_candidates_init(void)
{
	uint32_t pages = (uint32_t)(tide_logfile.geometry.ring_len / RING_SHARE / sizeof(struct page));
	pool.pages = pages < PAGES_LEAST ? PAGES_LEAST : pages < PAGES_MOST ? pages : PAGES_MOST;
	size_t len = (pool.pages + 1) * sizeof(struct page);
	uint8_t *memory = tide_sys_memory(len + LATEST * sizeof *pool.latest + 2 * frame_words() * sizeof *pool.frame);
	if (!memory)
		return;
	pool.page = (struct page *)memory;
	pool.latest = (struct latest *)(memory + len);
	pool.frame = (uint64_t *)(pool.latest + LATEST);
	pool.second = pool.frame + frame_words();
	pool.fresh = 1;
}

void tide_candidates_fork_child(void)
{
	/* epochs have the same numbers again: a block of the parent's must not be taken for one of ours */
	for (uint32_t i = 0; pool.fresh > 1 && i < LATEST; i++)
		if (pool.latest[i].where)
			pool.latest[i].where = 0;
	pool.fresh = 1;
	pool.free = pool.in_use = 0;
	pool.sweep = (struct sweep){0};
	pool.over = 0;
	memset(pool.known, 0, sizeof pool.known);
	for (uint32_t i = 0; i < 256; i++)
		atomic_store_explicit(&pool.spoiled[i], 0, memory_order_relaxed);
	for (size_t i = 0; pool.page && i < 2 * frame_words(); i++) /* and `second` */
		if (pool.frame[i])                                  /* reads break no page in two */
			pool.frame[i] = 0;
}

bool tide_candidates_wanted(void)
{
	return pool.page && !tide_logfile.is_private && tide_ring_epoch() > tide_ring_segments() / 2;
}

static uint32_t left(void)
{
	return pool.pages - pool.in_use;
}

static void new_page(struct list *list, uint32_t epoch, bool is_sums)
{
	uint32_t number = pool.free;
	if (number)
		pool.free = pool.page[number].next;
	else
		number = pool.fresh++;
	struct page *p = &pool.page[number];
	p->next = p->count = 0;
	p->epoch = epoch;
	p->is_sums = is_sums;
	if (list->last)
		pool.page[list->last].next = number;
	else
		list->first = number;
	list->last = number;
	pool.in_use++;
}

static void free_page(uint32_t number)
{
	struct page *p = &pool.page[number];
	p->count = p->epoch = 0;
	p->next = pool.free;
	pool.free = number;
	pool.in_use--;
}

static struct known *known_of(uint32_t epoch)
{
	return &pool.known[epoch % TIDE_SEGMENTS_MAX];
}

/* There is room: tide_candidates_add saw to it. */
static struct page *room_in(struct list *list, const struct known *k, uint32_t *ret_number)
{
	if (!list->last || pool.page[list->last].count == A_PAGE)
		new_page(list, k->epoch, list == &k->sums);
	*ret_number = list->last;
	return &pool.page[list->last];
}

/* Leaves those whose byte is such a tag; `tags` has a 1 for each. */
static void check_page(struct page *p, const uint8_t tags[256])
{
	uint8_t alive[A_PAGE];
	uint32_t kept = 0;
	for (uint32_t i = 0; i < p->count; i++)
		alive[i] = tags[tide_shadow_peek((const void *)(p->u.block[i].key >> TIDE_DIGEST_SITE_BITS << 4))];
	for (uint32_t i = 0; i < p->count; i++) {
		p->u.block[kept] = p->u.block[i];
		kept += alive[i];
	}
	p->count = kept;
}

/* Moves what fits to `b` from the page behind it: of two that are more than half full each nothing would be won otherwise. */
static void fill_up(struct page *b, struct page *p)
{
	uint32_t room = A_PAGE - b->count, count = room < p->count ? room : p->count;
	if (count == 0)
		return;
	memcpy(&b->u.block[b->count], p->u.block, count * sizeof *p->u.block);
	b->count += count;
	p->count -= count;
	memmove(p->u.block, &p->u.block[count], p->count * sizeof *p->u.block);
}

/* The page behind `before` in the epoch's list, 0: the first; not the last page, which is being filled. Returns the page to go on behind, UINT32_MAX: that
 * was all. */
static uint32_t sweep_one(struct known *k, uint32_t before)
{
	uint32_t number = before ? pool.page[before].next : k->blocks.first;
	if (!number || number == k->blocks.last)
		return UINT32_MAX;
	struct page *p = &pool.page[number], *b = before ? &pool.page[before] : NULL;
	uint8_t tags[256] = {0};
	tags[tide_tag(k->epoch, TIDE_TAG_FRESH)] = 1;
	check_page(p, tags);
	if (b)
		fill_up(b, p);
	if (p->count)
		return number;
	if (b)
		b->next = p->next;
	else
		k->blocks.first = p->next;
	free_page(number);
	return before;
}

static void sweep_page(uint32_t now)
{
	struct sweep *s = &pool.sweep;
	uint32_t done = tide_survive_done();
	if (s->epoch <= done || s->epoch >= now)
		*s = (struct sweep){.epoch = done + 1, .again = s->again};
	struct known *k = known_of(s->epoch);
	bool taken = tide_pass.phase != TIDE_PASS_NONE && s->epoch == tide_pass.epoch;
	s->page = k->epoch == s->epoch && !taken ? sweep_one(k, s->page) : UINT32_MAX;
	if (s->page == UINT32_MAX)
		*s = (struct sweep){.epoch = s->is_young ? s->again : s->epoch + 1};
}

/* The oldest epoch that is over and was not looked through yet is next, if there is one. */
static void turn_to_young(uint32_t now)
{
	struct sweep *s = &pool.sweep;
	uint32_t next = pool.over < tide_survive_done() ? tide_survive_done() + 1 : pool.over + 1;
	if (s->is_young || next >= now)
		return;
	pool.over = next;
	*s = (struct sweep){.epoch = next, .is_young = true, .again = s->epoch};
}

/* Before so many pages are filled, if few are left: the longer an epoch is not looked through, the more of it has died. Each is once, for
 * most of what dies dies young; then all of them round and round, if that does not make enough room. */
static void make_room(uint32_t pages)
{
	uint32_t now = tide_ring_epoch(), share = left() < pool.pages / 32 ? SWEEP_IN_NEED : SWEEP_SHARE;
	if (left() >= pool.pages / 8)
		return;
	for (uint32_t i = share * pages; i > 0; i--) {
		turn_to_young(now);
		if (!pool.sweep.is_young && left() >= pool.pages / 16)
			return;
		sweep_page(now);
	}
}

void tide_candidates_learn(const struct tide_digest *d, const struct tide_raw *raw)
{
	uint32_t i = 0;
	while (i < d->sites && tide_sites_known(d->site[i].hash))
		i++;
	if (i < d->sites)
		tide_evict_learn(raw);
}

static uint64_t unit_of_frame(const struct tide_frame *f)
{
	return ((uint64_t)((const uint8_t *)f - tide_logfile.base) - tide_logfile.geometry.ring_off) / TIDE_FRAME_ALIGN;
}

static void add_sum(struct known *k, uint32_t number, const struct tide_digest_site *s)
{
	uint32_t count;
	struct tide_site_sum *site = &tide_sites_sums(&count)[number];
	struct page *p = &pool.page[site->page];
	struct sum *sum = &p->u.sum[site->at];
	if (p->epoch != k->epoch || !p->is_sums || site->at >= p->count || sum->site != number ||
	    sum->allocs + s->allocs < sum->allocs) {
		p = room_in(&k->sums, k, &site->page);
		site->at = p->count++;
		sum = &p->u.sum[site->at];
		*sum = (struct sum){.site = number};
	}
	sum->allocs += s->allocs;
	sum->bytes += s->bytes;
}

static struct latest *latest_of(const struct tide_digest_block *b)
{
	return &pool.latest[((b->key >> TIDE_DIGEST_SITE_BITS) * UINT64_C(0x9e3779b97f4a7c15)) >> 50];
}
_Static_assert(LATEST == UINT64_C(1) << 14, "latest_of");

/* Of an address that was given out again within the epoch one is kept, the later one. True: there is another, or there was. */
static bool is_there(const struct known *k, const struct latest *l, const struct tide_digest_block *b)
{
	struct page *p = &pool.page[l->where / 64];
	struct tide_digest_block *old = &p->u.block[l->where % 64];
	if (p->epoch != k->epoch || p->is_sums || l->where % 64 >= p->count ||
	    (old->key ^ b->key) >> TIDE_DIGEST_SITE_BITS)
		return false;
	if ((int32_t)b->when >> 1 >= (int32_t)old->when >> 1)
		*old = *b;
	return true;
}
_Static_assert(A_PAGE < 64, "is_there");

/* Sites have become numbers, and times count from the epoch's base, which is `shift` before the digest's. */
static void add_blocks(struct known *k, const struct tide_digest *d, const uint32_t *site, int32_t shift)
{
	uint32_t page;
	struct page *p = d->count ? room_in(&k->blocks, k, &page) : NULL;
	for (uint32_t i = 0; i < d->count; i++) {
		struct tide_digest_block b = d->block[i];
		uint32_t place = b.key & ((1u << TIDE_DIGEST_SITE_BITS) - 1);
		uint32_t what = (uint32_t)(b.key >> TIDE_DIGEST_SITE_BITS) ^ k->epoch << 24;
		struct latest *l = latest_of(&b);
		b.key = b.key - place + site[place];
		b.when += (uint32_t)(shift * 2);
		if (i + AHEAD < d->count)
			__builtin_prefetch(latest_of(&d->block[i + AHEAD]), 1);
		if (l->what == what && is_there(k, l, &b))
			continue;
		if (p->count == A_PAGE)
			p = room_in(&k->blocks, k, &page);
		*l = (struct latest){what, page * 64 + p->count};
		p->u.block[p->count++] = b;
	}
}

static struct known *begin_known(const struct tide_digest *d)
{
	struct known *k = known_of(d->epoch);
	if (k->epoch != d->epoch) /* the one that was here was dropped */
		*k = (struct known){.epoch = d->epoch, .base = d->base};
	return k;
}

static void know_frame(const struct tide_digested *of)
{
	uint64_t at = unit_of_frame(of->frame);
	(of->is_second ? pool.second : pool.frame)[at / 64] |= UINT64_C(1) << (at % 64);
}

/* A lane that slept for a lap with a full block seals it when its epoch is gone, or half gone through: what the pass asked is answered. */
static bool is_too_late(uint32_t epoch)
{
	return epoch <= tide_survive_done() || (tide_pass.phase != TIDE_PASS_NONE && epoch <= tide_pass.epoch);
}

void tide_candidates_add(const struct tide_digest *d, const struct tide_digested *of)
{
	uint32_t pages = (d->count + d->sites) / A_PAGE + 4;
	if (!pool.page || is_too_late(d->epoch))
		return;
	make_room(pages);
	if (left() < pages)
		return;
	struct known *k = begin_known(d);
	int64_t shift = (int64_t)(d->base - k->base);
	if (shift > INT32_MAX / 4 || shift < -(INT32_MAX / 4))
		return; /* an epoch of many seconds: nobody is in a hurry */
	for (uint32_t i = 0; i < d->count; i++)
		if (d->block[i].when > INT32_MAX / 2)
			return;
	static uint32_t number[TIDE_DIGEST_SITES] TIDE_BIG;
	for (uint32_t i = 0; i < d->sites; i++) {
		number[i] = tide_sites_find(d->site[i].hash);
		add_sum(k, number[i], &d->site[i]);
	}
	add_blocks(k, d, number, (int32_t)shift);
	k->frees += of->events - (d->taken - d->first) - d->others;
	know_frame(of);
}

void tide_candidates_spoil(uint8_t tag)
{
	atomic_store_explicit(&pool.spoiled[tag], 1, memory_order_relaxed);
}

bool tide_candidates_usable(uint32_t epoch)
{
	return pool.page && known_of(epoch)->epoch == epoch &&
	       !atomic_load_explicit(&pool.spoiled[tide_tag(epoch, TIDE_TAG_FRESH)], memory_order_relaxed);
}

uint64_t tide_candidates_frees(uint32_t epoch)
{
	return known_of(epoch)->frees;
}

bool tide_candidates_have(const struct tide_frame *f)
{
	uint64_t at = unit_of_frame(f);
	return pool.frame[at / 64] >> (at % 64) & 1;
}

bool tide_candidates_have_second(const struct tide_frame *f)
{
	uint64_t at = unit_of_frame(f);
	return pool.second[at / 64] >> (at % 64) & 1;
}

static void use_blocks(const struct known *k, const struct page *p, void (*use)(const struct tide_carry_block *))
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct tide_digest_block *b = &p->u.block[i];
		struct tide_carry_block block = {
			.addr = b->key >> TIDE_DIGEST_SITE_BITS << 4,
			.ticks = (k->base + (uint64_t)(int64_t)((int32_t)b->when >> 1)) << TIDE_CARRY_SHIFT_FRESH,
			.size = b->size,
			.site = b->key & ((1u << TIDE_DIGEST_SITE_BITS) - 1),
			.op = b->when & 1 ? TIDE_CARRY_BORN_PY : TIDE_CARRY_BORN,
		};
		use(&block);
	}
}

static uint32_t take_first(struct list *list)
{
	uint32_t number = list->first;
	list->first = number ? pool.page[number].next : 0;
	list->last = list->first ? list->last : 0;
	return number;
}

bool tide_candidates_take(uint32_t epoch, const struct tide_candidates_use *use)
{
	struct known *k = known_of(epoch);
	uint32_t number = take_first(&k->sums);
	struct page *p = &pool.page[number];
	for (uint32_t i = 0; number && i < p->count; i++)
		use->sum(p->u.sum[i].site, p->u.sum[i].allocs, p->u.sum[i].bytes);
	if (!number) {
		number = take_first(&k->blocks);
		p = &pool.page[number];
		if (number) {
			/* those at whose address this pass has carried one already are for it to judge */
			uint8_t tags[256];
			memcpy(tags, tide_pass.carried, sizeof tags);
			tags[tide_tag(epoch, TIDE_TAG_FRESH)] = 1;
			check_page(p, tags);
			use_blocks(k, p, use->block);
		}
	}
	if (number)
		free_page(number);
	return number != 0;
}

static void forget_frames(uint32_t epoch)
{
	size_t words = tide_logfile.geometry.segment_len / TIDE_FRAME_ALIGN / 64; /* whole ones: pages of the file */
	size_t from = (epoch - 1) % tide_ring_segments() * words;
	memset(&pool.frame[from], 0, words * sizeof *pool.frame);
	memset(&pool.second[from], 0, words * sizeof *pool.second);
}

void tide_candidates_drop(uint32_t epoch)
{
	struct known *k = known_of(epoch);
	uint32_t number;
	if (!pool.page)
		return;
	while (k->epoch == epoch && ((number = take_first(&k->sums)) || (number = take_first(&k->blocks))))
		free_page(number);
	if (k->epoch == epoch)
		k->epoch = 0;
	forget_frames(epoch);
	atomic_store_explicit(&pool.spoiled[tide_tag(epoch, TIDE_TAG_FRESH)], 0, memory_order_relaxed);
}
