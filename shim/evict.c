#include <stdatomic.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY /* static contexts: nothing may allocate */
#include <zstd.h>

#include "candidates.h"
#include "deaths.h"
#include "fault.h"
#include "format/items.h"
#include "logfile.h"
#include "pass.h"
#include "ring.h"
#include "sites.h"
#include "sys.h"

#define WORDS (TIDE_STACK_MAX + 4u)
#define ASIDE 64u
#define DICT_CAP (TIDE_BLOCK_MAX + TIDE_BLOCK_MAX / 2 + 2) /* tide_items_words(TIDE_BLOCK_MAX) */

/* tide_kind_fields, without the call */
static const uint16_t fields_of[TIDE_KINDS] = {
#define TIDE_ITEM_FIELDS(id, number, text, what) [number] = (what),
	TIDE_ITEMS(TIDE_ITEM_FIELDS)
#undef TIDE_ITEM_FIELDS
};

/* A stack as it is being read: words outermost first. */
struct stack {
	uint64_t word[WORDS];
	uint32_t depth;
};

static struct {
	ZSTD_DCtx *zstd; /* NULL until a frame is unpacked: only a full ring comes to that */
	uint8_t *raw;    /* a frame's payload */
	uint64_t *words;
	uint32_t words_cap;
	struct tide_items items;
	struct stack native, python;
	uint64_t site;   /* looked up last */
	uint32_t number; /* its */
	bool inherited;  /* what the next event frees */
	/* blocks that may live (flush_aside) */
	struct tide_carry_block aside[ASIDE];
	uint32_t aside_count;
	enum tide_carry_source source;
	uint8_t tag;
} evict TIDE_BIG;

bool tide_evict_init(void)
{
	evict.words_cap = tide_items_words(TIDE_BLOCK_MAX);
	size_t words = evict.words_cap * sizeof(uint64_t);
	uint8_t *memory = tide_sys_memory(TIDE_ZSTD_UNPACKS + words + TIDE_BLOCK_MAX);
	if (!memory)
		return false;
	evict.words = (uint64_t *)memory;
	evict.raw = memory + words;
	return true;
}

static void apply(struct stack *s, const struct tide_stack_delta *delta)
{
	s->depth -= delta->pop;
	for (uint32_t i = 0; i < delta->push; i++)
		s->word[s->depth++] = delta->words[i];
}

static uint32_t site_of(const struct tide_item *item)
{
	if (item->site == evict.site)
		return evict.number;
	bool both = fields_of[item->kind] & TIDE_F_STACK;
	const struct stack *n = &evict.native, *p = &evict.python;
	struct tide_site_stacks s = {n->word, p->word, both ? n->depth : 0, p->depth};
	evict.site = item->site;
	evict.number = tide_sites_number(item->site, &s);
	return evict.number;
}

static void add_sum(uint32_t site, uint64_t allocs, uint64_t bytes)
{
	uint32_t count;
	struct tide_site_sum *sum = &tide_sites_sums(&count)[site];
	sum->allocs += allocs;
	sum->bytes += bytes;
	sum->changed = true;
	tide_pass.totals.allocs += allocs;
	tide_pass.totals.alloc_bytes += bytes;
}

static bool may_live(uint8_t tag)
{
	return tag == evict.tag || (evict.source == TIDE_CARRY_FRESH && tide_pass.carried[tag]);
}

/* Hands on what lives of those that were put aside. All bytes are looked at first, for a load waits for memory, and many can wait at once. Who
 * lives is looked at once more: carrying one out can change the byte of a later one, if that has the same address. */
static void flush_aside(void)
{
	uint8_t tag[ASIDE];
	for (uint32_t i = 0; i < evict.aside_count; i++) {
		_Atomic uint8_t *shadow = tide_shadow_find(evict.aside[i].addr);
		tag[i] = shadow ? atomic_load_explicit(shadow, memory_order_relaxed) : TIDE_TAG_NONE;
		tide_pass.totals.unknown += !shadow && evict.source == TIDE_CARRY_FRESH;
	}
	for (uint32_t i = 0; i < evict.aside_count; i++) {
		struct tide_carry_block *b = &evict.aside[i];
		if (!may_live(tag[i]))
			continue;
		b->tag = tide_shadow_peek((const void *)b->addr);
		if (may_live(b->tag))
			tide_carry_out(b, tide_pass.carried[b->tag] ? TIDE_CARRY_AGAIN : evict.source);
	}
	tide_pass.handled += evict.aside_count;
	evict.aside_count = 0;
}

static void put_aside(const struct tide_carry_block *b)
{
	evict.aside[evict.aside_count++] = *b;
	if (evict.aside_count == ASIDE)
		flush_aside();
}

