#include "ring.h"

#include <stdatomic.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY /* static contexts: the compressor must not allocate */
#include <zstd.h>

#include "fault.h"
#include "format/wire.h"
#include "lock.h"
#include "logfile.h"
#include "survive.h"
#include "sys.h"

/* Of a lane whose blocks shrink by less than a quarter, this many are kept as they are, and the next one is tried; if that does not shrink
 * either, more. For two threads with blocks of random sizes compressing costs 100 of 240 instructions an event, and saves 17 % of
 * the bytes; a block of 4 KiB, 30 ns an event. */
#define PLAIN_BLOCKS 15u
#define PLAIN_MOST 63u
/* A short block that is much like the one before, which shrank to a fifth, is packed without Huffman's codes: of 7 us that a block of 4 KiB takes,
 * 3 are to make their table, and what it saves is 20 to 40 bytes for each 1,000 events. */
#define SHORT_BLOCK 8192u
#define STORED_HEAD 12u
#define STORED_MOST TIDE_BLOCK_MAX        /* a raw block holds 128 KiB at most */
#define LOCK_TICKS (50 * TIDE_LOCK_TICKS) /* a holder may have lost its processor for long on a busy machine */

_Atomic uint32_t tide_ring_now;

static struct {
	struct tide_lock lock;
	ZSTD_CCtx *zstd; /* NULL until the first block is packed: short programs pack none */
	uint8_t *memory; /* for it */
	uint8_t *packed; /* compressed bytes, before their place is known */
	size_t packed_cap, packed_len;
	uint32_t used; /* bytes of the current segment handed out */
	uint64_t frame_seq;
	bool filling; /* with events, not only with censuses */
	/* by lane */
	struct {
		uint8_t plain;      /* blocks still to be kept as they are */
		uint8_t plain_last; /* so many were, before the last one was tried */
		bool shrinks;       /* the last one did, to a fifth */
	} habit[TIDE_LANES_MAX];
} ring;

bool tide_ring_init(void)
{
	size_t packed = ZSTD_compressBound(TIDE_BLOCK_MAX);
	uint8_t *memory = tide_sys_memory(TIDE_ZSTD_PACKS + packed);
	if (!memory)
		return false;
	ring.memory = memory;
	ring.packed = memory + TIDE_ZSTD_PACKS;
	ring.packed_cap = packed;
	return true;
}

void tide_ring_fork_child(void)
{
	ring.used = 0;
	ring.frame_seq = 0;
	ring.filling = false;
	atomic_store_explicit(&tide_ring_now, 0, memory_order_relaxed);
	tide_unlock(&ring.lock);
}

bool tide_ring_lock(bool wait)
{
	static atomic_bool gave_up; /* whoever holds it does not come back: nobody waits so long a second time */
	if (!wait)
		return tide_trylock(&ring.lock);
	bool got = atomic_load_explicit(&gave_up, memory_order_relaxed) ? tide_lock_within(&ring.lock)
									: tide_lock_for(&ring.lock, LOCK_TICKS);
	atomic_store_explicit(&gave_up, !got, memory_order_relaxed);
	return got;
}

void tide_ring_unlock(void)
{
	tide_unlock(&ring.lock);
}

uint32_t tide_ring_segments(void)
{
	return (uint32_t)(tide_logfile.geometry.ring_len / tide_logfile.geometry.segment_len);
}

uint32_t tide_ring_free(void)
{
	return tide_ring_segments() - (tide_ring_epoch() - tide_survive_done());
}

struct tide_segment *tide_ring_segment(uint32_t epoch)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	return tide_logfile_at(g->ring_off + (uint64_t)((epoch - 1) % tide_ring_segments()) * g->segment_len);
}

/* The magic goes first and comes last, so a header is whole or none. */
static void put_magic(uint64_t *magic, uint64_t value)
{
	atomic_store_explicit((_Atomic uint64_t *)magic, value, memory_order_release);
}

