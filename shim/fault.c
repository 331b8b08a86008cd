#include "fault.h"

#ifdef TIDE_FAULTS
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "sys.h"

static unsigned number(const char **at)
{
	unsigned value = 0;
	for (; **at >= '0' && **at <= '9'; ++*at)
		value = value * 10 + (unsigned)(**at - '0');
	return value;
}

long tide_fault_call(void)
{
	static atomic_uint made;
	const char *at = tide_getenv("TIDEMARK_FAULT_CALL"), *reached = tide_getenv("TIDEMARK_FAULT_REACHED");
	if (!at)
		return 0;
	unsigned now = atomic_fetch_add_explicit(&made, 1, memory_order_relaxed) + 1, first = number(&at);
	bool later = *at == '+';
	at += later + 1;
	if (now < first || (now > first && !later))
		return 0;
	if (reached)
		tide_syscall(SYS_close, tide_syscall(SYS_open, (long)reached, O_CREAT | O_WRONLY, 0600, 0, 0, 0), 0, 0,
			     0, 0, 0);
	return -(long)number(&at);
}

void tide_fault(const char *name)
{
	static atomic_uint seen;
	const char *wanted = tide_getenv("TIDEMARK_FAULT");
	size_t len = strlen(name);
	if (!wanted || strncmp(wanted, name, len) != 0 || wanted[len] != ':')
		return;
	const char *at = wanted + len + 1;
	unsigned count = number(&at);
	if (atomic_fetch_add_explicit(&seen, 1, memory_order_relaxed) + 1 == count)
		tide_syscall(SYS_kill, tide_sys_getpid(), SIGKILL, 0, 0, 0, 0);
}
#endif
