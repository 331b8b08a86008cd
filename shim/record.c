#include "record.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "candidates.h"
#include "census.h"
#include "fault.h"
#include "init.h"
#include "lane.h"
#include "logfile.h"
#include "python/python.h"
#include "ring.h"
#include "shadow.h"
#include "survive.h"
#include "sys.h"

/* Ownership words (FORMAT.md 7): epoch << 16 | lane + 1. */
#define OWNER_MASK 0xffffu
static _Alignas(TIDE_PAGE) _Atomic uint64_t owned[TIDE_WORDS] TIDE_BIG;
_Static_assert(sizeof owned % TIDE_PAGE == 0, "pages of its own: a forked child has them wiped");
static bool wiped_on_fork;

/* Looked at every TICK_EVERY events: has the interpreter begun to finalize (or the program to end by itself), is a census due. */
static atomic_bool ending_seen;
static _Atomic uint64_t census_at;      /* ticks */
#define CENSUS_TICKS UINT64_C(20000000) /* ask the clock again after some 5 to 10 ms */

void tide_record_init(void)
{
	wiped_on_fork = tide_sys_madvise(owned, sizeof owned, MADV_WIPEONFORK) == 0;
}

void tide_record_fork_child(void)
{
	for (uint32_t i = 0; i < TIDE_WORDS && !wiped_on_fork; i++) /* reads do not break copy-on-write */
		if (atomic_load_explicit(&owned[i], memory_order_relaxed))
			atomic_store_explicit(&owned[i], 0, memory_order_relaxed);
	atomic_store_explicit(&ending_seen, false, memory_order_relaxed);
}

static bool something_is_due(uint64_t ticks)
{
	if (ticks >= atomic_load_explicit(&census_at, memory_order_relaxed))
		return true;
	return tide_python_finalizing() && !atomic_load_explicit(&ending_seen, memory_order_relaxed) &&
	       !tide_python_census_is_poor();
}

/* False: it has begun already. */
static bool begins_to_end(enum tide_census_reason reason, enum tide_mark mark)
{
	if (atomic_exchange_explicit(&ending_seen, true, memory_order_relaxed))
		return false;
	tide_census(reason);
	tide_record_plain(TIDE_KIND_MARK, NULL, mark);
	return true;
}

/* Outside any recording. */
static void do_what_is_due(void)
{
	atomic_store_explicit(&census_at, tide_ticks() + CENSUS_TICKS, memory_order_relaxed);
	if (!tide_python_finalizing() || !begins_to_end(TIDE_CENSUS_FINALIZING, TIDE_MARK_PYTHON_FINALIZING))
		tide_census(TIDE_CENSUS_INTERVAL);
}

void tide_record_ending(void)
{
	begins_to_end(TIDE_CENSUS_ENDING, TIDE_MARK_ENDING);
}

void tide_record_look(void)
{
	if (something_is_due(tide_ticks()))
		do_what_is_due();
}

__attribute__((noinline)) static void leave_and_do(struct tide_lane *lane)
{
	bool nested = lane->nested;
	lane->due = false;
	tide_lane_leave(lane);
	if (!nested)
		do_what_is_due();
}
static inline void leave(struct tide_lane *lane)
{
	if (__builtin_expect(lane->due, 0))
		leave_and_do(lane);
	else
		tide_lane_leave(lane);
}

void tide_count_loss(enum tide_loss reason, uint64_t n)
{
	tide_control_add((enum tide_control_word)(TIDE_CTL_LOSS + reason), n);
}

/* Takes the word, which another lane has, for this one, and says so. {epoch, owner} changes as one word: taking the
 * epoch first and the owner afterwards would order wrongly. */
__attribute__((noinline)) static uint8_t *take(struct tide_lane *lane, uint8_t *out, _Atomic uint64_t *at)
{
	uint64_t now = atomic_load_explicit(at, memory_order_relaxed), mine;
	do
		mine = ((now >> 16) + 1) << 16 | tide_lane_owner(lane);
	while (!atomic_compare_exchange_weak_explicit(at, &now, mine, memory_order_acq_rel, memory_order_relaxed));
	*out++ = TIDE_KIND_SYNC;
	out = tide_put_varint(out, mine >> 16);
	tide_lane_note(lane);
	tide_lane_sum(lane);
	lane->since_tick = 0;
	return tide_put_ticks(out, &lane->encoder, tide_ticks_ordered());
}

