#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "fault.h"
#include "format/beacon.h"

extern char **environ;

#define HIGH_FD 900 /* below the usual soft limit of 1024 */

static atomic_bool forbidden;

void tide_sys_forbid(void)
{
	atomic_store_explicit(&forbidden, true, memory_order_relaxed);
}

bool tide_sys_forbidden(void)
{
	return atomic_load_explicit(&forbidden, memory_order_relaxed);
}

#define STOPPED_STEP 1000u

_Atomic uint64_t tide_stopped;
static _Atomic uint64_t stopped_ns;

void tide_sys_stop_clock(void)
{
	uint64_t ticks = tide_ticks();
	atomic_store_explicit(&stopped_ns, tide_clock_ns(CLOCK_MONOTONIC), memory_order_relaxed);
	atomic_store_explicit(&tide_stopped, ticks, memory_order_relaxed);
}

void tide_sys_start_clock(void)
{
	atomic_store_explicit(&tide_stopped, 0, memory_order_relaxed);
}

uint64_t tide_sys_next_tick(void)
{
	return atomic_fetch_add_explicit(&tide_stopped, STOPPED_STEP, memory_order_relaxed) + STOPPED_STEP;
}

/* RULE 1: no system call of ours once the program has put itself under seccomp. */
static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	long fault = tide_sys_forbidden() ? -EPERM : TIDE_FAULT_CALL();
	return fault ? fault : tide_syscall(nr, a, b, c, d, e, f);
}

int tide_sys_openat(int dir, const char *path, int flags, unsigned mode)
{
	return (int)call(SYS_openat, dir, (long)path, flags | O_CLOEXEC, (long)mode, 0, 0);
}

int tide_sys_stat_at(int dir, const char *name, struct stat *ret)
{
	return (int)call(SYS_newfstatat, dir, (long)name, (long)ret, AT_SYMLINK_NOFOLLOW, 0, 0);
}

long tide_sys_names(int dir, void *buf, size_t len)
{
	return call(SYS_getdents64, dir, (long)buf, (long)len, 0, 0, 0);
}

int tide_sys_open(const char *path, int flags, unsigned mode)
{
	return tide_sys_openat(AT_FDCWD, path, flags, mode);
}

int tide_sys_open_high(const char *path)
{
	int low = tide_sys_open(path, O_RDONLY | O_NOCTTY, 0);
	if (low < 0)
		return low;
	int high = (int)call(SYS_fcntl, low, F_DUPFD_CLOEXEC, HIGH_FD, 0, 0, 0);
	if (high < 0)
		return low; /* RLIMIT_NOFILE is lower than that */
	tide_sys_close(low);
	return high;
}

int tide_sys_close(int fd)
{
	return (int)call(SYS_close, fd, 0, 0, 0, 0, 0);
}

long tide_sys_read(int fd, void *buf, size_t len)
{
	long n;
	do
		n = call(SYS_read, fd, (long)buf, (long)len, 0, 0, 0);
	while (n == -EINTR);
	return n;
}

long tide_sys_pread(int fd, void *buf, size_t len, uint64_t offset)
{
	long n;
	do
		n = call(SYS_pread64, fd, (long)buf, (long)len, (long)offset, 0, 0);
	while (n == -EINTR);
	return n;
}

long tide_sys_write(int fd, const void *buf, size_t len)
{
	return call(SYS_write, fd, (long)buf, (long)len, 0, 0, 0);
}

long tide_sys_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
	return call(SYS_pwrite64, fd, (long)buf, (long)len, (long)offset, 0, 0);
}

long tide_sys_ioctl(int fd, unsigned long what, void *argument)
{
	return call(SYS_ioctl, fd, (long)what, (long)argument, 0, 0, 0);
}

int tide_sys_fallocate(int fd, uint64_t len)
{
	int rc;
	do
		rc = (int)call(SYS_fallocate, fd, 0, 0, (long)len, 0, 0);
	while (rc == -EINTR);
	return rc;
}

int tide_sys_unlinkat(int dir, const char *path)
{
	return (int)call(SYS_unlinkat, dir, (long)path, 0, 0, 0, 0);
}

int tide_sys_fchmod(int fd, unsigned mode)
{
	return (int)call(SYS_fchmod, fd, (long)mode, 0, 0, 0, 0);
}

