/* A census: what a record promises is what its iterator gives. */
#include <stdlib.h>

#include "read/census.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t walk_region(struct tide_census_region *r)
{
	uint64_t pages, total = 0, sum = 0;
	enum tide_page_state state;
	for (uint32_t i = 0; i < r->path_len; i++)
		sum += (uint8_t)r->path[i];
	while (tide_region_run(r, &pages, &state))
		total += pages;
	if (r->has_runs && total != r->pages)
		abort();
	return sum;
}

static void walk_arena(struct tide_census_pyarena *a)
{
	uint64_t promised = a->pools, pools = 0;
	struct tide_census_pool pool;
	while (tide_pyarena_pool(a, &pool))
		pools++;
	if (pools != promised)
		abort();
}

static void walk_sites(struct tide_census_pysites *s)
{
	struct tide_census_pysite entry;
	while (tide_pysites_next(s, &entry))
		if (entry.blocks == 0)
			abort();
	if (s->entries.bad) /* it was checked before it was handed out */
		abort();
}

static void walk_threads(struct tide_census_threads *t)
{
	uint32_t tid;
	while (tide_threads_next(t, &tid))
		if (tid == 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_census census;
	struct tide_census_item item;
	if (!tide_census_init(&census, data, size))
		return 0;
	while (tide_census_next(&census, &item) == 1) {
		if (item.kind == TIDE_RECORD_REGION)
			walk_region(&item.region);
		if (item.kind == TIDE_RECORD_PYARENA)
			walk_arena(&item.pyarena);
		if (item.kind == TIDE_RECORD_PYSITES)
			walk_sites(&item.pysites);
		if (item.kind == TIDE_RECORD_THREADS)
			walk_threads(&item.threads);
	}
	return 0;
}
