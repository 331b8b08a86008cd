/*
 * beacon.h - what the shim lets be found in the memory of a running program: which memory is its own, and where pymalloc's arenas
 * are. Nothing else can tell that to a reader outside (process_vm_readv); nothing of it is in the log.
 *
 * It lies at a multiple of 16 in the writable data of libtidemark.so, and is found by its magic and its own address: a copy of
 * these bytes anywhere else does not pass. Addresses are the traced process'. A reader believes none of it unchecked.
 */
#ifndef TIDE_FORMAT_BEACON_H
#define TIDE_FORMAT_BEACON_H

#include <stdint.h>

#define TIDE_MAGIC_BEACON UINT64_C(0x314e4f43414542e7)
#define TIDE_BEACON_VERSION 1u
#define TIDE_BEACON_OWN_MOST 256u
#define TIDE_BEACON_ARENAS_MOST 16384u

struct tide_beacon {
	uint64_t magic;
	uint64_t self; /* address of this structure */
	uint32_t version;
	uint32_t len; /* bytes of this structure */
	uint64_t log,
		log_end; /* where the log is mapped, or a forked child's memory that has no file yet; 0: nowhere */
	uint64_t own;    /* address of `own_most` tide_beacon_range; those with an end of 0 are not in use yet */
	uint64_t bss, bss_end;     /* and the shim's own variables: [bss, bss_end) */
	uint64_t arenas;           /* address of tide_beacon_arena slots; 0: no Python */
	uint64_t used_slots;       /* address of uint32_t slot numbers */
	uint64_t used_slots_count; /* address of a uint32_t: so many of them, at most TIDE_BEACON_ARENAS_MOST */
	uint32_t arena_slots;      /* how many slots there are */
	uint32_t own_most;
	uint32_t pool_bytes; /* of a pymalloc pool */
	uint32_t reserved;
};

struct tide_beacon_range {
	uint64_t start, end;
};

struct tide_beacon_arena {
	uint64_t base; /* 0, 1: none */
	uint32_t bytes;
	uint8_t inherited; /* over fork */
	uint8_t reserved[3];
};

_Static_assert(sizeof(struct tide_beacon) == 104, "beacon");
_Static_assert(sizeof(struct tide_beacon_arena) == 16, "slot");

#endif
