/*
 * rules.h - the rule of every return address met so far: one table for all threads, 16 bytes an address, growing by
 * doubling from 64 KiB. Lock-free to read and to insert into; what is lost in a race is only computed again.
 */
#ifndef TIDE_UNWIND_RULES_H
#define TIDE_UNWIND_RULES_H

#include "unwind/cfi.h"

/* `exact` as in tide_cfi_rule. Finds the rule in the table, or computes and keeps it. */
struct tide_rule tide_rule_for(uintptr_t pc, bool exact);
/* Forgets all. */
void tide_rules_flush(void);
void tide_rules_fork_child(void);

#endif
