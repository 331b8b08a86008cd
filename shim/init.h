/*
 * init.h - waking, going to sleep, and what becomes of a forked child.
 */
#ifndef TIDE_INIT_H
#define TIDE_INIT_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

/* Settings in force; meaningful once the constructor has run. */
extern struct tide_config tide_config;

/* A forked child that has recorded enough gets a file. False: there is none to be had; the child is not traced any more. */
bool tide_adopt_file(void);

/* END(what, status), and the last census. Not in a vforked child. */
/* exit() was called, or main has returned. */
void tide_ending(void);
void tide_end(unsigned what, uint32_t status);

/* The exec that was announced by tide_end failed. */
void tide_resumed(void);

#endif
