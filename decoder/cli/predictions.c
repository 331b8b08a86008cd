/* What the allocators' models say would go back to the system, and when. Every number is the analysis'. */
#include "cli/build.h"

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)(n > INT64_MAX ? INT64_MAX : n));
}

static json_t *sets(const struct tide_analysis *a)
{
	json_t *rows = json_array();
	for (unsigned i = 0; i < TIDE_PIN_SETS; i++) {
		const struct tide_pin_set *s = &a->set[i];
		json_array_append_new(rows, json_pack("{s:i, s:b, s:i, s:i, s:o}", "percent", (int)s->percent,
						      "reached", s->reached, "pins", (int)s->pins, "at_least",
						      (int)s->at_least, "releases_bytes", count(s->bytes)));
	}
	return rows;
}

/* The report's pins first, in its order; then those that are worth too little for it. */
static json_t *pins(const struct tide_loaded *l)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < l->analysis->pins; i++) {
		const struct tide_pin *p = &l->analysis->pin[i];
		json_array_append_new(rows, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "place",
						      tide_build_place_at(l, p->native, p->python), "sites",
						      count(p->sites), "blocks", count(p->blocks), "pins_bytes",
						      count(p->pins_bytes), "releases_bytes", count(p->releases_bytes),
						      "returns_bytes", count(p->returns_bytes), "with_trim_bytes",
						      count(p->with_trim_bytes), "error_bytes", count(p->error_bytes)));
	}
	return rows;
}

static json_t *arenas(const struct tide_analysis *a)
{
	json_t *rows = json_array();
	for (uint32_t i = 0; i < a->arenas; i++) {
		const struct tide_arena *r = &a->arena[i];
		json_array_append_new(rows,
				      json_pack("{s:s, s:o, s:s, s:o, s:o, s:o}", "kind", r->kind, "base",
						count(r->base), "consequence", tide_consequence_text(r->consequence),
						"trim_bytes", count(r->trim), "by_itself_bytes", count(r->by_itself),
						"holders", count(r->holders)));
	}
	return rows;
}

/* As sys._debugmallocstats has it. */
static json_t *pymalloc(const struct tide_pymalloc_stats *s)
{
	json_t *classes = json_array();
	for (unsigned i = 0; i < TIDE_PY_CLASSES; i++)
		if (s->size_class[i].pools)
			json_array_append_new(classes, json_pack("{s:i, s:o, s:o, s:o}", "bytes",
								 (int)((i + 1) * TIDE_PY_CLASS_STEP), "pools",
								 count(s->size_class[i].pools), "live",
								 count(s->size_class[i].live), "available",
								 count(s->size_class[i].available)));
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "arenas", count(s->arenas), "arena_bytes",
			 count(s->arena_bytes), "live_bytes", count(s->live_bytes), "available_bytes",
			 count(s->available_bytes), "unused_pools", count(s->unused_pools), "head_bytes",
			 count(s->head_bytes), "quantum_bytes", count(s->quantum_bytes), "alignment_bytes",
			 count(s->alignment_bytes), "classes", classes);
}

json_t *tide_build_predictions(const struct tide_loaded *l)
{
	const struct tide_analysis *a = l->analysis;
	const struct tide_ledger *ledger = &a->ledger;
	if (!ledger->known)
		return json_null();
	json_t *trim = ledger->trim_known ? json_pack("{s:o, s:o}", "releases_bytes", count(ledger->trim),
						      "error_bytes", count(ledger->trim_error))
					  : json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "malloc_trim", trim, "by_itself_bytes",
			 count(ledger->by_itself), "stranded_bytes", count(ledger->stranded), "pinned_bytes",
			 count(a->pinned_bytes), "unheld_bytes", count(ledger->stranded - a->pinned_bytes),
			 "reserve_bytes", count(ledger->reserve), "sets", sets(a), "pins", pins(l), "arenas", arenas(a),
			 "pymalloc", a->pymalloc.arenas ? pymalloc(&a->pymalloc) : json_null());
}
