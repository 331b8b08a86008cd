#include "rerun/writer.h"

#include <errno.h>
#include <unistd.h>

static void flush(struct tide_act_writer *w)
{
	size_t done = 0;
	while (done < w->used && !w->error) {
		ssize_t n = write(w->fd, w->buf + done, w->used - done);
		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno != EINTR)
			w->error = errno;
	}
	w->used = 0;
}

void tide_act_writer_init(struct tide_act_writer *w, int fd)
{
	w->fd = fd;
	w->error = 0;
	w->ops = 0;
	w->used = sizeof(struct tide_ops_head);
	memset(w->buf, 0, w->used);
}

void tide_act_write(struct tide_act_writer *w, const struct tide_act *op)
{
	if (sizeof w->buf - w->used < TIDE_ACT_MAX)
		flush(w);
	w->used = (size_t)(tide_act_put(w->buf + w->used, op) - w->buf);
	w->ops++;
}

bool tide_act_writer_finish(struct tide_act_writer *w, const struct tide_ops_head *head)
{
	flush(w);
	if (!w->error && pwrite(w->fd, head, sizeof *head, 0) != sizeof *head)
		w->error = errno;
	return w->error == 0;
}
