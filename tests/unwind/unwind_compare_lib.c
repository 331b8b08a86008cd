/*
 * Preload library for test_unwind.py: at every allocation of the program, the shim's unwinder and libunwind walk the same
 * stack, and both walks are compared, frame by frame. At exit a line goes to the file named by COMPARE_OUT:
 *   captures compared equal cut different wrongly_shared ours_ns libunwind_ns spared wrongly_spared
 * "cut": ours ended early and said so, and what it has is a prefix of libunwind's. The first few differences follow.
 * In a Python program Python's stack is walked first, as the shim does, and says which part of the native one is spared; then the stack is
 * what another unwinder of ours finds that is told nothing, on each capture. COMPARE_WRONG makes what is spared wrong on purpose: "mark" believes in frames whose mark is gone, "switch" does not see that a greenlet was switched to.
 * COMPARE_MAX: the limit on frames; a stack cut there is equal if it is cut where unwind.h says. COMPARE_EVERY: compare each Nth capture only (ours is made every time, so that its memory is exercised).
 */
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "format/items.h"
#include "python/compare.h"
#include "python/python.h"
#include "unwind/modules.h"
#include "unwind/unwind.h"

#define MOST 250
#define HOOK __attribute__((visibility("default"), noinline))

extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static struct {
	unsigned long captures, compared, equal, cut, different, wrongly_shared;
	unsigned long long ours_ns, theirs_ns;
	unsigned every, max;
	int shown;
	char text[8192];
	pid_t pid;
	int ready; /* as in the shim, nothing is captured before our constructor */
	const char *wrong;
	unsigned long spared, wrongly_spared;
} stats = {.every = 1, .max = MOST};

static __thread struct tide_unwinder *unwinder, *told_nothing __attribute__((tls_model("initial-exec")));
static __thread struct tide_py_stack *python_stack __attribute__((tls_model("initial-exec")));
static __thread struct tide_kept *python_kept __attribute__((tls_model("initial-exec")));
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
	bool cut_well = same + 1 == na && a[same] == TIDE_WORD_CUT_LIMIT && same <= stats.max &&
			same + TIDE_CUT_STEP > stats.max && nb > stats.max;
	if ((same == na && same == nb) || cut_well)
		stats.equal++;
	else if (same + 1 == na && a[same] <= TIDE_WORD_CUT_UNKNOWN) {
		stats.cut++;
		show(a, na, b, nb);
	} else {
		stats.different++;
		show(a, na, b, nb);
	}
}

/* Of the shim's Python side only the walk is here: which code it is does not matter. */
struct tide_py tide_py;
uint32_t tide_py_code_id(const uint8_t *code)
{
	return code ? 1 : 0;
}

static bool is_wrong(const char *how)
{
	return stats.wrong && strcmp(stats.wrong, how) == 0;
}

/* As tide_python_words returns it. */
static uintptr_t python(const struct tide_regs *regs)
{
	struct tide_words words;
	struct tide_py_stack *s = python_stack;
	const uint8_t *state = tide_py.version ? tide_py.thread_state() : NULL;
	if (!state)
		return UINTPTR_MAX;
	if (is_wrong("switch") && s->version)
		memcpy(&s->version, state + tide_py.version->context_version, sizeof s->version);
	uint64_t version = s->version;
	uintptr_t stands = tide_python_words(s, python_kept, stats.max, &words, unwinder, regs);
	uintptr_t place = s->depth ? (uintptr_t)s->loop[s->depth - 1] : 0;
	if (is_wrong("mark") && version && version == s->version_now && place > regs->sp &&
	    place < unwinder->stack.high)
		stands = place;
	stats.spared += stands != UINTPTR_MAX;
	return stands;
}

static void hold(const struct tide_regs *regs, const struct tide_words *now)
{
	struct tide_words whole;
	if (!tide_py.version)
		return;
	tide_unwind(told_nothing, regs, stats.max, UINTPTR_MAX, &whole);
	if (whole.depth != now->depth || memcmp(whole.word, now->word, whole.depth * sizeof *whole.word) != 0)
		stats.wrongly_spared++;
}

/* The walk's words, innermost first. The told prefix must be the previous stack's. */
static unsigned ours(const struct tide_regs *regs, uint64_t *words)
{
	static __thread struct tide_words last __attribute__((tls_model("initial-exec")));
	static __thread uint64_t kept[MOST + 2] __attribute__((tls_model("initial-exec")));
	struct tide_words now;
	tide_unwind(unwinder, regs, stats.max, python(regs), &now);
	tide_python_walked(python_stack);
	hold(regs, &now);
	for (unsigned i = 0; i < now.shared; i++)
		stats.wrongly_shared += i >= last.depth || kept[i] != now.word[i];
	for (unsigned i = 0; i < now.depth; i++) {
		kept[i] = now.word[i];
		words[now.depth - 1 - i] = now.word[i];
	}
	last = now;
	return now.depth;
}

static void capture(const struct tide_regs *regs)
{
	uint64_t a[MOST + 2];
	if (busy || !stats.ready)
		return;
	busy = 1;
	if (!unwinder) {
		unwinder = __libc_calloc(1, sizeof *unwinder);
		told_nothing = __libc_calloc(1, sizeof *told_nothing);
		python_stack = __libc_calloc(1, sizeof *python_stack);
		python_kept = __libc_calloc(1, sizeof *python_kept);
	}
	stats.captures++;
	unsigned long long begin = now_ns();
	unsigned n = ours(regs, a);
	stats.ours_ns += now_ns() - begin;
	if (stats.captures % stats.every == 0)
		compare(a, n, regs->pc);
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

/* libunwind's, three for every frame; this process' handlers do not unwind. */
HOOK int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return busy ? 0 : (int)syscall(SYS_rt_sigprocmask, how, set, old, 8);
}

HOOK int dlclose(void *handle)
{
	int (*real)(void *) = tide_next_symbol(&stats, "dlclose");
	int rc = real(handle);
	tide_unwind_flush();
	unw_flush_cache(unw_local_addr_space, 0, 0);
	return rc;
}

static void meet(const struct tide_unwind_module *m)
{
	const char *(*get_version)(void) = tide_py.version ? NULL : tide_module_symbol(m, "Py_GetVersion");
	const char *text = get_version ? get_version() : "";
	if (strncmp(text, "3.", 2) != 0)
		return;
	tide_py.thread_state = tide_module_symbol(m, "PyGILState_GetThisThreadState");
	tide_py.version = tide_py_version((unsigned)atoi(text + 2));
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
	if (getenv("COMPARE_MAX"))
		stats.max = (unsigned)atoi(getenv("COMPARE_MAX"));
	stats.pid = getpid();
	busy = 1;
	unw_set_caching_policy(unw_local_addr_space, UNW_CACHE_PER_THREAD);
	stats.wrong = getenv("COMPARE_WRONG");
	tide_modules_listen(meet, ignore, "program");
	stats.ready = 1;
	busy = 0;
}

__attribute__((destructor)) static void end(void)
{
	const char *path = getenv("COMPARE_OUT");
	busy = 1;
	FILE *f = path && getpid() == stats.pid ? fopen(path, "a") : NULL;
	if (!f)
		return;
	fprintf(f, "%lu %lu %lu %lu %lu %lu %llu %llu %lu %lu\n%s", stats.captures, stats.compared, stats.equal,
		stats.cut, stats.different, stats.wrongly_shared, stats.ours_ns, stats.theirs_ns, stats.spared,
		stats.wrongly_spared, stats.text);
	fclose(f);
}
