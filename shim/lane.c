#include "lane.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "candidates.h"
#include "fault.h"
#include "format/sum.h"
#include "init.h"
#include "logfile.h"
#include "record.h"
#include "ring.h"
#include "shadow.h"
#include "survive.h"
#include "sys.h"

/* A forked child writes this much before it gets a file: more than fork-and-exec does. */
#define PRIVATE_BLOCK 4096u
/* A lane seals a block that is this many epochs old and not nearly empty. */
#define BLOCK_EPOCHS 2u
/* Longest wait for a shared lane; whoever holds one may have lost its processor. */
#define SHARED_TICKS (20 * TIDE_LOCK_TICKS)

/* Lanes that have a digest; those beyond are decoded. */
#define DIGESTS_MOST 256u

__thread struct tide_self tide_self __attribute__((tls_model("initial-exec")));

static struct {
	struct tide_lane *all;
	struct tide_digest *digests; /* NULL: no memory for them */
	uint32_t count, shared;
	atomic_uint next; /* of threads' own lanes: all below are taken, or were when last looked at */
	_Atomic uint64_t
		used[TIDE_LANES_MAX / 64]; /* a bit each: looking at one that never was costs a page of memory */
	atomic_uint private_used;          /* a forked child without a file writes to one lane only */
	pthread_key_t key;
	bool has_key;
} lanes;

static bool was_used(uint32_t index)
{
	/* pairs with note_used: whoever finds the lane's block finds the bit */
	return atomic_load_explicit(&lanes.used[index / 64], memory_order_acquire) >> (index % 64) & 1;
}

static void note_used(uint32_t index)
{
	if (!was_used(index))
		atomic_fetch_or_explicit(&lanes.used[index / 64], UINT64_C(1) << (index % 64), memory_order_release);
}

static uint8_t *payload(const struct tide_lane *lane)
{
	return (uint8_t *)(lane->block + 1);
}

static void publish_sum(struct tide_lane *lane, uint64_t sum, uint32_t len)
{
	/* pairs with a reader of a log that is being written: the items are there */
	atomic_store_explicit((_Atomic uint64_t *)&lane->block->check, tide_check_word(sum, len), memory_order_release);
}

void tide_lane_sum(struct tide_lane *lane)
{
	uint32_t len = (uint32_t)(lane->at - payload(lane));
	lane->sum = tide_sum_words(lane->sum, payload(lane), &lane->summed, len);
	publish_sum(lane, tide_sum_rest(lane->sum, payload(lane), lane->summed, len), len);
}

static void sum_whole(struct tide_lane *lane)
{
	if (!lane->block)
		return;
	uint32_t len = lane->block->committed, at = lane->summed;
	uint64_t sum = tide_sum_words(lane->sum, payload(lane), &at, len);
	publish_sum(lane, tide_sum_rest(sum, payload(lane), at, len), len);
}

void tide_lanes_sum(void)
{
	if (tide_self.lane && !tide_self.busy)
		sum_whole(tide_self.lane);
	for (uint32_t i = 0; i < lanes.count; i++) {
		if (!was_used(i) || !tide_trylock(&lanes.all[i].lock))
			continue;
		sum_whole(&lanes.all[i]);
		tide_unlock(&lanes.all[i].lock);
	}
}

static void thread_ends(void *lane)
{
	(void)lane;
	struct tide_lane *own = tide_self.lane;
	tide_self.retired = true;
	tide_self.lane = NULL;
	if (!own)
		return;
	sum_whole(own);
	tide_unlock(&own->lock);
	uint32_t at = own->index - lanes.shared, next = atomic_load_explicit(&lanes.next, memory_order_relaxed);
	while (at < next && !atomic_compare_exchange_weak_explicit(&lanes.next, &next, at, memory_order_relaxed,
								   memory_order_relaxed))
		;
}

bool tide_lanes_init(void)
{
	lanes.count = tide_logfile.geometry.lanes;
	lanes.shared = tide_logfile.geometry.shared_lanes;
	lanes.all = tide_sys_memory(sizeof *lanes.all * lanes.count);
	/* without a key lanes are not given back, and threads share once all are taken: slower, never wrong */
	lanes.has_key = lanes.all && pthread_key_create(&lanes.key, thread_ends) == 0;
	lanes.digests =
		tide_sys_memory(sizeof *lanes.digests * 2 * (lanes.count < DIGESTS_MOST ? lanes.count : DIGESTS_MOST));
	return lanes.all != NULL;
}

