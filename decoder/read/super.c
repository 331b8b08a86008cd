#include "read/super.h"

#include <inttypes.h>
#include <string.h>

#include "format/wire.h"

#define HEADER_LEN_MIN 64u
#define HEADER_LEN_MAX (TIDE_PAGE - 8u)
#define LANES_MAX 65536u
#define SEGMENT_LEN_MAX (1u << 30)
#define SEGMENTS_READ_MAX (1u << 16)

enum copy_state { COPY_FOREIGN, COPY_BAD, COPY_GOOD };

static enum copy_state read_copy(const struct tide_file *file, uint64_t offset, struct tide_superblock *ret)
{
	uint8_t page[TIDE_PAGE];
	struct tide_superblock s;
	size_t len = tide_file_read(file, offset, page, sizeof page);
	if (len < sizeof s.magic + sizeof s.header_len)
		return COPY_FOREIGN;
	memset(&s, 0, sizeof s);
	memcpy(&s, page, len < sizeof s ? len : sizeof s);
	if (s.magic != TIDE_MAGIC_FILE)
		return COPY_FOREIGN;
	if (s.header_len < HEADER_LEN_MIN || s.header_len > HEADER_LEN_MAX || s.header_len + 8 > len)
		return COPY_BAD;
	uint64_t checksum;
	memcpy(&checksum, page + s.header_len, sizeof checksum);
	if (checksum != tide_checksum(page, s.header_len, 0))
		return COPY_BAD;
	/* Written by an older minor version: what it did not know is 0. */
	if (s.header_len < TIDE_SUPERBLOCK_LEN)
		memset((uint8_t *)&s + s.header_len, 0, sizeof s - s.header_len);
	*ret = s;
	return COPY_GOOD;
}

static struct tide_geometry geometry_told(const struct tide_superblock *s)
{
	return (struct tide_geometry){
		.file_size = s->file_size,
		.control_off = s->control_off,
		.defs_off = s->defs_off,
		.defs_len = s->defs_len,
		.staging_off = s->staging_off,
		.ring_off = s->ring_off,
		.ring_len = s->ring_len,
		.lanes = s->lanes,
		.shared_lanes = s->shared_lanes,
		.block_len = s->block_len,
		.segment_len = s->segment_len,
	};
}

static bool geometry_holds(const struct tide_geometry *g)
{
	if (g->file_size > TIDE_FILE_MAX || g->lanes == 0 || g->lanes > LANES_MAX || g->shared_lanes > g->lanes)
		return false;
	if (g->block_len < 2 * sizeof(struct tide_block) || g->block_len > TIDE_FRAME_RAW_MAX)
		return false;
	if (g->segment_len < 2 * sizeof(struct tide_frame) || g->segment_len > SEGMENT_LEN_MAX ||
	    g->segment_len % TIDE_FRAME_ALIGN != 0 || g->ring_len % g->segment_len != 0 ||
	    g->ring_len / g->segment_len > SEGMENTS_READ_MAX)
		return false;
	return g->control_off <= g->file_size && g->defs_off <= g->file_size && g->defs_len <= g->file_size &&
	       g->staging_off <= g->file_size && g->ring_off <= g->file_size && g->ring_len <= g->file_size &&
	       g->control_off + sizeof(struct tide_control) <= g->defs_off &&
	       g->defs_off + g->defs_len <= g->staging_off &&
	       g->staging_off + (uint64_t)g->lanes * g->block_len <= g->ring_off &&
	       g->ring_off + g->ring_len <= g->file_size;
}

static enum tide_status check_version(const struct tide_superblock *s, const char *path, struct tide_error *err)
{
	if (s->version_major > TIDE_VERSION_MAJOR)
		return tide_error_set(err, TIDE_ERR_TOO_NEW, "'%s' has format %u.%u, this tidemark reads up to %u.x",
				      path, s->version_major, s->version_minor, TIDE_VERSION_MAJOR);
	if (s->incompat_flags & ~TIDE_INCOMPAT_KNOWN)
		return tide_error_set(err, TIDE_ERR_TOO_NEW,
				      "'%s' needs a newer tidemark (format %u.%u, incompatible flags 0x%" PRIx64 ")",
				      path, s->version_major, s->version_minor,
				      s->incompat_flags & ~TIDE_INCOMPAT_KNOWN);
	if (s->endian != 0 && s->endian != TIDE_ENDIAN)
		return tide_error_set(err, TIDE_ERR_UNSUPPORTED, "'%s' was written on a big-endian machine", path);
	return TIDE_OK;
}

