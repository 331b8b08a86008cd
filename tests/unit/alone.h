/*
 * alone.h - the real lanes, ring and carrier in a program of their own: stacks, Python and censuses are left out. Included once.
 */
#ifndef ALONE_H
#define ALONE_H

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "census.h"
#include "init.h"
#include "lane.h"
#include "logfile.h"
#include "python/python.h"
#include "record.h"
#include "ring.h"
#include "survive.h"
#include "sys.h"

#define HEAP UINT64_C(0x200000000000) /* no memory: only its addresses are recorded */

/* ---- what is left out ---- */
bool tide_adopt_file(void)
{
	return true;
}
void tide_census(enum tide_census_reason reason)
{
	(void)reason;
}
uint64_t tide_census_last(uint64_t *ret_bytes)
{
	*ret_bytes = 0;
	return UINT64_MAX;
}
void tide_census_is_gone(void)
{
}
bool tide_python_census_is_poor(void)
{
	return false;
}
bool tide_python_finalizing(void)
{
	return false;
}
atomic_bool tide_python_usable;
uintptr_t tide_python_words(struct tide_py_stack *stack, struct tide_kept *kept, unsigned max, struct tide_words *ret,
			    const struct tide_unwinder *u, const struct tide_regs *regs)
{
	(void)stack, (void)kept, (void)max, (void)u, (void)regs;
	*ret = (struct tide_words){0};
	return UINTPTR_MAX;
}
/* With registers, whatever they hold: a stack of so many words. */
static uint32_t alone_depth;
void tide_unwind(struct tide_unwinder *u, const struct tide_regs *regs, unsigned max, uintptr_t stands,
		 struct tide_words *ret)
{
	static uint64_t word[TIDE_STACK_MAX];
	(void)u, (void)regs, (void)max, (void)stands;
	*ret = (struct tide_words){word, alone_depth, 0};
}
void tide_unwinder_forget(struct tide_unwinder *u)
{
	(void)u;
}

static void remove_all(const char *dir)
{
	char pattern[64];
	glob_t found;
	snprintf(pattern, sizeof pattern, "%s/*", dir);
	if (glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			unlink(found.gl_pathv[i]);
		globfree(&found);
	}
	rmdir(dir);
}

/* A log of tide_config.size; its file is removed at once: what is mapped stays. */
static bool alone_begin(void)
{
	char dir[] = "/tmp/tidemark-alone-XXXXXX";
	if (!mkdtemp(dir))
		return false;
	tide_append(tide_config.dir, sizeof tide_config.dir, 0, dir);
	tide_shadow_init(16);
	bool created = tide_logfile_create(&tide_config, true);
	remove_all(dir);
	return created && tide_lanes_init() && tide_ring_init() && tide_survive_init();
}

#endif
