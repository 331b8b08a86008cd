#include "crowd.h"

#include <dirent.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "sys.h"

#define NAMES_LEN (32u << 10)
#define SUFFIX ".tide"

/* getdents64(2): what the kernel writes, without glibc's promises on the length of a name. */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t len;
	uint8_t type;
	char name[];
};

struct crowd {
	uint64_t files, bytes;
};

static void count(struct crowd *c, int dir, const struct entry *e)
{
	size_t len = strlen(e->name), suffix = sizeof SUFFIX - 1;
	struct stat s;
	if (len <= suffix || memcmp(e->name + len - suffix, SUFFIX, suffix) != 0)
		return;
	if (tide_sys_stat_at(dir, e->name, &s) != 0 || !S_ISREG(s.st_mode))
		return;
	c->files++;
	c->bytes += (uint64_t)s.st_size;
}

static struct crowd look(int dir, uint8_t *names)
{
	struct crowd c = {0};
	long n;
	while ((n = tide_sys_names(dir, names, NAMES_LEN)) > 0)
		for (long at = 0; at < n;) {
			const struct entry *e = (const struct entry *)(names + at);
			count(&c, dir, e);
			at += e->len;
		}
	return c;
}

bool tide_crowd_has_room(int dir, uint64_t size, uint64_t files, uint64_t bytes)
{
	if (files == 0 && bytes == 0)
		return true;
	uint8_t *names = tide_sys_mmap(NAMES_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!names)
		return true;
	struct crowd c = look(dir, names);
	tide_sys_munmap(names, NAMES_LEN);
	return c.files == 0 ||
	       ((files == 0 || c.files < files) && (bytes == 0 || (size <= bytes && c.bytes <= bytes - size)));
}
