/*
 * Preload library for test_unwind.py: at every allocation of the program, the shim's unwinder and libunwind walk the same
 * stack, and both walks are compared, frame by frame. At exit a line goes to the file named by COMPARE_OUT:
 *   captures equal cut different ours_ns libunwind_ns
 * "cut": ours ended early and said so, and what it has is a prefix of libunwind's. The first few differences follow.
 * COMPARE_EVERY: compare each Nth capture only (ours is made every time, so that its memory is exercised).
 */
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/items.h"
#include "unwind/modules.h"
#include "unwind/unwind.h"

#define MOST 250
#define HOOK __attribute__((visibility("default"), noinline))

extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static struct {
	unsigned long captures, compared, equal, cut, different;
	unsigned long long ours_ns, theirs_ns;
	unsigned every;
	int shown;
	char text[8192];
	pid_t pid;
} stats = {.every = 1};

static __thread struct tide_unwinder *unwinder __attribute__((tls_model("initial-exec")));
static __thread int busy __attribute__((tls_model("initial-exec")));

static unsigned long long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000000u + (unsigned long long)t.tv_nsec;
}

/* libunwind's stack from the frame whose return address is `pc`. */
__attribute__((noinline)) static unsigned theirs(uintptr_t pc, uint64_t *words)
{
	unw_context_t context;
	unw_cursor_t cursor;
	unsigned n = 0, tries = 0;
	unw_getcontext(&context);
	unw_init_local(&cursor, &context);
	do {
		unw_word_t ip = 0;
		unw_get_reg(&cursor, UNW_REG_IP, &ip);
		if ((n == 0 && ip != pc) || ip == 0) {
			if (tries++ > 20)
				return 0;
			continue;
		}
		words[n++] = ip;
	} while (n < MOST && unw_step(&cursor) > 0);
	return n;
}

static void show(const uint64_t *a, unsigned na, const uint64_t *b, unsigned nb)
{
	size_t len = strlen(stats.text);
	if (stats.shown++ >= 3)
		return;
	for (unsigned i = 0; (i < na || i < nb) && len < sizeof stats.text - 200; i++) {
		char path[100] = "";
		tide_module_path_of((void *)(i < nb ? b[i] : a[i]), path, sizeof path);
		len += (size_t)snprintf(stats.text + len, sizeof stats.text - len, "  %2u %16lx %16lx %s%s\n", i,
					i < na ? a[i] : 0, i < nb ? b[i] : 0, path,
					i < na && i < nb && a[i] == b[i] ? "" : " <--");
	}
	snprintf(stats.text + len, sizeof stats.text - len, "\n");
}

static void compare(const uint64_t *a, unsigned na, uintptr_t pc)
{
	uint64_t b[MOST + 1];
	unsigned long long begin = now_ns();
	unsigned nb = theirs(pc, b), same = 0;
	stats.theirs_ns += now_ns() - begin;
	if (nb == 0)
		return;
	stats.compared++;
	while (same < na && same < nb && a[same] == b[same])
		same++;
	if (same == na && same == nb)
		stats.equal++;
	else if (same + 1 == na && a[same] <= TIDE_WORD_CUT_UNKNOWN)
		stats.cut++;
	else {
		stats.different++;
		show(a, na, b, nb);
	}
}

static void capture(const struct tide_regs *regs)
{
	uint64_t a[MOST + 2];
	unsigned shared;
	if (busy)
		return;
	busy = 1;
	if (!unwinder)
		unwinder = __libc_calloc(1, sizeof *unwinder);
	stats.captures++;
	if (stats.captures % stats.every == 0) {
		unsigned long long begin = now_ns();
		unsigned n = tide_unwind(unwinder, regs, MOST, a, &shared);
		stats.ours_ns += now_ns() - begin;
		compare(a, n, regs->pc);
	} else {
		tide_unwind(unwinder, regs, MOST, a, &shared);
	}
	busy = 0;
}

HOOK void *malloc(size_t size)
{
	struct tide_regs regs = TIDE_REGS_HERE();
	capture(&regs);
	return __libc_malloc(size);
}

HOOK void *calloc(size_t n, size_t size)
{
	struct tide_regs regs = TIDE_REGS_HERE();
	capture(&regs);
	return __libc_calloc(n, size);
}

HOOK void *realloc(void *p, size_t size)
{
	struct tide_regs regs = TIDE_REGS_HERE();
	capture(&regs);
	return __libc_realloc(p, size);
}

HOOK int dlclose(void *handle)
{
	int (*real)(void *) = tide_next_symbol(&stats, "dlclose");
	int rc = real(handle);
	tide_unwind_flush();
	return rc;
}

static void ignore(const struct tide_unwind_module *m)
{
	(void)m;
}

__attribute__((constructor)) static void begin(void)
{
	const char *every = getenv("COMPARE_EVERY");
	if (every)
		stats.every = (unsigned)atoi(every);
	stats.pid = getpid();
	busy = 1;
	tide_modules_listen(ignore, ignore, "program");
	busy = 0;
}

__attribute__((destructor)) static void end(void)
{
	const char *path = getenv("COMPARE_OUT");
	busy = 1;
	FILE *f = path && getpid() == stats.pid ? fopen(path, "a") : NULL;
	if (!f)
		return;
	fprintf(f, "%lu %lu %lu %lu %lu %llu %llu\n%s", stats.captures, stats.compared, stats.equal, stats.cut,
		stats.different, stats.ours_ns, stats.theirs_ns, stats.text);
	fclose(f);
}
