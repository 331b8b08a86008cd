#include <stdatomic.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY /* static contexts: nothing may allocate */
#include <zstd.h>

#include "format/items.h"
#include "logfile.h"
#include "pass.h"
#include "sites.h"
#include "sys.h"

#define WORDS (TIDE_STACK_MAX + 4u)
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
	ZSTD_DCtx *zstd;
	uint8_t *raw; /* a frame's payload */
	uint64_t *words;
	uint32_t words_cap;
	struct tide_items items;
	struct stack native, python;
	uint64_t site;   /* looked up last */
	uint32_t number; /* its */
	uint32_t epoch;  /* of the item in hand */
	uint8_t found;
	bool has_found;
} evict;

bool tide_evict_init(void)
{
	evict.words_cap = tide_items_words(TIDE_BLOCK_MAX);
	size_t zstd = ZSTD_estimateDCtxSize(), words = evict.words_cap * sizeof(uint64_t);
	uint8_t *memory = tide_sys_memory(zstd + words + TIDE_BLOCK_MAX);
	if (!memory)
		return false;
	evict.words = (uint64_t *)memory;
	evict.raw = memory + words;
	evict.zstd = ZSTD_initStaticDCtx(evict.raw + TIDE_BLOCK_MAX, zstd);
	return evict.zstd != NULL;
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

static void on_alloc(const struct tide_item *item)
{
	uint32_t site = site_of(item), count;
	struct tide_site_sum *sum = &tide_sites_sums(&count)[site];
	sum->allocs++;
	sum->bytes += item->size;
	sum->changed = true;
	tide_pass.totals.allocs++;
	tide_pass.totals.alloc_bytes += item->size;
	_Atomic uint8_t *shadow = tide_shadow_find(item->addr);
	if (!shadow) {
		tide_pass.totals.unknown++;
		return;
	}
	uint8_t tag = atomic_load_explicit(shadow, memory_order_relaxed);
	if (tag != tide_tag(evict.epoch, TIDE_TAG_FRESH) && !tide_pass.carried[tag])
		return;
	bool python = item->kind == TIDE_KIND_PYALLOC || item->kind == TIDE_KIND_PYREALLOC_ALLOC;
	struct tide_carry_block b = {
		item->addr, item->ticks, item->size, site, python ? TIDE_CARRY_BORN_PY : TIDE_CARRY_BORN, tag};
	tide_carry_out(&b, false);
}

/* The block's birth goes with this free or before it, and nothing is to be done, but if the freeing thread slept between
 * taking the epoch and taking the byte: then the birth may stand in a later segment. */
static void on_free(const struct tide_item *item)
{
	uint32_t birth;
	tide_pass.totals.frees++;
	bool late = evict.epoch < tide_pass.epoch && !(evict.has_found && evict.found == TIDE_TAG_NONE);
	bool newer = evict.has_found && tide_tag_epoch(evict.found, evict.epoch, &birth) && birth > tide_pass.epoch;
	if (!late && !newer)
		return;
	struct tide_carry_block b = {.addr = item->addr, .ticks = item->ticks, .op = TIDE_CARRY_DIED};
	tide_carry_out(&b, false);
}

static void on_event(const struct tide_item *item)
{
	unsigned fields = fields_of[item->kind];
	tide_pass.totals.events++;
	if (!(fields & TIDE_F_ADDR))
		return;
	if (fields & TIDE_F_SIZE)
		on_alloc(item);
	else
		on_free(item);
}

static void begin(const struct tide_evicted_block *b)
{
	tide_items_init(&evict.items, b->payload, b->len, b->ticks, evict.words, evict.words_cap);
	evict.native.depth = evict.python.depth = 0;
	evict.site = 0; /* numbers may be new in a forked child; 0 is no site that comes with a stack */
	evict.number = 0;
	evict.epoch = b->epoch;
	evict.has_found = false;
}

void tide_evict_block(const struct tide_evicted_block *b)
{
	uint64_t *mark = &tide_pass.mark[b->lane], number = b->events_before;
	struct tide_item item;
	begin(b);
	while (tide_items_next(&evict.items, &item) == 1) {
		if (item.kind == TIDE_KIND_EPOCH) {
			evict.epoch = (uint32_t)item.value;
			if (evict.epoch > tide_pass.epoch)
				break;
		} else if (item.kind == TIDE_KIND_FOUND) {
			evict.found = (uint8_t)item.value;
			evict.has_found = true;
		} else if (item.is_event) {
			apply(&evict.native, &item.native);
			apply(&evict.python, &item.python);
			if (number++ >= *mark)
				on_event(&item);
			evict.has_found = false;
		}
	}
	if (number > *mark)
		*mark = number;
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
static bool load(const struct tide_frame *f)
{
	return tide_checksum(f + 1, f->stored_len, tide_logfile.file_uid) == f->payload_checksum &&
	       ZSTD_decompressDCtx(evict.zstd, evict.raw, TIDE_BLOCK_MAX, f + 1, f->stored_len) == f->raw_len;
}

static void carry_on(struct tide_in section)
{
	struct tide_carry_reader reader;
	struct tide_carry_block b;
	uint8_t alive = tide_tag(tide_pass.epoch, TIDE_TAG_CARRIED);
	if (!tide_carry_open_blocks(&reader, section.at, tide_in_left(&section)))
		return;
	while (tide_carry_next_block(&reader, &b) == 1) {
		b.tag = tide_shadow_peek((const void *)b.addr);
		if (b.op != TIDE_CARRY_DIED && (b.tag == alive || tide_pass.carried[b.tag]))
			tide_carry_out(&b, true);
	}
}

static void carry_frame(const struct tide_frame *f)
{
	struct tide_in payload = tide_in_of(evict.raw, f->raw_len), section;
	uint8_t kind;
	while (tide_carry_next_section(&payload, &kind, &section) == 1)
		if (kind == TIDE_CARRY_BLOCKS)
			carry_on(section);
}

size_t tide_evict_frame(const struct tide_frame *f)
{
	bool events = f->kind == TIDE_FRAME_EVENTS;
	if (f->kind == TIDE_FRAME_CENSUS || (events && f->events_before + f->events <= tide_pass.mark[f->lane]))
		return 0;
	if (!load(f)) {
		tide_pass.totals.unreadable += events ? f->events : 0;
		tide_pass.totals.unknown += events ? 0 : f->events_before; /* blocks that may live */
	} else if (events) {
		tide_evict_block(&(struct tide_evicted_block){evict.raw, f->raw_len, f->lane, f->epoch,
							      f->events_before, f->ticks});
	} else {
		carry_frame(f);
	}
	return f->stored_len;
}
