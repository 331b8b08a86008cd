#include "read/kin.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "read/damage.h"
#include "read/file.h"
#include "read/super.h"

#define LOGS_MOST 65536u /* of a directory: beyond it a parent is not looked for */

void tide_kin_release(struct tide_kin *k)
{
	for (size_t i = 0; i < k->count; i++)
		free(k->log[i].path);
	for (size_t i = 0; i < k->directories; i++)
		free(k->directory[i]);
	free(k->log);
	free(k->directory);
	*k = (struct tide_kin){0};
}

uint64_t tide_kin_uid(const char *path)
{
	struct tide_file file;
	struct tide_error ignored;
	struct tide_damages damages = {0};
	struct tide_superblock super;
	struct tide_geometry geometry;
	uint64_t uid = 0;
	if (tide_file_open(path, &file, &ignored))
		return 0;
	if (!tide_super_read(&file, path, &damages, &super, &geometry, &ignored))
		uid = super.file_uid;
	tide_file_release(&file);
	return uid;
}

bool tide_kin_add(struct tide_kin *k, const char *path)
{
	uint64_t uid = tide_kin_uid(path);
	if (!uid)
		return true;
	if (k->count == k->cap) {
		size_t cap = k->cap ? 2 * k->cap : 16;
		struct tide_kin_log *log = realloc(k->log, cap * sizeof *log);
		if (!log)
			return false;
		k->log = log;
		k->cap = cap;
	}
	char *copy = strdup(path);
	if (!copy)
		return false;
	k->log[k->count++] = (struct tide_kin_log){uid, copy};
	return true;
}

/* Takes over `directory`. False: no memory. */
static bool remember(struct tide_kin *k, char *directory)
{
	char **more = realloc(k->directory, (k->directories + 1) * sizeof *more);
	if (!more) {
		free(directory);
		return false;
	}
	k->directory = more;
	k->directory[k->directories++] = directory;
	return true;
}

static bool add_entry(struct tide_kin *k, const char *directory, const char *name)
{
	size_t len = strlen(name);
	char *path = NULL;
	if (len <= 5 || strcmp(name + len - 5, ".tide") != 0)
		return true;
	if (asprintf(&path, "%s/%s", directory, name) < 0)
		return false;
	bool added = tide_kin_add(k, path);
	free(path);
	return added;
}

bool tide_kin_add_beside(struct tide_kin *k, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	struct dirent *e;
	bool ok = true;
	if (!directory)
		return false;
	for (size_t i = 0; i < k->directories; i++)
		if (strcmp(k->directory[i], directory) == 0) {
			free(directory);
			return true;
		}
	DIR *d = opendir(directory);
	for (unsigned i = 0; d && ok && i < LOGS_MOST && (e = readdir(d)); i++)
		ok = add_entry(k, directory, e->d_name);
	if (d)
		closedir(d);
	return remember(k, directory) && ok;
}

const char *tide_kin_find(const struct tide_kin *k, uint64_t uid)
{
	for (size_t i = 0; i < k->count; i++)
		if (k->log[i].uid == uid)
			return k->log[i].path;
	return NULL;
}
