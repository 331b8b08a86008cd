#include "read/ring.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/wire.h"

/* One zstd frame of at most TIDE_FRAME_RAW_MAX bytes is never longer (ZSTD_COMPRESSBOUND adds less than 1/128). */
#define STORED_MAX (TIDE_FRAME_RAW_MAX + (TIDE_FRAME_RAW_MAX >> 6))

enum segment_state { SEGMENT_NEVER_BEGUN, SEGMENT_BEING_BEGUN, SEGMENT_BAD, SEGMENT_GOOD };

struct scan {
	const struct tide_file *file;
	const struct tide_geometry *geometry;
	uint64_t file_uid;
	struct tide_damages *damages;
	struct tide_ring *ring;
	struct tide_window window;
	uint64_t first_seq; /* of the oldest segment that could be read; UINT64_MAX none */
	bool nomem;
};

bool tide_frame_valid(const struct tide_frame *f, uint64_t file_uid)
{
	return f->magic == TIDE_MAGIC_FRAME && f->file_uid == file_uid && f->header_len >= sizeof *f &&
	       f->header_len <= TIDE_PAGE && f->raw_len <= TIDE_FRAME_RAW_MAX && f->stored_len <= STORED_MAX &&
	       f->header_checksum == tide_checksum(f, TIDE_FRAME_CHECKED, file_uid);
}

/* `live`: its writer is alive, and any part of the rest may be there. */
static enum segment_state segment_state(struct tide_segment *s, uint64_t file_uid, uint32_t index, bool live)
{
	static const struct tide_segment zero;
	if (memcmp(s, &zero, sizeof zero) == 0)
		return SEGMENT_NEVER_BEGUN;
	if (s->magic == 0 && (s->file_uid == file_uid || live))
		return SEGMENT_BEING_BEGUN;
	if (s->magic == TIDE_MAGIC_SEGMENT && s->file_uid == file_uid && s->index == index && s->lap > 0 &&
	    s->checksum == tide_checksum(s, offsetof(struct tide_segment, checksum), file_uid))
		return SEGMENT_GOOD;
	return SEGMENT_BAD;
}

static bool keep_frame(struct scan *scan, uint64_t offset, const struct tide_frame *head)
{
	struct tide_ring *ring = scan->ring;
	if (ring->count == ring->cap) {
		size_t cap = ring->cap ? 2 * ring->cap : 256;
		struct tide_frame_at *frame = realloc(ring->frame, cap * sizeof *frame);
		if (!frame)
			return false;
		ring->frame = frame;
		ring->cap = cap;
	}
	ring->frame[ring->count++] = (struct tide_frame_at){offset, *head};
	return true;
}

/* The frame at `offset`, if one of lap `lap` (0: any) stands there and ends before `end`. */
static bool frame_at(struct scan *scan, uint64_t offset, uint64_t end, uint32_t segment, uint32_t lap,
		     struct tide_frame *ret)
{
	const uint8_t *bytes = tide_window_get(&scan->window, offset, sizeof *ret, &scan->nomem);
	uint64_t magic;
	if (!bytes)
		return false;
	memcpy(&magic, bytes, sizeof magic);
	if (magic != TIDE_MAGIC_FRAME)
		return false;
	memcpy(ret, bytes, sizeof *ret);
	return tide_frame_valid(ret, scan->file_uid) && ret->segment == segment && (lap == 0 || ret->lap == lap) &&
	       ret->header_len + (uint64_t)ret->stored_len <= end - offset;
}

