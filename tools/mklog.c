/* mklog - a random valid log by seed; the events a reader must find go to standard output, in the order they happened. */
#include <errno.h>

#include "mklog.h"

static int usage(FILE *to)
{
	fprintf(to,
		"usage: mklog FILE SEED [EVENTS [NAME]]\n"
		"Writes a random valid log and prints its events: lane, thread, kind, address, size, two values, "
		"stacks.\n"
		"EVENTS changes how many there are; NAME is what programs, modules, files and functions are called.\n"
		"The seed decides everything else.\n");
	return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(stdout);
	if (argc < 3 || argc > 5)
		return usage(stderr);
	struct mklog_options o = mklog_options_of(strtoull(argv[2], NULL, 10));
	if (argc >= 4)
		o.events = strtoull(argv[3], NULL, 10);
	if (argc == 5)
		o.name = argv[4];
	struct mklog *m = mklog_make(&o);
	FILE *file = fopen(argv[1], "wb");
	if (!file || fwrite(m->file, 1, m->g.file_size, file) != m->g.file_size || fclose(file) != 0) {
		fprintf(stderr, "mklog: cannot write '%s': %s\n", argv[1], strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < m->events; i++)
		if (mklog_visible(m, &m->event[i]))
			mklog_print_event(m, &m->event[i], stdout);
	mklog_free(m);
	return 0;
}
