#include "ring.h"

#include <stdatomic.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY /* static contexts: the compressor must not allocate */
#include <zstd.h>

#include "format/wire.h"
#include "lock.h"
#include "logfile.h"
#include "sys.h"

#define LEVEL 1

_Atomic uint32_t tide_ring_now;

struct segment_count {
	uint32_t frames;
	uint64_t events;
};

static struct {
	struct tide_lock lock;
	ZSTD_CCtx *zstd;
	uint8_t *packed; /* compressed bytes, before their place is known */
	size_t packed_cap;
	uint32_t segment, lap; /* lap 0: no segment has been begun */
	uint32_t used;         /* bytes of the segment handed out */
	uint64_t frame_seq;
	struct segment_count in[TIDE_SEGMENTS_MAX + 1];
} ring;

bool tide_ring_init(void)
{
	ZSTD_compressionParameters params = ZSTD_getCParams(LEVEL, TIDE_BLOCK_MAX, 0);
	size_t need = ZSTD_estimateCCtxSize_usingCParams(params);
	size_t packed = ZSTD_compressBound(TIDE_BLOCK_MAX);
	uint8_t *memory = tide_sys_memory(need + packed);
	if (!memory)
		return false;
	ring.zstd = ZSTD_initStaticCCtx(memory, need);
	ring.packed = memory + need;
	ring.packed_cap = packed;
	return ring.zstd != NULL;
}

void tide_ring_fork_child(void)
{
	ring.segment = ring.lap = ring.used = 0;
	ring.frame_seq = 0;
	memset(ring.in, 0, sizeof ring.in);
	atomic_store_explicit(&tide_ring_now, 0, memory_order_relaxed);
	tide_unlock(&ring.lock);
}

bool tide_ring_lock(bool wait)
{
	return wait ? tide_lock_within(&ring.lock) : tide_trylock(&ring.lock);
}

void tide_ring_unlock(void)
{
	tide_unlock(&ring.lock);
}

static struct tide_segment *segment_at(uint32_t index)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	return tide_logfile_at(g->ring_off + (uint64_t)index * g->segment_len);
}

/* The magic goes first and comes last, so a header is whole or none. */
static void put_magic(uint64_t *magic, uint64_t value)
{
	atomic_store_explicit((_Atomic uint64_t *)magic, value, memory_order_release);
}

static void begin_segment(void)
{
	uint32_t segments = (uint32_t)(tide_logfile.geometry.ring_len / tide_logfile.geometry.segment_len);
	if (ring.lap == 0)
		ring.lap = 1;
	else if (++ring.segment == segments) {
		ring.segment = 0;
		ring.lap++;
	}
	struct tide_segment *s = segment_at(ring.segment);
	struct segment_count *old = &ring.in[ring.segment];
	tide_control_add(TIDE_CTL_EVICTED_FRAMES, old->frames);
	tide_control_add(TIDE_CTL_EVICTED_EVENTS, old->events);
	*old = (struct segment_count){0, 0};
	put_magic(&s->magic, 0);
	atomic_thread_fence(memory_order_release);
	struct tide_segment fresh = {
		.magic = TIDE_MAGIC_SEGMENT,
		.file_uid = tide_logfile.file_uid,
		.index = ring.segment,
		.lap = ring.lap,
		.frame_seq = ring.frame_seq,
		.mono_ns = tide_clock_ns(CLOCK_MONOTONIC),
	};
	fresh.checksum = tide_checksum(&fresh, offsetof(struct tide_segment, checksum), tide_logfile.file_uid);
	memcpy((uint8_t *)s + sizeof s->magic, (uint8_t *)&fresh + sizeof s->magic, sizeof fresh - sizeof s->magic);
	put_magic(&s->magic, fresh.magic);
	ring.used = sizeof *s;
	atomic_store_explicit(&tide_ring_now, (ring.lap - 1) * segments + ring.segment + 1, memory_order_relaxed);
	tide_control_add(TIDE_CTL_SEGMENT, 1);
}

static struct tide_frame *place(size_t len)
{
	if (ring.lap == 0 || ring.used + len > tide_logfile.geometry.segment_len)
		begin_segment();
	if (ring.used + len > tide_logfile.geometry.segment_len)
		return NULL;
	struct tide_frame *frame = (struct tide_frame *)((uint8_t *)segment_at(ring.segment) + ring.used);
	ring.used += (uint32_t)((len + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN);
	return frame;
}

static void publish(struct tide_frame *at, struct tide_frame *head, const void *stored)
{
	memcpy(at + 1, stored, head->stored_len);
	head->payload_checksum = tide_checksum(stored, head->stored_len, tide_logfile.file_uid);
	head->header_checksum = tide_checksum(head, TIDE_FRAME_CHECKED, tide_logfile.file_uid);
	memcpy((uint8_t *)at + sizeof at->magic, (uint8_t *)head + sizeof at->magic, sizeof *at - sizeof at->magic);
	put_magic(&at->magic, head->magic);
	ring.in[ring.segment].frames++;
	ring.in[ring.segment].events += head->kind == TIDE_FRAME_EVENTS ? head->events : 0;
	tide_control_add(TIDE_CTL_SEALED_FRAMES, 1);
}

bool tide_ring_put(const struct tide_frame *given, const void *raw, size_t raw_len)
{
	if (tide_logfile.is_private)
		return false;
	/* the simple call: it writes the content size, which a reader wants, and fits the estimate for one block */
	size_t len = ZSTD_compressCCtx(ring.zstd, ring.packed, ring.packed_cap, raw, raw_len, LEVEL);
	if (ZSTD_isError(len))
		return false;
	struct tide_frame *at = place(sizeof *at + len);
	if (!at)
		return false;
	struct tide_frame head = *given;
	head.magic = TIDE_MAGIC_FRAME;
	head.file_uid = tide_logfile.file_uid;
	head.header_len = sizeof head;
	head.segment = ring.segment;
	head.lap = ring.lap;
	head.frame_seq = ring.frame_seq++;
	head.stored_len = (uint32_t)len;
	head.raw_len = (uint32_t)raw_len;
	head.mono_end_ns = tide_clock_ns(CLOCK_MONOTONIC);
	head.ticks_end = tide_ticks();
	publish(at, &head, ring.packed);
	return true;
}
