/*
 * fault.h - named places at which a test may have the process killed. Nothing in an ordinary build: only the variant of the
 * shim that CMake builds for tests (TIDE_FAULTS, never installed) knows them.
 *
 * TIDEMARK_FAULT=NAME:N kills the process with SIGKILL when it comes to place NAME for the N-th time.
 */
#ifndef TIDE_FAULT_H
#define TIDE_FAULT_H

#ifdef TIDE_FAULTS
void tide_fault(const char *name);
#define TIDE_FAULT(name) tide_fault(name)
#else
#define TIDE_FAULT(name) ((void)0)
#endif

#endif
