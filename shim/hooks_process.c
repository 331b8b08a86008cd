/*
 * What becomes of the process: fork, exec, the end, objects going away, and the filter after which we must ask the kernel
 * nothing. vfork is not interposed (it returns twice; no function can stand around it): its child is one more thread of
 * the parent. dlopen is not interposed either: it looks libraries up by its caller's run path, which a wrapper
 * would change; new objects are met when one of their addresses is on a stack (unwind/modules.h).
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"
#include "real.h"
#include "record.h"
#include "sys.h"

#define HOOK __attribute__((visibility("default"), noinline))

HOOK pid_t fork(void);
HOOK int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
HOOK int dlclose(void *handle);
HOOK void _exit(int status);
HOOK void _Exit(int status);
HOOK int execve(const char *path, char *const argv[], char *const envp[]);
HOOK int execv(const char *path, char *const argv[]);
HOOK int execvp(const char *file, char *const argv[]);
HOOK int execvpe(const char *file, char *const argv[], char *const envp[]);
HOOK int fexecve(int fd, char *const argv[], char *const envp[]);
HOOK int prctl(int option, ...);
HOOK long syscall(long number, ...);

pid_t fork(void)
{
	pid_t pid = tide_real_get()->fork();
	if (pid > 0 && tide_on())
		tide_record_plain(TIDE_KIND_FORK, NULL, (uint64_t)pid);
	return pid;
}

/* A forked child writes to private memory until it has a file, and that step wants one thread only. */
int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	if (tide_on())
		tide_adopt_file();
	return tide_real_get()->pthread_create(ret, attr, start, arg);
}

int dlclose(void *handle)
{
	int rc = tide_real_get()->dlclose(handle);
	tide_unwind_flush();
	return rc;
}

void _exit(int status)
{
	tide_end(TIDE_END_EXIT, (uint32_t)status);
	tide_real_get()->exit_now(status);
	__builtin_unreachable();
}

void _Exit(int status)
{
	tide_end(TIDE_END_EXIT, (uint32_t)status);
	tide_real_get()->exit_now(status);
	__builtin_unreachable();
}

/* An exec that returns has failed. */
static int failed(int rc)
{
	tide_resumed();
	return rc;
}

int execve(const char *path, char *const argv[], char *const envp[])
{
	tide_end(TIDE_END_EXEC, 0);
	return failed(tide_real_get()->execve(path, argv, envp));
}

int execv(const char *path, char *const argv[])
{
	tide_end(TIDE_END_EXEC, 0);
	return failed(tide_real_get()->execv(path, argv));
}

int execvp(const char *file, char *const argv[])
{
	tide_end(TIDE_END_EXEC, 0);
	return failed(tide_real_get()->execvp(file, argv));
}

int execvpe(const char *file, char *const argv[], char *const envp[])
{
	tide_end(TIDE_END_EXEC, 0);
	return failed(tide_real_get()->execvpe(file, argv, envp));
}

int fexecve(int fd, char *const argv[], char *const envp[])
{
	tide_end(TIDE_END_EXEC, 0);
	return failed(tide_real_get()->fexecve(fd, argv, envp));
}

int prctl(int option, ...)
{
	unsigned long arg[4];
	va_list rest;
	va_start(rest, option);
	for (unsigned i = 0; i < 4; i++)
		arg[i] = va_arg(rest, unsigned long);
	va_end(rest);
	if (option == PR_SET_SECCOMP)
		tide_sys_forbid();
	return tide_real_get()->prctl(option, arg[0], arg[1], arg[2], arg[3]);
}

long syscall(long number, ...)
{
	long arg[6];
	va_list rest;
	va_start(rest, number);
	for (unsigned i = 0; i < 6; i++)
		arg[i] = va_arg(rest, long);
	va_end(rest);
	if (number == SYS_seccomp || (number == SYS_prctl && arg[0] == PR_SET_SECCOMP))
		tide_sys_forbid();
	return tide_real_get()->syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
