#include "logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "crowd.h"
#include "fault.h"
#include "format/beacon.h"
#include "format/wire.h"
#include "sys.h"

#define TOO_MANY_LOGS (TIDE_ERRNO_MAX + 1) /* beside errno's numbers */

struct tide_logfile tide_logfile;

#if defined(__x86_64__)
#define ELF_MACHINE 62
#else
#error "ELF machine number: add this architecture"
#endif

static uint64_t random_word(void)
{
	uint64_t word = 0;
	if (tide_sys_random(&word, sizeof word) != 0 ||
	    word == 0) { /* early boot, old kernel: unlike is enough, secret is not needed */
		uint64_t seed[3] = {tide_ticks(), tide_clock_ns(CLOCK_REALTIME), (uint64_t)tide_sys_getpid()};
		word = tide_checksum(seed, sizeof seed, seed[0]) | 1;
	}
	return word;
}

void tide_control_add(enum tide_control_word index, uint64_t n)
{
	if (!tide_logfile.base)
		return;
	struct tide_control *control = tide_logfile_at(tide_logfile.geometry.control_off);
	_Atomic uint64_t *second = (_Atomic uint64_t *)&control->word[index][1];
	uint64_t now =
		atomic_fetch_add_explicit((_Atomic uint64_t *)&control->word[index][0], n, memory_order_relaxed) + n;
	uint64_t was = atomic_load_explicit(second, memory_order_relaxed);
	/* not added to but raised: a handler that jumps away between the two leaves them apart until the next add only */
	while (was < now &&
	       !atomic_compare_exchange_weak_explicit(second, &was, now, memory_order_relaxed, memory_order_relaxed))
		;
}

uint64_t tide_control_get(enum tide_control_word index)
{
	const struct tide_control *control = tide_logfile_at(tide_logfile.geometry.control_off);
	return atomic_load_explicit((const _Atomic uint64_t *)&control->word[index][0], memory_order_relaxed);
}

