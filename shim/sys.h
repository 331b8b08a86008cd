/*
 * sys.h - the system, without libc: raw system calls that return -errno and leave errno alone, and the few string
 * and number helpers that a shim needs. Nothing here allocates, locks, or is a cancellation point.
 */
#ifndef TIDE_SYS_H
#define TIDE_SYS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

/* Of big tables, which most processes touch here and there if at all: away from the small variables, so that those share few pages. */
#define TIDE_BIG __attribute__((section(".bss.big")))

/* Six arguments always: the kernel ignores what it does not use. */
static inline long tide_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#else
#error "raw system calls: add this architecture"
#endif
}

/* Strict seccomp, and PR_SET_TSC, make reading the counter deadly, and with it the vDSO's clocks: from before such a call on, ticks are
 * counted up from the last one read, so that whoever waits by them still ends, and the monotonic clock stands still. */
extern _Atomic uint64_t tide_stopped; /* ticks; 0: the counter may be read */
void tide_sys_stop_clock(void);
void tide_sys_start_clock(void);
uint64_t tide_sys_next_tick(void);

/* Constant-rate counter; not a serializing read. */
static inline uint64_t tide_ticks(void)
{
	if (__builtin_expect(atomic_load_explicit(&tide_stopped, memory_order_relaxed) != 0, 0))
		return tide_sys_next_tick();
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
#error "tick counter: add this architecture"
#endif
}
/* The same, not before earlier instructions have completed. */
static inline uint64_t tide_ticks_ordered(void)
{
	__asm__ volatile("lfence" ::: "memory");
	return tide_ticks();
}

#define TIDE_ERRNO_MAX 4096

/* From now on every call below returns -EPERM without asking the kernel: the program is under a seccomp filter of its
 * own, and a call it did not foresee would kill it. */
void tide_sys_forbid(void);
bool tide_sys_forbidden(void);

/* All: >= 0 or -errno. */
int tide_sys_open(const char *path, int flags, unsigned mode);
int tide_sys_openat(int dir, const char *path, int flags, unsigned mode);
/* Of a name in a directory; links are not followed. */
struct stat;
int tide_sys_stat_at(int dir, const char *name, struct stat *ret);
/* getdents64(2): bytes written, 0 at the end. */
long tide_sys_names(int dir, void *buf, size_t len);
/* Read-only, on a high number, so that the program's next open gets the number it would have had. */
int tide_sys_open_high(const char *path);
int tide_sys_close(int fd);
long tide_sys_read(int fd, void *buf, size_t len);
long tide_sys_pread(int fd, void *buf, size_t len, uint64_t offset);
long tide_sys_write(int fd, const void *buf, size_t len);
long tide_sys_pwrite(int fd, const void *buf, size_t len, uint64_t offset);
long tide_sys_ioctl(int fd, unsigned long what, void *argument);
int tide_sys_fallocate(int fd, uint64_t len);
int tide_sys_unlinkat(int dir, const char *path);
int tide_sys_fchmod(int fd, unsigned mode);
/* NUL-terminated, cut at cap. */
long tide_sys_readlink(const char *path, char *buf, size_t cap);
/* The mapping, or NULL. */
void *tide_sys_mmap(size_t len, int prot, int flags, int fd, uint64_t offset);
/* Private zeroed memory of the shim's own, or NULL. Never given back; told apart in the census. */
void *tide_sys_memory(size_t len);
/* What a reader outside finds of that. Whoever knows more adds it before the process has something to show. */
extern struct tide_beacon tide_beacon;
/* Whether `at` is memory of the shim's own; *ret: up to where, at most `end`, that answer holds. */
bool tide_sys_own_until(uint64_t at, uint64_t end, uint64_t *ret);
int tide_sys_munmap(void *, size_t len);
/* Moves a mapping over another of the same length. */
int tide_sys_move(void *from, void *to, size_t len);
int tide_sys_madvise(void *, size_t len, int advice);
/* Whether a handler runs on its alternate stack now; true also if that cannot be asked. */
bool tide_sys_on_other_stack(void);
long tide_sys_getpid(void);
long tide_sys_getppid(void);
long tide_sys_gettid(void);
void tide_sys_yield(void);
int tide_sys_random(void *buf, size_t len);
/* RLIMIT_FSIZE, soft. */
int tide_sys_file_limit(uint64_t *ret);
/* vDSO where the kernel offers it: no system call then. */
uint64_t tide_clock_ns(clockid_t);

/* Reads a small file whole (at most cap - 1 bytes, NUL added); -errno or the length. */
long tide_sys_slurp(const char *path, char *buf, size_t cap);

/* The variable's value in the process' environment, or NULL. Does not lock, works before libc is ready. */
const char *tide_getenv(const char *name);

/* NUL-terminated append into buf[cap]; returns the new length (cut at cap - 1). */
size_t tide_append(char *buf, size_t cap, size_t len, const char *text);
size_t tide_append_number(char *buf, size_t cap, size_t len, uint64_t value, unsigned base);

/* One line on standard error, "tidemark: " before it; the first call of the process only. */
void tide_say(const char *text, const char *subject);

#endif
