#include "unwind/stacks.h"

#include <fcntl.h>

#include "sys.h"

#define LOOKUPS_APART 64u

/* The kernel keeps at least this much free below a growing stack (vm.stack_guard_gap, 256 pages), so what is
 * nearer below a known part of the main stack is the main stack. */
#define GUARD_GAP (UINT64_C(256) * 4096)

extern void *__libc_stack_end __attribute__((weak)); /* ld.so's */

/* Reads the file a piece at a time: the hook may run on a small stack. */
struct maps {
	int fd;
	unsigned at, have;
	char text[512];
};

static int next_char(struct maps *m)
{
	if (m->at == m->have) {
		long n = tide_sys_read(m->fd, m->text, sizeof m->text);
		if (n <= 0)
			return -1;
		m->have = (unsigned)n;
		m->at = 0;
	}
	return (unsigned char)m->text[m->at++];
}

/* A hexadecimal number and the character behind it. */
static int get_hex(struct maps *m, uintptr_t *ret)
{
	int c;
	*ret = 0;
	while ((c = next_char(m)) >= 0) {
		if (c >= '0' && c <= '9')
			*ret = *ret << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*ret = *ret << 4 | (uintptr_t)(c - 'a' + 10);
		else
			break;
	}
	return c;
}

static bool find_mapping(uintptr_t sp, struct tide_stack_range *ret)
{
	struct maps m = {.fd = tide_sys_open_high("/proc/self/maps")};
	bool found = false;
	int c = 0;
	if (m.fd < 0)
		return false;
	while (c >= 0 && !found) {
		get_hex(&m, &ret->low);
		c = get_hex(&m, &ret->high);
		bool readable = next_char(&m) == 'r';
		found = c >= 0 && readable && sp >= ret->low && sp < ret->high;
		while (!found && (c = next_char(&m)) >= 0 && c != '\n')
			;
	}
	tide_sys_close(m.fd);
	return found;
}

/* The main thread's stack has grown since its mapping was looked up. */
static bool has_grown(const struct tide_stack_range *range, uintptr_t sp)
{
	uintptr_t main_stack = &__libc_stack_end ? (uintptr_t)__libc_stack_end : 0;
	return main_stack >= range->low && main_stack < range->high && sp < range->low && range->low - sp < GUARD_GAP;
}

static struct tide_stack_range range_of(struct tide_unwinder *u, uintptr_t sp)
{
	struct tide_stack_range none = {0, 0}, range;
	uint32_t kept = u->ranges < TIDE_STACKS_KEPT ? u->ranges : TIDE_STACKS_KEPT;
	for (uint32_t i = 0; i < kept; i++) {
		struct tide_stack_range *r = &u->range[i];
		if (has_grown(r, sp))
			r->low = sp & ~(uintptr_t)4095;
		if (sp >= r->low && sp < r->high)
			return *r;
	}
	if (u->ranges >= TIDE_STACKS_KEPT && u->lookups++ < LOOKUPS_APART)
		return none;
	if (!find_mapping(sp, &range))
		return none;
	u->range[u->ranges++ % TIDE_STACKS_KEPT] = range;
	u->lookups = 0;
	return range;
}

uintptr_t tide_stack_end(struct tide_unwinder *u, uintptr_t sp)
{
	return range_of(u, sp).high;
}

void tide_stack_switch(struct tide_unwinder *u, uintptr_t sp)
{
	u->stack = range_of(u, sp);
}