/* From now on blocks are put aside that came so, and live if their byte says so. */
static void begin_aside(enum tide_carry_source source, uint8_t tag)
{
	evict.aside_count = 0; /* it is already, but in a child that was forked from another thread's midst */
	evict.source = source;
	evict.tag = tag;
}

bool tide_evict_known(void)
{
	static const struct tide_candidates_use use = {add_sum, put_aside};
	begin_aside(TIDE_CARRY_FRESH, tide_tag(tide_pass.epoch, TIDE_TAG_FRESH));
	bool more = tide_candidates_take(tide_pass.epoch, &use);
	flush_aside();
	return more;
}

static void on_alloc(const struct tide_item *item)
{
	uint32_t site = site_of(item);
	add_sum(site, 1, item->size);
	struct tide_carry_block b = {item->addr,
				     item->ticks,
				     item->size,
				     site,
				     tide_kind_is_pool(item->kind) ? TIDE_CARRY_BORN_PY : TIDE_CARRY_BORN,
				     0};
	put_aside(&b);
}

static void on_event(const struct tide_item *item)
{
	unsigned fields = fields_of[item->kind];
	tide_pass.totals.events++;
	if (!(fields & TIDE_F_ADDR))
		return;
	if (fields & TIDE_F_SIZE) {
		on_alloc(item);
		return;
	}
	/* the birth goes with it, or went before it, and so do all copies of that (record.c, RULE); if this log has it */
	tide_pass.totals.frees++;
	if (evict.inherited) {
		evict.inherited = false;
		tide_deaths_add(item->addr);
	}
}

static void begin(const struct tide_evicted_block *b)
{
	tide_items_init(&evict.items, TIDE_ENCODING_ITEMS, b->payload, b->len, b->ticks, evict.words, evict.words_cap);
	evict.native.depth = evict.python.depth = 0;
	evict.site = 0; /* numbers may be new in a forked child; 0 is no site that comes with a stack */
	evict.number = 0;
	evict.inherited = false;
}

static bool is_odd_alloc(const struct tide_item *item)
{
	return (item->addr & 15) &&
	       (fields_of[item->kind] & (TIDE_F_ADDR | TIDE_F_SIZE)) == (TIDE_F_ADDR | TIDE_F_SIZE);
}

struct tide_alloc_count tide_evict_block(const struct tide_evicted_block *b)
{
	uint64_t *mark = &tide_pass.mark[b->lane], number = b->events_before;
	uint32_t odd = 0;
	struct tide_item item;
	begin(b);
	begin_aside(TIDE_CARRY_FRESH, tide_tag(b->epoch, TIDE_TAG_FRESH));
	while (tide_items_next(&evict.items, &item) == 1) {
		if (item.is_event) {
			apply(&evict.native, &item.native);
			apply(&evict.python, &item.python);
			odd += is_odd_alloc(&item);
			if (number++ >= *mark)
				on_event(&item);
		} else if (item.kind == TIDE_KIND_EPOCH) {
			flush_aside();
			begin_aside(TIDE_CARRY_FRESH, tide_tag((uint32_t)item.value, TIDE_TAG_FRESH));
			if ((uint32_t)item.value > tide_pass.epoch)
				break;
		} else if (item.kind == TIDE_KIND_FOUND && number >= *mark) {
			evict.inherited = tide_deaths_are((uint8_t)item.value, b->events_before);
		}
	}
	flush_aside();
	tide_pass.handled += number - b->events_before;
	if (number > *mark)
		*mark = number;
	return (struct tide_alloc_count){evict.items.model.allocs, odd};
}

void tide_evict_learn(const struct tide_raw *raw)
{
	struct tide_evicted_block block = {.payload = raw->bytes, .len = raw->len, .ticks = raw->ticks};
	struct tide_item item;
	begin(&block);
	while (tide_items_next(&evict.items, &item) == 1) {
		tide_pass.handled += item.is_event;
		apply(&evict.native, &item.native);
		apply(&evict.python, &item.python);
		if ((fields_of[item.kind] & (TIDE_F_ADDR | TIDE_F_SIZE)) == (TIDE_F_ADDR | TIDE_F_SIZE))
			site_of(&item);
	}
}

bool tide_evict_is_frame(const struct tide_frame *f, uint32_t epoch, size_t room)
{
	uint32_t segments = (uint32_t)(tide_logfile.geometry.ring_len / tide_logfile.geometry.segment_len);
	return room >= sizeof *f && f->magic == TIDE_MAGIC_FRAME && f->file_uid == tide_logfile.file_uid &&
	       f->segment == (epoch - 1) % segments && f->lap == (epoch - 1) / segments + 1 &&
	       f->header_len == sizeof *f && f->raw_len <= TIDE_BLOCK_MAX && f->stored_len <= room - sizeof *f &&
	       f->lane < tide_logfile.geometry.lanes;
}

