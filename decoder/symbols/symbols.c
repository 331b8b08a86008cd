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

static bool native_frame(struct tide_symbols *s, uint64_t word, tide_symbol_fn *each, void *arg)
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
	for (uint32_t k = 0; k < place->count; k++) {
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

void tide_symbols_site(struct tide_symbols *s, uint32_t native, uint32_t python, tide_symbol_fn *each, void *arg)
{
	for (uint32_t n = python; n; n = tide_log_node_parent(s->log, n))
		if (!python_frame(s, tide_log_node_word(s->log, n), each, arg))
			return;
	for (uint32_t n = native; n; n = tide_log_node_parent(s->log, n))
		if (!native_frame(s, tide_log_node_word(s->log, n), each, arg))
			return;
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
