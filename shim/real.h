/*
 * real.h - the functions that the hooks stand in front of: the next definition after ours in the program's own search
 * order, found by walking the loaded objects without locks or allocation. All of a family come from one provider.
 */
#ifndef TIDE_REAL_H
#define TIDE_REAL_H

#include <pthread.h>
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
	void (*exit_now)(int);
	int (*execve)(const char *, char *const[], char *const[]);
	int (*execv)(const char *, char *const[]);
	int (*execvp)(const char *, char *const[]);
	int (*execvpe)(const char *, char *const[], char *const[]);
	int (*fexecve)(int, char *const[], char *const[]);
	int (*prctl)(int, ...);
	long (*syscall)(long, ...);
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

/* Path of the object that provides malloc, "" unknown; and what it is: "glibc 2.36", "jemalloc", "tcmalloc", "mimalloc", "unknown". */
const char *tide_real_path(void);
const char *tide_real_provider(char *buf, size_t cap);

#endif