/* Our file is memory that the program can write to by mistake: what is read back is checked as a reader would. */
static bool load(const struct tide_frame *f, uint8_t *raw)
{
	if (!evict.zstd && !(evict.zstd = ZSTD_initStaticDCtx(evict.raw + TIDE_BLOCK_MAX, TIDE_ZSTD_UNPACKS)))
		return false;
	return tide_checksum(f + 1, f->stored_len, tide_logfile.file_uid) == f->payload_checksum &&
	       ZSTD_decompressDCtx(evict.zstd, raw, TIDE_BLOCK_MAX, f + 1, f->stored_len) == f->raw_len;
}

/* Hands each block of a CARRY frame's payload to `use`. */
static void each_block(const uint8_t *raw, uint32_t len, void (*use)(struct tide_carry_block *, void *), void *context)
{
	struct tide_in payload = tide_in_of(raw, len), section;
	struct tide_carry_reader reader;
	struct tide_carry_block b;
	uint8_t kind;
	while (tide_carry_next_section(&payload, &kind, &section) == 1)
		if (kind == TIDE_CARRY_BLOCKS && tide_carry_open_blocks(&reader, section.at, tide_in_left(&section)))
			while (tide_carry_next_block(&reader, &b) == 1)
				use(&b, context);
}

/* It lives exactly if the byte names this copy's epoch; of two copies of that epoch the later one has come here before. */
static void carry_on(struct tide_carry_block *b, void *context)
{
	(void)context;
	if (b->op != TIDE_CARRY_DIED)
		put_aside(b);
}

struct newest {
	struct tide_carry_block *block;
	uint32_t count;
};

/* `written` is in a frame of this pass. */
static void forget_older(struct tide_carry_block *written, void *context)
{
	struct newest *n = context;
	uint32_t low = 0, high = n->count;
	tide_pass.handled++;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (n->block[middle].addr < written->addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < n->count && n->block[low].addr == written->addr &&
	    n->block[low].ticks >> TIDE_CARRY_SHIFT_FRESH < written->ticks >> TIDE_CARRY_SHIFT_FRESH)
		n->block[low].op = TIDE_CARRY_DIED;
}

static void look_through(uint32_t epoch, struct newest *n, uint8_t *room)
{
	const uint8_t *segment = (const uint8_t *)tide_ring_segment(epoch);
	uint32_t len = tide_logfile.geometry.segment_len, at = sizeof(struct tide_segment);
	while (at < len) {
		const struct tide_frame *f = (const struct tide_frame *)(segment + at);
		if (!tide_evict_is_frame(f, epoch, len - at))
			return;
		if (f->kind == TIDE_FRAME_CARRY && f->block_seq == tide_pass.epoch && load(f, room))
			each_block(room, f->raw_len, forget_older, n);
		at += tide_frame_span(f);
	}
}

uint32_t tide_evict_newest(struct tide_carry_block *block, uint32_t count, uint8_t *room)
{
	struct newest n = {block, count};
	uint32_t kept = 0;
	for (uint32_t epoch = tide_pass.begun; epoch <= tide_ring_epoch(); epoch++)
		look_through(epoch, &n, room);
	for (uint32_t i = 0; i < count; i++)
		if (block[i].op != TIDE_CARRY_DIED)
			block[kept++] = block[i];
	return kept;
}

size_t tide_evict_frame(const struct tide_frame *f)
{
	bool events = f->kind == TIDE_FRAME_EVENTS;
	if (f->kind == TIDE_FRAME_CENSUS || (events && f->events_before + f->events <= tide_pass.mark[f->lane]))
		return 0;
	TIDE_FAULT("evict-decode");
	if (!load(f, evict.raw)) {
		tide_pass.totals.unreadable += events ? f->events : 0;
		tide_pass.totals.unknown += events ? 0 : f->events_before; /* blocks that may live */
		tide_deaths_lost();
	} else if (events) {
		tide_evict_block(&(struct tide_evicted_block){evict.raw, f->raw_len, f->lane, f->epoch,
							      f->events_before, f->ticks});
	} else {
		begin_aside(TIDE_CARRY_OLD, tide_tag(tide_pass.epoch, TIDE_TAG_CARRIED));
		each_block(evict.raw, f->raw_len, carry_on, NULL);
		flush_aside();
		tide_carry_out_frame_end();
		tide_deaths_carry_on(evict.raw, f->raw_len);
	}
	return f->stored_len;
}
