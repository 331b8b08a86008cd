#include "cli/paths.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool add(struct tide_paths *p, const char *dir, const char *name)
{
	char **more = realloc(p->path, (p->count + 1) * sizeof *more);
	char *text = NULL;
	if (!more)
		return false;
	p->path = more;
	if (asprintf(&text, dir ? "%s/%s" : "%s%s", dir ? dir : name, dir ? name : "") < 0)
		return false;
	p->path[p->count++] = text;
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum tide_status add_directory(struct tide_paths *p, const char *dir, struct tide_error *err)
{
	size_t before = p->count;
	struct dirent *e;
	bool ok = true;
	DIR *d = opendir(dir);
	if (!d)
		return tide_error_set(err, TIDE_ERR_IO, "cannot open '%s': %s", dir, strerror(errno));
	while (ok && (e = readdir(d))) {
		size_t len = strlen(e->d_name);
		if (len > 5 && strcmp(e->d_name + len - 5, ".tide") == 0)
			ok = add(p, dir, e->d_name);
	}
	closedir(d);
	if (!ok)
		return tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	if (p->count == before)
		return tide_error_set(err, TIDE_ERR_NOT_A_LOG, "no log (*.tide) in '%s'", dir);
	qsort(p->path + before, p->count - before, sizeof *p->path, by_name);
	return TIDE_OK;
}

enum tide_status tide_paths_init(struct tide_paths *ret, char **given, int count, struct tide_error *err)
{
	struct tide_paths p = {0};
	enum tide_status status = TIDE_OK;
	struct stat st;
	for (int i = 0; i < count && !status; i++) {
		if (stat(given[i], &st) == 0 && S_ISDIR(st.st_mode))
			status = add_directory(&p, given[i], err);
		else if (!add(&p, NULL, given[i]))
			status = tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	}
	if (status)
		tide_paths_release(&p);
	else
		*ret = p;
	return status;
}

void tide_paths_release(struct tide_paths *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->path[i]);
	free(p->path);
	*p = (struct tide_paths){0};
}