long tide_sys_readlink(const char *path, char *buf, size_t cap)
{
	long n = call(SYS_readlinkat, AT_FDCWD, (long)path, (long)buf, (long)cap - 1, 0, 0);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

void *tide_sys_mmap(size_t len, int prot, int flags, int fd, uint64_t offset)
{
	long at = call(SYS_mmap, 0, (long)len, prot, flags, fd, (long)offset);
	return at < 0 && at > -TIDE_ERRNO_MAX ? NULL : (void *)at;
}

/* Ranges of tide_sys_memory; what does not fit is reported with the program's own mappings. */
#define OWN_MOST TIDE_BEACON_OWN_MOST
static struct {
	_Atomic uint64_t start, end; /* end is stored last and makes the entry count */
} own[OWN_MOST];
_Static_assert(sizeof *own == sizeof(struct tide_beacon_range), "as they are seen from outside");
static atomic_uint own_count;

extern char __bss_start[], _end[]; /* of this object; made by the linker */

struct tide_beacon tide_beacon __attribute__((aligned(16), used)) = {
	.magic = TIDE_MAGIC_BEACON,
	.self = (uintptr_t)&tide_beacon,
	.version = TIDE_BEACON_VERSION,
	.len = sizeof tide_beacon,
	.own = (uintptr_t)own,
	.own_most = OWN_MOST,
	.bss = (uintptr_t)__bss_start,
	.bss_end = (uintptr_t)_end,
};

void *tide_sys_memory(size_t len)
{
	uint64_t pages = (len + 4095) / 4096 * 4096;
	void *at = tide_sys_mmap(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned i = at ? atomic_fetch_add_explicit(&own_count, 1, memory_order_relaxed) : OWN_MOST;
	if (i < OWN_MOST) {
		atomic_store_explicit(&own[i].start, (uintptr_t)at, memory_order_relaxed);
		atomic_store_explicit(&own[i].end, (uintptr_t)at + pages, memory_order_release);
	}
	return at;
}

static bool narrow(uint64_t at, uint64_t start, uint64_t end, uint64_t *until)
{
	if (at < start && start < *until)
		*until = start;
	if (at < start || at >= end)
		return false;
	if (end < *until)
		*until = end;
	return true;
}

bool tide_sys_own_until(uint64_t at, uint64_t end, uint64_t *ret)
{
	uint64_t until = end, page = 4096;
	unsigned count = atomic_load_explicit(&own_count, memory_order_relaxed);
	bool ours = narrow(at, ((uintptr_t)__bss_start + page - 1) / page * page,
			   ((uintptr_t)_end + page - 1) / page * page, &until);
	for (unsigned i = 0; i < count && i < OWN_MOST && !ours; i++)
		ours = narrow(at, own[i].start, atomic_load_explicit(&own[i].end, memory_order_acquire), &until);
	*ret = until;
	return ours;
}

/* RULE 2: libzstd.a refers to the allocator for contexts that we do not make. The linker (--wrap) leads it here, so that no path
 * in it can come back through our own hooks into the traced heap. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *block);

void *__wrap_malloc(size_t size)
{
	(void)size;
	return NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
	(void)count;
	(void)size;
	return NULL;
}

void __wrap_free(void *block)
{
	(void)block;
}

int tide_sys_munmap(void *at, size_t len)
{
	return (int)call(SYS_munmap, (long)at, (long)len, 0, 0, 0, 0);
}

int tide_sys_move(void *from, void *to, size_t len)
{
	long at = call(SYS_mremap, (long)from, (long)len, (long)len, MREMAP_MAYMOVE | MREMAP_FIXED, (long)to, 0);
	return at == (long)to ? 0 : (int)at;
}

int tide_sys_madvise(void *at, size_t len, int advice)
{
	return (int)call(SYS_madvise, (long)at, (long)len, advice, 0, 0, 0);
}

bool tide_sys_on_other_stack(void)
{
	stack_t now;
	return call(SYS_sigaltstack, 0, (long)&now, 0, 0, 0, 0) != 0 || now.ss_flags & SS_ONSTACK;
}

long tide_sys_getpid(void)
{
	return call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

long tide_sys_getppid(void)
{
	return call(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

long tide_sys_gettid(void)
{
	return call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

void tide_sys_yield(void)
{
	call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

int tide_sys_file_limit(uint64_t *ret)
{
	uint64_t limit[2];
	long rc = call(SYS_prlimit64, 0, 1 /* RLIMIT_FSIZE */, 0, (long)limit, 0, 0);
	if (rc == 0)
		*ret = limit[0];
	return (int)rc;
}

int tide_sys_random(void *buf, size_t len)
{
	return call(SYS_getrandom, (long)buf, (long)len, 1 /* GRND_NONBLOCK */, 0, 0, 0) == (long)len ? 0 : -EAGAIN;
}

uint64_t tide_clock_ns(clockid_t clock)
{
	struct timespec now = {0, 0};
	if (atomic_load_explicit(&tide_stopped, memory_order_relaxed))
		return atomic_load_explicit(&stopped_ns, memory_order_relaxed);
	clock_gettime(clock, &now); /* the vDSO's; sets errno only for a clock that does not exist */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

long tide_sys_slurp(const char *path, char *buf, size_t cap)
{
	int fd = tide_sys_open(path, O_RDONLY | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	size_t len = 0;
	long n = 1;
	while (len + 1 < cap && n > 0) {
		n = tide_sys_read(fd, buf + len, cap - 1 - len);
		if (n > 0)
			len += (size_t)n;
	}
	tide_sys_close(fd);
	buf[len] = '\0';
	return n < 0 ? n : (long)len;
}

const char *tide_getenv(const char *name)
{
	size_t len = strlen(name);
	if (!environ)
		return NULL;
	for (char **e = environ; *e; e++)
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return *e + len + 1;
	return NULL;
}

size_t tide_append(char *buf, size_t cap, size_t len, const char *text)
{
	while (*text && len + 1 < cap)
		buf[len++] = *text++;
	buf[len] = '\0';
	return len;
}

size_t tide_append_number(char *buf, size_t cap, size_t len, uint64_t value, unsigned base)
{
	char digits[24];
	unsigned at = sizeof digits;
	digits[--at] = '\0';
	do
		digits[--at] = "0123456789abcdef"[value % base];
	while ((value /= base) && at);
	return tide_append(buf, cap, len, digits + at);
}

void tide_say(const char *text, const char *subject)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	char line[300];
	if (atomic_flag_test_and_set_explicit(&said, memory_order_relaxed))
		return;
	size_t len = tide_append(line, sizeof line, 0, "tidemark: ");
	len = tide_append(line, sizeof line - 1, len, text);
	len = tide_append(line, sizeof line - 1, len, subject);
	line[len++] = '\n';
	tide_sys_write(2, line, len);
}