uint64_t tide_lanes_fork_child(uint64_t *events, uint32_t epoch)
{
	uint64_t least = UINT64_MAX,
		 most = 0; /* an event tells the ticks anew if its lane's last one was in another epoch */
	for (uint32_t i = 0; i < lanes.count; i++) {
		if (events)
			events[i] = 0;
		if (!was_used(i))
			continue;
		struct tide_lane *lane = &lanes.all[i];
		if (events)
			events[i] = lane->block ? lane->events_before + lane->events : 0;
		if (!lane->block) {
			if (atomic_load_explicit(&lane->lock.held,
						 memory_order_relaxed)) /* reads break no page in two */
				tide_unlock(&lane->lock);
			continue;
		}
		most = lane->encoder.ticks > most ? lane->encoder.ticks : most;
		if (lane->epoch == epoch && lane->encoder.ticks < least)
			least = lane->encoder.ticks;
		lane->block = NULL;
		lane->at = lane->end = NULL;
		lane->tid = 0;
		lane->events = 0;
		lane->events_before = 0;
		tide_unwinder_forget(&lane->unwinder);
		tide_unlock(&lane->lock);
	}
	atomic_store_explicit(&lanes.next, 0, memory_order_relaxed);
	atomic_store_explicit(&lanes.private_used, 0, memory_order_relaxed);
	tide_self.lane = NULL;
	tide_self.other = NULL;
	tide_self.tid = 0;
	return least < most ? least : most;
}

void tide_lanes_have_log(void)
{
	for (uint32_t i = 0; i < lanes.count; i++)
		if (was_used(i) && lanes.all[i].block)
			lanes.all[i].tag = tide_tag(lanes.all[i].epoch, TIDE_TAG_FRESH);
}

static struct tide_lane *lane_at(uint32_t index)
{
	note_used(index);
	lanes.all[index].index = index;
	return &lanes.all[index];
}

/* THREAD is looked at with TICK only. */
static struct tide_lane *taken(struct tide_lane *lane)
{
	if (lane->tid != tide_self.tid)
		lane->since_tick = TIDE_TICK_EVERY;
	return lane;
}

static struct tide_lane *take_shared(bool wait)
{
	/* When the first of those began who waited in vain, with nobody successful since; 0: somebody was. Of a thousand
	 * threads many lose their processor while they hold a lane, and many wait too long at once; only after a while is
	 * it that holders do not come back at all */
	static _Atomic uint64_t in_vain;
	uint64_t begin = tide_ticks(), since = atomic_load_explicit(&in_vain, memory_order_relaxed);
	bool hopeless = since && begin > since && begin - since > TIDE_LOCK_PATIENCE * SHARED_TICKS;
	uint64_t most = wait && !hopeless ? SHARED_TICKS : 0;
	for (uint32_t i = tide_self.tid;; i++) {
		struct tide_lane *lane = lane_at(i % lanes.shared);
		if (tide_trylock(&lane->lock)) {
			if (wait && atomic_load_explicit(&in_vain, memory_order_relaxed))
				atomic_store_explicit(&in_vain, 0, memory_order_relaxed);
			return taken(lane);
		}
		bool round = i - tide_self.tid >= lanes.shared;
		if (round && tide_ticks() - begin >= most) {
			since = 0;
			if (most)
				atomic_compare_exchange_strong_explicit(&in_vain, &since, begin, memory_order_relaxed,
									memory_order_relaxed);
			return NULL;
		}
		if (i - tide_self.tid > TIDE_LOCK_SPINS)
			tide_sys_yield();
	}
}

/* The lowest free lane, so that few blocks are ever touched, however many threads come and go. */
static struct tide_lane *take_own(void)
{
	uint32_t own = lanes.count - lanes.shared;
	uint32_t first = atomic_load_explicit(&lanes.next, memory_order_relaxed);
	for (uint32_t i = 0; i < own; i++) {
		uint32_t at = (first + i) % own;
		bool was = was_used(lanes.shared + at);
		struct tide_lane *lane = lane_at(lanes.shared + at);
		if (tide_trylock(&lane->lock)) {
			/* unless a lower one has been given back meanwhile */
			atomic_compare_exchange_strong_explicit(&lanes.next, &first, at + 1, memory_order_relaxed,
								memory_order_relaxed);
			if (was) /* else all of it is zero, and its pages are untouched */
				tide_unwinder_forget(&lane->unwinder);
			return taken(lane);
		}
	}
	return NULL;
}

