#include "init.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

#include "census.h"
#include "defs.h"
#include "inherit.h"
#include "lane.h"
#include "lock.h"
#include "logfile.h"
#include "python/python.h"
#include "real.h"
#include "record.h"
#include "ring.h"
#include "sample.h"
#include "shadow.h"
#include "survive.h"
#include "sys.h"
#include "unwind/modules.h"
#include "unwind/unwind.h"

#define STATUS_UNKNOWN UINT32_MAX
#define NEVER_SAMPLED (UINT64_C(1) << 62) /* bytes: more than are ever allocated */

struct tide_alive tide_alive TIDE_BIG __attribute__((aligned(4096)));
_Static_assert(sizeof(struct tide_alive) == TIDE_PAGE, "one page, wiped as a whole");

struct tide_config tide_config;

/* ASLEEP: before the constructor. AWAKE with tide_alive.on == 0: a forked child that nobody has adopted yet. */
enum { ASLEEP, AWAKE, ADOPTING, OFF };
static atomic_uint state;
static atomic_uint early; /* events before the log existed */
static long own_pid;      /* of the process that the log is of; a vforked child has another */
static unsigned said_end; /* END(this) is the log's last word so far; TIDE_END_NONE: it is not */

static void off(void)
{
	atomic_store_explicit(&state, OFF, memory_order_relaxed);
	tide_alive.on = 0;
	tide_sample_mean = NEVER_SAMPLED; /* frees too */
}

/* Two parts of a payload: the length of a byte string, in `room`, and its bytes where they are. */
struct text {
	uint8_t room[TIDE_VARINT_MAX];
};
static void put_text(struct tide_part parts[2], struct text *t, const void *bytes, size_t len)
{
	parts[0] = (struct tide_part){t->room, (size_t)(tide_put_varint(t->room, len) - t->room)};
	parts[1] = (struct tide_part){bytes, len};
}

static void define_process(void)
{
	static struct utsname system; /* 390 bytes: not on a guest's stack */
	struct tide_part parts[8];
	struct text texts[4];
	char comm[16] = ""; /* the thread's, which is the first of its process here */
	tide_syscall(SYS_prctl, PR_GET_NAME, (long)comm, 0, 0, 0, 0);
	tide_syscall(SYS_uname, (long)&system, 0, 0, 0, 0, 0);
	const struct tide_unwind_module *exe = tide_module_main();
	put_text(parts, &texts[0], tide_config.exe, strlen(tide_config.exe));
	put_text(parts + 2, &texts[1], comm, strlen(comm));
	put_text(parts + 4, &texts[2], system.release, strlen(system.release));
	put_text(parts + 6, &texts[3], exe ? exe->build_id : NULL, exe ? exe->build_id_len : 0);
	tide_define(TIDE_DEF_PROCESS, parts, 8);
}

static void define_allocator(void)
{
	struct tide_part parts[4];
	struct text texts[2];
	char name[64];
	const char *provider = tide_real_provider(name, sizeof name);
	const char *path = *tide_real_path() ? tide_real_path() : tide_config.exe;
	put_text(parts, &texts[0], provider, strlen(provider));
	put_text(parts + 2, &texts[1], path, strlen(path));
	tide_define(TIDE_DEF_ALLOCATOR, parts, 4);
}

/* glibc aligns every block to 16; others have blocks of 8 bytes that lie side by side. */
static unsigned provider_alignment(void)
{
	char name[64];
	return strncmp(tide_real_provider(name, sizeof name), "glibc", 5) == 0 ? 16 : 8;
}

static void on_load(const struct tide_unwind_module *m)
{
	uint8_t numbers[4 * TIDE_VARINT_MAX];
	struct tide_out out = tide_out_of(numbers, sizeof numbers);
	struct tide_part parts[5];
	struct text texts[2];
	tide_out_varint(&out, m->base);
	tide_out_varint(&out, m->start);
	tide_out_varint(&out, m->end);
	tide_out_varint(&out, tide_clock_ns(CLOCK_MONOTONIC));
	parts[0] = (struct tide_part){numbers, tide_out_len(&out)};
	put_text(parts + 1, &texts[0], m->build_id, m->build_id_len);
	put_text(parts + 3, &texts[1], m->path, strlen(m->path));
	tide_define(TIDE_DEF_MODULE, parts, 5);
	tide_python_module(m, tide_config.python);
}

