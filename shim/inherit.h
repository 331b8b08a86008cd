/*
 * inherit.h - what a forked child's log needs of its parent's definitions. Code objects that the parent defined keep their
 * ids in the child, and may be gone by the time the child has a log; so their definitions are taken from the parent's log.
 */
#ifndef TIDE_INHERIT_H
#define TIDE_INHERIT_H

/* Before the parent's mapping is left: keeps its definitions mapped, read-only, aside. */
void tide_inherit_keep(void);
/* The child's log is a file now: defines the parent's code objects in it, and lets go of what was kept. */
void tide_inherit_define(void);

#endif
