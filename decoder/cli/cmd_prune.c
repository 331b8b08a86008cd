/* prune: removes logs whose process is dead. What is not surely a log, and not surely dead, stays. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/opts.h"
#include "read/alive.h"
#include "read/beside.h"
#include "read/file.h"
#include "read/super.h"
#include "render/safe.h"

struct candidate {
	char name[256];
	int64_t written_s; /* when the file was last written, CLOCK_REALTIME */
	uint64_t bytes;
};
struct prune {
	struct candidate *dead;
	size_t count, cap;
	uint64_t alive, others; /* logs that stay, and files that are none */
};

/* "30", "90s", "15m", "12h", "7d": seconds. */
static bool age_of(const char *text, uint64_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	uint64_t unit = *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 1;
	bool suffix = *end && strchr("smhd", *end);
	if (end == text || *text == '-' || errno || end[suffix] || n > UINT32_MAX)
		return false;
	*ret = n * unit;
	return true;
}

/* A log of another boot is dead if nobody has written to it since this one began. */
static bool is_dead(const struct tide_superblock *s, int64_t written_s)
{
	char theirs[37], ours[40] = "";
	struct timespec up, now;
	if (tide_process_lives(s))
		return false;
	tide_boot_id_text(s->boot_id, theirs);
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (f && !fgets(ours, sizeof ours, f))
		ours[0] = '\0';
	if (f)
		fclose(f);
	if (theirs[0] && strncmp(theirs, ours, 36) == 0)
		return true;
	clock_gettime(CLOCK_BOOTTIME, &up);
	clock_gettime(CLOCK_REALTIME, &now);
	return ours[0] && written_s < now.tv_sec - up.tv_sec;
}

static bool keep_candidate(struct prune *p, const char *name, const struct stat *st)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		struct candidate *dead = realloc(p->dead, cap * sizeof *dead);
		if (!dead)
			return false;
		p->dead = dead;
		p->cap = cap;
	}
	struct candidate *c = &p->dead[p->count++];
	snprintf(c->name, sizeof c->name, "%s", name);
	c->written_s = st->st_mtim.tv_sec;
	c->bytes = (uint64_t)st->st_blocks * 512;
	return true;
}

/* False: no memory. */
static bool look_at(struct prune *p, int dir, const char *path, const char *name)
{
	struct stat st;
	struct tide_file file;
	struct tide_error err;
	struct tide_superblock super;
	struct tide_geometry geometry;
	struct tide_damages damages = {0};
	char *whole = NULL;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) ||
	    asprintf(&whole, "%s/%s", path, name) < 0) {
		p->others++;
		return true;
	}
	bool is_log = tide_file_open(whole, &file, &err) == TIDE_OK;
	if (is_log) {
		is_log = tide_super_read(&file, whole, &damages, &super, &geometry, &err) == TIDE_OK && super.pid > 0;
		tide_file_release(&file);
	}
	free(whole);
	if (!is_log)
		p->others++;
	else if (!is_dead(&super, st.st_mtim.tv_sec))
		p->alive++;
	else
		return keep_candidate(p, name, &st);
	return true;
}

static int newest_first(const void *va, const void *vb)
{
	const struct candidate *a = va, *b = vb;
	if (a->written_s != b->written_s)
		return a->written_s < b->written_s ? 1 : -1;
	return strcmp(a->name, b->name);
}

static enum tide_status collect(struct prune *p, int dir, const char *path)
{
	DIR *d = fdopendir(dup(dir));
	struct dirent *e;
	bool ok = d != NULL;
	while (ok && (e = readdir(d))) {
		size_t len = strlen(e->d_name);
		if (len > 5 && strcmp(e->d_name + len - 5, ".tide") == 0)
			ok = look_at(p, dir, path, e->d_name);
	}
	if (d)
		closedir(d);
	if (p->count > 1)
		qsort(p->dead, p->count, sizeof *p->dead, newest_first);
	return ok ? TIDE_OK : TIDE_ERR_NOMEM;
}