static void on_unload(const struct tide_unwind_module *m)
{
	uint8_t buf[2 * TIDE_VARINT_MAX];
	struct tide_out out = tide_out_of(buf, sizeof buf);
	tide_out_varint(&out, m->base);
	tide_out_varint(&out, tide_clock_ns(CLOCK_MONOTONIC));
	tide_define(TIDE_DEF_UNLOAD, &(struct tide_part){buf, tide_out_len(&out)}, 1);
}

/* Frames of two stacks must fit an item in the smallest block. */
static void limit_stack(void)
{
	uint32_t room = tide_logfile.geometry.block_len - sizeof(struct tide_block) - (uint32_t)tide_item_bound(0, 0);
	uint32_t most = room / 2 / (uint32_t)(tide_item_bound(1, 0) - tide_item_bound(0, 0)) - 1;
	if (tide_config.stack_limit > most)
		tide_config.stack_limit = most;
}

/* Whether this is a program that we must only pass calls on in; told. */
static bool must_stay_passive(void)
{
	static const char *const runtimes[] = {"__asan_init", "__tsan_init", "__msan_init", "__hwasan_init"};
	for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++)
		if (tide_first_symbol(runtimes[i])) { /* it keeps its own account of every block, and of us */
			tide_say("this program has a sanitizer's run time, not tracing: ", runtimes[i]);
			return true;
		}
	/* linked in statically by gcc it exports nothing but what it stands in front of, and no allocator stands in front of these */
	const void *malloc = tide_first_symbol("malloc");
	if (!tide_real.comes_first && tide_module_same(malloc, tide_first_symbol("memcpy")) &&
	    tide_module_same(malloc, tide_first_symbol("sigaction"))) {
		tide_say("this program has a sanitizer's run time, not tracing: ", "its own memcpy");
		return true;
	}
	if (tide_real_is_late()) {
		tide_say("loaded after the C library (by dlopen?), when it is too late to see allocations, not tracing",
			 "");
		return true;
	}
	return false;
}

__attribute__((constructor)) static void wake(void)
{
	tide_real_find();
	if (!tide_config_read(&tide_config) || must_stay_passive()) {
		off();
		return;
	}
	if (tide_sys_madvise(&tide_alive, sizeof tide_alive, MADV_WIPEONFORK) != 0) {
		tide_say("this kernel cannot tell a forked child from its parent (MADV_WIPEONFORK), not tracing", "");
		off();
		return;
	}
	if (!tide_logfile_create(&tide_config, true) || !tide_lanes_init() || !tide_ring_init() ||
	    !tide_survive_init()) {
		off();
		return;
	}
	own_pid = tide_sys_getpid();
	tide_record_init();
	tide_shadow_init(provider_alignment());
	tide_sample_mean = tide_config.sample;
	limit_stack();
	tide_modules_listen(on_load, on_unload, tide_config.exe);
	define_process();
	define_allocator();
	tide_count_loss(TIDE_LOSS_PREINIT, atomic_load_explicit(&early, memory_order_relaxed));
	atomic_store_explicit(&state, AWAKE, memory_order_relaxed);
	tide_alive.on = 1;
}

/* What the parent had recorded before the fork, lane by lane, so that a reader can tell what was inherited. */
static void define_lineage(const uint64_t *events, uint32_t lanes, uint64_t ticks, uint8_t *buf, size_t cap)
{
	struct tide_out out = tide_out_of(buf, cap);
	while (lanes > 0 && events[lanes - 1] == 0)
		lanes--;
	tide_out_varint(&out, lanes);
	for (uint32_t i = 0; i < lanes; i++)
		tide_out_varint(&out, events[i]);
	tide_out_varint(&out, ticks);
	tide_define(TIDE_DEF_LINEAGE, &(struct tide_part){buf, tide_out_len(&out)}, 1);
}