static inline uint8_t *own(struct tide_lane *lane, uint8_t *out, uint32_t word)
{
	uint64_t now = atomic_load_explicit(&owned[word], memory_order_relaxed);
	return __builtin_expect((now & OWNER_MASK) == tide_lane_owner(lane), 1) ? out : take(lane, out, &owned[word]);
}

/* A segment of the ring was begun since the lane's last event: events are of the next epoch from now on. Read anew behind a
 * fence: whoever carried the block that is being freed, before we took its byte, had begun that epoch by then. */
__attribute__((noinline)) static uint8_t *enter_epoch(struct tide_lane *lane, uint8_t *out)
{
	atomic_thread_fence(memory_order_seq_cst);
	uint32_t epoch = tide_ring_epoch();
	tide_lane_set_epoch(lane, epoch);
	out = tide_put_tag(out, TIDE_KIND_EPOCH);
	out = tide_put_ticks(out, &lane->encoder, tide_ticks());
	tide_lane_split_digest(lane);
	lane->since_tick = 0;
	return tide_put_varint(out, epoch);
}

/* A free: what the shadow said, unless the block was allocated in the same epoch. */
static inline uint8_t *put_found(struct tide_lane *lane, uint8_t *out, uint8_t found)
{
	if (__builtin_expect(found == lane->tag, 1))
		return out;
	/* digests tell of no deaths, and those of inherited blocks are to be told (deaths.h) */
	if (__builtin_expect(tide_tag_is_of(found, lane->others), 0) && lane->digest)
		lane->digest->on = false;
	static const uint8_t item[4] = {0, TIDE_KIND_FOUND, 0, 1}; /* and a varint of one byte or two */
	memcpy(out, item, sizeof item);
	out[2] = found;
	return out + 3 + (found >> 7);
}
_Static_assert(TIDE_KIND_FOUND >= TIDE_TAG_KINDS, "put_found: its tag is two bytes");

/* EPOCH, THREAD, TICK. */
__attribute__((noinline)) static uint8_t *tick(struct tide_lane *lane, uint8_t *out)
{
	uint32_t tid = tide_lane_tid();
	tide_lane_note(lane);
	tide_lane_sum(lane);
	if (lane->epoch != tide_ring_epoch())
		out = enter_epoch(lane, out);
	if (lane->tid != tid) {
		*out++ = TIDE_KIND_THREAD;
		out = tide_put_varint(out, tid);
		lane->tid = tid;
		lane->since_tick = TIDE_TICK_EVERY;
	}
	if (lane->since_tick++ >= TIDE_TICK_EVERY) {
		out = tide_put_tick(out, &lane->encoder, tide_ticks());
		lane->since_tick = 1;
		lane->due = something_is_due(lane->encoder.ticks);
	}
	return out;
}

/* What may stand before an event: EPOCH, THREAD, TICK, SYNC. */
static inline uint8_t *begin(struct tide_lane *lane, uint32_t word)
{
	uint8_t *out = lane->at;
	if (__builtin_expect(lane->epoch != tide_ring_epoch() || lane->since_tick >= TIDE_TICK_EVERY, 0))
		out = tick(lane, out);
	else
		lane->since_tick++;
	return own(lane, out, word);
}

/* Stacks of the event in hand. `native` is meaningful if has_native. */
struct stacks {
	struct tide_words native, python;
	bool has_native;
};

static inline void capture(struct tide_lane *lane, const struct tide_regs *regs, bool native, struct stacks *ret)
{
	unsigned limit = tide_config.stack_limit;
	*ret = (struct stacks){.has_native = native};
	const struct tide_regs *walked = native ? regs : NULL;
	uintptr_t stands = UINTPTR_MAX;
	if (limit && atomic_load_explicit(&tide_python_usable, memory_order_relaxed))
		stands = tide_python_words(&lane->python_stack, &lane->python_kept, limit, &ret->python,
					   &lane->unwinder, walked);
	if (!limit || !walked)
		return;
	tide_unwind(&lane->unwinder, walked, limit, stands, &ret->native);
	tide_python_walked(&lane->python_stack);
}

/* The event will not be told: the next one's stacks must not be told as their difference from these. */
static void forget(struct tide_lane *lane, const struct stacks *s)
{
	if (s->has_native)
		tide_told_not(&lane->encoder.native, &s->native);
	tide_told_not(&lane->encoder.python, &s->python);
}