/* And what record wrote beside it. False: errno says why. */
static bool remove_log(int dir, const char *name)
{
	char *beside = tide_beside_path(name);
	bool ok = unlinkat(dir, name, 0) == 0;
	if (ok && beside && unlinkat(dir, beside, 0) != 0)
		ok = errno == ENOENT;
	free(beside);
	return ok;
}

static int remove_all(struct prune *p, int dir, const struct tide_args *args, uint64_t older, struct tide_error *err)
{
	uint64_t removed = 0, bytes = 0, kept = 0;
	FILE *out = args->sink.out;
	int64_t now = time(NULL);
	for (size_t i = 0; i < p->count; i++) {
		const struct candidate *c = &p->dead[i];
		bool young = c->written_s > now - (int64_t)older;
		if (young || (args->keep != TIDE_UNSET && i < args->keep)) {
			kept++;
			continue;
		}
		if (!args->dry_run && !remove_log(dir, c->name)) {
			tide_error_set(err, TIDE_ERR_IO, "cannot remove '%s': %s", c->name, strerror(errno));
			return TIDE_EXIT_UNREADABLE;
		}
		fputs(args->dry_run ? "would remove " : "removed ", out);
		tide_safe_text(out, c->name, 0);
		fputc('\n', out);
		removed++;
		bytes += c->bytes;
	}
	fprintf(out,
		"%" PRIu64 " logs, %" PRIu64 " bytes %s; kept: %" PRIu64 " of dead processes, %" PRIu64
		" that may be alive",
		removed, bytes, args->dry_run ? "would be removed" : "removed", kept, p->alive);
	if (p->others)
		fprintf(out, ", %" PRIu64 " files that are no logs", p->others);
	fputc('\n', out);
	return TIDE_EXIT_OK;
}

static int run(const struct tide_args *args, const struct tide_cmd *cmd, struct tide_error *err)
{
	struct prune p = {0};
	uint64_t older = 0;
	(void)cmd;
	if (!args->older_than && args->keep == TIDE_UNSET) {
		tide_error_set(err, TIDE_ERR_BAD, "prune needs --older-than AGE, --keep N, or both");
		return TIDE_EXIT_USAGE;
	}
	if (args->older_than && !age_of(args->older_than, &older)) {
		tide_error_set(err, TIDE_ERR_BAD, "--older-than takes an age such as 90s, 12h or 7d");
		return TIDE_EXIT_USAGE;
	}
	int dir = open(args->operand[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC), code;
	if (dir < 0) {
		tide_error_set(err, TIDE_ERR_IO, "cannot open '%s': %s", args->operand[0], strerror(errno));
		return TIDE_EXIT_UNREADABLE;
	}
	if (collect(&p, dir, args->operand[0])) {
		tide_error_set(err, TIDE_ERR_NOMEM, "out of memory");
		code = TIDE_EXIT_UNREADABLE;
	} else {
		code = remove_all(&p, dir, args, older, err);
	}
	close(dir);
	free(p.dead);
	return code;
}

static const struct tide_opt options[] = {
	TIDE_OPT("--older-than", "AGE", "only logs that nobody has written to for so long: 90s, 15m, 12h, 7d",
		 TIDE_OPT_TEXT, older_than),
	TIDE_OPT("--keep", "N", "not the N newest of dead processes", TIDE_OPT_COUNT, keep),
	TIDE_OPT("--dry-run", NULL, "say what would be removed, and remove nothing", TIDE_OPT_FLAG, dry_run),
	TIDE_OPT_OUTPUT,
	TIDE_OPT_END,
};
const struct tide_cmd tide_cmd_prune = {
	.name = "prune",
	.synopsis = "DIR",
	.summary = "Removes logs of processes that have ended, by age or number; never one that may be written to.",
	.example = "tidemark prune --older-than 7d /var/log/tidemark",
	.opts = options,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