static bool is_shared(const struct tide_lane *lane)
{
	return lane->index < lanes.shared;
}

/* The kernel's, or one of our own where the kernel must not be asked: beyond all that it gives out (PID_MAX_LIMIT is 2^22). */
static uint32_t thread_id(void)
{
	static atomic_uint unknown;
	long tid = tide_sys_gettid();
	return tid > 0 ? (uint32_t)tid : (1u << 30) + atomic_fetch_add_explicit(&unknown, 1, memory_order_relaxed);
}

/* First event of a thread, or no lane of its own. */
static struct tide_lane *find_lane(void)
{
	if (tide_self.tid == 0)
		tide_self.tid = thread_id();
	if (tide_self.retired)
		return take_shared(true);
	struct tide_lane *lane = tide_self.lane = take_own();
	if (!lane)
		return take_shared(true);
	if (lanes.has_key)
		pthread_setspecific(lanes.key,
				    lane); /* may allocate beyond key 31: busy is set, a shared lane takes it */
	return lane;
}

/* A recording that seems to be interrupted, but whose frame is gone from the stack that we stand on: a handler has jumped out
 * of it. Stacks of coroutines and handlers elsewhere tell nothing. */
static bool was_jumped_out_of(uintptr_t frame)
{
	if (!tide_self.lane || frame <= tide_self.frame)
		return false;
	const struct tide_stack_range *stack = &tide_self.lane->unwinder.stack;
	return tide_self.frame >= stack->low && frame < stack->high && !tide_sys_on_other_stack();
}

