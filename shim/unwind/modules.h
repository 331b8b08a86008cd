/*
 * modules.h - the ELF objects of the process: which one an address lies in, what it is called, its symbols; without locks,
 * allocation, or a call into the dynamic linker that takes one (but see tide_module_at before glibc 2.35).
 *
 * An object is registered when one of its addresses is first asked for, or at start-up, and then told to the listener, once a load.
 */
#ifndef TIDE_UNWIND_MODULES_H
#define TIDE_UNWIND_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIDE_BUILD_ID_MAX 32u

struct tide_unwind_module {
	uintptr_t base;       /* load bias: address in the file + base = address here */
	uintptr_t start, end; /* of its mappings */
	uintptr_t code;       /* begin of its first executable segment */
	const char *
		path; /* the dynamic linker's, valid while the object is loaded; the executable's own path for the program */
	const uint8_t *eh_frame_hdr; /* NULL: no unwind table */
	const void *dynamic;         /* its dynamic section; NULL: none */
	uint8_t build_id[TIDE_BUILD_ID_MAX];
	uint32_t build_id_len;
	bool gone;
};

typedef void tide_module_fn(const struct tide_unwind_module *);

/* Calls `loaded` for every object there is, now, and for every other one when it is first met. `unloaded`: it is gone; only
 * base, start and end may be used. `exe`: path of the program. */
void tide_modules_listen(tide_module_fn *loaded, tide_module_fn *unloaded, const char *exe);
/* Tells the listener of every object again: a forked child's log begins empty. */
void tide_modules_again(void);
/* Notices which objects are gone. */
void tide_modules_sweep(void);
void tide_modules_fork_child(void);

/* The object that holds `address`, registered on the way, or NULL. Valid for ever; check `gone`. */
const struct tide_unwind_module *tide_module_at(uintptr_t address);
/* The program itself; NULL before tide_modules_listen. */
const struct tide_unwind_module *tide_module_main(void);

/* Address of a symbol that the object defines in its dynamic table, default version; NULL: none. */
void *tide_module_symbol(const struct tide_unwind_module *, const char *name);
/* What dlsym(RTLD_NEXT) would say to the object that holds `inside`: the first definition after it in load order. */
void *tide_next_symbol(const void *inside, const char *name);
/* What dlsym(RTLD_DEFAULT) would say: the first definition of all. */
void *tide_first_symbol(const char *name);
/* Whether one object holds both addresses. */
bool tide_module_same(const void *, const void *);
/* Path of the object that holds `address`; "" if there is none. */
void tide_module_path_of(const void *address, char *buf, size_t cap);

#endif
