#include "survive.h"

#include <stdatomic.h>
#include <string.h>

#include "candidates.h"
#include "census.h"
#include "deaths.h"
#include "fault.h"
#include "lane.h"
#include "logfile.h"
#include "pass.h"
#include "ring.h"
#include "sites.h"
#include "sys.h"

/* Old bytes looked through for each byte written: more than one, because what is carried is written again. */
#define READ_A_WRITTEN 3u
#define READ_AT_MOST 10u /* when most of the ring is carried blocks, and segments run out */
#define UNPACKED 3u      /* raw bytes that cost as much to look through as one that is packed */
#define LOOKS 16u        /* at lanes that go on while they are looked at */
#define HANDS 64u        /* told at once */
#define CENSUS_SHARE 8u  /* of the ring, that a census may take which is written anew each lap */
#define CENSUS_BYTES 64u /* of it that cost as much as an event */
#define SITE_SHARE 128u  /* one site for so many bytes of the ring, at most */

/* A frame whose block was begun in an earlier epoch than its segment. */
struct straddler {
	uint32_t offset; /* in the ring, in units of TIDE_FRAME_ALIGN */
	uint32_t begun, epoch;
	uint32_t first,
		second; /* if `second`: only so many events are of the epoch in which it was begun, and the next of that one */
};

/* What the end of a pass sees of a lane. */
struct look {
	uint32_t cut;                  /* committed bytes of its block that are looked at last */
	bool old;                      /* its last event is of an epoch that goes */
	bool has_hand;                 /* it has an allocation in hand */
	uint32_t told_len, told_epoch; /* `told` is of so many bytes, as far as they are of epochs up to this, */
	uint64_t told_seq;             /* of this block */
	struct tide_alloc_count told;
	struct tide_in_hand hand;
};

struct tide_pass tide_pass;
static struct {
	bool usable;
	uint32_t done;
	/* in the order of the ring; a queue, at[first .. first + count) modulo cap */
	struct straddler *at;
	uint32_t first, count, cap;
	struct look *look; /* by lane */
	uint64_t frames;   /* passed over since the last commit */
	_Atomic uint64_t progress;
} survive;

bool tide_survive_init(void)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	uint32_t lanes = g->lanes, cap = lanes * (tide_ring_segments() + 1);
	uint64_t sites = g->ring_len / SITE_SHARE;
	uint32_t frames = g->segment_len / (uint32_t)sizeof(struct tide_frame);
	uint8_t *memory = tide_sys_memory(lanes * (sizeof *tide_pass.mark + sizeof *survive.look) +
					  cap * sizeof *survive.at + frames * sizeof *tide_pass.noted);
	if (!memory)
		return false;
	tide_pass.mark = (uint64_t *)memory;
	survive.look = (struct look *)(tide_pass.mark + lanes);
	survive.at = (struct straddler *)(survive.look + lanes);
	survive.cap = cap;
	tide_pass.noted = (uint32_t *)(survive.at + cap);
	tide_candidates_init();
	survive.usable = tide_evict_init() && tide_carry_out_init() &&
			 tide_sites_init(sites > 1u << 20 ? 1u << 20 : (uint32_t)sites);
	return survive.usable;
}

void tide_survive_fork_child(void)
{
	memset(tide_pass.mark, 0, tide_logfile.geometry.lanes * sizeof *tide_pass.mark);
	for (uint32_t i = 0; survive.look && i < tide_logfile.geometry.lanes; i++)
		if (survive.look[i].told_len) /* reads break no page in two */
			survive.look[i] = (struct look){0};
	tide_pass.phase = TIDE_PASS_NONE;
	tide_pass.full = false;
	tide_deaths_reset();
	memset(&tide_pass.totals, 0, sizeof tide_pass.totals);
	survive.done = 0;
	survive.first = survive.count = 0;
	tide_carry_out_reset();
	tide_sites_fork_child();
	tide_candidates_fork_child();
}