static inline uint8_t *put_stacks(struct tide_lane *lane, uint8_t *out, uint8_t *tag, struct stacks *s,
				  uint64_t *ret_site)
{
	return tide_put_stacks(out, tag, &lane->encoder, s->has_native ? &s->native : NULL, &s->python, ret_site);
}

/* Compiled for malloc alone, and for all other kinds: what a kind means is asked in five places, some 20 instructions an allocation. */
#define INLINE static inline __attribute__((always_inline))
#define FLAT __attribute__((flatten)) /* encode.h with it, though it is used twice now */
INLINE void record_alloc(enum tide_kind kind, const struct tide_regs *regs, const void *addr, size_t size,
			 uint64_t value)
{
	struct tide_lane *lane = tide_lane_enter();
	struct stacks s;
	uint64_t site;
	if (!lane)
		return;
	capture(lane, regs, !tide_kind_is_pool(kind), &s);
	if (tide_lane_room(lane, tide_item_bound(s.native.depth, s.python.depth))) {
		uint8_t *tag = begin(lane, tide_word_of((uintptr_t)addr));
		uint8_t *out = tide_put_tag(tag, kind);
		out = put_stacks(lane, out, tag, &s, &site);
		out = tide_put_block(out, tag, &lane->encoder, site, (uintptr_t)addr, size, kind);
		if (kind == TIDE_KIND_ALIGNED)
			out = tide_put_varint(out, value);
		TIDE_FAULT("alloc-begun");
		tide_shadow_set(addr, lane->tag); /* before the commit: whoever sees the event finds its byte */
		TIDE_FAULT("alloc-marked");
		tide_lane_commit(lane, out);
	} else {
		forget(lane, &s);
	}
	leave(lane);
}

__attribute__((noinline)) static void record_other_alloc(enum tide_kind kind, const struct tide_regs *regs,
							 const void *addr, size_t size, uint64_t value)
{
	record_alloc(kind, regs, addr, size, value);
}

FLAT void tide_record_alloc_now(enum tide_kind kind, const struct tide_regs *regs, const void *addr, size_t size,
				uint64_t value)
{
	if (__builtin_expect(kind == TIDE_KIND_ALLOC, 1))
		record_alloc(TIDE_KIND_ALLOC, regs, addr, size, 0);
	else
		record_other_alloc(kind, regs, addr, size, value);
}

INLINE uint8_t record_free(enum tide_kind kind, const void *addr)
{
	/* a finalizing interpreter first frees what it had kept for later use, with no allocation between: the mark comes before */
	if (kind == TIDE_KIND_PYFREE && __builtin_expect(tide_python_finalizing(), 0) &&
	    !atomic_load_explicit(&ending_seen, memory_order_relaxed))
		tide_record_look();
	struct tide_lane *lane = tide_lane_enter();
	uint8_t found;
	if (!lane)
		return tide_shadow_take(addr, TIDE_TAG_NONE);
	if (tide_lane_room(lane, tide_item_bound(0, 0))) {
		TIDE_FAULT("free-entered");
		/* RULE: the byte first, the epoch after it. So the copies of the block that are in the ring are of this event's
		 * epoch at most, and are gone when the event is: it needs not outlive them (shim/README.md, Decisions). */
		found = tide_shadow_take(addr, lane->tag);
		atomic_signal_fence(memory_order_seq_cst);
		TIDE_FAULT("free-taken");
		uint8_t *tag = put_found(lane, begin(lane, tide_word_of((uintptr_t)addr)), found);
		uint8_t *out = tide_put_tag(tag, kind);
		TIDE_FAULT("free-begun");
		tide_lane_commit(lane, tide_put_gone(out, tag, &lane->encoder, (uintptr_t)addr));
	} else {
		found = tide_shadow_take(addr, TIDE_TAG_NONE);
	}
	tide_lane_leave(lane);
	return found;
}

__attribute__((noinline)) static uint8_t record_other_free(enum tide_kind kind, const void *addr)
{
	return record_free(kind, addr);
}

FLAT void tide_record_free_now(enum tide_kind kind, const void *addr)
{
	if (__builtin_expect(kind == TIDE_KIND_FREE, 1))
		record_free(TIDE_KIND_FREE, addr);
	else
		record_other_free(kind, addr);
}

struct tide_moving tide_record_moves(enum tide_kind kind, const void *addr)
{
	uint64_t progress = tide_survive_progress();
	bool all = tide_sample_mean == 0;
	return (struct tide_moving){progress,
				    all ? record_other_free(kind, addr) : tide_record_sampled_free(kind, addr)};
}

