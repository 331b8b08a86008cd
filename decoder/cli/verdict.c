/* The verdict in words. Every number in a sentence is one of the analysis'; without the evidence the class is unknown. */
#include <stdio.h>

#include "cli/build.h"

#define MIB 1048576.0

static uint64_t pymalloc_stranded(const struct tide_analysis *a, uint64_t *arenas)
{
	uint64_t bytes = 0;
	*arenas = 0;
	for (uint32_t i = 0; i < a->arenas; i++)
		if (a->arena[i].kind[0] == 'p') { /* pymalloc */
			bytes += a->arena[i].stranded;
			++*arenas;
		}
	return bytes;
}

static json_t *make(const char *class, uint64_t bytes, const char *state, const char *trigger, const char *consequence)
{
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:[]}", "class", class, "bytes", (json_int_t)bytes, "state", state,
			 "trigger", trigger, "consequence", consequence, "advice");
}

static json_t *retention(const struct tide_loaded *l, uint64_t stranded, uint64_t arenas)
{
	const struct tide_analysis *a = l->analysis;
	char state[300], trigger[900], evidence[200];
	snprintf(state, sizeof state, "%.1f MiB of %.1f MiB resident are free memory inside %llu pymalloc arenas",
		 (double)stranded / MIB, (double)a->ledger.rss / MIB, (unsigned long long)arenas);
	json_t *v;
	if (a->pins == 0)
		return make("retention", stranded, state,
			    "unknown: run with TIDEMARK_PYTHON=objects to see which blocks hold the arenas",
			    "pymalloc gives an arena back only when its last pool is empty");
	const struct tide_pin *p = &a->pin[0];
	json_t *place = tide_build_place(l, p->site);
	snprintf(trigger, sizeof trigger, "%llu blocks made at %s hold %.1f MiB in %llu arenas",
		 (unsigned long long)p->blocks, json_string_value(place), (double)p->pins_bytes / MIB,
		 (unsigned long long)p->arenas);
	v = make("retention", stranded, state, trigger,
		 "pymalloc gives an arena back only when its last pool is empty");
	if (!p->releases_bytes) {
		json_decref(place);
		return v;
	}
	snprintf(evidence, sizeof evidence, "arenas in which no other recorded block lives: %.1f MiB resident",
		 (double)p->releases_bytes / MIB);
	json_array_append_new(json_object_get(v, "advice"),
			      json_pack("{s:s+, s:I, s:s}", "action", "drop or move elsewhere what is made at ",
					json_string_value(place), "releases_bytes", (json_int_t)p->releases_bytes,
					"evidence", evidence));
	json_decref(place);
	return v;
}

json_t *tide_build_verdict(const struct tide_loaded *l)
{
	const struct tide_analysis *a = l->analysis;
	uint64_t arenas, stranded = pymalloc_stranded(a, &arenas), malloc_free;
	char state[300];
	if (!a->ledger.known)
		return make("unknown", 0, "no census of resident memory in this log", "unknown", "unknown");
	malloc_free = a->ledger.row[TIDE_ROW_PINNED_WASTE] + a->ledger.row[TIDE_ROW_TRIMMABLE];
	uint64_t live = a->ledger.row[TIDE_ROW_LIVE] + a->ledger.row[TIDE_ROW_PY_LIVE];
	if (stranded > a->ledger.rss / 5 && stranded > malloc_free)
		return retention(l, stranded, arenas);
	snprintf(state, sizeof state, "%.1f MiB live, %.1f MiB free but resident, of %.1f MiB resident",
		 (double)live / MIB, (double)(malloc_free + stranded) / MIB, (double)a->ledger.rss / MIB);
	if (malloc_free > a->ledger.rss / 5 && malloc_free > live)
		return make("retention", malloc_free, state, "freed blocks around live ones in the malloc heaps",
			    "whole free pages go back with malloc_trim; pages that hold a live block do not");
	return make("unknown", live, state, "unknown: one log's end does not tell growth from a cache", "unknown");
}
