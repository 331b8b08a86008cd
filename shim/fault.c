#include "fault.h"

#ifdef TIDE_FAULTS
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "sys.h"

void tide_fault(const char *name)
{
	static atomic_uint seen;
	const char *wanted = tide_getenv("TIDEMARK_FAULT");
	size_t len = strlen(name);
	if (!wanted || strncmp(wanted, name, len) != 0 || wanted[len] != ':')
		return;
	unsigned count = 0;
	for (const char *at = wanted + len + 1; *at >= '0' && *at <= '9'; at++)
		count = count * 10 + (unsigned)(*at - '0');
	if (atomic_fetch_add_explicit(&seen, 1, memory_order_relaxed) + 1 == count)
		tide_syscall(SYS_kill, tide_sys_getpid(), SIGKILL, 0, 0, 0, 0);
}
#endif