uint32_t tide_survive_done(void)
{
	return survive.done;
}

/* In the ring, in units of TIDE_FRAME_ALIGN. */
static uint32_t place_of(const struct tide_frame *frame)
{
	uint64_t offset = (uint64_t)((const uint8_t *)frame - tide_logfile.base) - tide_logfile.geometry.ring_off;
	return (uint32_t)(offset / TIDE_FRAME_ALIGN);
}

static struct straddler *straddler(uint32_t i)
{
	return &survive.at[(survive.first + i) % survive.cap];
}

static bool is_to_come(uint8_t tag)
{
	uint32_t first = survive.done + 1 + (tide_pass.phase != TIDE_PASS_NONE);
	for (uint32_t e = first; e <= tide_ring_epoch(); e++)
		if (tag == tide_tag(e, TIDE_TAG_FRESH) || tag == tide_tag(e, TIDE_TAG_CARRIED))
			return true;
	return false;
}

uint64_t tide_survive_progress(void)
{
	return atomic_load_explicit(&survive.progress, memory_order_relaxed);
}

void tide_survive_doubt(uint8_t tag, uint64_t progress)
{
	if (progress == tide_survive_progress() || !tide_tag_is_own(tag) || !tide_ring_lock(true))
		return;
	tide_pass.totals.unknown += !is_to_come(tag);
	tide_ring_unlock();
}

void tide_survive_sealed(const struct tide_frame *frame, uint32_t epoch)
{
	if (frame->epoch == epoch || survive.count == survive.cap)
		return; /* there is room: a lane begins its next block in this epoch */
	*straddler(survive.count++) =
		(struct straddler){.offset = place_of(frame), .begun = frame->epoch, .epoch = epoch};
}

/* NULL: there is none. */
static struct straddler *straddler_at(const struct tide_frame *frame)
{
	for (uint32_t i = 0; i < survive.count; i++)
		if (straddler(i)->offset == place_of(frame))
			return straddler(i);
	return NULL;
}

void tide_survive_split(const struct tide_frame *frame, uint32_t first, uint32_t second)
{
	struct straddler *s = survive.count ? straddler(survive.count - 1) : NULL;
	if (!s || s->offset != place_of(frame))
		return;
	s->first = first;
	s->second = second;
}

static void begin_pass(void)
{
	tide_pass.epoch = survive.done + 1;
	tide_pass.phase = TIDE_PASS_KNOWN;
	tide_pass.knows = tide_candidates_usable(tide_pass.epoch);
	if (tide_pass.totals.deaths == TIDE_DEATHS_NOT_TOLD)
		tide_pass.totals.deaths = TIDE_DEATHS_ALL;
	tide_pass.totals.frees += tide_pass.knows ? tide_candidates_frees(tide_pass.epoch) : 0;
	tide_pass.offset = sizeof(struct tide_segment);
	tide_pass.next = tide_pass.parts = tide_pass.noted_count = 0;
	tide_pass.begun = tide_ring_epoch();
	memset(tide_pass.carried, 0, sizeof tide_pass.carried);
	if (tide_shadow
		    .young) /* only events of the first epoch have blocks with it; asked about as what has its tag from elsewhere is */
		tide_pass.carried[tide_shadow.young] = 1;
}

static size_t next_known(void)
{
	if (tide_pass.knows && tide_evict_known())
		return TIDE_PAGE / 4;
	tide_pass.phase = TIDE_PASS_SEGMENT;
	return 0;
}

/* Where the events end of which all that a pass asks is known; 0: it is not. `s`: the frame's, or NULL if all of it is of one epoch. */
static uint64_t known_until(const struct tide_frame *f, const struct straddler *s)
{
	uint64_t first = f->events_before + (s && s->second ? s->first : f->events);
	if (!tide_pass.knows)
		return 0;
	if (f->epoch == tide_pass.epoch)
		return tide_candidates_have(f) ? first : 0;
	if (!s || !s->second || tide_pass.mark[f->lane] < first)
		return 0;
	if (s->second == tide_pass.epoch && tide_candidates_have_second(f))
		return f->events_before + f->events;
	return s->second > tide_pass.epoch ? first : 0;
}

