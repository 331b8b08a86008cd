#include "symbols/symbols.h"

#include <stdlib.h>
#include <string.h>

#include "symbols/objects.h"
#include "symbols/pylines.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
/* a key is one word, and is looked up for every frame of every stack */
#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)(*(const uint64_t *)(key)*UINT64_C(0x9e3779b97f4a7c15) >> 32))
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

/* What a word of a stack stands for. Stacks share most of their words, and a name takes a hundred times as long to find as this does. */
struct known {
	uint64_t word;
	bool loop;      /* a call of the evaluation loop */
	uint32_t count; /* frames: what was inlined into the function, then the function; none of the shim's own */
	UT_hash_handle hh;
	struct tide_symbol symbol[];
};

struct tide_symbols {
	const struct tide_log *log;
	struct tide_objects *objects; /* the caller's */
	const struct tide_module *module;
	uint32_t modules;
	struct tide_object **object; /* by module; NULL: not asked for yet */
	struct known *known;         /* by word */
	const struct known **at; /* by node of the log's stacks, those that were asked for; NULL: no memory for it */
	uint32_t nodes;
	uint32_t numbers; /* given to symbols */
};

struct tide_symbols *tide_symbols_new(const struct tide_log *log, struct tide_objects *objects)
{
	struct tide_symbols *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->log = log;
	s->objects = objects;
	s->modules = tide_log_modules(log, &s->module);
	s->object = calloc(s->modules + 1, sizeof *s->object);
	if (!s->object) {
		free(s);
		return NULL;
	}
	return s;
}

void tide_symbols_free(struct tide_symbols *s)
{
	struct known *k, *next;
	if (!s)
		return;
	HASH_ITER(hh, s->known, k, next)
	{
		HASH_DEL(s->known, k);
		free(k);
	}
	free(s->at);
	free(s->object);
	free(s);
}

/* Index of the module that held the address; the newest wins where addresses were used again. -1: none. */
static int module_at(const struct tide_symbols *s, uint64_t address)
{
	for (uint32_t i = s->modules; i-- > 0;)
		if (address >= s->module[i].start && address < s->module[i].end)
			return (int)i;
	return -1;
}

/* What the object's file says of an address in module i. NULL: nothing. */
static const struct tide_place *place_in(struct tide_symbols *s, int i, uint64_t offset)
{
	if (i < 0)
		return NULL;
	if (!s->object[i])
		s->object[i] = tide_objects_of(s->objects, &s->module[i]);
	return s->object[i] ? tide_object_place(s->object[i], offset) : NULL;
}

static bool is_cut(uint64_t word)
{
	return word == TIDE_WORD_CUT_LIMIT || word == TIDE_WORD_CUT_UNKNOWN;
}

/* ---- what a word stands for ---- */

/* NULL: no memory. */
static struct known *new_known(uint64_t word, uint32_t count)
{
	struct known *k = calloc(1, sizeof *k + count * sizeof *k->symbol);
	if (k) {
		k->word = word;
		k->count = count;
	}
	return k;
}

/* One has the same name in every version of CPython; a compiler may have split it (.cold). */
static bool is_loop_name(const char *function)
{
	static const char name[] = "_PyEval_EvalFrameDefault";
	return function && strncmp(function, name, sizeof name - 1) == 0 &&
	       (function[sizeof name - 1] == '\0' || function[sizeof name - 1] == '.');
}

static struct known *learn_native(struct tide_symbols *s, uint64_t word)
{
	uint64_t address = word - 1; /* a return address: the call lies before it */
	int i = module_at(s, address);
	struct tide_symbol symbol = {.offset = i >= 0 ? address - s->module[i].base : address,
				     .module = i >= 0 ? s->module[i].path : NULL};
	if (symbol.module && strstr(symbol.module, "libtidemark.so"))
		return new_known(word, 0);
	const struct tide_place *place = place_in(s, i, symbol.offset);
	struct known *k = new_known(word, place ? place->count : 1);
	for (uint32_t n = 0; k && n < k->count; n++) {
		if (place) {
			symbol.function = place->found[n].function;
			symbol.file = place->found[n].file;
			symbol.line = place->found[n].line;
			symbol.inlined = place->found[n].inlined;
		}
		k->symbol[n] = symbol;
	}
	if (k)
		k->loop = place && is_loop_name(place->found[place->count - 1].function);
	return k;
}

static struct known *learn_python(struct tide_symbols *s, uint64_t word)
{
	uint32_t offset = (uint32_t)(word & TIDE_WORD_PYTHON_OFFSET);
	const struct tide_code *code = tide_log_code(s->log, tide_word_code(word));
	struct known *k = new_known(word, 1);
	if (!k)
		return NULL;
	k->symbol[0] = (struct tide_symbol){.python = true, .offset = (uint64_t)offset * 2};
	if (code) {
		k->symbol[0].function = code->function;
		k->symbol[0].file = code->file;
		k->symbol[0].line = tide_python_line(code, offset);
		k->symbol[0].first_line = code->first_line <= INT32_MAX ? (int)code->first_line : 0;
	}
	return k;
}

static struct known *learn_cut(uint64_t word, bool python)
{
	struct known *k = new_known(word, 1);
	if (k)
		k->symbol[0] = (struct tide_symbol){.cut = true, .python = python};
	return k;
}

