/*
 * record.h - what record must know of files before it runs a program: where the shim is, and whether PROG can be traced.
 */
#ifndef TIDE_CLI_RECORD_H
#define TIDE_CLI_RECORD_H

#include "format/status.h"

/* Absolute path of the shim, without the blanks and colons that would end it in LD_PRELOAD: where the real one has some, a link
 * in /tmp stands for it. ret: PATH_MAX bytes. TIDE_OK or TIDE_ERR_IO. */
enum tide_status tide_shim_path(char *ret, struct tide_error *err);

#define TIDE_FOREIGN "it is a program for another kind of processor"
/* Why the shim will not be loaded into PROG (looked for in PATH, through #! lines); NULL: it will, or it is not known. */
const char *tide_untraced(const char *prog);

#endif
