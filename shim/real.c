#include "real.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <string.h>

#include "sys.h"
#include "unwind/modules.h"

struct tide_real tide_real;

static char provider_path[1024];

/* glibc's own names for its allocator, for a glibc that hides the usual one from us. */
extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void *__libc_valloc(size_t);
extern void *__libc_pvalloc(size_t);

static const struct wanted {
	const char *name;
	size_t offset;
	void *fallback;
} wanted[] = {
#define WANTED(member, text, instead)                                       \
	{                                                                   \
		text, offsetof(struct tide_real, member), (void *)(instead) \
	}
	WANTED(free, "free", __libc_free),
	WANTED(calloc, "calloc", __libc_calloc),
	WANTED(realloc, "realloc", __libc_realloc),
	WANTED(memalign, "memalign", __libc_memalign),
	WANTED(aligned_alloc, "aligned_alloc", __libc_memalign),
	WANTED(posix_memalign, "posix_memalign", NULL),
	WANTED(valloc, "valloc", __libc_valloc),
	WANTED(pvalloc, "pvalloc", __libc_pvalloc),
	WANTED(malloc_usable_size, "malloc_usable_size", NULL),
	WANTED(malloc_trim, "malloc_trim", NULL),
	WANTED(mmap, "mmap", NULL),
	WANTED(munmap, "munmap", NULL),
	WANTED(mremap, "mremap", NULL),
	WANTED(madvise, "madvise", NULL),
	WANTED(brk, "brk", NULL),
	WANTED(sbrk, "sbrk", NULL),
	WANTED(fork, "fork", NULL),
	WANTED(pthread_create, "pthread_create", NULL),
	WANTED(dlclose, "dlclose", NULL),
	WANTED(start_main, "__libc_start_main", NULL),
	WANTED(exit, "exit", NULL),
	WANTED(exit_now, "_exit", NULL),
	WANTED(quick_exit, "quick_exit", NULL),
	WANTED(execve, "execve", NULL),
	WANTED(execv, "execv", NULL),
	WANTED(execvp, "execvp", NULL),
	WANTED(execl, "execl", NULL),
	WANTED(execlp, "execlp", NULL),
	WANTED(execle, "execle", NULL),
	WANTED(execvpe, "execvpe", NULL),
	WANTED(fexecve, "fexecve", NULL),
	WANTED(prctl, "prctl", NULL),
	WANTED(syscall, "syscall", NULL),
	WANTED(malloc, "malloc", __libc_malloc), /* last: its presence says that the table is whole */
#undef WANTED
};

/* The next definition after ours; if nothing comes after us (loaded late, by dlopen), the first one. */
static void *find_next(const struct wanted *w)
{
	void *found = tide_next_symbol((const void *)&tide_real, w->name);
	if (!found)
		found = w->fallback;
	if (!found)
		found = tide_first_symbol(w->name);
	return found;
}

void tide_real_find(void)
{
	tide_real.public_free = (void (*)(void *))tide_first_symbol("free");
	tide_real.public_realloc = (void *(*)(void *, size_t))tide_first_symbol("realloc");
	tide_real.comes_first = tide_module_same((const void *)tide_real.public_free, &tide_real);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *found = find_next(&wanted[i]);
		memcpy((uint8_t *)&tide_real + wanted[i].offset, &found, sizeof found);
	}
}

const char *tide_real_path(void)
{
	return provider_path;
}

bool tide_real_is_late(void)
{
	return !tide_next_symbol((const void *)&tide_real, "malloc");
}

static const struct {
	const char *name, *mark; /* part of the file's name; a symbol that only it defines */
} others[] = {
	{"jemalloc", "mallctl"},   {"tcmalloc", "tc_malloc"}, {"mimalloc", "mi_malloc"},
	{"snmalloc", "sn_malloc"}, {"hoard", "xxmalloc"},     {"scudo", "scudo_malloc"},
};

static const char *name_of(const void *malloc)
{
	const char *slash = strrchr(provider_path, '/');
	const char *file = slash ? slash + 1 : provider_path;
	const struct tide_unwind_module *m = tide_module_at((uintptr_t)malloc);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (strstr(file, others[i].name) || (m && tide_module_symbol(m, others[i].mark)))
			return others[i].name;
	return strncmp(file, "libc.so", 7) == 0 || strncmp(file, "libc-", 5) == 0 ? "glibc" : "unknown";
}

const char *tide_real_provider(char *buf, size_t cap)
{
	bool first = tide_real.comes_first;
	const void *malloc = first ? (const void *)tide_real.malloc : tide_first_symbol("malloc");
	tide_module_path_of(malloc, provider_path, sizeof provider_path);
	const char *name = name_of(malloc);
	size_t len = tide_append(buf, cap, 0, name);
	if (strcmp(name, "glibc") == 0) {
		len = tide_append(buf, cap, len, " ");
		len = tide_append(buf, cap, len, gnu_get_libc_version());
	}
	if (!first) /* the program's own, or preloaded in front of us */
		tide_append(buf, cap, len, " (not traced)");
	return buf;
}
