/*
 * liveset - every block that a log says is live, for tests that have their own oracle: "address size" a line, hexadecimal
 * address, order of the table; with --heir also what a forked child had of its parent's; with --sites also the number of its site
 * and when it was allocated, and then "site number allocs bytes live-blocks live-bytes" for each, and a line of what was carried
 * over. Exit as the decoder's: 0 whole, 3 damaged, 4 unreadable.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/build.h"

static void print(const struct tide_replay *state, bool sites)
{
	struct tide_block_live b;
	for (size_t at = 0; tide_blocks_next(&state->blocks, &at, &b);) {
		printf("%" PRIx64 " %" PRIu64, b.addr, b.size);
		if (sites)
			printf(" %" PRIu32 " %" PRIu64, b.site, b.time_ns);
		printf("\n");
	}
	for (uint32_t i = 0; i < state->sites && sites; i++) {
		const struct tide_site *s = &state->site[i];
		printf("site %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", i, s->allocs,
		       s->alloc_bytes, s->live_blocks, s->live_bytes);
	}
}

static void print_carried(const struct tide_carried *c)
{
	const struct tide_carry_totals *t = &c->totals;
	printf("carried epoch %" PRIu32 " blocks %zu sample %" PRIu64 " dropped %" PRIu64 " unknown %" PRIu64
	       " unreadable %" PRIu64 "\n",
	       c->epoch, c->blocks, t->sample_bytes, t->dropped, t->unknown, t->unreadable);
}

int main(int argc, char **argv)
{
	struct tide_loaded log;
	struct tide_error err = {0};
	struct tide_kin kin = {0};
	bool sites = argc == 3 && strcmp(argv[1], "--sites") == 0, heir = argc == 3 && strcmp(argv[1], "--heir") == 0;
	if (argc != 2 + (sites || heir)) {
		fprintf(stderr, "usage: liveset [--sites | --heir] LOG\n");
		return 2;
	}
	struct tide_objects *objects = tide_objects_new();
	if (!objects || tide_loaded_init(&log, argv[argc - 1], objects, heir ? &kin : NULL, &err)) {
		fprintf(stderr, "liveset: %s\n", err.text);
		return 4;
	}
	print(&log.analysis->state, sites);
	if (sites)
		print_carried(tide_log_carried(log.log));
	int code = tide_log_losses(log.log)->damaged ? 3 : 0;
	tide_loaded_release(&log);
	tide_kin_release(&kin);
	tide_objects_free(objects);
	return code;
}
