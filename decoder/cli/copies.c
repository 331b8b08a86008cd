#include "cli/copies.h"

#include <stdint.h>
#include <stdlib.h>

#include "read/kin.h"
#include "read/log.h"

/* Events recorded by the time the copy was made; 0 if it cannot be read. */
static uint64_t events_of(const char *path)
{
	struct tide_log *log;
	if (tide_log_open(path, &log, NULL) != TIDE_OK)
		return 0;
	uint64_t events = tide_log_losses(log)->recorded;
	tide_log_free(log);
	return events;
}

enum tide_status tide_copies_find(const struct tide_paths *paths, const char **ret_instead)
{
	uint64_t *uid = calloc(paths->count + 1, sizeof *uid);
	if (!uid)
		return TIDE_ERR_NOMEM;
	for (size_t i = 0; i < paths->count; i++) {
		uid[i] = tide_kin_uid(paths->path[i]);
		ret_instead[i] = NULL;
		for (size_t j = 0; j < i && uid[i] && !ret_instead[i]; j++) {
			if (uid[j] != uid[i] || ret_instead[j])
				continue;
			if (events_of(paths->path[i]) > events_of(paths->path[j]))
				ret_instead[j] = paths->path[i];
			else
				ret_instead[i] = paths->path[j];
		}
	}
	free(uid);
	return TIDE_OK;
}
