#include "python/marks.h"

#include <sys/mman.h>

#include "lock.h"
#include "python/interp.h"
#include "sys.h"

#define UNITS_MOST (TIDE_PY_UNIT_SLOTS / 4 * 3)

struct tide_py_marks tide_py_marks;
static uint32_t units;
static struct tide_lock lock;

bool tide_py_marks_init(void)
{
	tide_py_marks.shift = (unsigned)__builtin_ctz(tide_py.version->arena);
	tide_py_marks.unit = tide_sys_memory(TIDE_PY_UNIT_SLOTS * sizeof *tide_py_marks.unit);
	return tide_py_marks.unit != NULL;
}

static bool add_unit(uintptr_t number)
{
	struct tide_py_unit *u = tide_py_unit_slot(number);
	if (atomic_load_explicit(&u->number, memory_order_relaxed))
		return true;
	uint16_t *marks =
		units < UNITS_MOST
			? tide_sys_memory((UINT64_C(1) << tide_py_marks.shift) / TIDE_PY_GRANULE * sizeof *marks)
			: NULL;
	if (!marks)
		return false;
	units++;
	u->marks = marks;
	atomic_store_explicit(&u->number, number, memory_order_release);
	return true;
}

bool tide_py_marks_add(uintptr_t base, size_t bytes)
{
	bool done = tide_py_marks.unit && tide_lock_within(&lock);
	if (!done)
		return false;
	for (uintptr_t number = base >> tide_py_marks.shift;
	     number <= (base + bytes - 1) >> tide_py_marks.shift && done; number++)
		done = add_unit(number);
	tide_unlock(&lock);
	return done;
}

void tide_py_marks_drop(uintptr_t base, size_t bytes)
{
	for (uintptr_t at = base, next; tide_py_marks.unit && at < base + bytes; at = next) {
		struct tide_py_unit *u = tide_py_unit_slot(at >> tide_py_marks.shift);
		next = ((at >> tide_py_marks.shift) + 1) << tide_py_marks.shift;
		uintptr_t end = next < base + bytes ? next : base + bytes;
		if (!atomic_load_explicit(&u->number, memory_order_relaxed))
			continue;
		uintptr_t offset = at & ((UINT64_C(1) << tide_py_marks.shift) - 1);
		uintptr_t first = (uintptr_t)(u->marks + offset / TIDE_PY_GRANULE);
		uintptr_t last = (uintptr_t)(u->marks + (offset + (end - at)) / TIDE_PY_GRANULE);
		first = (first + TIDE_PAGE - 1) / TIDE_PAGE * TIDE_PAGE;
		last = last / TIDE_PAGE * TIDE_PAGE;
		if (last > first)
			tide_sys_madvise((void *)first, last - first, MADV_DONTNEED);
	}
}