static bool pass_over(const struct tide_frame *f, const struct straddler *s)
{
	uint64_t *mark = &tide_pass.mark[f->lane], end = f->kind == TIDE_FRAME_EVENTS ? known_until(f, s) : 0;
	if (end == 0)
		return false;
	if (end > *mark) {
		tide_pass.totals.events += end - *mark;
		*mark = end;
	}
	return true;
}

/* The last census that is whole outlives its segment, if it is no large part of the ring: else a new one is due. */
static void keep_census(const struct tide_frame *f)
{
	uint64_t bytes;
	if (f->block_seq != tide_census_last(&bytes))
		return;
	tide_pass.handled += f->stored_len / CENSUS_BYTES;
	if (bytes > tide_logfile.geometry.ring_len / CENSUS_SHARE || !tide_ring_copy(f))
		tide_census_is_gone();
}

/* Bytes looked at. */
static size_t next_frame(void)
{
	uint32_t len = tide_logfile.geometry.segment_len;
	const uint8_t *segment = (const uint8_t *)tide_ring_segment(tide_pass.epoch);
	const struct tide_frame *f = (const struct tide_frame *)(segment + tide_pass.offset);
	if (tide_pass.offset >= len || !tide_evict_is_frame(f, tide_pass.epoch, len - tide_pass.offset)) {
		tide_pass.phase = TIDE_PASS_CARRIED;
		return 0;
	}
	survive.frames++;
	bool carried = f->kind == TIDE_FRAME_CARRY;
	if (carried)
		tide_pass.noted[tide_pass.noted_count++] = tide_pass.offset;
	if (f->kind == TIDE_FRAME_CENSUS)
		keep_census(f);
	tide_pass.offset += tide_frame_span(f);
	if (carried || pass_over(f, f->epoch == tide_pass.epoch ? NULL : straddler_at(f)))
		return sizeof *f;
	return sizeof *f + tide_evict_frame(f);
}

static size_t next_carried(void)
{
	const uint8_t *segment = (const uint8_t *)tide_ring_segment(tide_pass.epoch);
	if (tide_pass.noted_count == 0) {
		tide_pass.phase = TIDE_PASS_STRADDLERS;
		return 0;
	}
	return tide_evict_frame((const struct tide_frame *)(segment + tide_pass.noted[--tide_pass.noted_count]));
}

static size_t next_straddler(void)
{
	while (survive.count && survive.at[survive.first].epoch <= tide_pass.epoch) {
		survive.first = (survive.first + 1) % survive.cap;
		survive.count--;
	}
	if (tide_pass.next >= survive.count) {
		tide_pass.phase = TIDE_PASS_IDLE_LANES;
		tide_pass.next = 0;
		return 0;
	}
	const struct straddler *s = straddler(tide_pass.next++);
	if (s->begun > tide_pass.epoch)
		return 0;
	const uint8_t *ring = tide_logfile_at(tide_logfile.geometry.ring_off);
	const struct tide_frame *f = (const struct tide_frame *)(ring + (uint64_t)s->offset * TIDE_FRAME_ALIGN);
	if (!tide_evict_is_frame(f, s->epoch, tide_logfile.geometry.segment_len))
		return 0;
	return pass_over(f, s) ? sizeof *f : tide_evict_frame(f);
}

static uint32_t committed(const struct tide_block *b)
{
	/* pairs with the release in tide_lane_commit: items and shadow bytes of what is counted are there */
	return atomic_load_explicit((_Atomic uint32_t *)&b->committed, memory_order_acquire);
}

/* A staging block with events that are to go. */
static const struct tide_block *idle_block(uint32_t lane)
{
	uint32_t epoch;
	const struct tide_block *b = tide_lane_block(lane, &epoch);
	if (!b || b->epoch > tide_pass.epoch)
		return NULL;
	uint32_t events = atomic_load_explicit((const _Atomic uint32_t *)&b->events, memory_order_relaxed);
	return b->events_before + events > tide_pass.mark[lane] ? b : NULL;
}

