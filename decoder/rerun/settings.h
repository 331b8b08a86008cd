/*
 * settings.h - what a log is replayed under: glibc's own settings, other allocators that are installed, and Python's objects as
 * blocks of malloc.
 */
#ifndef TIDE_RERUN_SETTINGS_H
#define TIDE_RERUN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

struct tide_setting {
	const char *name;    /* as in --allocator */
	const char *title;   /* how one would set it */
	const char *env[2];  /* NAME=VALUE; NULL: none */
	const char *library; /* to preload; NULL: none */
	const char *package; /* that has it */
	bool trims;          /* malloc_trim as time passes */
	bool python_objects;
	const char *note; /* NULL: none */
};
#define TIDE_SETTING_AS_IS 0u

/* All of them, as-is first. */
uint32_t tide_settings(const struct tide_setting **ret);
/* NULL: no such one. */
const struct tide_setting *tide_setting_named(const char *name);
/* False: its library is not installed here. */
bool tide_setting_available(const struct tide_setting *);

#endif
