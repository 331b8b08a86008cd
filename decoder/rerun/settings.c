#include "rerun/settings.h"

#include <string.h>
#include <unistd.h>

#define LIBRARIES "/usr/lib/x86_64-linux-gnu/"

static const struct tide_setting all[] = {
	{.name = "as-is", .title = "glibc, default settings"},
	{.name = "arena-max-1", .title = "MALLOC_ARENA_MAX=1", .env = {"MALLOC_ARENA_MAX=1"}},
	{.name = "arena-max-2", .title = "MALLOC_ARENA_MAX=2", .env = {"MALLOC_ARENA_MAX=2"}},
	{.name = "mmap-64k",
	 .title = "MALLOC_MMAP_THRESHOLD_=65536",
	 .env = {"MALLOC_MMAP_THRESHOLD_=65536"},
	 .note = "blocks of 64 KiB and more are mappings of their own, and the threshold does not adapt"},
	{.name = "trim-64k",
	 .title = "MALLOC_TRIM_THRESHOLD_=65536",
	 .env = {"MALLOC_TRIM_THRESHOLD_=65536", "MALLOC_TOP_PAD_=65536"},
	 .note = "the top of a heap goes back from 64 KiB on, and the thresholds do not adapt"},
	{.name = "trim", .title = "malloc_trim(0) as time passes", .trims = true},
	{.name = "no-tcache",
	 .title = "glibc.malloc.tcache_count=0",
	 .env = {"GLIBC_TUNABLES=glibc.malloc.tcache_count=0"}},
	{.name = "jemalloc",
	 .title = "jemalloc",
	 .library = LIBRARIES "libjemalloc.so.2",
	 .package = "libjemalloc2",
	 .note = "it returns memory 10 s after its last use; a replay runs faster than that"},
	{.name = "jemalloc-decay-0",
	 .title = "jemalloc, dirty_decay_ms:0",
	 .env = {"MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0"},
	 .library = LIBRARIES "libjemalloc.so.2",
	 .package = "libjemalloc2"},
	{.name = "tcmalloc",
	 .title = "tcmalloc (gperftools)",
	 .library = LIBRARIES "libtcmalloc_minimal.so.4",
	 .package = "libtcmalloc-minimal4"},
	{.name = "mimalloc", .title = "mimalloc", .library = LIBRARIES "libmimalloc.so.2", .package = "libmimalloc2.0"},
	{.name = "python-malloc",
	 .title = "PYTHONMALLOC=malloc",
	 .python_objects = true,
	 .note = "every Python object is a block of malloc"},
};

uint32_t tide_settings(const struct tide_setting **ret)
{
	*ret = all;
	return sizeof all / sizeof *all;
}

const struct tide_setting *tide_setting_named(const char *name)
{
	for (uint32_t i = 0; i < sizeof all / sizeof *all; i++)
		if (strcmp(all[i].name, name) == 0)
			return &all[i];
	return NULL;
}

bool tide_setting_available(const struct tide_setting *s)
{
	return !s->library || access(s->library, R_OK) == 0;
}
