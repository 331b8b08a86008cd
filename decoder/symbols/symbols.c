#include "symbols/symbols.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <libiberty/demangle.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symbols/pylines.h"

/* One recorded module, opened at its first question. */
struct opened {
	bool tried;
	Dwfl *dwfl;
	Dwfl_Module *module;
};

struct name { /* a demangled name, kept because symbols are handed out by pointer */
	struct name *next;
	char *text;
};

struct tide_symbols {
	const struct tide_log *log;
	const struct tide_module *module;
	uint32_t modules;
	struct opened *opened;
	struct name *names;
};

static char *debug_path; /* libdwfl's: look for .build-id below here only */
static const Dwfl_Callbacks callbacks = {
	.find_elf = dwfl_build_id_find_elf,
	.find_debuginfo = dwfl_standard_find_debuginfo,
	.section_address = dwfl_offline_section_address,
	.debuginfo_path = &debug_path,
};

struct tide_symbols *tide_symbols_new(const struct tide_log *log)
{
	struct tide_symbols *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->log = log;
	s->modules = tide_log_modules(log, &s->module);
	s->opened = calloc(s->modules + 1, sizeof *s->opened);
	if (!s->opened) {
		free(s);
		return NULL;
	}
	setenv("DEBUGINFOD_URLS", "", 1); /* never ask the network for what a log names */
	return s;
}

void tide_symbols_free(struct tide_symbols *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->modules; i++)
		if (s->opened[i].dwfl)
			dwfl_end(s->opened[i].dwfl);
	while (s->names) {
		struct name *next = s->names->next;
		free(s->names->text);
		free(s->names);
		s->names = next;
	}
	free(s->opened);
	free(s);
}

static bool same_build_id(Dwfl_Module *module, const struct tide_module *recorded)
{
	const unsigned char *id;
	GElf_Addr where;
	int len = dwfl_module_build_id(module, &id, &where);
	return recorded->build_id_len > 0 && len == (int)recorded->build_id_len &&
	       memcmp(id, recorded->build_id, (size_t)len) == 0;
}

static void open_module(struct opened *o, const struct tide_module *recorded)
{
	struct stat st;
	o->tried = true;
	/* a recorded path may be anything by now: a FIFO would hang, a device would not end */
	if (stat(recorded->path, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	int fd = open(recorded->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return;
	o->dwfl = dwfl_begin(&callbacks);
	if (o->dwfl)
		o->module = dwfl_report_elf(o->dwfl, "module", recorded->path, fd, recorded->base, false);
	if (!o->module)
		close(fd);
	if (o->dwfl)
		dwfl_report_end(o->dwfl, NULL, NULL);
	if (o->module && !same_build_id(o->module, recorded))
		o->module = NULL;
}

/* Index of the module that held the address; the newest wins where addresses were used again. -1: none. */
static int module_at(const struct tide_symbols *s, uint64_t address)
{
	for (uint32_t i = s->modules; i-- > 0;)
		if (address >= s->module[i].start && address < s->module[i].end)
			return (int)i;
	return -1;
}

static const char *demangled(struct tide_symbols *s, const char *name)
{
	if (!name || name[0] != '_')
		return name;
	char *text = cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
	struct name *kept = text ? calloc(1, sizeof *kept) : NULL;
	if (!kept) {
		free(text);
		return name;
	}
	*kept = (struct name){s->names, text};
	s->names = kept;
	return text;
}

static const char *die_name(struct tide_symbols *s, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	const char *linkage = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute));
	return linkage ? demangled(s, linkage) : dwarf_diename(die);
}

/* File and line of the call that an inlined function replaced. */
static void call_site(Dwarf_Die *unit, Dwarf_Die *inlined, struct tide_symbol *symbol)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value = 0;
	Dwarf_Files *files;
	size_t count;
	if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &value) == 0)
		symbol->line = (int)value;
	if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &value) == 0 &&
	    dwarf_getsrcfiles(unit, &files, &count) == 0 && value < count)
		symbol->file = dwarf_filesrc(files, value, NULL, NULL);
}

/* The functions that were inlined at this address, innermost first, then *symbol becomes the function that holds them. */
static bool inlined_frames(struct tide_symbols *s, Dwfl_Module *module, uint64_t address, struct tide_symbol *symbol,
			   tide_symbol_fn *each, void *arg)
{
	Dwarf_Addr bias;
	Dwarf_Die *unit = dwfl_module_addrdie(module, address, &bias), *scopes = NULL;
	bool go_on = true;
	int count = unit ? dwarf_getscopes(unit, address - bias, &scopes) : 0;
	for (int i = 0; i < count && go_on; i++) {
		int tag = dwarf_tag(&scopes[i]);
		if (tag == DW_TAG_subprogram) {
			const char *name = die_name(s, &scopes[i]);
			symbol->function = name ? name : symbol->function;
			break;
		}
		if (tag != DW_TAG_inlined_subroutine)
			continue;
		struct tide_symbol inner = *symbol;
		inner.function = die_name(s, &scopes[i]);
		inner.inlined = true;
		go_on = each(arg, &inner);
		call_site(unit, &scopes[i], symbol);
	}
	free(scopes);
	return go_on;
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
	if (i >= 0 && !s->opened[i].tried)
		open_module(&s->opened[i], &s->module[i]);
	Dwfl_Module *module = i >= 0 ? s->opened[i].module : NULL;
	if (!module)
		return each(arg, &symbol);
	symbol.function = demangled(s, dwfl_module_addrname(module, address));
	Dwfl_Line *line = dwfl_module_getsrc(module, address);
	if (line)
		symbol.file = dwfl_lineinfo(line, NULL, &symbol.line, NULL, NULL, NULL);
	return inlined_frames(s, module, address, &symbol, each, arg) && each(arg, &symbol);
}

static bool python_frame(struct tide_symbols *s, uint64_t word, tide_symbol_fn *each, void *arg)
{
	struct tide_symbol symbol = {.python = true};
	if (word == TIDE_WORD_CUT_LIMIT) {
		symbol.cut = true;
		return each(arg, &symbol);
	}
	uint32_t id = (uint32_t)((word & ~TIDE_WORD_PYTHON) >> 24), offset = (uint32_t)(word & TIDE_WORD_PYTHON_OFFSET);
	const struct tide_code *code = tide_log_code(s->log, id);
	symbol.offset = (uint64_t)offset * 2;
	if (code) {
		symbol.function = code->function;
		symbol.file = code->file;
		symbol.line = tide_python_line(code, offset);
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
