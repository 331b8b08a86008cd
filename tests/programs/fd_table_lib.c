/*
 * Preloaded by tests: when the process exits, one line to the file $FD_TABLE: its name and the numbers of its open descriptors.
 * Raw calls on a high descriptor, so that looking changes nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 1024

struct entry { /* getdents64(2) */
	uint64_t inode, offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* Descriptor numbers in bits. */
static void list(int directory, uint64_t open[MOST / 64])
{
	char buf[8192] __attribute__((aligned(8)));
	long n;
	while ((n = syscall(SYS_getdents64, directory, buf, sizeof buf)) > 0)
		for (long at = 0; at < n; at += ((struct entry *)(buf + at))->length) {
			const char *name = ((struct entry *)(buf + at))->name;
			int fd = name[0] == '.' ? MOST : atoi(name);
			if (fd < MOST && fd != directory)
				open[fd / 64] |= UINT64_C(1) << fd % 64;
		}
}

__attribute__((destructor)) static void tell(void)
{
	uint64_t open_ones[MOST / 64] = {0};
	char line[4096], name[64] = "?";
	const char *path = getenv("FD_TABLE");
	int low = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	int directory = fcntl(low, F_DUPFD_CLOEXEC, 500);
	if (low >= 0)
		close(low);
	if (!path || directory < 0)
		return;
	list(directory, open_ones);
	close(directory);
	int comm = open("/proc/self/comm", O_RDONLY);
	ssize_t got = read(comm, name, sizeof name - 1);
	close(comm);
	name[got > 0 ? got - 1 : 1] = '\0';
	size_t len = (size_t)snprintf(line, sizeof line, "%s:", name);
	for (int fd = 0; fd < MOST && len < sizeof line - 8; fd++)
		if (open_ones[fd / 64] >> fd % 64 & 1)
			len += (size_t)snprintf(line + len, sizeof line - len, " %d", fd);
	line[len++] = '\n';
	int out = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (write(out, line, len) < 0)
		perror("fd_table");
	close(out);
}
