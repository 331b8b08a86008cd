/*
 * What a block of a pool is: an object's second word is its type, and a type says its name. Most blocks are objects, the rest are
 * buffers; so a word is believed only if what it points at has all the marks of a type. Nothing is read there but by the
 * kernel, which says so where there is no memory.
 */
#include <string.h>
#include <sys/uio.h>

#include "census.h"
#include "defs.h"
#include "python/interp.h"
#include "sys.h"

#define SLOTS_FIRST 256u /* a small program's census touches few pages */
#define SLOTS_MOST 4096u
#define LOOKS_MOST 2000u /* distinct words that are looked at in one census */
#define NAME_MOST 120u
#define NAMES_BYTES 65536u
#define TYPE_READY (UINT64_C(1) << 12) /* Include/object.h: Py_TPFLAGS_READY, _TYPE_SUBCLASS */
#define TYPE_SUBCLASS (UINT64_C(1) << 31)
#define BASICSIZE 32u

struct looked {
	uintptr_t word;
	uint32_t number; /* 0: no type */
};

static struct {
	struct looked *memory; /* two tables, of which one is in use */
	struct looked *slot;
	uint32_t slots;
	uint8_t *names; /* byte strings with their length before them, in order of their numbers */
	uint32_t used, looks, numbers, named, put;
} types;

struct type { /* what we look at of a PyTypeObject */
	uint64_t word[22];
};
_Static_assert(sizeof(struct type) > TIDE_PY_TP_FLAGS, "tp_flags is in it");

static long copy(uintptr_t from, void *to, size_t len)
{
	struct iovec local = {to, len}, remote = {(void *)from, len};
	return tide_syscall(SYS_process_vm_readv, tide_sys_getpid(), (long)&local, 1, (long)&remote, 1, 0);
}

void tide_py_types_begin(void)
{
	if (!types.memory) {
		types.slot = types.memory = tide_sys_memory(2 * SLOTS_MOST * sizeof *types.memory);
		types.slots = SLOTS_FIRST;
	}
	if (!types.names)
		types.names = tide_sys_memory(NAMES_BYTES);
	if (types.slot && types.used)
		memset(types.slot, 0, types.slots * sizeof *types.slot);
	types.used = types.looks = types.numbers = types.named = types.put = 0;
}

static bool is_ready(uintptr_t at, struct type *ret)
{
	uint64_t basicsize;
	return copy(at, ret, sizeof *ret) == (long)sizeof *ret && ret->word[TIDE_PY_TP_FLAGS / 8] & TYPE_READY &&
	       (basicsize = ret->word[BASICSIZE / 8]) >= 16 && basicsize < 1u << 20 && ret->word[0];
}

/* A type of types: `type` itself, which is its own type, or a subclass. */
static bool is_metatype(uintptr_t at)
{
	struct type meta;
	return at % 8 == 0 && is_ready(at, &meta) && meta.word[TIDE_PY_TP_FLAGS / 8] & TYPE_SUBCLASS;
}

/* Appends the name; false: there is none, or no room. */
static bool take_name(uintptr_t from)
{
	uint8_t *to = types.names + types.named + 1;
	if (types.named + NAME_MOST + 2 > NAMES_BYTES)
		return false;
	long n = copy(from, to, NAME_MOST);
	size_t len = 0;
	while ((long)len < n && to[len] > ' ' && to[len] != 0x7f)
		len++;
	if (n <= 0 || !len || (len < NAME_MOST && ((long)len == n || to[len])))
		return false;
	types.names[types.named] = (uint8_t)len;
	types.named += (uint32_t)len + 1;
	return true;
}

static uint32_t look(uintptr_t at)
{
	struct type type;
	if (types.looks++ >= LOOKS_MOST || !is_ready(at, &type) || !is_metatype(type.word[TIDE_PY_TYPE / 8]))
		return 0;
	return take_name(type.word[TIDE_PY_TP_NAME / 8]) ? ++types.numbers : 0;
}

/* Where the word is, or would be. */
static struct looked *slot_of(uintptr_t word)
{
	uint32_t i = (uint32_t)((word >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 40);
	while (types.slot[i % types.slots].word && types.slot[i % types.slots].word != word)
		i++;
	return &types.slot[i % types.slots];
}

static void grow(void)
{
	const struct looked *old = types.slot, *end = old + types.slots;
	types.slot = old == types.memory ? types.memory + SLOTS_MOST : types.memory;
	types.slots *= 2;
	memset(types.slot, 0, types.slots * sizeof *types.slot);
	for (; old < end; old++)
		if (old->word)
			*slot_of(old->word) = *old;
}

static uint32_t number_of(uintptr_t word)
{
	struct looked *l = slot_of(word);
	if (!l->word && types.used >= types.slots / 4 * 3 && types.slots < SLOTS_MOST) {
		grow();
		l = slot_of(word);
	}
	if (!l->word && types.used < SLOTS_MOST / 4 * 3) {
		*l = (struct looked){word, look(word)};
		types.used++;
	}
	return l->word == word ? l->number : 0;
}

uint32_t tide_py_type_of(const uint8_t *block, size_t bytes)
{
	/* an object may have the collector's two words before it, and before those its dict's and weak references' */
	for (size_t at = 0; at <= 32 && at + 16 <= bytes && types.slot && types.names; at += 16) {
		uint64_t references, type;
		memcpy(&references, block + at, sizeof references);
		memcpy(&type, block + at + TIDE_PY_TYPE, sizeof type);
		bool plausible = references && references <= UINT32_MAX && type > TIDE_PAGE && type < UINT64_C(1) << 47;
		uint32_t number = plausible && type % 8 == 0 ? number_of(type) : 0;
		if (number)
			return number;
	}
	return 0;
}

bool tide_py_types_put(struct tide_census_writer *w)
{
	bool ok = true;
	while (ok && types.put < types.named) {
		uint32_t len = types.names[types.put];
		ok = tide_census_put(w, TIDE_CENSUS_PYTYPE, types.names + types.put, len + 1);
		types.put += len + 1;
	}
	return ok;
}