void tide_record_stays(const void *addr, struct tide_moving was)
{
	if (was.known == TIDE_TAG_NONE)
		return;
	tide_candidates_spoil(was.known);
	tide_shadow_set(addr, was.known);
	tide_survive_doubt(was.known, was.progress);
	if (tide_sample_mean)
		tide_sample_comes(addr);
}

/* Items without an addr field: ranges and plain ones. All are ordered by word 0. */
static void record_rest(enum tide_kind kind, const struct tide_regs *regs, const uint64_t fields[4])
{
	struct tide_lane *lane = tide_lane_enter();
	if (!lane)
		return;
	unsigned has = tide_kind_fields(kind);
	struct stacks s = {.has_native = false};
	uint64_t site;
	if (has & TIDE_F_STACK)
		capture(lane, regs, true, &s);
	/* an idle thread told the time long ago; what all others did until now comes before the mark */
	if (kind == TIDE_KIND_MARK)
		lane->since_tick = TIDE_TICK_EVERY;
	if (tide_lane_room(lane, tide_item_bound(s.native.depth, s.python.depth))) {
		uint8_t *tag = begin(lane, 0), *out = tide_put_tag(tag, kind);
		if (has & TIDE_F_STACK)
			out = put_stacks(lane, out, tag, &s, &site);
		if (has & TIDE_F_RANGE) {
			out = tide_put_varint(out, fields[0] / TIDE_PAGE);
			out = tide_put_varint(out, fields[1]);
		}
		if (has & TIDE_F_VALUE)
			out = tide_put_varint(out, fields[2]);
		if (has & TIDE_F_VALUE2)
			out = tide_put_varint(out, fields[3]);
		if (lane->digest)
			lane->digest->others++;
		tide_lane_commit(lane, out);
	} else if (has & TIDE_F_STACK) {
		forget(lane, &s);
	}
	leave(lane);
}

void tide_record_range(enum tide_kind kind, const struct tide_regs *regs, const void *addr, size_t len, uint64_t value,
		       uint64_t value2)
{
	record_rest(kind, regs, (const uint64_t[4]){(uintptr_t)addr, len, value, value2});
}

/* A realloc's first half was recorded, so its second one must be; *what it was is over now. */
static bool *open_half(enum tide_kind kind)
{
	if (kind == TIDE_KIND_REALLOC_ALLOC || kind == TIDE_KIND_REALLOC_FREE || kind == TIDE_KIND_REALLOC_FAILED)
		return &tide_self.realloc_open;
	return &tide_self.pyrealloc_open;
}

void tide_record_sampled(enum tide_kind kind, const struct tide_regs *regs, const void *addr, size_t size,
			 uint64_t value)
{
	tide_sample_comes(addr);
	tide_record_alloc_now(kind, regs, addr, size, value);
}

void tide_record_sampled_move(enum tide_kind kind, const struct tide_regs *regs, const void *addr, size_t size)
{
	bool *open = open_half(kind), completes = *open;
	*open = false;
	if (tide_sampled(size))
		tide_record_sampled(kind, regs, addr, size, 0);
	else if (completes)
		record_rest(kind == TIDE_KIND_REALLOC_ALLOC ? TIDE_KIND_REALLOC_GONE : TIDE_KIND_PYREALLOC_GONE, NULL,
			    (const uint64_t[4]){0});
}

uint8_t tide_record_sampled_free(enum tide_kind kind, const void *addr)
{
	bool sampled = tide_shadow_peek(addr) != TIDE_TAG_NONE;
	if (kind == TIDE_KIND_REALLOC_FREE || kind == TIDE_KIND_PYREALLOC_FREE)
		*open_half(kind) = sampled;
	if (!sampled)
		return TIDE_TAG_NONE;
	uint8_t found = record_other_free(kind, addr);
	tide_sample_goes(addr);
	return found;
}

void tide_record_plain(enum tide_kind kind, const struct tide_regs *regs, uint64_t value)
{
	bool half = kind == TIDE_KIND_REALLOC_FAILED || kind == TIDE_KIND_PYREALLOC_FAILED ||
		    kind == TIDE_KIND_PYREALLOC_GONE;
	if (__builtin_expect(tide_sample_mean != 0 && half, 0)) {
		bool *open = open_half(kind), completes = *open;
		*open = false;
		if (!completes)
			return;
	}
	record_rest(kind, regs, (const uint64_t[4]){0, 0, value, 0});
}
