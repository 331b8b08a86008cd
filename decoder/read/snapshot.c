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

/* A block that was sealed and begun anew while it was copied has one header and another's items. */
static bool read_block(const struct snapshot *s, uint32_t lane)
{
	uint64_t offset = s->g->staging_off + (uint64_t)lane * s->g->block_len;
	struct tide_block now;
	for (unsigned i = 0; i < BLOCK_TRIES; i++) {
		if (tide_file_read(s->file, offset, &now, sizeof now) != sizeof now)
			return false;
		if (memcmp(&now, s->copy + offset, offsetof(struct tide_block, committed)) == 0)
			return true;
		if (!read_part(s, offset, offset + s->g->block_len))
			return false;
	}
	return false;
}

static bool read_staging(const struct snapshot *s)
{
	bool done = read_part(s, s->g->staging_off, s->g->ring_off);
	for (uint32_t i = 0; i < s->g->lanes && done; i++) {
		struct tide_block head;
		memcpy(&head, s->copy + s->g->staging_off + (uint64_t)i * s->g->block_len, sizeof head);
		done = head.file_uid != s->file_uid || read_block(s, i);
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

/* What was sealed into the current segment since the ring was copied. */
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
		if (memcmp(&f, &old, sizeof f) != 0 && belongs(s, &f))
			memcpy(s->copy + offset + at, s->segment + at, (size_t)size);
		at += (size + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN;
	}
	return true;
}

/* Definitions last, so that whatever an event refers to has been defined. */
static bool read_all(const struct snapshot *s, uint64_t epoch)
{
	return read_part(s, s->g->ring_off, s->file->size) && read_staging(s) &&
	       (epoch == 0 || read_sealed(s, epoch)) && read_part(s, 0, s->g->staging_off);
}

bool tide_snapshot_take(struct tide_file *file, const struct tide_geometry *g, uint64_t file_uid)
{
	if (file->size > LONGEST || file->size < g->file_size)
		return true;
	struct snapshot s = {file, g, file_uid, malloc((size_t)file->size + g->segment_len), NULL};
	if (!s.copy)
		return false;
	s.segment = s.copy + file->size;
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t epoch = begun(&s);
		if (read_all(&s, epoch) && begun(&s) == epoch) {
			file->copy = s.copy;
			return true;
		}
	}
	free(s.copy);
	return true;
}
