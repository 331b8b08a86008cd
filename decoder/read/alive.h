/*
 * alive.h - whether the process that writes a log still lives on this machine.
 */
#ifndef TIDE_READ_ALIVE_H
#define TIDE_READ_ALIVE_H

#include <stdbool.h>

#include "format/layout.h"

/* Same boot, and a process that began at the same moment: in our pid namespace under its own number, otherwise
 * whichever says that number of itself. False also when it cannot be told. */
bool tide_process_lives(const struct tide_superblock *);
/* Its number in our pid namespace; 0: none. */
int tide_process_find(const struct tide_superblock *);

/* As in /proc/sys/kernel/random/boot_id; "" when all bytes are 0. */
void tide_boot_id_text(const uint8_t id[16], char ret[37]);

#endif
