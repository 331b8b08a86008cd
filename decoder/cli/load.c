#include "cli/build.h"

#include <sched.h>
#include <stdlib.h>

#include "symbols/objects.h"
#include "symbols/symbols.h"

#define THREADS_MOST 4u  /* more than feed one that replays */
#define FRAMES_LEAST 64u /* of a log that is worth a thread */
#define EARLY_MOST \
	2048u /* beyond, reading debug information is little, and its memory is better not beside that of blocks */

/* How many threads read ahead. TIDEMARK_THREADS says how many, whatever the log's size. */
static unsigned threads_for(const struct tide_log *log)
{
	const char *told = getenv("TIDEMARK_THREADS");
	cpu_set_t mine;
	if (told && *told >= '0' && *told <= '9') {
		unsigned long threads = strtoul(told, NULL, 10);
		return threads < THREADS_MOST ? (unsigned)threads : THREADS_MOST;
	}
	if (tide_log_losses(log)->frames < FRAMES_LEAST || sched_getaffinity(0, sizeof mine, &mine) != 0)
		return 0;
	unsigned cores = (unsigned)CPU_COUNT(&mine);
	return cores > THREADS_MOST ? THREADS_MOST : cores - 1;
}

struct beside {
	struct tide_kin *kin;
	const char *path; /* of the child */
};

static const char *find_parent(void *arg, uint64_t uid, bool *ret_nomem)
{
	struct beside *b = arg;
	const char *found = tide_kin_find(b->kin, uid);
	if (!found && !tide_kin_add_beside(b->kin, b->path))
		*ret_nomem = true;
	return found ? found : tide_kin_find(b->kin, uid);
}

static enum tide_status analyze(struct tide_loaded *l, const char *path, struct tide_kin *kin)
{
	struct tide_heritage heritage = {0};
	struct beside beside = {kin, path};
	enum tide_status status = kin ? tide_heritage_init(&heritage, l->log, find_parent, &beside) : TIDE_OK;
	if (!status)
		status = tide_analyze(l->log, kin ? &heritage : NULL, &l->analysis);
	tide_heritage_release(&heritage);
	return status;
}

enum tide_status tide_loaded_init_now(struct tide_loaded *l, const char *path, struct tide_objects *objects,
				      struct tide_kin *kin, const struct tide_census_blob *now, struct tide_error *err)
{
	struct tide_loaded made = {0};
	enum tide_status status = tide_log_open(path, &made.log, err);
	if (status)
		return status;
	tide_log_threads(made.log, threads_for(made.log));
	status = now ? tide_log_add_census(made.log, now->time_ns, now->bytes, now->len) : TIDE_OK;
	if (!status && objects && tide_log_thread_count(made.log) && tide_log_losses(made.log)->frames < EARLY_MOST)
		tide_symbols_early(made.log, objects);
	if (!status)
		status = analyze(&made, path, kin); /* which may take over modules of a parent's log */
	tide_objects_settle(objects);
	if (!status && !(made.symbols = tide_symbols_new(made.log, objects)))
		status = TIDE_ERR_NOMEM;
	if (status) {
		tide_loaded_release(&made);
		return tide_error_set(err, status, "cannot read '%s': %s", path,
				      status == TIDE_ERR_NOMEM ? "out of memory" : "damaged");
	}
	*l = made;
	return TIDE_OK;
}

enum tide_status tide_loaded_init(struct tide_loaded *l, const char *path, struct tide_objects *objects,
				  struct tide_kin *kin, struct tide_error *err)
{
	return tide_loaded_init_now(l, path, objects, kin, NULL, err);
}

void tide_loaded_release(struct tide_loaded *l)
{
	tide_symbols_free(l->symbols);
	tide_analysis_free(l->analysis);
	tide_log_free(l->log);
	*l = (struct tide_loaded){0};
}
