/*
 * What becomes of the process: fork, exec, the end, objects going away, and the filter after which we must ask the kernel
 * nothing. vfork is not interposed (it returns twice; no function can stand around it): its child is one more thread of
 * the parent. dlopen is not interposed either: it looks libraries up by its caller's run path, which a wrapper
 * would change; new objects are met when one of their addresses is on a stack (unwind/modules.h).
 */
#include <dlfcn.h>
#include <linux/seccomp.h>
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
HOOK int __libc_start_main(int (*run)(int, char **, char **), int argc, char **argv, void (*init)(void),
			   void (*fini)(void), void (*rtld_fini)(void), void *stack_end);
HOOK void exit(int status);
HOOK void _exit(int status);
HOOK void _Exit(int status);
HOOK void quick_exit(int status);
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

/* ---- the beginning of the end ----
 *
 * Static destructors free what a program held all its life, so what it held is to be told before they run. A call of exit() shows; a
 * return from main does not, but what is registered when main begins runs before what was registered until then. (Destructors of
 * objects that were made while main ran have run by then.) */

extern int __cxa_atexit(void (*handler)(void *), void *arg, void *object);

static int (*guests_main)(int, char **, char **);

static void ending(void *arg)
{
	(void)arg;
	tide_ending();
}

/* Leaves no frame behind on every stack: the call of the guest's main is a jump. */
#ifdef __clang__
#define JUMPS
#else
#define JUMPS __attribute__((optimize("optimize-sibling-calls")))
#endif
JUMPS static int main_begins(int argc, char **argv, char **envp)
{
	__cxa_atexit(ending, NULL, NULL);
	return guests_main(argc, argv, envp);
}

/* Nor does this one, whose frame would have to be found by bp. */
JUMPS int __libc_start_main(int (*run)(int, char **, char **), int argc, char **argv, void (*init)(void),
			    void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	guests_main = run;
	return tide_real_get()->start_main(tide_on() ? main_begins : run, argc, argv, init, fini, rtld_fini, stack_end);
}

void exit(int status)
{
	tide_ending();
	tide_real_get()->exit(status);
	__builtin_unreachable();
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

/* Handlers of at_quick_exit come after this; what they do is still recorded. */
void quick_exit(int status)
{
	tide_end(TIDE_END_EXIT, (uint32_t)status);
	tide_real_get()->quick_exit(status);
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

/* execl and its kin take any number of arguments, so nothing can stand around them either: they are announced, and then jumped to
 * with all registers and the stack as they were. If they fail, the next END says that this one did not come true. */
void *tide_announce_execl(void);
void *tide_announce_execlp(void);
void *tide_announce_execle(void);

__attribute__((used)) void *tide_announce_execl(void)
{
	tide_end(TIDE_END_EXEC, 0);
	return (void *)tide_real_get()->execl;
}

__attribute__((used)) void *tide_announce_execlp(void)
{
	tide_end(TIDE_END_EXEC, 0);
	return (void *)tide_real_get()->execlp;
}

__attribute__((used)) void *tide_announce_execle(void)
{
	tide_end(TIDE_END_EXEC, 0);
	return (void *)tide_real_get()->execle;
}

#if defined(__x86_64__)
/* Seven words and the return address keep the stack aligned for the call. rax: number of vector registers, none for these. */
#define PASS_ON(name)                                                                                                 \
	__asm__(".pushsection .text\n.globl " #name "\n.type " #name ", @function\n" #name                            \
		":\n.cfi_startproc\nendbr64\n"                                                                        \
		"push %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\npush %rax\n.cfi_def_cfa_offset 64\n" \
		"call tide_announce_" #name "\nmov %rax, %r11\n"                                                      \
		"pop %rax\npop %r9\npop %r8\npop %rcx\npop %rdx\npop %rsi\npop %rdi\n.cfi_def_cfa_offset 8\n"         \
		"jmp *%r11\n.cfi_endproc\n.size " #name ", . - " #name "\n.popsection\n")
PASS_ON(execl);
PASS_ON(execlp);
PASS_ON(execle);
#else
#error "execl: add this architecture"
#endif

/* Whether the call, if it succeeds, leaves nobody who may read the counter. */
static bool stops_counter(long option, unsigned long value)
{
	return (option == PR_SET_SECCOMP && value == SECCOMP_MODE_STRICT) ||
	       (option == PR_SET_TSC && value == PR_TSC_SIGSEGV);
}

/* `stops`: it was told before the call that the counter would stop. */
static void after_call(bool stops, long option, unsigned long value, long result)
{
	if ((stops && result != 0) || (option == PR_SET_TSC && value == PR_TSC_ENABLE && result == 0))
		tide_sys_start_clock();
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
	bool stops = stops_counter(option, arg[0]);
	if (stops)
		tide_sys_stop_clock();
	int result = tide_real_get()->prctl(option, arg[0], arg[1], arg[2], arg[3]);
	after_call(stops, option, arg[0], result);
	return result;
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
	if (number == SYS_exit_group)
		tide_end(TIDE_END_EXIT, (uint32_t)arg[0]);
	long option = number == SYS_prctl ? arg[0] : number == SYS_seccomp ? PR_SET_SECCOMP : -1;
	unsigned long value = (unsigned long)arg[number == SYS_prctl];
	if (number == SYS_seccomp)
		value = arg[0] == SECCOMP_SET_MODE_STRICT ? SECCOMP_MODE_STRICT : SECCOMP_MODE_FILTER;
	bool stops = stops_counter(option, value);
	if (stops)
		tide_sys_stop_clock();
	long result = tide_real_get()->syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	after_call(stops, option, value, result);
	return result;
}