/* field 22 is the 20th after the last parenthesis of /proc/self/stat (proc(5)) */
static uint64_t process_start(void)
{
	char stat[600];
	if (tide_sys_slurp("/proc/self/stat", stat, sizeof stat) < 0)
		return 0;
	const char *at = strrchr(stat, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	uint64_t value = 0;
	for (at = at ? at + 1 : ""; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

/* "pid:[4026531836]" */
static uint64_t pid_namespace(void)
{
	char link[64];
	uint64_t value = 0;
	if (tide_sys_readlink("/proc/self/ns/pid", link, sizeof link) < 0)
		return 0;
	for (const char *at = link; *at; at++)
		if (*at >= '0' && *at <= '9')
			value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

static void boot_id(uint8_t ret[16])
{
	char text[64];
	unsigned nibbles = 0;
	memset(ret, 0, 16);
	if (tide_sys_slurp("/proc/sys/kernel/random/boot_id", text, sizeof text) < 0)
		return;
	for (const char *at = text; *at && nibbles < 32; at++) {
		int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : -1;
		if (digit >= 0) {
			ret[nibbles / 2] = (uint8_t)(ret[nibbles / 2] << 4 | digit);
			nibbles++;
		}
	}
}

static void fill_superblock(struct tide_superblock *s, const struct tide_config *config)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	*s = (struct tide_superblock){
		.magic = TIDE_MAGIC_FILE,
		.header_len = TIDE_SUPERBLOCK_LEN,
		.version_major = TIDE_VERSION_MAJOR,
		.version_minor = TIDE_VERSION_MINOR,
		.incompat_flags = TIDE_INCOMPAT_ENCODINGS,
		.compat_flags = TIDE_COMPAT_CHECK,
		.file_uid = tide_logfile.file_uid,
		.file_size = g->file_size,
		.endian = TIDE_ENDIAN,
		.pointer_size = sizeof(void *),
		.arch = ELF_MACHINE,
		.control_off = g->control_off,
		.defs_off = g->defs_off,
		.defs_len = g->defs_len,
		.staging_off = g->staging_off,
		.lanes = g->lanes,
		.shared_lanes = g->shared_lanes,
		.block_len = g->block_len,
		.segment_len = g->segment_len,
		.ring_off = g->ring_off,
		.ring_len = g->ring_len,
		.session = config->session,
		.pid = (int32_t)tide_sys_getpid(),
		.ppid = (int32_t)tide_sys_getppid(),
		.pid_ns = pid_namespace(),
		.process_start = process_start(),
		.mono_ns = tide_clock_ns(CLOCK_MONOTONIC),
		.real_ns = tide_clock_ns(CLOCK_REALTIME),
		.boot_ns = tide_clock_ns(CLOCK_BOOTTIME),
		.ticks = tide_ticks(),
		.sample_bytes = config->sample,
		.stack_limit = config->stack_limit,
		.python_mode = config->python,
		.page_size = TIDE_PAGE,
	};
	boot_id(s->boot_id);
}

static void fill_head(struct tide_superblock *s, const struct tide_config *config, uint64_t parent_uid,
		      int32_t parent_pid)
{
	fill_superblock(s, config);
	s->parent_uid = parent_uid;
	s->parent_pid = parent_pid;
	s->checksum = tide_checksum(s, s->header_len, 0);
}

static void begin_control(uint8_t *base)
{
	struct tide_control *control = (struct tide_control *)(base + tide_logfile.geometry.control_off);
	control->magic = TIDE_MAGIC_CONTROL;
	control->file_uid = tide_logfile.file_uid;
}

/* NAME-PID-NONCE.tide */
static void file_name(char *buf, size_t cap, const char *program)
{
	char name[64];
	size_t len = tide_append(name, sizeof name, 0, *program ? program : "unknown");
	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == '/')
			name[i] = '_';
	len = tide_append(buf, cap, 0, name);
	len = tide_append(buf, cap, len, "-");
	len = tide_append_number(buf, cap, len, (uint64_t)tide_sys_getpid(), 10);
	len = tide_append(buf, cap, len, "-");
	len = tide_append_number(buf, cap, len, tide_logfile.file_uid >> 16, 16);
	tide_append(buf, cap, len, ".tide");
}

/* Blocks for the whole file, so that a full disk refuses now and cannot fault later. */
static int reserve(int fd, uint64_t size)
{
	static const uint8_t zeros[TIDE_PAGE];
	int rc = tide_sys_fallocate(fd, size);
	if (rc != -EOPNOTSUPP && rc != -ENOSYS)
		return rc;
	for (uint64_t done = 0; done < size; done += sizeof zeros) {
		long n = tide_sys_write(fd, zeros, sizeof zeros);
		if (n != (long)sizeof zeros)
			return n < 0 ? (int)n : -ENOSPC;
	}
	return 0;
}

/* Written, not stored into the mapping: nobody needs these two pages in memory, and a first touch takes longer. */
static int write_copies(int fd, const struct tide_superblock *head)
{
	long len = (long)sizeof *head, n = tide_sys_pwrite(fd, head, sizeof *head, 0);
	if (n == len)
		n = tide_sys_pwrite(fd, head, sizeof *head, head->file_size - TIDE_PAGE);
	return n == len ? 0 : n < 0 ? (int)n : -ENOSPC;
}

/* Without `head` its copies are left to the caller. */
static void *map_new_file(int dir, const char *name, const struct tide_superblock *head, int *ret_errno)
{
	uint64_t size = tide_logfile.geometry.file_size;
	int fd = tide_sys_openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, 0600);
	if (fd < 0) {
		*ret_errno = -fd;
		return NULL;
	}
	tide_sys_fchmod(fd, 0600); /* whatever the umask */
	int rc = reserve(fd, size);
	if (rc == 0 && head)
		rc = write_copies(fd, head);
	void *base = rc == 0 ? tide_sys_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
	if (base) /* a first touch would else read ahead: megabytes of zeros, milliseconds */
		tide_sys_madvise(base, size, MADV_RANDOM);
	if (!base) {
		*ret_errno = rc ? -rc : ENOMEM;
		tide_sys_unlinkat(dir, name);
	}
	tide_sys_close(fd);
	return base;
}

static const char *errno_text(int number)
{
	switch (number) {
	case ENOSPC:
		return ": No space left on device";
	case EDQUOT:
		return ": Disk quota exceeded";
	case EACCES:
		return ": Permission denied";
	case EROFS:
		return ": Read-only file system";
	case ENOENT:
		return ": No such directory";
	case ENOTDIR:
		return ": Not a directory";
	case ENOMEM:
		return ": Cannot allocate memory";
	case EMFILE:
	case ENFILE:
		return ": Too many open files";
	case EFBIG:
		return ": File size limit";
	case TOO_MANY_LOGS:
		return ": as many logs as TIDEMARK_DIR_FILES or TIDEMARK_DIR_SIZE allows (see tidemark prune)";
	default:
		return "";
	}
}

static void tell(int number)
{
	char text[340];
	size_t len = tide_append(text, sizeof text - 90, 0, tide_logfile.dir);
	tide_append(text, sizeof text, len, errno_text(number));
	tide_say("cannot create a log, not tracing: ", text);
}

/* The directory as it is at start: later logs go there too, wherever the program changes to. */
static void keep_dir(const struct tide_config *config)
{
	char *dir = tide_logfile.dir;
	size_t len = 0;
	if (tide_logfile.dir_kept)
		return;
	if (config->dir[0] != '/' && tide_sys_readlink("/proc/self/cwd", dir, sizeof tide_logfile.dir) > 0)
		len = tide_append(dir, sizeof tide_logfile.dir, strlen(dir), "/");
	tide_append(dir, sizeof tide_logfile.dir, len, config->dir);
	tide_logfile.dir_kept = true;
}

static void *create(const struct tide_config *config, const struct tide_superblock *head, bool loud)
{
	char name[160];
	int number = 0;
	keep_dir(config);
	file_name(name, sizeof name, config->name);
	int dir = tide_sys_open(tide_logfile.dir, O_RDONLY | O_DIRECTORY | O_NOCTTY, 0);
	void *base = NULL;
	if (dir < 0)
		number = -dir;
	else if (!tide_crowd_has_room(dir, tide_logfile.geometry.file_size, config->dir_files, config->dir_size))
		number = TOO_MANY_LOGS;
	else
		base = map_new_file(dir, name, head, &number);
	if (dir >= 0)
		tide_sys_close(dir);
	if (!base && loud)
		tell(number);
	return base;
}

/* RLIMIT_FSIZE would not refuse but send SIGXFSZ to the program. */
static uint64_t allowed_size(uint64_t wanted)
{
	uint64_t limit = UINT64_MAX;
	tide_sys_file_limit(&limit);
	return wanted <= limit ? wanted : tide_round_down(limit, TIDE_PAGE);
}

bool tide_logfile_create(const struct tide_config *config, bool loud)
{
	uint64_t size = allowed_size(config->size);
	keep_dir(config);
	if (size < TIDE_FILE_MIN) {
		if (loud)
			tell(EFBIG);
		return false;
	}
	tide_logfile.geometry = tide_geometry_of(size);
	tide_logfile.file_uid = random_word();
	struct tide_superblock head;
	fill_head(&head, config, 0, 0);
	uint8_t *base = create(config, &head, loud);
	if (!base)
		return false;
	begin_control(base);
	tide_logfile.base = base;
	tide_beacon.log = (uintptr_t)base;
	tide_beacon.log_end = (uintptr_t)base + tide_logfile.geometry.file_size;
	return true;
}

void tide_logfile_is_filling(void)
{
	/* of all of it: a part would become a mapping of its own, which cannot be moved together with the rest */
	tide_sys_madvise(tide_logfile.base, tide_logfile.geometry.file_size, MADV_HUGEPAGE);
}

void tide_logfile_rest(void)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	/* of a shared mapping: nothing is lost */
	tide_sys_madvise(tide_logfile_at(g->ring_off), g->ring_len, MADV_DONTNEED);
}