static uint64_t frame_end(uint64_t offset, const struct tide_frame *f)
{
	uint64_t len = f->header_len + (uint64_t)f->stored_len;
	return offset + (len + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN;
}

/* Bytes that are no frame, and then a frame after all: what stood there was damaged, or its writer died in the act. */
static void scan_frames(struct scan *scan, uint32_t index, uint32_t lap)
{
	uint64_t begin = scan->geometry->ring_off + (uint64_t)index * scan->geometry->segment_len;
	uint64_t end = begin + scan->geometry->segment_len;
	uint64_t expected = begin + sizeof(struct tide_segment), at = expected;
	scan->window.end = end;
	while (at + sizeof(struct tide_frame) <= end && !scan->nomem) {
		struct tide_frame f;
		if (!frame_at(scan, at, end, index, lap, &f)) {
			at += TIDE_FRAME_ALIGN;
			continue;
		}
		if (at != expected && scan->ring->gap_offset == 0)
			scan->ring->gap_offset = expected;
		if (!keep_frame(scan, at, &f))
			scan->nomem = true;
		expected = at = frame_end(at, &f);
	}
}

/* Without a segment header the lap is not known: the newest that is found is the one being looked for. */
static void scan_headless(struct scan *scan, uint32_t index)
{
	struct tide_ring *ring = scan->ring;
	size_t before = ring->count, kept = before;
	scan_frames(scan, index, 0);
	uint32_t lap = 0;
	for (size_t i = before; i < ring->count; i++)
		lap = ring->frame[i].head.lap > lap ? ring->frame[i].head.lap : lap;
	for (size_t i = before; i < ring->count; i++)
		if (ring->frame[i].head.lap == lap)
			ring->frame[kept++] = ring->frame[i];
	ring->count = kept;
}

static void scan_segment(struct scan *scan, uint32_t index, uint64_t begun)
{
	const struct tide_geometry *g = scan->geometry;
	uint64_t offset = g->ring_off + (uint64_t)index * g->segment_len;
	struct tide_segment s;
	if (tide_file_read(scan->file, offset, &s, sizeof s) != sizeof s)
		return; /* past the end of a file that was cut short: reported as such */
	switch (segment_state(&s, scan->file_uid, index, scan->file->copy != NULL)) {
	case SEGMENT_GOOD:
		scan->first_seq = s.frame_seq < scan->first_seq ? s.frame_seq : scan->first_seq;
		scan_frames(scan, index, s.lap);
		return;
	case SEGMENT_NEVER_BEGUN:
		if (index >= begun)
			return;
		break;
	case SEGMENT_BEING_BEGUN:
		return;
	case SEGMENT_BAD:
		break;
	}
	tide_damage_add(scan->damages, offset, sizeof s, "segment %" PRIu32 ": header", index);
	scan_headless(scan, index);
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_frames(const void *va, const void *vb)
{
	const struct tide_frame *a = &((const struct tide_frame_at *)va)->head;
	const struct tide_frame *b = &((const struct tide_frame_at *)vb)->head;
	int order = compare_u64(a->kind, b->kind);
	if (order == 0 && a->kind != TIDE_FRAME_EVENTS)
		order = compare_u64(a->block_seq, b->block_seq);
	if (order == 0)
		order = compare_u64(a->lane, b->lane);
	if (order == 0)
		order = compare_u64(a->block_seq, b->block_seq);
	return order ? order : compare_u64(b->frame_seq, a->frame_seq);
}

static int compare_seq(const void *a, const void *b)
{
	return compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* Counts the numbers between the oldest segment's first and the last that are not there. */
static bool count_missing(struct scan *scan, uint64_t sealed)
{
	struct tide_ring *ring = scan->ring;
	uint64_t *seq = malloc((ring->count + 1) * sizeof *seq);
	if (!seq)
		return false;
	for (size_t i = 0; i < ring->count; i++)
		seq[i] = ring->frame[i].head.frame_seq;
	qsort(seq, ring->count, sizeof *seq, compare_seq);
	uint64_t next = scan->first_seq;
	for (size_t i = 0; i < ring->count; i++) {
		if (seq[i] > next)
			ring->missing += seq[i] - next;
		next = seq[i] + 1 > next ? seq[i] + 1 : next;
	}
	if (scan->first_seq != UINT64_MAX && sealed > next)
		ring->missing += sealed - next;
	free(seq);
	return true;
}

/* Leaves EVENTS and CENSUS frames that this reader knows, each once: of two alike the newer one. */
static void sort_frames(struct tide_ring *ring, struct tide_damages *damages)
{
	size_t kept = 0;
	if (ring->count > 1)
		qsort(ring->frame, ring->count, sizeof *ring->frame, compare_frames);
	for (size_t i = 0; i < ring->count; i++) {
		const struct tide_frame_at *f = &ring->frame[i], *last = kept ? &ring->frame[kept - 1] : NULL;
		if (f->head.kind < TIDE_FRAME_EVENTS || f->head.kind > TIDE_FRAME_CARRY)
			continue;
		if (last && last->head.kind == f->head.kind && last->head.lane == f->head.lane &&
		    last->head.block_seq == f->head.block_seq) {
			if (f->head.kind == TIDE_FRAME_CENSUS)
				continue; /* written anew before the older one is overwritten */
			tide_damage_add(damages, f->offset, sizeof f->head,
					"frame %" PRIu64 ": the same as frame %" PRIu64, f->head.frame_seq,
					last->head.frame_seq);
			continue;
		}
		ring->frame[kept++] = *f;
	}
	ring->count = kept;
	while (ring->events_count < kept && ring->frame[ring->events_count].head.kind == TIDE_FRAME_EVENTS)
		ring->events_count++;
	ring->carry_first = ring->events_count;
	while (ring->carry_first < kept && ring->frame[ring->carry_first].head.kind == TIDE_FRAME_CENSUS)
		ring->carry_first++;
}

bool tide_ring_read(const struct tide_file *file, const struct tide_geometry *g, uint64_t file_uid,
		    const struct tide_control_read *control, struct tide_damages *damages, struct tide_ring *ret)
{
	struct tide_ring ring = {0};
	struct scan scan = {file, g, file_uid, damages, &ring, {0}, UINT64_MAX, false};
	tide_window_init(&scan.window, file);
	uint64_t begun = control->valid && control->apart[TIDE_CTL_SEGMENT] == 0 ? control->word[TIDE_CTL_SEGMENT] : 0;
	for (uint32_t i = 0; i < g->ring_len / g->segment_len && !scan.nomem; i++)
		scan_segment(&scan, i, begun);
	tide_window_release(&scan.window);
	uint64_t sealed = control->valid && control->apart[TIDE_CTL_SEALED_FRAMES] == 0
				  ? control->word[TIDE_CTL_SEALED_FRAMES]
				  : 0;
	if (scan.nomem || !count_missing(&scan, sealed)) {
		tide_ring_release(&ring);
		return false;
	}
	sort_frames(&ring, damages);
	*ret = ring;
	return true;
}

void tide_ring_release(struct tide_ring *ring)
{
	free(ring->frame);
	*ring = (struct tide_ring){0};
}
