#include "read/beside.h"

#include <stdlib.h>
#include <string.h>

#define LOG_SUFFIX ".tide"
#define SUFFIX ".census"

char *tide_beside_path(const char *log)
{
	size_t len = strlen(log), suffix = strlen(LOG_SUFFIX);
	if (len <= suffix || strcmp(log + len - suffix, LOG_SUFFIX) != 0)
		return NULL;
	char *path = malloc(len - suffix + sizeof SUFFIX);
	if (path) {
		memcpy(path, log, len - suffix);
		memcpy(path + len - suffix, SUFFIX, sizeof SUFFIX);
	}
	return path;
}

static bool keep(struct tide_beside *b, uint64_t offset, const struct tide_frame *head)
{
	if (b->frames == b->cap) {
		size_t cap = b->cap ? 2 * b->cap : 64;
		struct tide_frame_at *more = realloc(b->frame, cap * sizeof *more);
		if (!more)
			return false;
		b->frame = more;
		b->cap = cap;
	}
	b->frame[b->frames++] = (struct tide_frame_at){offset, *head};
	return true;
}

static bool is_ours(const struct tide_frame *f, uint64_t file_uid, uint64_t room)
{
	return tide_frame_valid(f, file_uid) && f->kind == TIDE_FRAME_CENSUS && f->segment == TIDE_BESIDE_SEGMENT &&
	       f->lap == TIDE_BESIDE_LAP && f->header_len + (uint64_t)f->stored_len <= room;
}

/* False: no memory. */
static bool scan(struct tide_beside *b, uint64_t file_uid)
{
	struct tide_window window;
	uint64_t end = b->file.size < TIDE_BESIDE_MOST ? b->file.size : TIDE_BESIDE_MOST, at = 0, expected = 0;
	bool nomem = false;
	tide_window_init(&window, &b->file);
	while (at + sizeof(struct tide_frame) <= end && !nomem) {
		struct tide_frame f;
		const uint8_t *bytes = tide_window_get(&window, at, sizeof f, &nomem);
		if (!bytes)
			break; /* it is shorter by now, or there is no memory */
		memcpy(&f, bytes, sizeof f);
		if (!is_ours(&f, file_uid, end - at)) {
			at += TIDE_FRAME_ALIGN;
			continue;
		}
		if (at != expected && b->gap_len == 0) {
			b->gap_offset = expected;
			b->gap_len = at - expected;
		}
		nomem = !keep(b, at, &f);
		at += (f.header_len + (uint64_t)f.stored_len + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN *
		      TIDE_FRAME_ALIGN;
		expected = at;
	}
	tide_window_release(&window);
	return !nomem;
}

bool tide_beside_init(struct tide_beside *b, const char *log, uint64_t file_uid)
{
	*b = (struct tide_beside){.file = {.fd = -1}};
	char *path = tide_beside_path(log);
	bool ok = true;
	if (path && tide_file_open(path, &b->file, NULL) == TIDE_OK)
		ok = scan(b, file_uid);
	free(path);
	return ok;
}

void tide_beside_release(struct tide_beside *b)
{
	free(b->frame);
	tide_file_release(&b->file);
	*b = (struct tide_beside){.file = {.fd = -1}};
}