static void begin_segment(void)
{
	uint32_t epoch = tide_ring_epoch() + 1, segments = tide_ring_segments();
	struct tide_segment *s = tide_ring_segment(epoch);
	TIDE_FAULT("segment-before");
	put_magic(&s->magic, 0);
	atomic_thread_fence(memory_order_release);
	TIDE_FAULT("segment-cleared");
	struct tide_segment fresh = {
		.magic = TIDE_MAGIC_SEGMENT,
		.file_uid = tide_logfile.file_uid,
		.index = (epoch - 1) % segments,
		.lap = (epoch - 1) / segments + 1,
		.frame_seq = ring.frame_seq,
		.mono_ns = tide_clock_ns(CLOCK_MONOTONIC),
	};
	fresh.checksum = tide_checksum(&fresh, offsetof(struct tide_segment, checksum), tide_logfile.file_uid);
	memcpy((uint8_t *)s + sizeof s->magic, (uint8_t *)&fresh + sizeof s->magic, sizeof fresh - sizeof s->magic);
	put_magic(&s->magic, fresh.magic);
	ring.used = sizeof *s;
	tide_control_add(TIDE_CTL_SEGMENT, 1);
	atomic_store_explicit(&tide_ring_now, epoch, memory_order_relaxed);
	TIDE_FAULT("segment-begun");
}

static bool fits(size_t packed)
{
	return tide_ring_epoch() > 0 &&
	       ring.used + sizeof(struct tide_frame) + packed <= tide_logfile.geometry.segment_len;
}

size_t tide_ring_room(void)
{
	size_t used = ring.used + sizeof(struct tide_frame), len = tide_logfile.geometry.segment_len;
	return tide_ring_epoch() > 0 && used < len ? len - used : 0;
}

static bool begin_zstd(void)
{
	if (!ring.zstd)
		ring.zstd = ZSTD_initStaticCCtx(ring.memory, TIDE_ZSTD_PACKS);
	return ring.zstd != NULL;
}

static size_t pack(const void *raw, size_t raw_len, int level)
{
	ring.packed_len = 0;
	if (!begin_zstd())
		return 0;
	/* it writes the content size, which a reader wants, and fits the estimate for one block */
	size_t len = ZSTD_compressCCtx(ring.zstd, ring.packed, ring.packed_cap, raw, raw_len, level);
	ring.packed_len = ZSTD_isError(len) ? 0 : len;
	return ring.packed_len;
}

size_t tide_ring_pack(const void *raw, size_t raw_len)
{
	return pack(raw, raw_len, TIDE_ZSTD_LEVEL);
}

/* As a zstd frame of one raw block (RFC 8878, 3.1.1): for what does not shrink, and for what a process writes that has packed nothing
 * yet, and mostly will not. To begin with zstd and to compress one small census took more time than all else of that census, and 15
 * page faults. */
static size_t store(const void *raw, size_t raw_len)
{
	const uint8_t head[STORED_HEAD] = {0x28,
					   0xb5,
					   0x2f,
					   0xfd, /* magic */
					   0xa0, /* one segment; the content's size in 4 bytes */
					   (uint8_t)raw_len,
					   (uint8_t)(raw_len >> 8),
					   (uint8_t)(raw_len >> 16),
					   0,
					   (uint8_t)(raw_len << 3 | 1),
					   (uint8_t)(raw_len >> 5),
					   (uint8_t)(raw_len >> 13)};
	ring.packed_len = sizeof head + raw_len;
	memcpy(ring.packed, head, sizeof head);
	memcpy(ring.packed + sizeof head, raw, raw_len);
	return ring.packed_len;
}

static size_t pack_census(const void *raw, size_t raw_len)
{
	return ring.zstd || raw_len > STORED_MOST ? tide_ring_pack(raw, raw_len) : store(raw, raw_len);
}

