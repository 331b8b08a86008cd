#include "rerun/rerun.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAR_OFF 20u /* as-is off by more than 1/20 of the recorded RSS: tried again with all of every block written */
#define LEAST_MEMORY (UINT64_C(256) << 20)

bool tide_rerun_find_runner(char *buf, size_t cap)
{
	static const char *const places[] = {"tidemark-rerun", "../lib/tidemark/tidemark-rerun"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = '\0';
	const char *dir = dirname(self);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		if (snprintf(buf, cap, "%s/%s", dir, places[i]) < (int)cap && access(buf, X_OK) == 0)
			return true;
	return false;
}

/* Three quarters of what the machine has free, and no more than this log could sensibly take. */
static uint64_t memory_for(const struct tide_survey *s)
{
	char line[128];
	uint64_t kib = 0, wanted = s->peak_live > UINT64_MAX / 8 ? UINT64_MAX : 4 * s->peak_live + 4 * LEAST_MEMORY;
	FILE *f = fopen("/proc/meminfo", "re");
	while (f && !kib && fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) != 1)
			kib = 0;
	if (f)
		fclose(f);
	uint64_t most = kib ? (kib << 10) / 4 * 3 : 4 * LEAST_MEMORY;
	return wanted < most ? wanted : most;
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* What was resident beside the heap, at the nearest census. */
static uint64_t rest_at(const struct tide_survey *s, uint64_t at_ns)
{
	uint32_t i = 0;
	while (i + 1 < s->recordeds && apart(s->recorded[i + 1].at_ns, at_ns) <= apart(s->recorded[i].at_ns, at_ns))
		i++;
	return s->recordeds ? s->recorded[i].rss - s->recorded[i].heap : 0;
}

static void fill_row(const struct tide_rerun *r, struct tide_rerun_row *row, const struct tide_run *run, uint64_t floor)
{
	row->ran = true;
	row->floor = run->floor;
	row->failed = run->failed;
	row->failed_bytes = run->failed_bytes;
	row->seconds = run->seconds;
	row->samples = run->samples;
	row->rss = run->anon;
	row->peak_rss = row->end_rss = 0;
	for (uint64_t i = 0; i < run->samples; i++) {
		uint64_t heap = run->anon[i] > floor ? run->anon[i] - floor : 0;
		row->rss[i] = heap + rest_at(&r->survey, r->plan.sample[i].at_ns);
		row->peak_rss = row->rss[i] > row->peak_rss ? row->rss[i] : row->peak_rss;
		row->end_rss = row->rss[i];
	}
}

static void compare(struct tide_rerun *r, const struct tide_rerun_row *row)
{
	r->compared = 0;
	r->error_bytes = r->error_at_end = 0;
	for (uint64_t i = 0; i < row->samples; i++) {
		int32_t number = r->plan.sample[i].recorded;
		if (number < 0)
			continue;
		r->error_at_end = apart(row->rss[i], r->survey.recorded[number].rss);
		r->error_bytes = r->error_at_end > r->error_bytes ? r->error_at_end : r->error_bytes;
		r->compared++;
	}
}

static enum tide_status run_as_is(struct tide_rerun *r, struct tide_run_how *how, struct tide_error *err)
{
	struct tide_rerun_row *row = &r->row[0];
	struct tide_run run;
	enum tide_status status = tide_run_init(&run, row->setting, how, err);
	if (status)
		return status;
	fill_row(r, row, &run, run.floor);
	compare(r, row);
	if (!r->compared || r->error_bytes <= r->recorded_end / FAR_OFF)
		return TIDE_OK;
	/* the censuses come too seldom to tell what was written: see whether writing all comes closer */
	struct tide_rerun_row seen = *row;
	uint64_t error = r->error_bytes, error_at_end = r->error_at_end;
	how->touch_all = true;
	if (tide_run_init(&run, row->setting, how, NULL) == TIDE_OK) {
		fill_row(r, row, &run, run.floor);
		compare(r, row);
	}
	r->touch_all = how->touch_all = row->rss != seen.rss && r->error_bytes < error;
	if (row->rss == seen.rss)
		return TIDE_OK;
	free(r->touch_all ? seen.rss : row->rss);
	if (!r->touch_all) {
		*row = seen;
		r->error_bytes = error;
		r->error_at_end = error_at_end;
	}
	return TIDE_OK;
}

static void run_other(struct tide_rerun *r, struct tide_rerun_row *row, const struct tide_run_how *how)
{
	struct tide_run run;
	struct tide_error err = {0};
	if (!tide_setting_available(row->setting))
		snprintf(row->why, sizeof row->why, "Debian package %s is not installed", row->setting->package);
	else if (row->setting->python_objects && r->survey.objects == 0)
		snprintf(row->why, sizeof row->why,
			 "the log has no Python objects (TIDEMARK_PYTHON=objects records them)");
	else if (tide_run_init(&run, row->setting, how, &err))
		snprintf(row->why, sizeof row->why, "%s", err.text);
	else
		fill_row(r, row, &run, r->row[0].floor);
}

static void set_titles(struct tide_rerun *r, const struct tide_rerun_options *o)
{
	const struct tide_setting *all;
	tide_settings(&all);
	r->row[0].setting = &all[TIDE_SETTING_AS_IS];
	for (uint32_t i = 0; i < o->settings; i++)
		r->row[i + 1].setting = o->setting[i];
	for (uint32_t i = 0; i < r->rows; i++) {
		struct tide_rerun_row *row = &r->row[i];
		snprintf(row->title, sizeof row->title, "%s", row->setting->title);
		if (row->setting->trims)
			snprintf(row->title, sizeof row->title, "malloc_trim(0) every %g s", o->trim_ms / 1000.0);
	}
}

static enum tide_status run_all(struct tide_rerun *r, const struct tide_rerun_options *o, int ops,
				struct tide_error *err)
{
	struct tide_run_how how = {
		.runner = o->runner,
		.ops = ops,
		.samples = r->plan.head.samples,
		.trim_ms = o->trim_ms,
		.memory = r->memory,
		.timeout_s = o->timeout_s,
	};
	if (o->progress)
		o->progress(r->row[0].title);
	enum tide_status status = run_as_is(r, &how, err);
	for (uint32_t i = 1; i < r->rows && !status; i++) {
		if (o->progress)
			o->progress(r->row[i].title);
		run_other(r, &r->row[i], &how);
	}
	return status;
}

static enum tide_status survey(struct tide_rerun *r, struct tide_log *log, struct tide_error *err)
{
	const struct tide_losses *l = tide_log_losses(log);
	if (l->evicted && tide_log_carried(log)->epoch == 0)
		return tide_error_set(err, TIDE_ERR_UNSUPPORTED,
				      "the log begins after %" PRIu64
				      " events that were overwritten, and what lived then is not known",
				      l->evicted);
	enum tide_status status = tide_survey_init(&r->survey, log);
	if (status)
		return tide_error_set(err, status, "cannot read the log: out of memory");
	const struct tide_survey *s = &r->survey;
	const struct tide_recorded *last = s->recordeds ? &s->recorded[s->recordeds - 1] : NULL;
	r->recorded_peak = s->peak_rss;
	r->recorded_end = last ? last->rss : 0;
	r->rest = last ? last->rss - last->heap : 0;
	r->memory = memory_for(s);
	return TIDE_OK;
}

/* A file without a name: gone when we are. -1: none could be made. */
static int nameless_file(void)
{
	const char *dir = getenv("TMPDIR");
	char path[] = "/tmp/tidemark-XXXXXX";
	int fd = open(dir && *dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

enum tide_status tide_rerun_init(struct tide_rerun *ret, struct tide_log *log, const struct tide_rerun_options *o,
				 struct tide_error *err)
{
	struct tide_rerun r = {.rows = o->settings + 1};
	int ops = nameless_file();
	r.row = calloc(r.rows, sizeof *r.row);
	enum tide_status status = TIDE_OK;
	if (ops < 0)
		status = tide_error_set(err, TIDE_ERR_IO, "cannot make a temporary file");
	else if (!r.row)
		status = tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
	else
		status = survey(&r, log, err);
	if (!status)
		status = tide_plan_init(&r.plan, log, &r.survey, ops, err);
	if (!status) {
		set_titles(&r, o);
		status = run_all(&r, o, ops, err);
	}
	if (ops >= 0)
		close(ops);
	if (status)
		tide_rerun_release(&r);
	else
		*ret = r;
	return status;
}

void tide_rerun_release(struct tide_rerun *r)
{
	for (uint32_t i = 0; r->row && i < r->rows; i++)
		free(r->row[i].rss);
	free(r->row);
	tide_plan_release(&r->plan);
	tide_survey_release(&r->survey);
	*r = (struct tide_rerun){0};
}