/* NULL: no memory. A cut of a Python stack has the native one's word; it is kept under 0, which is no word. */
static const struct known *known(struct tide_symbols *s, uint64_t word, bool python)
{
	uint64_t key = python && is_cut(word) ? 0 : word;
	struct known *k;
	HASH_FIND(hh, s->known, &key, sizeof key, k);
	if (k)
		return k;
	k = is_cut(word) ? learn_cut(key, python) : python ? learn_python(s, word) : learn_native(s, word);
	if (!k)
		return NULL;
	HASH_ADD(hh, s->known, word, sizeof k->word, k);
	if (!k->hh.tbl) {
		free(k);
		return NULL;
	}
	for (uint32_t i = 0; i < k->count; i++)
		k->symbol[i].number = s->numbers++;
	return k;
}

/* known, of a node's word. */
static const struct known *known_at(struct tide_symbols *s, uint32_t node, bool python)
{
	uint64_t word;
	if (node < s->nodes && s->at[node])
		return s->at[node];
	word = tide_log_node_word(s->log, node);
	const struct known *k = known(s, word, python);
	if (node < s->nodes && !is_cut(word)) /* where both kinds of stacks were cut, they share a node */
		s->at[node] = k;
	return k;
}

/* ---- frames ---- */

/* `inlined_only`: what was inlined into the function, but not the function. */
static bool frames_of(const struct known *k, bool inlined_only, tide_symbol_fn *each, void *arg)
{
	bool more = true;
	for (uint32_t i = 0; k && more && i + inlined_only < k->count; i++)
		more = each(arg, &k->symbol[i]);
	return more;
}

/* Whether each call of the loop can be given the Python frames that it ran: from the innermost on there are as many of the ones as of
 * the others, as far as both stacks go. */
static bool fit_together(struct tide_symbols *s, uint32_t native, uint32_t python)
{
	uint32_t loops = 0, entered = 0;
	bool native_cut = false, python_cut = false, open = false;
	for (uint32_t n = native; n; n = tide_log_node_parent(s->log, n)) {
		const struct known *k = known_at(s, n, false);
		native_cut |= is_cut(tide_log_node_word(s->log, n));
		loops += k && k->loop;
	}
	for (uint32_t n = python; n; n = tide_log_node_parent(s->log, n)) {
		uint64_t word = tide_log_node_word(s->log, n);
		python_cut |= is_cut(word);
		open = is_cut(word) ? open : !(word & TIDE_WORD_PYTHON_ENTERED);
		entered += !is_cut(word) && !open;
	}
	if (loops == 0 || (open && !python_cut) || (!python_cut && loops > entered))
		return false;
	return native_cut || loops >= entered + open;
}

/* The Python frames that one call of the loop ran: *node is the innermost, and then that of the next call. */
static bool run_frames(struct tide_symbols *s, uint32_t *node, tide_symbol_fn *each, void *arg)
{
	bool more = true, entered = false;
	while (*node && more && !entered) {
		uint64_t word = tide_log_node_word(s->log, *node);
		entered = !is_cut(word) && word & TIDE_WORD_PYTHON_ENTERED;
		more = frames_of(known_at(s, *node, true), false, each, arg);
		*node = tide_log_node_parent(s->log, *node);
	}
	return more;
}

void tide_symbols_site(struct tide_symbols *s, uint32_t native, uint32_t python, tide_symbol_fn *each, void *arg)
{
	if (!s->at) {
		s->at = calloc(tide_log_node_count(s->log), sizeof *s->at);
		s->nodes = s->at ? tide_log_node_count(s->log) : 0;
	}
	bool woven = native && python && fit_together(s, native, python), more = true;
	for (; python && !woven && more; python = tide_log_node_parent(s->log, python))
		more = frames_of(known_at(s, python, true), false, each, arg);
	for (; native && more; native = tide_log_node_parent(s->log, native)) {
		const struct known *k = known_at(s, native, false);
		bool stands = woven && python && k && k->loop;
		more = frames_of(k, stands, each, arg);
		if (more && stands)
			more = run_frames(s, &python, each, arg);
	}
	while (python && more) /* of calls of the loop that the native stack was cut before */
		more = run_frames(s, &python, each, arg);
}

const char *tide_symbols_interpreter(const struct tide_symbols *s)
{
	const struct tide_process *p = tide_log_process(s->log);
	for (uint32_t i = 0; p->python && i < s->modules; i++) {
		const char *name = strrchr(s->module[i].path, '/');
		if (name && strncmp(name, "/libpython", 10) == 0)
			return s->module[i].path;
	}
	return p->python ? p->exe : NULL;
}

static bool is_library(const char *path, const char *name)
{
	const char *file = strrchr(path, '/');
	return file && strncmp(file + 1, name, strlen(name)) == 0;
}

void tide_symbols_early(const struct tide_log *log, struct tide_objects *objects)
{
	struct tide_object *early[TIDE_EARLY_MOST];
	const char *exe = tide_log_process(log)->exe;
	const struct tide_module *module;
	uint32_t modules = tide_log_modules(log, &module), count = 0;
	for (uint32_t i = 0; i < modules && count < TIDE_EARLY_MOST; i++) {
		const char *path = module[i].path;
		bool wanted = (exe && strcmp(path, exe) == 0) || is_library(path, "libc.so.") ||
			      is_library(path, "libc-") || is_library(path, "libpython");
		struct tide_object *o = wanted ? tide_objects_of(objects, &module[i]) : NULL;
		if (o && (count == 0 || early[count - 1] != o))
			early[count++] = o;
	}
	tide_objects_early(objects, early, count);
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