static size_t pack_events(uint32_t lane, const void *raw, size_t raw_len)
{
	uint8_t *plain = &ring.habit[lane].plain, *last = &ring.habit[lane].plain_last;
	bool *shrinks = &ring.habit[lane].shrinks;
	if (*plain) {
		--*plain;
		return store(raw, raw_len);
	}
	size_t packed = pack(raw, raw_len, *shrinks && raw_len <= SHORT_BLOCK ? TIDE_ZSTD_QUICK : TIDE_ZSTD_LEVEL);
	*shrinks = packed <= raw_len / 5;
	*last = packed <= raw_len / 4 * 3 ? 0 : *last ? PLAIN_MOST : PLAIN_BLOCKS;
	*plain = *last;
	return packed;
}

uint32_t tide_ring_reserve(size_t packed, uint32_t spare)
{
	if (!fits(packed) && tide_ring_free() > spare)
		begin_segment();
	return fits(packed) ? tide_ring_epoch() : 0;
}

static struct tide_frame *publish(const struct tide_frame *given, size_t raw_len)
{
	struct tide_frame head = *given;
	uint32_t epoch = tide_ring_epoch(), segments = tide_ring_segments();
	struct tide_frame *at = (struct tide_frame *)((uint8_t *)tide_ring_segment(epoch) + ring.used);
	head.magic = TIDE_MAGIC_FRAME;
	head.file_uid = tide_logfile.file_uid;
	head.header_len = sizeof head;
	head.segment = (epoch - 1) % segments;
	head.lap = (epoch - 1) / segments + 1;
	head.frame_seq = ring.frame_seq++;
	head.stored_len = (uint32_t)ring.packed_len;
	head.raw_len = (uint32_t)raw_len;
	head.mono_end_ns = tide_clock_ns(CLOCK_MONOTONIC);
	head.ticks_end = tide_ticks();
	ring.used += tide_frame_span(&head);
	memcpy(at + 1, ring.packed, ring.packed_len);
	TIDE_FAULT("frame-payload");
	head.payload_checksum = tide_checksum(ring.packed, ring.packed_len, tide_logfile.file_uid);
	head.header_checksum = tide_checksum(&head, TIDE_FRAME_CHECKED, tide_logfile.file_uid);
	memcpy((uint8_t *)at + sizeof at->magic, (uint8_t *)&head + sizeof at->magic, sizeof *at - sizeof at->magic);
	TIDE_FAULT("frame-header");
	put_magic(&at->magic, head.magic);
	TIDE_FAULT("frame-published");
	tide_control_add(TIDE_CTL_SEALED_FRAMES, 1);
	return at;
}

void tide_ring_publish(const struct tide_frame *head, size_t raw_len)
{
	publish(head, raw_len);
}

bool tide_ring_copy(const struct tide_frame *f)
{
	if (f->stored_len > ring.packed_cap ||
	    tide_checksum(f + 1, f->stored_len, tide_logfile.file_uid) != f->payload_checksum)
		return false;
	struct tide_frame head = *f;
	memcpy(ring.packed, f + 1, f->stored_len);
	ring.packed_len = f->stored_len;
	if (!tide_ring_reserve(ring.packed_len, 1))
		return false;
	publish(&head, head.raw_len);
	return true;
}

const struct tide_frame *tide_ring_put(const struct tide_frame *head, const void *raw, size_t raw_len)
{
	if (tide_logfile.is_private)
		return NULL;
	/* what lives must be safe before its segment goes, and packing is what that is done with: so before we pack */
	if (!fits(ZSTD_compressBound(raw_len)))
		tide_survive_force(TIDE_RING_SPARE + 1);
	bool events = head->kind == TIDE_FRAME_EVENTS;
	size_t packed = events ? pack_events(head->lane, raw, raw_len) : pack_census(raw, raw_len);
	if (packed == 0 || !tide_ring_reserve(packed, TIDE_RING_SPARE))
		return NULL;
	if (!ring.filling && events) {
		ring.filling = true;
		tide_logfile_is_filling();
	}
	struct tide_frame *at = publish(head, raw_len);
	if (events)
		tide_survive_sealed(at, tide_ring_epoch());
	tide_survive_work(sizeof *at + packed);
	return at;
}
