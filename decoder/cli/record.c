#include "cli/record.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "format/wire.h"

enum { SCRIPTS_DEEP = 4, HEADERS_MOST = 64, LINE = 256 };

/* The shim beside this program (build tree) or in ../lib/tidemark (installed). */
static bool find_shim(char *ret)
{
	static const char *const places[] = {"libtidemark.so", "../lib/tidemark/libtidemark.so"};
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = '\0';
	const char *dir = dirname(self);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, places[i]);
		if (access(path, R_OK) == 0 && realpath(path, ret))
			return true;
	}
	return false;
}

/* A directory of ours alone, whose name depends on nothing but user and target: runs share it, and programs that outlive
 * record keep it. */
static bool link_to(const char *target, char *ret)
{
	char dir[64], found[PATH_MAX];
	struct stat st;
	snprintf(dir, sizeof dir, "/tmp/tidemark-%u-%08x", (unsigned)geteuid(),
		 (unsigned)tide_checksum(target, strlen(target), 0));
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return false;
	if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return false;
	snprintf(ret, PATH_MAX, "%s/libtidemark.so", dir);
	if (symlink(target, ret) != 0 && errno != EEXIST)
		return false;
	return realpath(ret, found) && strcmp(found, target) == 0;
}

enum tide_status tide_shim_path(char *ret, struct tide_error *err)
{
	char path[PATH_MAX];
	if (!find_shim(path))
		return tide_error_set(err, TIDE_ERR_IO,
				      "libtidemark.so is neither beside this program nor in ../lib/tidemark");
	if (!strpbrk(path, " :\t\n")) {
		memcpy(ret, path, strlen(path) + 1);
		return TIDE_OK;
	}
	if (link_to(path, ret))
		return TIDE_OK;
	return tide_error_set(
		err, TIDE_ERR_IO,
		"the path of libtidemark.so has a space or a colon in it, and a link in /tmp cannot be made");
}

/* As execvp would find it. */
static bool find_program(const char *prog, char *ret)
{
	const char *path = getenv("PATH");
	if (strchr(prog, '/') || !path)
		return snprintf(ret, PATH_MAX, "%s", prog) < PATH_MAX;
	while (*path) {
		size_t n = strcspn(path, ":");
		if (snprintf(ret, PATH_MAX, "%.*s%s%s", (int)n, path, n ? "/" : "./", prog) < PATH_MAX &&
		    access(ret, X_OK) == 0)
			return true;
		path += n + (path[n] == ':');
	}
	return false;
}

/* The program of a "#!" line, cut out of it. False: no such line. */
static bool interpreter(char *line, char *ret)
{
	if (strncmp(line, "#!", 2) != 0)
		return false;
	line += 2 + strspn(line + 2, " \t");
	line[strcspn(line, " \t\r\n")] = '\0';
	return *line && snprintf(ret, PATH_MAX, "%s", line) < PATH_MAX;
}

static bool has_loader(int fd, const Elf64_Ehdr *e)
{
	Elf64_Phdr p;
	for (unsigned i = 0; i < e->e_phnum && i < HEADERS_MOST; i++)
		if (pread(fd, &p, sizeof p, (off_t)(e->e_phoff + i * sizeof p)) == sizeof p && p.p_type == PT_INTERP)
			return true;
	return false;
}

static const char *judge(int fd, const struct stat *st, const Elf64_Ehdr *e)
{
	bool secure = (st->st_mode & S_ISUID && st->st_uid != getuid()) ||
		      (st->st_mode & S_ISGID && st->st_gid != getgid()) ||
		      fgetxattr(fd, "security.capability", NULL, 0) > 0;
	if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_machine != EM_X86_64)
		return TIDE_FOREIGN;
	if (e->e_phentsize != sizeof(Elf64_Phdr) || !has_loader(fd, e))
		return "it is a static executable, which loads no library";
	if (secure)
		return "it runs with another user's rights (set-user-id or capabilities)";
	return NULL;
}

const char *tide_untraced(const char *prog)
{
	char path[PATH_MAX], line[LINE];
	const char *why = NULL;
	bool script = find_program(prog, path);
	for (unsigned deep = 0; script && deep < SCRIPTS_DEEP; deep++) {
		struct stat st;
		Elf64_Ehdr e;
		script = false;
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			break;
		ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, line, sizeof line - 1, 0) : 0;
		line[n > 0 ? n : 0] = '\0';
		if (n >= (ssize_t)sizeof e && memcmp(line, ELFMAG, SELFMAG) == 0) {
			memcpy(&e, line, sizeof e);
			why = judge(fd, &st, &e);
		} else {
			script = interpreter(line, path);
		}
		close(fd);
	}
	return why;
}
