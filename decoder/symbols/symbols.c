#include "symbols/symbols.h"

#include <stdlib.h>
#include <string.h>

#include "symbols/objects.h"
#include "symbols/pylines.h"

struct tide_symbols {
	const struct tide_log *log;
	struct tide_objects *objects; /* the caller's */
	const struct tide_module *module;
	uint32_t modules;
	struct tide_object **object; /* by module; NULL: not asked for yet */
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
	if (!s)
		return;
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

/* `inlined_only`: what was inlined into the function, but not the function. */
static bool native_frame(struct tide_symbols *s, uint64_t word, bool inlined_only, tide_symbol_fn *each, void *arg)
{
	struct tide_symbol symbol = {0};
	uint64_t address = word - 1; /* a return address: the call lies before it */
	if (word == TIDE_WORD_CUT_LIMIT || word == TIDE_WORD_CUT_UNKNOWN) {
		symbol.cut = true;
		return each(arg, &symbol);
	}
	int i = module_at(s, address);
	symbol.offset = i >= 0 ? address - s->module[i].base : address;
	symbol.module = i >= 0 ? s->module[i].path : NULL;
	if (symbol.module && strstr(symbol.module, "libtidemark.so"))
		return true;
	const struct tide_place *place = place_in(s, i, symbol.offset);
	if (!place)
		return each(arg, &symbol);
	for (uint32_t k = 0; k + inlined_only < place->count; k++) {
		symbol.function = place->found[k].function;
		symbol.file = place->found[k].file;
		symbol.line = place->found[k].line;
		symbol.inlined = place->found[k].inlined;
		if (!each(arg, &symbol))
			return false;
	}
	return true;
}

static bool python_frame(struct tide_symbols *s, uint64_t word, tide_symbol_fn *each, void *arg)
{
	struct tide_symbol symbol = {.python = true};
	if (word == TIDE_WORD_CUT_LIMIT) {
		symbol.cut = true;
		return each(arg, &symbol);
	}
	uint32_t offset = (uint32_t)(word & TIDE_WORD_PYTHON_OFFSET);
	const struct tide_code *code = tide_log_code(s->log, tide_word_code(word));
	symbol.offset = (uint64_t)offset * 2;
	if (code) {
		symbol.function = code->function;
		symbol.file = code->file;
		symbol.line = tide_python_line(code, offset);
		symbol.first_line = code->first_line <= INT32_MAX ? (int)code->first_line : 0;
	}
	return each(arg, &symbol);
}

/* ---- two stacks as one ---- */

static bool is_cut(uint64_t word)
{
	return word == TIDE_WORD_CUT_LIMIT || word == TIDE_WORD_CUT_UNKNOWN;
}

/* Is it a call of the evaluation loop? One has the same name in every version; a compiler may have split it (.cold). */
static bool is_loop(struct tide_symbols *s, uint64_t word)
{
	static const char name[] = "_PyEval_EvalFrameDefault";
	int i = is_cut(word) ? -1 : module_at(s, word - 1);
	const struct tide_place *place = i >= 0 ? place_in(s, i, word - 1 - s->module[i].base) : NULL;
	const char *function = place ? place->found[place->count - 1].function : NULL;
	return function && strncmp(function, name, sizeof name - 1) == 0 &&
	       (function[sizeof name - 1] == '\0' || function[sizeof name - 1] == '.');
}

/* Whether each call of the loop can be given the Python frames that it ran: from the innermost on there are as many of the ones as of
 * the others, as far as both stacks go. */
static bool fit_together(struct tide_symbols *s, uint32_t native, uint32_t python)
{
	uint32_t loops = 0, entered = 0;
	bool native_cut = false, python_cut = false, open = false;
	for (uint32_t n = native; n; n = tide_log_node_parent(s->log, n)) {
		uint64_t word = tide_log_node_word(s->log, n);
		native_cut |= is_cut(word);
		loops += is_loop(s, word);
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
		*node = tide_log_node_parent(s->log, *node);
		entered = !is_cut(word) && word & TIDE_WORD_PYTHON_ENTERED;
		more = python_frame(s, word, each, arg);
	}
	return more;
}

void tide_symbols_site(struct tide_symbols *s, uint32_t native, uint32_t python, tide_symbol_fn *each, void *arg)
{
	bool woven = native && python && fit_together(s, native, python), more = true;
	for (; python && !woven && more; python = tide_log_node_parent(s->log, python))
		more = python_frame(s, tide_log_node_word(s->log, python), each, arg);
	for (; native && more; native = tide_log_node_parent(s->log, native)) {
		uint64_t word = tide_log_node_word(s->log, native);
		bool stands = woven && python && is_loop(s, word);
		more = native_frame(s, word, stands, each, arg);
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
