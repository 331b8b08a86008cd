#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum tide_status tide_output_init(struct tide_output *o, const char *path, struct tide_error *err)
{
	struct tide_output made = {.file = stdout};
	struct stat st;
	*o = made;
	if (!path)
		return TIDE_OK;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) { /* a pipe, a terminal, /dev/null: nothing to rename over */
		o->file = fopen(path, "we");
		return o->file ? TIDE_OK
			       : tide_error_set(err, TIDE_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
	}
	made.path = strdup(path);
	if (!made.path || asprintf(&made.temporary, "%s.XXXXXX", path) < 0) {
		free(made.path);
		return tide_error_set(err, TIDE_ERR_IO, "out of memory");
	}
	int fd = mkostemp(made.temporary, O_CLOEXEC);
	made.file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!made.file) {
		tide_error_set(err, TIDE_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
		free(made.path);
		free(made.temporary);
		return TIDE_ERR_IO;
	}
	mode_t mask = umask(0);
	umask(mask);
	fchmod(fd, 0666 & ~mask);
	*o = made;
	return TIDE_OK;
}

enum tide_status tide_output_finish(struct tide_output *o, bool keep, struct tide_error *err)
{
	enum tide_status status = TIDE_OK;
	bool failed = fflush(o->file) != 0 || ferror(o->file);
	int why = errno;
	if (o->file != stdout && fclose(o->file) != 0 && !failed) {
		failed = true;
		why = errno;
	}
	if (o->temporary && (failed || !keep || rename(o->temporary, o->path) != 0)) {
		if (!failed && keep) {
			failed = true;
			why = errno;
		}
		unlink(o->temporary);
	}
	if (failed && (why != EPIPE || o->path))
		status = tide_error_set(err, TIDE_ERR_IO, "cannot write '%s': %s",
					o->path ? o->path : "standard output", strerror(why));
	free(o->path);
	free(o->temporary);
	*o = (struct tide_output){0};
	return status;
}

void tide_output_json(FILE *out, const json_t *document)
{
	json_dumpf(document, out, JSON_INDENT(1) | JSON_ENSURE_ASCII);
	fputc('\n', out);
}
