#include "outside/beside.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "format/layout.h"
#include "format/wire.h"
#include "read/beside.h"

#define LOG_SHARE 8u
#define LIMIT_LEAST (UINT64_C(256) << 10)
#define LIMIT_MOST (UINT64_C(64) << 20)
#define LEVEL 3

bool tide_beside_writer_init(struct tide_beside_writer *w, const char *log, uint64_t file_uid, uint64_t log_bytes)
{
	uint64_t limit = log_bytes / LOG_SHARE;
	*w = (struct tide_beside_writer){.fd = -1, .file_uid = file_uid, .path = tide_beside_path(log)};
	w->limit = limit < LIMIT_LEAST ? LIMIT_LEAST : limit > LIMIT_MOST ? LIMIT_MOST : limit;
	return w->path != NULL;
}

void tide_beside_writer_release(struct tide_beside_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->path);
	free(w->entry);
	*w = (struct tide_beside_writer){.fd = -1};
}

static uint64_t padded(uint64_t len)
{
	return (len + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN;
}

/* One part as a frame at `out`, which has room. Its bytes, padding included; 0: it cannot be packed. */
static size_t put_frame(const struct tide_beside_writer *w, const struct tide_outside_census *c, uint32_t part,
			uint8_t *out)
{
	size_t at = (size_t)part * TIDE_FRAME_RAW_MAX;
	size_t raw = c->len - at < TIDE_FRAME_RAW_MAX ? c->len - at : TIDE_FRAME_RAW_MAX;
	struct tide_frame f = {
		.magic = TIDE_MAGIC_FRAME,
		.file_uid = w->file_uid,
		.header_len = sizeof f,
		.kind = TIDE_FRAME_CENSUS,
		.encoding = TIDE_ENCODING_ITEMS,
		.segment = TIDE_BESIDE_SEGMENT,
		.lap = TIDE_BESIDE_LAP,
		.frame_seq = w->taken,
		.lane = part,
		.block_seq = w->taken,
		.events = at + raw == c->len,
		.raw_len = (uint32_t)raw,
		.mono_ns = c->at_ns,
	};
	size_t stored = ZSTD_compress(out + sizeof f, ZSTD_compressBound(raw), c->bytes + at, raw, LEVEL);
	if (ZSTD_isError(stored))
		return 0;
	f.stored_len = (uint32_t)stored;
	f.payload_checksum = tide_checksum(out + sizeof f, stored, w->file_uid);
	f.header_checksum = tide_checksum(&f, TIDE_FRAME_CHECKED, w->file_uid);
	memcpy(out, &f, sizeof f);
	size_t len = (size_t)padded(sizeof f + stored);
	memset(out + sizeof f + stored, 0, len - sizeof f - stored);
	return len;
}

/* All frames of a census, for the caller to free; NULL: no memory. */
static uint8_t *pack(const struct tide_beside_writer *w, const struct tide_outside_census *c, size_t *ret_len)
{
	uint32_t parts = (uint32_t)((c->len + TIDE_FRAME_RAW_MAX - 1) / TIDE_FRAME_RAW_MAX);
	size_t room = sizeof(struct tide_frame) + ZSTD_compressBound(TIDE_FRAME_RAW_MAX) + TIDE_FRAME_ALIGN;
	uint8_t *bytes = parts ? malloc(parts * room) : NULL;
	size_t len = 0;
	for (uint32_t i = 0; i < parts && bytes; i++) {
		size_t n = put_frame(w, c, i, bytes + len);
		len += n;
		if (n == 0) {
			free(bytes);
			return NULL;
		}
	}
	*ret_len = len;
	return bytes;
}

static int create(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
}

static bool copy_entry(const struct tide_beside_writer *w, int to, const struct tide_beside_entry *e, uint64_t at)
{
	uint8_t *bytes = malloc(e->len);
	bool ok = bytes && pread(w->fd, bytes, e->len, (off_t)e->offset) == (ssize_t)e->len &&
		  pwrite(to, bytes, e->len, (off_t)at) == (ssize_t)e->len;
	free(bytes);
	return ok;
}

/* Every second census into a new file, that takes the place of the old one. False: the old one stays. */
static bool thin(struct tide_beside_writer *w)
{
	size_t name = strlen(w->path);
	char *path = malloc(name + sizeof ".new");
	uint64_t len = 0;
	if (!path)
		return false;
	memcpy(path, w->path, name);
	memcpy(path + name, ".new", sizeof ".new");
	unlink(path); /* of a writer that was ended in the act */
	int to = create(path);
	bool ok = to >= 0;
	for (uint32_t i = 0; i < w->entries && ok; i += 2) {
		ok = copy_entry(w, to, &w->entry[i], len);
		len += w->entry[i].len;
	}
	if (!ok || rename(path, w->path) != 0) {
		if (to >= 0) {
			close(to);
			unlink(path);
		}
		free(path);
		return false;
	}
	free(path);
	close(w->fd);
	w->fd = to;
	w->len = len;
	len = 0;
	for (uint32_t i = 0, kept = 0; i < w->entries; i += 2, kept++) {
		w->entry[kept] = (struct tide_beside_entry){len, w->entry[i].len, w->entry[i].at_ns};
		len += w->entry[kept].len;
	}
	w->entries = (w->entries + 1) / 2;
	if (w->entries > 1)
		w->apart_ns = (w->entry[w->entries - 1].at_ns - w->entry[0].at_ns) / (w->entries - 1);
	return true;
}

static bool room_for_entry(struct tide_beside_writer *w)
{
	if (w->entries < w->cap)
		return true;
	uint32_t cap = w->cap ? 2 * w->cap : 64;
	struct tide_beside_entry *more = realloc(w->entry, cap * sizeof *more);
	if (!more)
		return false;
	w->entry = more;
	w->cap = cap;
	return true;
}

/* The last one was taken so soon after the one before that it stood for "just now" only. */
static void drop_last(struct tide_beside_writer *w)
{
	const struct tide_beside_entry *last = w->entries > 1 ? &w->entry[w->entries - 1] : NULL;
	if (last && last->at_ns - last[-1].at_ns < w->apart_ns) {
		w->len = last->offset;
		w->entries--;
	}
}

static bool append(struct tide_beside_writer *w, const uint8_t *bytes, size_t len, uint64_t at_ns)
{
	struct stat st;
	uint64_t end = w->len + len;
	bool ok = pwrite(w->fd, bytes, len, (off_t)w->len) == (ssize_t)len && fstat(w->fd, &st) == 0;
	if (ok && (uint64_t)st.st_size > end) /* the one that went was longer */
		ok = ftruncate(w->fd, (off_t)end) == 0;
	if (ok) {
		w->entry[w->entries++] = (struct tide_beside_entry){w->len, len, at_ns};
		w->len = end;
		return true;
	}
	if (ftruncate(w->fd, (off_t)w->len) != 0)
		return false; /* a last frame that is not whole: a reader knows */
	return false;
}

bool tide_beside_put(struct tide_beside_writer *w, const struct tide_outside_census *c)
{
	size_t len = 0;
	if (w->failed)
		return false;
	uint8_t *bytes = pack(w, c, &len);
	bool ok = bytes && room_for_entry(w);
	if (ok && w->fd < 0)
		ok = (w->fd = create(w->path)) >= 0;
	drop_last(w);
	while (ok && w->len + len > w->limit && w->entries > 1)
		ok = thin(w);
	ok = ok && w->len + len <= w->limit && append(w, bytes, len, c->at_ns);
	w->taken++;
	w->failed = !ok;
	free(bytes);
	return ok;
}
