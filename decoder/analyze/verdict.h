/*
 * verdict.h - what kind of big this process is, and on what evidence. Numbers only; the words are the command's.
 *
 * Three things can make a process big: live bytes that go on growing (a leak), memory that is free and stays resident
 * (retention), and what lies outside malloc and pymalloc altogether. The biggest of them that is big enough gives the verdict its
 * name. Live bytes that do not grow any more are a cache or a steady state.
 */
#ifndef TIDE_ANALYZE_VERDICT_H
#define TIDE_ANALYZE_VERDICT_H

#include "analyze/analysis.h"

enum tide_verdict_class {
	TIDE_VERDICT_UNKNOWN, /* no census, or too little happened to see a trend */
	TIDE_VERDICT_LEAK,
	TIDE_VERDICT_RETENTION,
	TIDE_VERDICT_OUTSIDE,
	TIDE_VERDICT_STEADY
};

struct tide_verdict {
	enum tide_verdict_class class;
	uint64_t bytes;                    /* what the class is about */
	uint64_t live, idle, outside, own; /* resident; own: all but libraries and tidemark itself */
	uint64_t idle_python;              /* of idle, in pymalloc's arenas */
	uint64_t growing, grown; /* live bytes of sites that grow; by so much in the last half of the events */
	uint64_t live_grown;     /* all live bytes, in the last half of the time between censuses, if they still rise */
	uint32_t growing_sites, worst; /* how many; the one that has grown most (valid if there are any) */
	uint64_t mapped, stacks, data; /* of outside: mappings of the program's own, thread stacks, data files */
	uint32_t thread_arenas;        /* glibc-thread heaps with a quarter of their memory idle, or more */
	uint64_t thread_idle;          /* idle in them */
	uint64_t kept; /* of thread_idle: in heaps whose free memory no call gives back (TIDE_CONSEQUENCE_NEVER) */
};

/* Of an analysis that is complete but for this. */
void tide_verdict_of(const struct tide_analysis *, struct tide_verdict *ret);

#endif
