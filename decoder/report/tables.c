/* The columns of every table, in the order in which text and CSV show them. */
#include <string.h>

#include "report/table.h"

#define TABLE(columns) columns, sizeof(columns) / sizeof *(columns)

static const struct tide_column processes[] = {
	{"pid", "pid", TIDE_TYPE_NUMBER, false},        {"ppid", "parent", TIDE_TYPE_NUMBER, false},
	{"end", "end", TIDE_TYPE_TEXT, false},          {"rss_bytes", "resident", TIDE_TYPE_BYTES, false},
	{"live_bytes", "live", TIDE_TYPE_BYTES, false}, {"live_blocks", "blocks", TIDE_TYPE_COUNT, false},
	{"verdict", "verdict", TIDE_TYPE_TEXT, false},  {"verdict_bytes", "of", TIDE_TYPE_BYTES, false},
	{"name", "name", TIDE_TYPE_TEXT, false},        {"log", NULL, TIDE_TYPE_TEXT, false},
};
const struct tide_table tide_table_processes = {"processes", "PROCESSES", "none", TABLE(processes)};

static const struct tide_column ledger[] = {
	{"kind", "kind", TIDE_TYPE_TEXT, false},
	{"bytes", "bytes", TIDE_TYPE_BYTES, false},
};
const struct tide_table tide_table_ledger = {"ledger", "LEDGER  what resident memory is made of",
					     "no census in this log", TABLE(ledger)};

static const struct tide_column pins[] = {
	{"pins_bytes", "holds", TIDE_TYPE_BYTES, false},  {"releases_bytes", "would free", TIDE_TYPE_BYTES, false},
	{"arenas", "arenas", TIDE_TYPE_COUNT, false},     {"blocks", "blocks", TIDE_TYPE_COUNT, false},
	{"bytes", NULL, TIDE_TYPE_BYTES, false},          {"inherited_bytes", "inherited", TIDE_TYPE_RARE, false},
	{"place", "most made at", TIDE_TYPE_TEXT, false}, {"under", "all made below", TIDE_TYPE_ECHO, false},
	{"types", NULL, TIDE_TYPE_NAMES, false},          {"stack", NULL, TIDE_TYPE_STACK, false},
};
const struct tide_table tide_table_pins = {"pins", "PINS  live blocks that keep free memory from being given back",
					   "none known", TABLE(pins)};

static const struct tide_column leaks[] = {
	{"bytes", "live", TIDE_TYPE_BYTES, false},         {"blocks", "blocks", TIDE_TYPE_COUNT, false},
	{"score", "suspect", TIDE_TYPE_SHARE, false},      {"inherited_bytes", "inherited", TIDE_TYPE_RARE, false},
	{"place", "made at", TIDE_TYPE_TEXT, false},       {"allocs", NULL, TIDE_TYPE_COUNT, false},
	{"alloc_bytes", NULL, TIDE_TYPE_BYTES, false},     {"peak_bytes", NULL, TIDE_TYPE_BYTES, false},
	{"uncertain_bytes", NULL, TIDE_TYPE_BYTES, false}, {"first_ns", NULL, TIDE_TYPE_TIME, false},
	{"last_ns", NULL, TIDE_TYPE_TIME, false},          {"stack", NULL, TIDE_TYPE_STACK, false},
};
static const struct tide_column top[] = {
	{"alloc_bytes", "allocated", TIDE_TYPE_BYTES, false},
	{"allocs", "times", TIDE_TYPE_COUNT, false},
	{"bytes", "live", TIDE_TYPE_BYTES, false},
	{"place", "made at", TIDE_TYPE_TEXT, false},
	{"blocks", NULL, TIDE_TYPE_COUNT, false},
	{"score", NULL, TIDE_TYPE_SHARE, false},
	{"peak_bytes", NULL, TIDE_TYPE_BYTES, false},
	{"uncertain_bytes", NULL, TIDE_TYPE_BYTES, false},
	{"inherited_bytes", NULL, TIDE_TYPE_RARE, false},
	{"first_ns", NULL, TIDE_TYPE_TIME, false},
	{"last_ns", NULL, TIDE_TYPE_TIME, false},
	{"stack", NULL, TIDE_TYPE_STACK, false},
};
static const struct tide_column peak[] = {
	{"peak_bytes", "at peak", TIDE_TYPE_BYTES, false}, {"bytes", "live now", TIDE_TYPE_BYTES, false},
	{"place", "made at", TIDE_TYPE_TEXT, false},       {"blocks", NULL, TIDE_TYPE_COUNT, false},
	{"score", NULL, TIDE_TYPE_SHARE, false},           {"allocs", NULL, TIDE_TYPE_COUNT, false},
	{"alloc_bytes", NULL, TIDE_TYPE_BYTES, false},     {"uncertain_bytes", NULL, TIDE_TYPE_BYTES, false},
	{"inherited_bytes", NULL, TIDE_TYPE_RARE, false},  {"first_ns", NULL, TIDE_TYPE_TIME, false},
	{"last_ns", NULL, TIDE_TYPE_TIME, false},          {"stack", NULL, TIDE_TYPE_STACK, false},
};
const struct tide_table tide_table_leaks = {
	"leaks", "LEAKS  what is still allocated, by stack, what looks most like a leak first", "nothing",
	TABLE(leaks)};
