#include "outside/process.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/layout.h"
#include "read/census.h"

#define SHIM_DATA_MOST (UINT64_C(4) << 20) /* more than that its writable data never is */

/* The text behind "pid (name) ": state, ppid ... NULL: no process, or one that has ended. */
static const char *stat_fields(int pid, char *text, size_t cap)
{
	const char *at = tide_outside_text(pid, "stat", text, cap) ? strrchr(text, ')') : NULL;
	return at && at[1] == ' ' && at[2] != 'Z' && at[2] != 'X' ? at + 2 : NULL;
}

/* Number `field` of stat, from 3; field 22 is the start time. */
static uint64_t stat_field(const char *at, unsigned field)
{
	for (unsigned i = 3; at && i < field; i++)
		at = (at = strchr(at, ' ')) ? at + 1 : NULL;
	return at ? strtoull(at, NULL, 10) : 0;
}

/* stat counts from boot, suspended time included. */
static uint64_t start_ns(uint64_t ticks)
{
	struct timespec boot, mono;
	long hz = sysconf(_SC_CLK_TCK);
	if (hz <= 0 || clock_gettime(CLOCK_BOOTTIME, &boot) || clock_gettime(CLOCK_MONOTONIC, &mono))
		return 0;
	uint64_t each = UINT64_C(1000000000) / (uint64_t)hz;
	if (each == 0 || ticks > INT64_MAX / 2 / each) /* no clock goes so far */
		return 0;
	int64_t asleep = (boot.tv_sec - mono.tv_sec) * INT64_C(1000000000) + boot.tv_nsec - mono.tv_nsec;
	int64_t ns = (int64_t)(ticks * each) - asleep;
	return ns > 0 ? (uint64_t)ns : 0;
}

static void fill_name(struct tide_outside *o)
{
	char path[64], comm[64];
	snprintf(path, sizeof path, "/proc/%d/exe", o->pid);
	ssize_t n = readlink(path, o->exe, sizeof o->exe - 1);
	o->exe[n > 0 ? n : 0] = '\0';
	const char *slash = strrchr(o->exe, '/');
	if (!tide_outside_text(o->pid, "comm", comm, sizeof comm))
		comm[0] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
	snprintf(o->name, sizeof o->name, "%s", slash && slash[1] ? slash + 1 : comm);
}

/* Whether its mappings may be read, and there are any. */
static enum tide_status check_access(int pid, struct tide_error *err)
{
	char first[2];
	errno = 0;
	FILE *maps = tide_outside_file(pid, "maps");
	int why = maps ? 0 : errno;
	size_t n = maps ? fread(first, 1, 1, maps) : 0;
	if (maps && n == 0)
		why = errno;
	if (maps)
		fclose(maps);
	if (n > 0)
		return TIDE_OK;
	if (why == EACCES || why == EPERM)
		return tide_error_set(err, TIDE_ERR_IO,
				      "process %d is not ours to look into: the same user or root may", pid);
	return tide_error_set(err, TIDE_ERR_IO, "process %d has no memory: it is the kernel's, or it has ended", pid);
}

enum tide_status tide_outside_init(struct tide_outside *ret, int pid, struct tide_error *err)
{
	struct tide_outside o = {.pid = pid};
	char text[2048];
	if (!tide_outside_text(pid, "stat", text, sizeof text))
		return tide_error_set(err, TIDE_ERR_IO, "there is no process %d", pid);
	const char *fields = stat_fields(pid, text, sizeof text);
	if (!fields)
		return tide_error_set(err, TIDE_ERR_IO, "process %d has ended", pid);
	enum tide_status status = check_access(pid, err);
	if (status)
		return status;
	o.ppid = (int)stat_field(fields, 4);
	o.start_ticks = stat_field(fields, 22);
	o.start_ns = start_ns(o.start_ticks);
	fill_name(&o);
	*ret = o;
	return TIDE_OK;
}

bool tide_outside_stands(const struct tide_outside *o)
{
	char text[2048];
	const char *fields = stat_fields(o->pid, text, sizeof text);
	return fields && stat_field(fields, 22) == o->start_ticks;
}

/* "start-end rwxp offset major:minor inode    path\n"; whole pages, not more than there can be */
bool tide_outside_map(char *line, struct tide_outside_map *ret)
{
	unsigned long start, end, offset, inode;
	char mode[5];
	int path = 0;
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%lx-%lx %4s %lx %*x:%*x %lu %n", &start, &end, mode, &offset, &inode, &path) != 5 || !path)
		return false;
	*ret = (struct tide_outside_map){.start = start, .end = end, .offset = offset, .inode = inode};
	ret->path = line + path;
	ret->flags = (uint8_t)((mode[0] == 'r' ? TIDE_REGION_READ : 0) | (mode[1] == 'w' ? TIDE_REGION_WRITE : 0) |
			       (mode[2] == 'x' ? TIDE_REGION_EXEC : 0) | (mode[3] == 's' ? TIDE_REGION_SHARED : 0));
	if (strcmp(ret->path, "[heap]") == 0)
		ret->flags |= TIDE_REGION_HEAP;
	if (strcmp(ret->path, "[stack]") == 0)
		ret->flags |= TIDE_REGION_STACK;
	return end > start && start % TIDE_PAGE == 0 && end % TIDE_PAGE == 0 &&
	       (end - start) / TIDE_PAGE <= TIDE_REGION_PAGES_MAX;
}

bool tide_outside_is_shim(const struct tide_outside_map *m)
{
	const char *slash = strrchr(m->path, '/');
	return m->inode != 0 && slash && strncmp(slash + 1, "libtidemark.so", 14) == 0;
}

/* Whether the beacon is in these bytes, which are those from `addr` on. */
static bool find_beacon(const uint8_t *bytes, size_t len, uint64_t addr, struct tide_beacon *ret)
{
	for (size_t at = 0; at + sizeof *ret <= len; at += 16) {
		struct tide_beacon b;
		memcpy(&b, bytes + at, sizeof b);
		if (b.magic == TIDE_MAGIC_BEACON && b.self == addr + at && b.version == TIDE_BEACON_VERSION &&
		    b.len >= sizeof b) {
			*ret = b;
			return true;
		}
	}
	return false;
}

/* One writable piece of the shim's data. */
static bool look_in(int pid, int pagemap, const struct tide_outside_map *m, struct tide_beacon *ret, bool *ret_refused)
{
	size_t len = (size_t)(m->end - m->start);
	uint8_t *bytes = len <= SHIM_DATA_MOST ? malloc(len) : NULL;
	bool have = bytes && tide_outside_read(pid, pagemap, m->start, bytes, len);
	*ret_refused = *ret_refused || (bytes && !have);
	bool found = have && find_beacon(bytes, len, m->start, ret);
	free(bytes);
	return found;
}

bool tide_outside_beacon(int pid, int pagemap, struct tide_beacon *ret, bool *ret_refused)
{
	FILE *maps = tide_outside_file(pid, "maps");
	char *line = NULL;
	size_t cap = 0;
	struct tide_outside_map m;
	bool found = false;
	*ret_refused = false;
	while (maps && !found && getline(&line, &cap, maps) > 0)
		if (tide_outside_map(line, &m) && tide_outside_is_shim(&m) && m.flags & TIDE_REGION_WRITE)
			found = look_in(pid, pagemap, &m, ret, ret_refused);
	free(line);
	if (maps)
		fclose(maps);
	return found;
}