/* Both copies are bad: the geometry follows from the size, the file's number from its control page or any staging block. */
static uint64_t find_uid(const struct tide_file *file, const struct tide_geometry *g)
{
	struct tide_control control;
	if (tide_file_read(file, g->control_off, &control, sizeof control) == sizeof control &&
	    control.magic == TIDE_MAGIC_CONTROL && control.file_uid != 0)
		return control.file_uid;
	for (uint32_t i = 0; i < g->lanes; i++) {
		struct tide_block b;
		if (tide_file_read(file, g->staging_off + (uint64_t)i * g->block_len, &b, sizeof b) == sizeof b &&
		    b.magic == TIDE_MAGIC_BLOCK && b.lane == i && b.file_uid != 0 &&
		    b.checksum == (uint32_t)tide_checksum(&b, TIDE_BLOCK_CHECKED, b.file_uid))
			return b.file_uid;
	}
	return 0;
}

static enum tide_status without_copies(const struct tide_file *file, const char *path, bool looks_like_one,
				       struct tide_superblock *ret_super, struct tide_geometry *ret_geometry,
				       struct tide_error *err)
{
	struct tide_geometry g = {0};
	uint64_t uid = 0;
	if (file->size >= TIDE_FILE_MIN && file->size <= TIDE_FILE_MAX && file->size % TIDE_PAGE == 0) {
		g = tide_geometry_of(file->size);
		uid = find_uid(file, &g);
	}
	if (uid == 0 && looks_like_one)
		return tide_error_set(err, TIDE_ERR_BAD, "'%s' is damaged: no superblock, nothing to go by", path);
	if (uid == 0)
		return tide_error_set(err, TIDE_ERR_NOT_A_LOG, "'%s' is %s", path,
				      file->size == 0 ? "empty, not a log" : "not a tidemark log");
	*ret_super = (struct tide_superblock){.file_uid = uid, .file_size = file->size, .page_size = TIDE_PAGE};
	*ret_geometry = g;
	return TIDE_OK;
}

enum tide_status tide_super_read(const struct tide_file *file, const char *path, struct tide_damages *damages,
				 struct tide_superblock *ret_super, struct tide_geometry *ret_geometry,
				 struct tide_error *err)
{
	struct tide_superblock first, second, *use = &first;
	enum copy_state a = read_copy(file, 0, &first);
	uint64_t at = a == COPY_GOOD && first.file_size >= TIDE_PAGE ? first.file_size : file->size;
	enum copy_state b = at >= TIDE_PAGE ? read_copy(file, at - TIDE_PAGE, &second) : COPY_FOREIGN;
	if (a != COPY_GOOD && b != COPY_GOOD) {
		bool looks_like_one = a == COPY_BAD || b == COPY_BAD;
		enum tide_status status = without_copies(file, path, looks_like_one, ret_super, ret_geometry, err);
		if (status == TIDE_OK) {
			tide_damage_add(damages, 0, TIDE_PAGE, "superblock: checksum");
			tide_damage_add(damages, at - TIDE_PAGE, TIDE_PAGE, "second superblock: checksum");
		}
		return status;
	}
	if (a != COPY_GOOD)
		use = &second;
	enum tide_status status = check_version(use, path, err);
	if (status != TIDE_OK)
		return status;
	struct tide_geometry g = geometry_told(use);
	if (!geometry_holds(&g) || use->file_uid == 0)
		return tide_error_set(err, TIDE_ERR_BAD, "'%s' is damaged: its superblock makes no sense", path);
	if (a != COPY_GOOD)
		tide_damage_add(damages, 0, TIDE_PAGE, "superblock: checksum");
	if (file->size < g.file_size)
		tide_damage_add(damages, file->size, g.file_size - file->size,
				"cut short: the file should have %" PRIu64 " bytes", g.file_size);
	else if (a == COPY_GOOD && (b != COPY_GOOD || memcmp(&first, &second, sizeof first) != 0))
		tide_damage_add(damages, at - TIDE_PAGE, TIDE_PAGE, "second superblock: checksum");
	*ret_super = *use;
	*ret_geometry = g;
	return TIDE_OK;
}

void tide_control_read(const struct tide_file *file, const struct tide_geometry *g, uint64_t file_uid,
		       struct tide_control_read *ret)
{
	struct tide_control c;
	*ret = (struct tide_control_read){0};
	if (tide_file_read(file, g->control_off, &c, sizeof c) != sizeof c || c.magic != TIDE_MAGIC_CONTROL ||
	    c.file_uid != file_uid)
		return;
	ret->valid = true;
	for (unsigned i = 0; i < TIDE_CTL_WORDS; i++) {
		uint64_t a = c.word[i][0], b = c.word[i][1];
		ret->word[i] = a < b ? a : b;
		ret->apart[i] = a < b ? b - a : a - b;
	}
}