const struct tide_table tide_table_top = {"top", "TOP  what was allocated most, by stack, freed or not", "nothing",
					  TABLE(top)};
const struct tide_table tide_table_peak = {
	"at_peak", "AT THE PEAK  what was live when live bytes were highest, by stack", "nothing", TABLE(peak)};

static const struct tide_column places[] = {
	{"bytes", "live", TIDE_TYPE_BYTES, false},    {"blocks", "blocks", TIDE_TYPE_COUNT, false},
	{"score", "suspect", TIDE_TYPE_SHARE, false}, {"inherited_bytes", "inherited", TIDE_TYPE_RARE, false},
	{"stacks", "stacks", TIDE_TYPE_COUNT, false}, {"place", "made at", TIDE_TYPE_TEXT, false},
};
const struct tide_table tide_table_places = {"places", "LIVE  what is still allocated, by line", "nothing",
					     TABLE(places)};
const struct tide_table tide_table_suspects = {
	"suspects", "LEAK CANDIDATES  lines whose live bytes grow steadily, or live longer than freed ones did",
	"none that holds 0.1 % of what lives (tidemark leaks has all)", TABLE(places)};

static const struct tide_column arenas[] = {
	{"kind", "kind", TIDE_TYPE_TEXT, false},
	{"base", "base", TIDE_TYPE_ADDRESS, false},
	{"reserved_bytes", "reserved", TIDE_TYPE_BYTES, false},
	{"resident_bytes", "resident", TIDE_TYPE_BYTES, false},
	{"live_bytes", "live", TIDE_TYPE_BYTES, false},
	{"stranded_bytes", "stranded", TIDE_TYPE_BYTES, false},
	{"reserve_bytes", "in reserve", TIDE_TYPE_RARE, false},
	{"live_blocks", "blocks", TIDE_TYPE_COUNT, false},
	{"consequence", "goes back", TIDE_TYPE_TEXT, false},
};
const struct tide_table tide_table_arenas = {"arenas", "ARENAS", "none known: no census in this log", TABLE(arenas)};

static const struct tide_column timeline[] = {
	{"at_ns", "at", TIDE_TYPE_TIME, false},
	{"live_bytes", "live", TIDE_TYPE_BYTES, false},
	{"rss_bytes", "resident", TIDE_TYPE_BYTES, false},
	{"reserved_bytes", "reserved", TIDE_TYPE_BYTES, false},
};
const struct tide_table tide_table_timeline = {"timeline", "TIMELINE", "nothing happened", TABLE(timeline)};

static const struct tide_column diff[] = {
	{"live_bytes", "live", TIDE_TYPE_BYTES, true},     {"live_blocks", "blocks", TIDE_TYPE_COUNT, true},
	{"peak_bytes", "at peak", TIDE_TYPE_BYTES, true},  {"alloc_bytes", "allocated", TIDE_TYPE_BYTES, true},
	{"arenas", "arenas", TIDE_TYPE_COUNT, true},       {"place", "made at", TIDE_TYPE_TEXT, false},
	{"base_live_bytes", NULL, TIDE_TYPE_BYTES, false}, {"new_live_bytes", NULL, TIDE_TYPE_BYTES, false},
	{"stack", NULL, TIDE_TYPE_STACK, false},
};
const struct tide_table tide_table_diff = {"sites", "DIFF  what changed, by stack", "nothing changed", TABLE(diff)};

static const struct tide_column replay[] = {
	{"name", "replayed", TIDE_TYPE_TEXT, false},
	{"peak_rss_bytes", "peak RSS", TIDE_TYPE_BYTES, false},
	{"peak_change_bytes", "to as-is", TIDE_TYPE_BYTES, true},
	{"end_rss_bytes", "end RSS", TIDE_TYPE_BYTES, false},
	{"end_change_bytes", "to as-is", TIDE_TYPE_BYTES, true},
	{"certain", "certain", TIDE_TYPE_TEXT, false},
	{"title", NULL, TIDE_TYPE_TEXT, false},
	{"why_not", NULL, TIDE_TYPE_TEXT, false},
	{"note", NULL, TIDE_TYPE_TEXT, false},
	{"floor_bytes", NULL, TIDE_TYPE_BYTES, false},
	{"failed_allocations", NULL, TIDE_TYPE_COUNT, false},
	{"failed_bytes", NULL, TIDE_TYPE_BYTES, false},
	{"took_ms", NULL, TIDE_TYPE_COUNT, false},
	{"timeline", NULL, TIDE_TYPE_LIST, false},
};
const struct tide_table tide_table_replay = {"settings", "REPLAY  the same allocations, carried out again",
					     "nothing ran", TABLE(replay)};

const struct tide_table *tide_table_named(const char *id)
{
	static const struct tide_table *const all[] = {
		&tide_table_processes, &tide_table_ledger,   &tide_table_pins,   &tide_table_leaks,
		&tide_table_top,       &tide_table_peak,     &tide_table_arenas, &tide_table_timeline,
		&tide_table_places,    &tide_table_suspects, &tide_table_diff,   &tide_table_replay,
	};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (strcmp(all[i]->id, id) == 0)
			return all[i];
	return NULL;
}
