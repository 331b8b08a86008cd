/*
 * follow.h - while record waits: a thread that looks, from outside, at every process of the session that has a log, and writes what it
 * sees beside it. It has no signals, no children, and touches no log.
 */
#ifndef TIDE_CLI_FOLLOW_H
#define TIDE_CLI_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

struct tide_follow;

/* `dir` is the caller's and must live on. After the program was forked. NULL: there is no thread, and nobody is looked at. */
struct tide_follow *tide_follow_begin(const char *dir, uint64_t session, uint64_t interval_ns);
/* Waits for the look that is being taken, if any. NULL is fine. */
void tide_follow_end(struct tide_follow *);

#endif
