#include "fault.h"

#ifdef TIDE_FAULTS
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

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

/* What stands behind NAME: in the variable, or NULL: it is about another place, or not set. */
static const char *behind(const char *variable, const char *name)
{
	const char *wanted = tide_getenv(variable);
	size_t len = strlen(name);
	return wanted && strncmp(wanted, name, len) == 0 && wanted[len] == ':' ? wanted + len + 1 : NULL;
}

static void pause_at(const char *at)
{
	static atomic_uint seen;
	unsigned every = number(&at);
	at++;
	struct timespec time = {0, 1000l * number(&at)};
	if (every && atomic_fetch_add_explicit(&seen, 1, memory_order_relaxed) % every == every - 1)
		tide_syscall(SYS_nanosleep, (long)&time, 0, 0, 0, 0, 0);
}

void tide_fault(const char *name)
{
	static atomic_uint seen;
	const char *kill = behind("TIDEMARK_FAULT", name), *pause = behind("TIDEMARK_FAULT_PAUSE", name);
	if (pause)
		pause_at(pause);
	if (!kill)
		return;
	unsigned count = number(&kill);
	if (atomic_fetch_add_explicit(&seen, 1, memory_order_relaxed) + 1 == count)
		tide_syscall(SYS_kill, tide_sys_getpid(), SIGKILL, 0, 0, 0, 0);
}
#endif