static void evict_staging(uint32_t lane, const struct tide_block *b, uint32_t len)
{
	struct look *l = &survive.look[lane];
	struct tide_evicted_block block = {(const uint8_t *)(b + 1), len, lane, b->epoch, b->events_before, b->ticks};
	l->told = tide_evict_block(&block);
	l->told_seq = b->block_seq;
	l->told_len = len;
	l->told_epoch = tide_pass.epoch;
}

static size_t next_lane(void)
{
	const struct tide_block *b = NULL;
	while (tide_pass.next < tide_lane_count() && !(b = idle_block(tide_pass.next)))
		tide_pass.next++;
	if (!b) {
		tide_pass.phase = TIDE_PASS_LAST;
		return 0;
	}
	uint32_t len = committed(b);
	evict_staging(tide_pass.next, b, len);
	tide_pass.next++;
	return len / UNPACKED;
}

/* How far each staging block is looked at: one state that the program was in. Only lanes that are still in an epoch that goes matter;
 * they are looked at until nothing moved between two looks. */
static void settle(void)
{
	bool moved = true;
	for (unsigned look = 0; moved && look < LOOKS; look++) {
		moved = false;
		for (uint32_t i = 0; i < tide_lane_count(); i++) {
			struct look *l = &survive.look[i];
			uint32_t epoch;
			const struct tide_block *b = tide_lane_block(i, &epoch);
			uint32_t now = b ? committed(b) : 0;
			bool old = b && epoch <= tide_pass.epoch;
			moved = moved || (now != l->cut && old);
			if (now != l->cut || old != l->old) /* a lane that never was used costs no memory here */
				l->cut = now, l->old = old;
		}
	}
}

/* What lanes have in hand that are still in an epoch that goes. False: one of them has gone on since it was looked at. */
static bool see_hands(void)
{
	bool still = true;
	for (uint32_t i = 0; i < tide_lane_count(); i++) {
		struct look *l = &survive.look[i];
		uint32_t epoch;
		if (!l->old)
			continue;
		const struct tide_block *b = tide_lane_block(i, &epoch);
		/* only counted: an earlier pass has looked at all of it, or it is in a frame by now */
		if (l->told_seq != b->block_seq || l->told_len != l->cut || l->told_epoch < epoch)
			evict_staging(i, b, l->cut);
		bool has_hand = tide_lane_in_hand(i, l->told, &l->hand), stands = committed(b) == l->cut;
		l->has_hand = has_hand && stands;
		still = still && stands;
	}
	return still;
}

/* An allocation in hand has its byte, and so what died at its address in the same epoch seemed to live: it does not, and the byte is
 * the allocation's again, whose event is for the pass that finds it committed. */
static bool take_back(void)
{
	static struct tide_carry_block block[HANDS];
	uint8_t tags[HANDS];
	uint32_t count = 0;
	for (uint32_t i = 0; i < tide_lane_count(); i++) {
		const struct look *l = &survive.look[i];
		uint8_t tag = l->old && l->has_hand ? tide_shadow_peek((const void *)l->hand.addr) : TIDE_TAG_NONE;
		if (tag != TIDE_TAG_DROPPED && !tide_pass.carried[tag])
			continue;
		tags[count] = l->hand.tag;
		block[count++] = (struct tide_carry_block){
			.addr = l->hand.addr, .ticks = l->hand.ticks, .op = TIDE_CARRY_DIED, .tag = tag};
		if (count == HANDS && !tide_carry_out_revoke(block, tags, count))
			return false;
		count %= HANDS;
	}
	return count == 0 || tide_carry_out_revoke(block, tags, count);
}

