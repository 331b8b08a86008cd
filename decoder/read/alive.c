#include "read/alive.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void tide_boot_id_text(const uint8_t id[16], char ret[37])
{
	static const uint8_t zero[16];
	char *out = ret;
	*out = 0;
	if (memcmp(id, zero, sizeof zero) == 0)
		return;
	for (unsigned i = 0; i < 16; i++)
		out += snprintf(out, 4, i == 3 || i == 5 || i == 7 || i == 9 ? "%02x-" : "%02x", id[i]);
}

static bool read_text(const char *path, char *buf, size_t cap)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	size_t len = fread(buf, 1, cap - 1, file);
	buf[len] = 0;
	fclose(file);
	return len > 0;
}

static bool same_boot(const struct tide_superblock *s)
{
	char ours[64], theirs[37];
	tide_boot_id_text(s->boot_id, theirs);
	return theirs[0] && read_text("/proc/sys/kernel/random/boot_id", ours, sizeof ours) &&
	       strncmp(ours, theirs, 36) == 0;
}

/* State and start time are fields 3 and 22; field 2, the name, is in parentheses and may hold anything. */
static bool began_at(const char *pid, uint64_t start)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	if (!read_text(path, text, sizeof text))
		return false;
	const char *at = strrchr(text, ')');
	if (!at || at[1] == 0 || at[2] == 'Z' || at[2] == 'X')
		return false;
	at += 2;
	for (unsigned field = 3; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && strtoull(at, NULL, 10) == start;
}

/* The last number of the line NSpid in /proc/PID/status is the process' own idea of its number. */
static bool calls_itself(const char *pid, int32_t number)
{
	char path[64], text[4096];
	snprintf(path, sizeof path, "/proc/%.20s/status", pid);
	if (!read_text(path, text, sizeof text))
		return false;
	char *line = strstr(text, "\nNSpid:");
	char *end = line ? strchr(line + 1, '\n') : NULL;
	if (!end)
		return false;
	*end = 0;
	char *last = strrchr(line, '\t');
	return last && strtol(last, NULL, 10) == number;
}

static int find_elsewhere(const struct tide_superblock *s)
{
	DIR *proc = opendir("/proc");
	if (!proc)
		return 0;
	int found = 0;
	struct dirent *entry;
	while (!found && (entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]) && began_at(entry->d_name, s->process_start) &&
		    calls_itself(entry->d_name, s->pid))
			found = (int)strtol(entry->d_name, NULL, 10);
	closedir(proc);
	return found;
}

int tide_process_find(const struct tide_superblock *s)
{
	if (s->pid <= 0 || s->process_start == 0 || !same_boot(s))
		return 0;
	struct stat ns;
	bool same_ns = s->pid_ns == 0 || (stat("/proc/self/ns/pid", &ns) == 0 && (uint64_t)ns.st_ino == s->pid_ns);
	if (!same_ns)
		return find_elsewhere(s);
	char pid[16];
	snprintf(pid, sizeof pid, "%d", s->pid);
	return began_at(pid, s->process_start) ? s->pid : 0;
}

bool tide_process_lives(const struct tide_superblock *s)
{
	return tide_process_find(s) != 0;
}
