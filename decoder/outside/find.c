#include "outside/find.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "read/alive.h"
#include "read/census.h"
#include "read/super.h"

#define DELETED " (deleted)"

/* The superblock of the file at `path`, if that is the file of this inode. */
static bool open_as(const char *path, uint64_t inode, struct tide_superblock *ret)
{
	struct stat st;
	struct tide_file file;
	struct tide_damages damages = {0};
	struct tide_geometry geometry;
	if (stat(path, &st) != 0 || (uint64_t)st.st_ino != inode || tide_file_open(path, &file, NULL))
		return false;
	bool ok = tide_super_read(&file, path, &damages, ret, &geometry, NULL) == TIDE_OK;
	tide_file_release(&file);
	return ok;
}

static bool is_log(const struct tide_outside_map *m)
{
	size_t len = strlen(m->path), deleted = strlen(DELETED);
	if (len > deleted && strcmp(m->path + len - deleted, DELETED) == 0)
		len -= deleted;
	return m->inode && m->flags & TIDE_REGION_SHARED && m->flags & TIDE_REGION_WRITE && len > 5 &&
	       memcmp(m->path + len - 5, ".tide", 5) == 0;
}

/* As it is called here; as it is called where the process lives; as the kernel has it, though it is removed (for root only). */
static char *path_to(const struct tide_outside *o, const struct tide_outside_map *m, struct tide_superblock *ret)
{
	char *path = NULL;
	if (open_as(m->path, m->inode, ret))
		return strdup(m->path);
	for (unsigned way = 0; way < 2; way++) {
		int n = way == 0 ? asprintf(&path, "/proc/%d/root%s", o->pid, m->path)
				 : asprintf(&path, "/proc/%d/map_files/%lx-%lx", o->pid, (unsigned long)m->start,
					    (unsigned long)m->end);
		if (n < 0)
			return NULL;
		if (open_as(path, m->inode, ret))
			return path;
		free(path);
	}
	return NULL;
}

static enum tide_outside_found judge(const struct tide_outside *o, const struct tide_outside_map *m, char **ret_path)
{
	struct tide_superblock super;
	char *path = path_to(o, m, &super);
	if (!path) {
		*ret_path = strdup(m->path);
		return TIDE_FOUND_UNREADABLE;
	}
	if (super.process_start && super.process_start != o->start_ticks) {
		free(path);
		return TIDE_FOUND_ANOTHERS;
	}
	*ret_path = path;
	return TIDE_FOUND_LOG;
}

enum tide_outside_found tide_outside_log(const struct tide_outside *o, char **ret_path)
{
	FILE *maps = tide_outside_file(o->pid, "maps");
	enum tide_outside_found found = TIDE_FOUND_NONE;
	struct tide_outside_map m;
	char *line = NULL;
	size_t cap = 0;
	*ret_path = NULL;
	while (maps && found != TIDE_FOUND_LOG && getline(&line, &cap, maps) > 0)
		if (tide_outside_map(line, &m) && is_log(&m)) {
			free(*ret_path);
			*ret_path = NULL;
			found = judge(o, &m, ret_path);
		}
	free(line);
	if (maps)
		fclose(maps);
	return found;
}

static bool maps_inode(int pid, uint64_t inode)
{
	FILE *maps = tide_outside_file(pid, "maps");
	struct tide_outside_map m;
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	while (maps && !found && getline(&line, &cap, maps) > 0)
		found = tide_outside_map(line, &m) && is_log(&m) && m.inode == inode;
	free(line);
	if (maps)
		fclose(maps);
	return found;
}

enum tide_status tide_outside_writer(const char *path, int *ret_found, int *ret_pid, struct tide_error *err)
{
	struct tide_file file;
	struct tide_damages damages = {0};
	struct tide_superblock super;
	struct tide_geometry geometry;
	struct stat st;
	enum tide_status status = tide_file_open(path, &file, err);
	if (status)
		return status;
	status = tide_super_read(&file, path, &damages, &super, &geometry, err);
	if (!status) {
		int pid = tide_process_find(&super);
		*ret_pid = super.pid;
		*ret_found = pid && fstat(file.fd, &st) == 0 && maps_inode(pid, (uint64_t)st.st_ino) ? pid : 0;
	}
	tide_file_release(&file);
	return status;
}