/* All that lanes committed in epochs that go is carried over. */
static void look_at_lanes(void)
{
	bool still = false;
	for (unsigned look = 0; !still && look < LOOKS; look++) {
		settle();
		for (uint32_t i = 0; i < tide_lane_count(); i++) {
			const struct tide_block *b = idle_block(i);
			if (b)
				evict_staging(i, b, survive.look[i].cut);
		}
		tide_carry_out_flush();
		still = see_hands();
	}
}

/* False: there is no room, and the pass goes on when there is some. */
static bool end_pass(void)
{
	look_at_lanes();
	TIDE_FAULT("pass-read");
	if (!take_back() || !tide_carry_out_commit(tide_lane_count()))
		return false;
	uint64_t evicted = tide_control_get(TIDE_CTL_EVICTED_EVENTS);
	tide_control_add(TIDE_CTL_EVICTED_EVENTS, tide_pass.totals.events - evicted);
	tide_control_add(TIDE_CTL_EVICTED_FRAMES, survive.frames);
	survive.frames = 0;
	survive.done = tide_pass.epoch;
	tide_candidates_drop(tide_pass.epoch);
	tide_pass.phase = TIDE_PASS_NONE;
	return true;
}

/* One piece. *ret_read: old bytes looked at. False: stuck for want of room. */
static bool piece(size_t *ret_read)
{
	*ret_read = 0;
	atomic_store_explicit(&survive.progress, tide_survive_progress() + 1, memory_order_relaxed);
	switch (tide_pass.phase) {
	case TIDE_PASS_NONE:
		begin_pass();
		return true;
	case TIDE_PASS_KNOWN:
		*ret_read = next_known();
		return true;
	case TIDE_PASS_SEGMENT:
		*ret_read = next_frame();
		return true;
	case TIDE_PASS_CARRIED:
		*ret_read = next_carried();
		return true;
	case TIDE_PASS_STRADDLERS:
		*ret_read = next_straddler();
		return true;
	case TIDE_PASS_IDLE_LANES:
		*ret_read = next_lane();
		return true;
	default:
		return end_pass();
	}
}

/* Segments that should be free: what events must leave, and room for what a few passes carry. */
static uint32_t wanted_free(void)
{
	return TIDE_RING_SPARE + 1 + tide_ring_segments() / 12;
}

/* So far does this call go: whoever seals a block waits for it, and the rest is for the next one. Further when room is short; and some way even if
 * numbering the block's sites took long. */
static uint64_t enough(void)
{
	uint32_t free = tide_ring_free(), least = TIDE_RING_SPARE + 1;
	if (free <= least)
		return UINT64_MAX;
	uint64_t most = free <= least + (wanted_free() - least) / 2 ? TIDE_PASS_IN_HASTE : TIDE_PASS_AT_ONCE;
	uint64_t meant = tide_pass.done + most, some = tide_pass.handled + most / 2;
	return meant > some ? meant : some;
}

static void leave(void)
{
	uint64_t handled = tide_pass.handled - tide_pass.done;
	tide_pass.longest = handled > tide_pass.longest ? handled : tide_pass.longest;
	tide_pass.done = tide_pass.handled;
}

void tide_survive_work(size_t written)
{
	size_t read = 0, all = 0, most = READ_A_WRITTEN * written;
	uint64_t end = enough();
	if (tide_ring_free() <= TIDE_RING_SPARE + 1)
		most = READ_AT_MOST * written;
	while (all < most && tide_pass.handled < end && survive.usable) {
		if (tide_pass.phase == TIDE_PASS_NONE && tide_ring_free() >= wanted_free())
			break;
		if (!piece(&read))
			break;
		all += read;
	}
	leave();
}

void tide_survive_force(uint32_t wanted)
{
	size_t read;
	uint32_t passes = tide_ring_segments();
	while (survive.usable && tide_ring_free() < wanted && passes > 0 && piece(&read)) {
		passes -= tide_pass.phase == TIDE_PASS_NONE;
		tide_pass.forced += tide_pass.phase == TIDE_PASS_NONE;
	}
}