static bool adopt(void)
{
	uint32_t lanes = tide_logfile.geometry.lanes;
	size_t events_len = lanes * sizeof(uint64_t), text_len = (lanes + 2) * (size_t)TIDE_VARINT_MAX;
	uint8_t *scratch =
		tide_sys_mmap(events_len + text_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!scratch)
		return false;
	uint32_t epoch = tide_ring_epoch();
	tide_inherit_keep();
	bool left = tide_logfile_leave_parent(&tide_config);
	if (left) {
		own_pid = tide_sys_getpid();
		said_end = TIDE_END_NONE;
		tide_ring_fork_child();
		tide_survive_fork_child();
		tide_shadow_fork_child();
		tide_census_fork_child();
		tide_record_fork_child();
		tide_unwind_fork_child();
		tide_python_fork_child();
		uint64_t ticks = tide_lanes_fork_child((uint64_t *)scratch, epoch);
		define_process();
		define_allocator();
		define_lineage((uint64_t *)scratch, lanes, ticks, scratch + events_len, text_len);
		tide_modules_again();
	}
	tide_sys_munmap(scratch, events_len + text_len);
	return left;
}

bool tide_wake(void)
{
	unsigned was = atomic_load_explicit(&state, memory_order_relaxed);
	if (was == ASLEEP)
		atomic_fetch_add_explicit(&early, 1, memory_order_relaxed);
	if (was == OFF) /* from now on the thread's allocations pass on as those outside a sample do */
		tide_draw.room = NEVER_SAMPLED;
	if (was != AWAKE)
		return false;
	if (!atomic_compare_exchange_strong_explicit(&state, &was, ADOPTING, memory_order_acquire,
						     memory_order_relaxed))
		return false;
	if (tide_alive.on == 1) { /* another thread has just been here */
		atomic_store_explicit(&state, AWAKE, memory_order_release);
		return true;
	}
	if (!adopt()) {
		off();
		return false;
	}
	tide_alive.on = 1;
	atomic_store_explicit(&state, AWAKE, memory_order_release);
	return true;
}

bool tide_adopt_file(void)
{
	if (!tide_logfile.is_private)
		return true;
	if (!tide_shadow_settle())
		return false;
	if (tide_logfile_promote(&tide_config)) {
		tide_lanes_have_log();
		tide_inherit_define();
		return true;
	}
	off();
	return false;
}

static bool is_own_log(void)
{
	/* under seccomp nobody can be asked, and hardly anybody runs a vfork child to its end */
	return tide_alive.on == 1 && !tide_logfile.is_private && (tide_sys_forbidden() || tide_sys_getpid() == own_pid);
}

/* A process that has recorded nothing takes no census and no lane at its end: of an empty ledger there is nothing to explain. */
static bool has_recorded(void)
{
	return tide_control_get(TIDE_CTL_LANES) > 0;
}

void tide_ending(void)
{
	if (is_own_log() && has_recorded())
		tide_record_ending();
}

void tide_end(unsigned what, uint32_t status)
{
	uint8_t buf[4 * TIDE_VARINT_MAX];
	if (said_end == TIDE_END_EXIT || !is_own_log())
		return;
	tide_resumed(); /* an exec that failed, and nobody told us */
	said_end = what;
	if (what == TIDE_END_EXIT && has_recorded())
		tide_census(TIDE_CENSUS_EXIT);
	struct tide_out out = tide_out_of(buf, sizeof buf);
	tide_out_varint(&out, what);
	tide_out_varint(&out, status);
	tide_out_varint(&out, tide_clock_ns(CLOCK_MONOTONIC));
	tide_out_varint(&out, tide_ticks());
	tide_define(TIDE_DEF_END, &(struct tide_part){buf, tide_out_len(&out)}, 1);
	tide_lanes_sum();
}

void tide_resumed(void)
{
	if (said_end == TIDE_END_NONE || !is_own_log())
		return;
	said_end = TIDE_END_NONE;
	tide_define(TIDE_DEF_RESUMED, NULL, 0);
}

/* exit() or a return from main. Static destructors of objects loaded before this one still run, and are still traced. */
__attribute__((destructor)) static void fall_asleep(void)
{
	if (!is_own_log())
		return;
	if (has_recorded())
		tide_record_plain(TIDE_KIND_MARK, NULL, TIDE_MARK_FINI);
	tide_end(TIDE_END_EXIT, STATUS_UNKNOWN);
}
