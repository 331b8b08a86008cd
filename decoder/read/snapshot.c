#include "read/snapshot.h"

#include <stdlib.h>
#include <string.h>

#define LONGEST (UINT64_C(1) << 30)
#define TRIES 200u
#define BLOCK_TRIES 16u

struct snapshot {
	const struct tide_file *file;
	const struct tide_geometry *g;
	uint64_t file_uid;
	uint8_t *copy, *segment; /* as long as the file, and as a segment */
};

static bool read_part(const struct snapshot *s, uint64_t from, uint64_t to)
{
	return tide_file_read(s->file, from, s->copy + from, (size_t)(to - from)) == to - from;
}

/* Segments begun so far. */
static uint64_t begun(const struct snapshot *s)
{
	uint64_t word = 0;
	uint64_t offset = s->g->control_off + offsetof(struct tide_control, word[TIDE_CTL_SEGMENT][0]);
	return tide_file_read(s->file, offset, &word, sizeof word) == sizeof word ? word : 0;
}

/* The head, then the items, then the head again: within one call nobody says what is read first. A block that was sealed and begun anew
 * meanwhile is read anew. */
static bool read_block(const struct snapshot *s, uint64_t offset)
{
	struct tide_block now;
	for (unsigned i = 0; i < BLOCK_TRIES; i++) {
		if (!read_part(s, offset, offset + sizeof now) ||
		    !read_part(s, offset + sizeof now, offset + s->g->block_len) ||
		    tide_file_read(s->file, offset, &now, sizeof now) != sizeof now)
			return false;
		if (memcmp(&now, s->copy + offset, offsetof(struct tide_block, committed)) == 0)
			return true;
	}
	return false;
}

static bool read_staging(const struct snapshot *s)
{
	bool done = true;
	for (uint32_t i = 0; i < s->g->lanes && done; i++) {
		struct tide_block head;
		uint64_t offset = s->g->staging_off + (uint64_t)i * s->g->block_len;
		done = tide_file_read(s->file, offset, &head, sizeof head) == sizeof head;
		memcpy(s->copy + offset, &head, sizeof head);
		if (done && head.file_uid == s->file_uid) /* else it was never begun */
			done = read_block(s, offset);
	}
	return done;
}

/* A frame that was not there when the ring was copied: it belongs to the state only if its block had gone from the lane when that
 * was copied. */
static bool belongs(const struct snapshot *s, const struct tide_frame *f)
{
	struct tide_block head;
	if (f->kind != TIDE_FRAME_EVENTS || f->lane >= s->g->lanes)
		return false;
	memcpy(&head, s->copy + s->g->staging_off + (uint64_t)f->lane * s->g->block_len, sizeof head);
	return head.magic != TIDE_MAGIC_BLOCK || head.block_seq > f->block_seq;
}

/* The current segment, with what was sealed into it since the ring was copied. */
static bool read_sealed(const struct snapshot *s, uint64_t epoch)
{
	uint64_t len = s->g->segment_len, at = sizeof(struct tide_segment), segments = s->g->ring_len / len;
	uint64_t offset = s->g->ring_off + (epoch - 1) % segments * len;
	if (tide_file_read(s->file, offset, s->segment, (size_t)len) != len)
		return false;
	while (at + sizeof(struct tide_frame) <= len) {
		struct tide_frame f, old;
		memcpy(&f, s->segment + at, sizeof f);
		memcpy(&old, s->copy + offset + at, sizeof old);
		uint64_t size = f.header_len + (uint64_t)f.stored_len;
		if (f.magic != TIDE_MAGIC_FRAME || f.file_uid != s->file_uid || size > len - at ||
		    f.lap != (epoch - 1) / segments + 1)
			return true;
		/* of one that was there the items are read behind its head only now */
		if (memcmp(&f, &old, sizeof f) == 0 || belongs(s, &f))
			memcpy(s->copy + offset + at, s->segment + at, (size_t)size);
		at += (size + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN;
	}
	return true;
}

/* The header of the segment that is begun next changes before the count does: whether it is as it was copied. */
static bool next_stands(const struct snapshot *s, uint64_t epoch)
{
	struct tide_segment now;
	uint64_t offset = s->g->ring_off + epoch % (s->g->ring_len / s->g->segment_len) * s->g->segment_len;
	return tide_file_read(s->file, offset, &now, sizeof now) == sizeof now &&
	       memcmp(&now, s->copy + offset, sizeof now) == 0;
}

/* All but the definitions: those are only ever added to, and are read where they are, last (log.c). */
static bool read_all(const struct snapshot *s, uint64_t epoch)
{
	return read_part(s, s->g->ring_off, s->file->size) && read_staging(s) &&
	       (epoch == 0 || read_sealed(s, epoch)) && read_part(s, 0, s->g->defs_off);
}

bool tide_snapshot_take(struct tide_file *file, const struct tide_geometry *g, uint64_t file_uid)
{
	if (file->size > LONGEST || file->size < g->file_size)
		return true;
	struct snapshot s = {file, g, file_uid, calloc(1, (size_t)file->size + g->segment_len), NULL};
	if (!s.copy)
		return false;
	s.segment = s.copy + file->size;
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t epoch = begun(&s);
		if (read_all(&s, epoch) && next_stands(&s, epoch) && begun(&s) == epoch) {
			file->copy = s.copy;
			return true;
		}
	}
	free(s.copy);
	return true;
}