/* Goes back to what is committed. The count is taken from the items: a commit that was cut in two cannot tell it. */
static void go_back(struct tide_lane *lane)
{
	const uint32_t words = tide_items_words(TIDE_BLOCK_MAX);
	size_t need = sizeof(struct tide_items) + words * sizeof(uint64_t);
	struct tide_items *items = tide_sys_mmap(need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t committed = lane->block->committed, events = 0;
	struct tide_item item;
	if (lane->digest)
		lane->digest->on = false;
	lane->end = lane->at =
		payload(lane) + committed; /* sealed before the next event: the encoder may have run ahead */
	if (!items)
		return;
	tide_items_init(items, TIDE_ENCODING_ITEMS, payload(lane), committed, 0, (uint64_t *)(items + 1), words);
	while (tide_items_next(items, &item) == 1)
		events += item.is_event;
	lane->block->events = lane->events = events;
	tide_sys_munmap(items, need);
}

/* What it had in hand is not recorded. A lock on the ring, if it had that, stays: what is behind it may be half done (lock.h:
 * nobody waits for it for long). */
static void abandon(void)
{
	if (tide_self.lane->block)
		go_back(tide_self.lane);
	tide_unwinder_forget(&tide_self.lane->unwinder);
	if (tide_self.other) {
		if (tide_self.other->block)
			go_back(tide_self.other);
		tide_unlock(&tide_self.other->lock);
		tide_self.other = NULL;
	}
	tide_count_loss(TIDE_LOSS_REENTRANT, 1);
	tide_self.busy = false;
}

struct tide_lane *tide_lane_enter_slowly(uintptr_t frame)
{
	if (tide_self.busy && was_jumped_out_of(frame))
		abandon();
	bool nested = tide_self.busy;
	if (!nested)
		tide_self.frame = frame;
	tide_self.busy = true;
	atomic_signal_fence(memory_order_seq_cst);
	if (!nested && tide_self.lane)
		return tide_self.lane;
	struct tide_lane *lane = nested ? take_shared(false) : find_lane();
	if (lane) {
		lane->nested = nested;
		if (nested)
			tide_self.other = lane;
	} else {
		tide_count_loss(TIDE_LOSS_REENTRANT, 1);
		tide_self.busy = nested;
	}
	return lane;
}

void tide_lane_leave_slowly(struct tide_lane *lane)
{
	bool nested = lane->nested;
	if (is_shared(lane)) {
		if (lane == tide_self.other)
			tide_self.other = NULL;
		tide_unlock(&lane->lock);
	}
	tide_self.busy = nested; /* the interrupted recording clears it */
}

static void open_digest(struct tide_lane *lane)
{
	bool wanted = lane->index < DIGESTS_MOST && lanes.digests && tide_candidates_wanted();
	lane->before = NULL;
	lane->split = 0;
	lane->digest = wanted ? &lanes.digests[2 * lane->index] : NULL;
	if (wanted)
		tide_digest_begin(lane->digest, &lane->encoder, lane->epoch, lane->tag);
}

void tide_lane_split_digest(struct tide_lane *lane)
{
	struct tide_digest *d = lane->digest;
	if (!d)
		return;
	if (lane->split) { /* a third epoch */
		d->on = false;
		return;
	}
	lane->split = lane->epoch;
	lane->first = lane->events;
	lane->before = d;
	lane->digest = d + 1;
	tide_digest_begin(lane->digest, &lane->encoder, lane->epoch, lane->tag);
}

/* The lane's next block, in the same place: what it held is in the ring by now, or lost and counted. */
static void open_block(struct tide_lane *lane)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	struct tide_block *b = tide_logfile_at(g->staging_off + (uint64_t)lane->index * g->block_len);
	struct tide_block head = {
		.magic = TIDE_MAGIC_BLOCK,
		.file_uid = tide_logfile.file_uid,
		.lane = lane->index,
		.header_len = sizeof head,
		.block_seq = lane->block ? b->block_seq + 1 : 0,
		.events_before = lane->events_before,
		.mono_ns = tide_clock_ns(CLOCK_MONOTONIC),
		.ticks = tide_ticks(),
		.tid = tide_self.tid,
		.encoding = TIDE_ENCODING_ITEMS,
		.state = TIDE_BLOCK_OPEN,
		.epoch = tide_ring_epoch(),
	};
	head.checksum = (uint32_t)tide_checksum(&head, TIDE_BLOCK_CHECKED, tide_logfile.file_uid);
	atomic_store_explicit((_Atomic uint64_t *)&b->magic, 0, memory_order_release);
	atomic_thread_fence(memory_order_release);
	TIDE_FAULT("block-cleared");
	memcpy((uint8_t *)b + sizeof b->magic, (uint8_t *)&head + sizeof head.magic, sizeof head - sizeof head.magic);
	atomic_store_explicit((_Atomic uint64_t *)&b->magic, head.magic, memory_order_release);
	/* the first of a lane is begun without the ring's lock */
	if (!lane->block)
		tide_control_add(TIDE_CTL_LANES, 1); /* a reader finds at least so many */
	atomic_store_explicit((struct tide_block * _Atomic *)&lane->block, b, memory_order_release);
	lane->at = payload(lane);
	lane->end = (uint8_t *)b + (tide_logfile.is_private ? PRIVATE_BLOCK : g->block_len);
	lane->events = 0;
	lane->sum = tide_sum_begin(tide_logfile.file_uid, head.checksum);
	lane->summed = 0;
	lane->since_tick = 0;
	lane->tid = tide_self.tid;
	tide_lane_set_epoch(lane, head.epoch);
	tide_encode_reset(&lane->encoder, head.ticks);
	open_digest(lane);
}

void tide_lane_set_epoch(struct tide_lane *lane, uint32_t epoch)
{
	const struct tide_block *b = lane->block;
	atomic_store_explicit((_Atomic uint32_t *)&lane->epoch, epoch, memory_order_release);
	lane->others = tide_shadow.others;
	lane->tag = tide_logfile.is_private && tide_shadow.young ? tide_shadow.young : tide_tag(epoch, TIDE_TAG_FRESH);
	/* Blocks that span many epochs would be read again and again when those are overwritten, one after the other. */
	bool old = epoch - b->epoch >= BLOCK_EPOCHS && lane->at - payload(lane) >= (lane->end - payload(lane)) / 8;
	if (old && !tide_logfile.is_private)
		lane->end = lane->at;
}

uint32_t tide_lane_count(void)
{
	return lanes.count;
}

struct tide_block *tide_lane_block(uint32_t index, uint32_t *ret_epoch)
{
	*ret_epoch = 0;
	if (!was_used(index))
		return NULL;
	*ret_epoch = atomic_load_explicit((_Atomic uint32_t *)&lanes.all[index].epoch, memory_order_relaxed);
	return atomic_load_explicit((struct tide_block * _Atomic *)&lanes.all[index].block, memory_order_acquire);
}

