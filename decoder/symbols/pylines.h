/*
 * pylines.h - the source line of an instruction, from a Python code object's line table. Pure; tables are not trusted.
 */
#ifndef TIDE_SYMBOLS_PYLINES_H
#define TIDE_SYMBOLS_PYLINES_H

#include "read/log.h"

/* `offset`: of the instruction, in units of 2 bytes. The line, or -1: unknown. */
int tide_python_line(const struct tide_code *, uint32_t offset);

#endif
