/*
 * fault.h - named places at which a test may have the process killed. Nothing in an ordinary build: only the variant of the
 * shim that CMake builds for tests (TIDE_FAULTS, never installed) knows them.
 *
 * TIDEMARK_FAULT=NAME:N kills the process with SIGKILL when it comes to place NAME for the N-th time.
 * TIDEMARK_FAULT_PAUSE=NAME:N:US stops the thread that comes there for so many microseconds, every N-th time: as if it had lost its
 * processor between two instructions, while others go on.
 * TIDEMARK_FAULT_CALL=N:ERRNO has our N-th system call fail with that number; N+:ERRNO that one and all later ones. The file
 * TIDEMARK_FAULT_REACHED is made when that happens.
 */
#ifndef TIDE_FAULT_H
#define TIDE_FAULT_H

#ifdef TIDE_FAULTS
void tide_fault(const char *name);
/* 0: the call is to be made. Else what it is to return. */
long tide_fault_call(void);
#define TIDE_FAULT(name) tide_fault(name)
#define TIDE_FAULT_CALL() tide_fault_call()
#else
#define TIDE_FAULT(name) ((void)0)
#define TIDE_FAULT_CALL() 0L
#endif

#endif