bool tide_lane_in_hand(uint32_t index, struct tide_alloc_count told, struct tide_in_hand *ret)
{
	struct tide_lane *lane = &lanes.all[index];
	const struct tide_encoder *e = &lane->encoder;
	bool even = __atomic_load_n(&e->model.allocs, __ATOMIC_RELAXED) != told.even;
	if (!even && __atomic_load_n(&e->odd, __ATOMIC_RELAXED) == told.odd)
		return false;
	ret->addr = even ? __atomic_load_n(&e->model.recent[told.even & (TIDE_RECENT - 1)], __ATOMIC_RELAXED) >> 8 << 4
			 : __atomic_load_n(&e->last_odd, __ATOMIC_RELAXED);
	ret->ticks = __atomic_load_n(&e->ticks, __ATOMIC_RELAXED);
	/* pairs with tide_lane_set_epoch: a later epoch than that of the event in hand is seen only with the event committed */
	uint32_t epoch = atomic_load_explicit((_Atomic uint32_t *)&lane->epoch, memory_order_acquire);
	ret->tag = tide_tag(epoch, TIDE_TAG_FRESH);
	atomic_thread_fence(memory_order_acquire); /* whoever looks at what is committed now looks later */
	return true;
}

/* While the block's items are there. */
static void close_digests(struct tide_lane *lane)
{
	struct tide_digest *both[] = {lane->before, lane->digest};
	struct tide_raw raw = {payload(lane), (size_t)(lane->at - payload(lane)), lane->block->ticks};
	tide_lane_note(lane);
	for (unsigned i = 0; i < 2; i++) {
		if (!both[i] || !both[i]->on)
			continue;
		tide_digest_close(both[i]);
		tide_candidates_learn(both[i], &raw);
	}
}

/* The block has become this frame. */
static void hand_over_digests(struct tide_lane *lane, const struct tide_frame *frame)
{
	uint32_t first = lane->split ? lane->first : 0;
	if (lane->split)
		tide_survive_split(frame, first, lane->split);
	if (lane->before && lane->before->on)
		tide_candidates_add(lane->before, &(struct tide_digested){frame, first, false});
	if (lane->digest && lane->digest->on)
		tide_candidates_add(lane->digest,
				    &(struct tide_digested){frame, lane->events - first, lane->split != 0});
}

static bool seal(struct tide_lane *lane)
{
	struct tide_block *b = lane->block;
	if (!tide_ring_lock(!lane->nested))
		return false;
	b->state = TIDE_BLOCK_SEALING;
	TIDE_FAULT("seal-begun");
	struct tide_frame head = {
		.kind = TIDE_FRAME_EVENTS,
		.encoding = TIDE_ENCODING_ITEMS,
		.lane = lane->index,
		.tid = b->tid,
		.block_seq = b->block_seq,
		.events_before = b->events_before,
		.events = lane->events,
		.mono_ns = b->mono_ns,
		.ticks = b->ticks,
		.epoch = b->epoch,
	};
	close_digests(lane);
	const struct tide_frame *frame = tide_ring_put(&head, payload(lane), (size_t)(lane->at - payload(lane)));
	if (!frame)
		tide_count_loss(TIDE_LOSS_SEAL, lane->events);
	else
		hand_over_digests(lane, frame);
	TIDE_FAULT("seal-put");
	lane->events_before += lane->events;
	open_block(lane);
	TIDE_FAULT("seal-done");
	tide_ring_unlock();
	return true;
}

/* A forked child has written as much as its private memory is for, or needs a second lane: now it gets a file. */
static bool grow(struct tide_lane *lane)
{
	if (tide_logfile.is_private) {
		bool first =
			!lane->block && atomic_exchange_explicit(&lanes.private_used, 1, memory_order_relaxed) == 0;
		if (!first && !tide_adopt_file())
			return false;
		if (lane->block) {
			lane->end = (uint8_t *)lane->block + tide_logfile.geometry.block_len;
			return true;
		}
	}
	if (lane->block)
		return seal(lane);
	open_block(lane);
	return true;
}

bool tide_lane_make_room(struct tide_lane *lane, size_t bound)
{
	for (unsigned tries = 0; tries < 3; tries++) {
		if (lane->block && lane->end - lane->at >= (ptrdiff_t)bound)
			return true;
		if (!grow(lane))
			break;
	}
	tide_count_loss(TIDE_LOSS_NO_SPACE, 1);
	return false;
}
