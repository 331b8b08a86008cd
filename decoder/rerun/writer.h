/*
 * writer.h - operations into a file, in big pieces.
 */
#ifndef TIDE_RERUN_WRITER_H
#define TIDE_RERUN_WRITER_H

#include "rerun/ops.h"

struct tide_act_writer {
	int fd;
	int error; /* errno of the first failure; sticks */
	size_t used;
	uint64_t ops;
	uint8_t buf[1 << 16];
};
void tide_act_writer_init(struct tide_act_writer *, int fd);
void tide_act_write(struct tide_act_writer *, const struct tide_act *);
/* Writes out what is held, and the head at the file's beginning. False: *w has the error. */
bool tide_act_writer_finish(struct tide_act_writer *, const struct tide_ops_head *);

#endif