bool tide_logfile_leave_parent(const struct tide_config *config)
{
	uint64_t parent_uid = tide_logfile.file_uid, size = tide_logfile.geometry.file_size;
	const struct tide_superblock *old = (const struct tide_superblock *)tide_logfile.base;
	int32_t parent_pid = tide_logfile.is_private ? (int32_t)tide_sys_getppid() : old->pid;
	uint8_t *fresh = tide_sys_memory(size);
	if (!fresh || tide_sys_move(fresh, tide_logfile.base, size) != 0)
		return false;
	tide_logfile.is_private = true;
	TIDE_FAULT("fork-left");
	tide_logfile.file_uid = random_word();
	struct tide_superblock *head = (struct tide_superblock *)tide_logfile.base;
	fill_head(head, config, parent_uid, parent_pid);
	memcpy(tide_logfile_at(size - TIDE_PAGE), head, sizeof *head);
	begin_control(tide_logfile.base);
	return true;
}

bool tide_logfile_promote(const struct tide_config *config)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	uint8_t *from = tide_logfile.base;
	tide_logfile.is_private = false;
	if (allowed_size(g->file_size) < g->file_size)
		return false;
	uint8_t *to = create(config, NULL, false);
	if (!to)
		return false;
	TIDE_FAULT("fork-created");
	/* the parts that a young child can have touched: definitions and the blocks of lanes in use */
	memcpy(to, from, g->defs_off + tide_control_get(TIDE_CTL_DEFS_USED));
	memcpy(to + g->file_size - TIDE_PAGE, from + g->file_size - TIDE_PAGE, TIDE_PAGE);
	for (uint32_t lane = 0; lane < g->lanes; lane++) {
		const struct tide_block *block = tide_logfile_at(g->staging_off + (uint64_t)lane * g->block_len);
		if (block->magic == TIDE_MAGIC_BLOCK)
			memcpy(to + ((const uint8_t *)block - from), block, block->header_len + block->committed);
	}
	TIDE_FAULT("fork-copied");
	return tide_sys_move(to, from, g->file_size) == 0;
}
