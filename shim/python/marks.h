/*
 * marks.h - which site allocated the block that begins here: two bytes for each 16 of the address space in which arenas lie, by
 * units of an arena's size, aligned to it, so that any two arenas share no more than a unit. The pools themselves say which
 * blocks live, so a mark is stored when a block is allocated, and never cleared.
 */
#ifndef TIDE_PYTHON_MARKS_H
#define TIDE_PYTHON_MARKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIDE_PY_UNIT_SLOTS \
	32768u /* more than the units that the most arenas take; touched as used, neighbours side by side */
#define TIDE_PY_GRANULE 16u

struct tide_py_unit {
	_Atomic uintptr_t number; /* address / unit bytes; 0: free. Stored last */
	uint16_t *marks;
};
extern struct tide_py_marks {
	struct tide_py_unit *unit; /* open addressing */
	unsigned shift;            /* log2 of a unit's bytes */
} tide_py_marks;

bool tide_py_marks_init(void);
/* Makes marks for [base, base + bytes). False: no memory; blocks there have no site. */
bool tide_py_marks_add(uintptr_t base, size_t bytes);
/* The memory went back; so do the whole pages of its marks. */
void tide_py_marks_drop(uintptr_t base, size_t bytes);

static inline struct tide_py_unit *tide_py_unit_slot(uintptr_t number)
{
	struct tide_py_unit *u = &tide_py_marks.unit[number % TIDE_PY_UNIT_SLOTS];
	for (uintptr_t i = number, there;
	     (there = atomic_load_explicit(&u->number, memory_order_acquire)) && __builtin_expect(there != number, 0);)
		u = &tide_py_marks.unit[++i % TIDE_PY_UNIT_SLOTS];
	return u;
}

/* The mark of a block. NULL: nothing near it was ever an arena. */
static inline uint16_t *tide_py_mark_of(const void *block)
{
	uintptr_t at = (uintptr_t)block, number = at >> tide_py_marks.shift;
	struct tide_py_unit *u = &tide_py_marks.unit[number % TIDE_PY_UNIT_SLOTS];
	if (__builtin_expect(atomic_load_explicit(&u->number, memory_order_acquire) != number, 0)) {
		u = tide_py_unit_slot(number);
		if (!atomic_load_explicit(&u->number, memory_order_relaxed))
			return NULL;
	}
	return u->marks + (at - (number << tide_py_marks.shift)) / TIDE_PY_GRANULE;
}

#endif
