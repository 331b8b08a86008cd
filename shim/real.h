/*
 * real.h - the functions that the hooks stand in front of: the next definition after ours in the program's own search
 * order, found by walking the loaded objects without locks or allocation. All of a family come from one provider.
 */
#ifndef TIDE_REAL_H
#define TIDE_REAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tide_real {
	void *(*malloc)(size_t);
	void (*free)(void *);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
	size_t (*malloc_usable_size)(void *);
	int (*malloc_trim)(size_t);
	void *(*mmap)(void *, size_t, int, int, int, off_t);
	int (*munmap)(void *, size_t);
	void *(*mremap)(void *, size_t, size_t, int, ...);
	int (*madvise)(void *, size_t, int);
	int (*brk)(void *);
	void *(*sbrk)(intptr_t);
	pid_t (*fork)(void);
	int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int (*dlclose)(void *);
	int (*start_main)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void),
			  void *);
	void (*exit)(int);
	void (*exit_now)(int);
	void (*quick_exit)(int);
	int (*execve)(const char *, char *const[], char *const[]);
	int (*execv)(const char *, char *const[]);
	int (*execvp)(const char *, char *const[]);
	int (*execl)(const char *, const char *, ...);
	int (*execlp)(const char *, const char *, ...);
	int (*execle)(const char *, const char *, ...);
	int (*execvpe)(const char *, char *const[], char *const[]);
	int (*fexecve)(int, char *const[], char *const[]);
	int (*prctl)(int, ...);
	long (*syscall)(long, ...);
	/* What the program itself calls by these names: ours, unless an allocator in the executable or preloaded before us keeps its
	 * calls to itself. Only to be called when it does. */
	void (*public_free)(void *);
	void *(*public_realloc)(void *, size_t);
	bool comes_first;
};

extern struct tide_real tide_real;

/* Fills tide_real; harmless to repeat. Called by the first hook that runs, which may be before any constructor. */
void tide_real_find(void);

static inline const struct tide_real *tide_real_get(void)
{
	if (__builtin_expect(!tide_real.malloc, 0))
		tide_real_find();
	return &tide_real;
}

/* Whether nothing comes after us: loaded by dlopen, when everybody has found the C library's functions. */
bool tide_real_is_late(void);

/* Path of the object that provides malloc ("": unknown, or the program itself), and what it is: "glibc 2.36", "jemalloc",
 * "tcmalloc", "mimalloc", "unknown"; " (not traced)" after it if its calls do not pass through us. Into buf, which is returned;
 * then the path. */
const char *tide_real_path(void);
const char *tide_real_provider(char *buf, size_t cap);

#endif
