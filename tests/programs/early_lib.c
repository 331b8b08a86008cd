/*
 * A preloaded library such as others write them: it allocates in its constructor, before main and perhaps before anybody else's
 * constructor, and stands in front of functions that we might be tempted to use, looking up the next one by dlsym at the first call,
 * which allocates.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC visibility push(default)

static char *kept;
static unsigned calls;

static void *next(const char *name)
{
	calls++;
	free(malloc(100));
	dlsym(RTLD_NEXT, "no_such_symbol_anywhere"); /* leaves a message that is allocated */
	return dlsym(RTLD_NEXT, name);
}

void *calloc(size_t count, size_t size)
{
	static void *(*real)(size_t, size_t);
	static __thread int inside;
	static char early[4096];
	static size_t used;
	if (!real && inside) { /* dlsym wants memory for itself */
		void *block = early + used;
		used += (count * size + 15) & ~(size_t)15;
		return used <= sizeof early ? block : NULL;
	}
	inside++;
	if (!real)
		real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
	inside--;
	return real(count, size);
}

int dl_iterate_phdr(int (*callback)(struct dl_phdr_info *, size_t, void *), void *data)
{
	int (*real)(int (*)(struct dl_phdr_info *, size_t, void *), void *) = next("dl_iterate_phdr");
	return real(callback, data);
}

int open(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	int mode = va_arg(rest, int);
	va_end(rest);
	int (*real)(const char *, int, ...) = next("open");
	return real(path, flags, mode);
}

int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	int (*real)(int, const sigset_t *, sigset_t *) = next("sigprocmask");
	return real(how, set, old);
}

__attribute__((constructor)) static void begin(void)
{
	kept = strdup("early");
	for (int i = 0; i < 100; i++)
		free(malloc((size_t)i));
}
__attribute__((destructor)) static void end(void)
{
	free(kept);
}
