/*
 * liveset - every block that a log says is live, for tests that have their own oracle: "address size" a line, hexadecimal
 * address, order of the table. Exit as the decoder's: 0 whole, 3 damaged, 4 unreadable.
 */
#include <inttypes.h>
#include <stdio.h>

#include "analyze/analysis.h"

int main(int argc, char **argv)
{
	struct tide_log *log;
	struct tide_analysis *a;
	struct tide_error err;
	if (argc != 2) {
		fprintf(stderr, "usage: liveset LOG\n");
		return 2;
	}
	if (tide_log_open(argv[1], &log, &err)) {
		fprintf(stderr, "liveset: %s\n", err.text);
		return 4;
	}
	if (tide_analyze(log, &a)) {
		tide_log_free(log);
		return 4;
	}
	const struct tide_blocks *blocks = &a->state.blocks;
	for (size_t i = 0; i < blocks->slots; i++)
		if (blocks->slot[i].addr)
			printf("%" PRIx64 " %" PRIu64 "\n", blocks->slot[i].addr, blocks->slot[i].size);
	int code = tide_log_losses(log)->damaged ? 3 : 0;
	tide_analysis_free(a);
	tide_log_free(log);
	return code;
}
