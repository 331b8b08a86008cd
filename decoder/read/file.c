#include "read/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define WINDOW_LEN (256u << 10)

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	default:
		return "a device";
	}
}

static enum tide_status check_type(const struct stat *st, const char *path, struct tide_error *err)
{
	if (S_ISREG(st->st_mode))
		return TIDE_OK;
	return tide_error_set(err, TIDE_ERR_NOT_A_LOG, "'%s' is %s, not a log", path, type_name(st->st_mode));
}

/* Of others it is not known whether they see what a mapping has written and nobody has flushed. */
static bool tells_holes(int fd)
{
	struct statfs fs;
	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC);
}

enum tide_status tide_file_open(const char *path, struct tide_file *ret, struct tide_error *err)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return tide_error_set(err, TIDE_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
	enum tide_status status = check_type(&st, path, err);
	if (status != TIDE_OK)
		return status;
	/* O_NONBLOCK: should the file have become a FIFO since, open does not wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return tide_error_set(err, TIDE_ERR_IO, "cannot open '%s': %s", path, strerror(errno));
	status = fstat(fd, &st) == 0 ? check_type(&st, path, err)
				     : tide_error_set(err, TIDE_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
	if (status != TIDE_OK) {
		close(fd);
		return status;
	}
	*ret = (struct tide_file){fd, (uint64_t)st.st_size, NULL, tells_holes(fd)};
	return TIDE_OK;
}

void tide_file_release(struct tide_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	free(file->copy);
	file->copy = NULL;
}

size_t tide_file_read(const struct tide_file *file, uint64_t offset, void *buf, size_t len)
{
	size_t done = 0;
	if (file->copy) {
		done = offset >= file->size ? 0 : len < file->size - offset ? len : (size_t)(file->size - offset);
		memcpy(buf, file->copy + (done ? offset : 0), done);
		return done;
	}
	while (done < len && offset + done <= INT64_MAX) {
		ssize_t n = pread(file->fd, (uint8_t *)buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

uint64_t tide_file_data(const struct tide_file *file, uint64_t offset)
{
	if (file->copy || !file->tells_holes || offset > INT64_MAX)
		return offset;
	off_t at = lseek(file->fd, (off_t)offset, SEEK_DATA);
	if (at >= (off_t)offset)
		return (uint64_t)at;
	return at < 0 && errno == ENXIO && offset < file->size ? file->size : offset;
}

void tide_window_init(struct tide_window *w, const struct tide_file *file)
{
	*w = (struct tide_window){.file = file, .end = file->size};
}

void tide_window_release(struct tide_window *w)
{
	free(w->bytes);
	*w = (struct tide_window){0};
}

const uint8_t *tide_window_get(struct tide_window *w, uint64_t offset, size_t len, bool *ret_nomem)
{
	if (offset >= w->offset && offset - w->offset <= w->len && len <= w->len - (size_t)(offset - w->offset))
		return w->bytes + (offset - w->offset);
	if (offset > w->file->size || len > w->file->size - offset)
		return NULL;
	size_t cap = len > WINDOW_LEN ? len : WINDOW_LEN;
	if (cap > w->cap) {
		uint8_t *bytes = realloc(w->bytes, cap);
		if (!bytes) {
			*ret_nomem = true;
			return NULL;
		}
		w->bytes = bytes;
		w->cap = cap;
	}
	uint64_t left = w->end > offset + len ? w->end - offset : len;
	w->offset = offset;
	w->len = tide_file_read(w->file, offset, w->bytes, left < w->cap ? (size_t)left : w->cap);
	return len <= w->len ? w->bytes : NULL;
}
