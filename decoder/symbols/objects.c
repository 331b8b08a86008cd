#include "symbols/objects.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <libiberty/demangle.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "read/crew.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

enum { INLINED_MOST = 64 };

struct symbol { /* of the symbol tables: a function */
	uint64_t start, end;
	const char *name; /* libdwfl's */
	unsigned rank;    /* among symbols of one address: the best name has the highest */
};

struct answer {
	uint64_t address;
	UT_hash_handle hh;
	struct tide_place *place;
};

struct text { /* a demangled name */
	struct text *next;
	char *text;
};

struct tide_object {
	struct tide_object *next;
	char *path;
	uint8_t build_id[32];
	uint32_t build_id_len;
	bool tried;
	Dwfl *dwfl;
	Dwfl_Module *module;   /* NULL: not opened, or not the recorded file */
	struct symbol *symbol; /* by start */
	size_t symbols;
	struct answer *answers;
	struct text *texts;
};

struct tide_objects {
	struct tide_object *object;
	pthread_t thread; /* reads the `earlies` objects of early */
	struct tide_object *early[TIDE_EARLY_MOST];
	uint32_t earlies; /* 0: there is no thread */
	int core;         /* its maker's */
};

static char *debug_path; /* NULL: libdwfl's own, which is below /usr/lib/debug */
static const Dwfl_Callbacks callbacks = {
	.find_elf = dwfl_build_id_find_elf,
	.find_debuginfo = dwfl_standard_find_debuginfo,
	.section_address = dwfl_offline_section_address,
	.debuginfo_path = &debug_path,
};

struct tide_objects *tide_objects_new(void)
{
	setenv("DEBUGINFOD_URLS", "", 1); /* never ask the network for what a log names */
	return calloc(1, sizeof(struct tide_objects));
}

static void free_object(struct tide_object *o)
{
	struct answer *a, *next;
	HASH_ITER(hh, o->answers, a, next)
	{
		HASH_DEL(o->answers, a);
		free(a->place);
		free(a);
	}
	while (o->texts) {
		struct text *text = o->texts;
		o->texts = text->next;
		free(text->text);
		free(text);
	}
	if (o->dwfl)
		dwfl_end(o->dwfl);
	free(o->symbol);
	free(o->path);
	free(o);
}

void tide_objects_free(struct tide_objects *all)
{
	tide_objects_settle(all);
	while (all && all->object) {
		struct tide_object *o = all->object;
		all->object = o->next;
		free_object(o);
	}
	free(all);
}

struct tide_object *tide_objects_of(struct tide_objects *all, const struct tide_module *m)
{
	uint32_t len = m->build_id_len <= sizeof m->build_id ? m->build_id_len : 0;
	for (struct tide_object *o = all->object; o; o = o->next)
		if (o->build_id_len == len && memcmp(o->build_id, m->build_id, len) == 0 &&
		    strcmp(o->path, m->path) == 0)
			return o;
	struct tide_object *o = calloc(1, sizeof *o);
	if (!o || !(o->path = strdup(m->path))) {
		free(o);
		return NULL;
	}
	memcpy(o->build_id, m->build_id, len);
	o->build_id_len = len;
	o->next = all->object;
	all->object = o;
	return o;
}

static bool same_build_id(const struct tide_object *o, Dwfl_Module *module)
{
	const unsigned char *id;
	GElf_Addr where;
	int len = dwfl_module_build_id(module, &id, &where);
	return o->build_id_len > 0 && len == (int)o->build_id_len && memcmp(id, o->build_id, (size_t)len) == 0;
}

static int by_start(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* Functions of .symtab, .dynsym and .gnu_debugdata, as libdwfl joins them. */
static void load_symbols(struct tide_object *o)
{
	int count = dwfl_module_getsymtab(o->module);
	o->symbol = count > 0 ? calloc((size_t)count, sizeof *o->symbol) : NULL;
	for (int i = 1; o->symbol && i < count; i++) {
		GElf_Sym sym;
		GElf_Addr address;
		const char *name = dwfl_module_getsym_info(o->module, i, &sym, &address, NULL, NULL, NULL);
		unsigned type = GELF_ST_TYPE(sym.st_info), bind = GELF_ST_BIND(sym.st_info);
		if (!name || !*name || sym.st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC))
			continue;
		/* malloc rather than __libc_malloc: global before weak before local, fewer underscores */
		unsigned rank = (bind == STB_GLOBAL ? 8
				 : bind == STB_WEAK ? 4
						    : 0) +
				(name[0] != '_' ? 2 : name[1] != '_');
		o->symbol[o->symbols++] = (struct symbol){address, address + sym.st_size, name, rank};
	}
	if (o->symbols)
		qsort(o->symbol, o->symbols, sizeof *o->symbol, by_start);
}

static void open_object(struct tide_object *o)
{
	struct stat st;
	o->tried = true;
	/* a recorded path may be anything by now: a FIFO would hang, a device would not end */
	if (stat(o->path, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	int fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return;
	o->dwfl = dwfl_begin(&callbacks);
	if (o->dwfl)
		o->module = dwfl_report_elf(o->dwfl, "module", o->path, fd, 0, true);
	if (!o->module)
		close(fd);
	if (o->dwfl)
		dwfl_report_end(o->dwfl, NULL, NULL);
	if (o->module && !same_build_id(o, o->module))
		o->module = NULL;
	if (o->module)
		load_symbols(o);
}

static const char *demangled(struct tide_object *o, const char *name)
{
	if (!name || name[0] != '_')
		return name;
	char *text = cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
	struct text *kept = text ? calloc(1, sizeof *kept) : NULL;
	if (!kept) {
		free(text);
		return name;
	}
	*kept = (struct text){o->texts, text};
	o->texts = kept;
	return text;
}

/* The function that holds the address, by the symbol tables; NULL: none does. */
static const char *symbol_at(struct tide_object *o, uint64_t address)
{
	size_t low = 0, high = o->symbols;
	while (low < high) { /* the first that begins after it */
		size_t middle = low + (high - low) / 2;
		if (o->symbol[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low, looked = 0; i-- > 0 && looked < 16; looked++) {
		if (address >= o->symbol[i].end)
			continue;
		while (i > 0 && o->symbol[i - 1].start == o->symbol[i].start && address < o->symbol[i - 1].end)
			i--; /* the best name of that start comes first */
		return demangled(o, o->symbol[i].name);
	}
	return NULL;
}

static const char *die_name(struct tide_object *o, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	const char *linkage = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute));
	return linkage ? demangled(o, linkage) : dwarf_diename(die);
}

/* File and line of the call that an inlined function replaced. */
static void call_site(Dwarf_Die *unit, Dwarf_Die *inlined, struct tide_found *outer)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value = 0;
	Dwarf_Files *files;
	size_t count;
	outer->file = NULL;
	outer->line = 0;
	if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &value) == 0 && value <= INT32_MAX)
		outer->line = (int)value;
	if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &value) == 0 &&
	    dwarf_getsrcfiles(unit, &files, &count) == 0 && value < count)
		outer->file = dwarf_filesrc(files, value, NULL, NULL);
}

/* found[0] holds what is known of the address; the inlined functions around it follow, up to the one that holds them all. */
static uint32_t inlined_frames(struct tide_object *o, uint64_t address, struct tide_found *found)
{
	Dwarf_Addr bias;
	Dwarf_Die *unit = dwfl_module_addrdie(o->module, address, &bias), *scopes = NULL;
	int count = unit ? dwarf_getscopes(unit, address - bias, &scopes) : 0;
	uint32_t n = 0;
	for (int i = 0; i < count && n + 1 < INLINED_MOST; i++) {
		int tag = dwarf_tag(&scopes[i]);
		const char *name =
			tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine ? die_name(o, &scopes[i]) : NULL;
		if (tag == DW_TAG_subprogram) {
			found[n].function = name ? name : found[n].function;
			break;
		}
		if (tag != DW_TAG_inlined_subroutine)
			continue;
		found[n + 1] = found[n]; /* the outer function's name, by the symbol table */
		found[n].function = name;
		found[n].inlined = true;
		call_site(unit, &scopes[i], &found[++n]);
	}
	free(scopes);
	return n + 1;
}

static struct tide_place *look_up(struct tide_object *o, uint64_t address)
{
	struct tide_found found[INLINED_MOST] = {0};
	uint32_t count = 1;
	if (!o->tried)
		open_object(o);
	if (o->module) {
		Dwfl_Line *line = dwfl_module_getsrc(o->module, address);
		found[0].function = symbol_at(o, address);
		if (line)
			found[0].file = dwfl_lineinfo(line, NULL, &found[0].line, NULL, NULL, NULL);
		count = inlined_frames(o, address, found);
	}
	struct tide_place *place = malloc(sizeof *place + count * sizeof *found);
	if (!place)
		return NULL;
	place->count = count;
	memcpy(place->found, found, count * sizeof *found);
	return place;
}

const struct tide_place *tide_object_place(struct tide_object *o, uint64_t address)
{
	struct answer *a;
	HASH_FIND(hh, o->answers, &address, sizeof address, a);
	if (a)
		return a->place;
	a = calloc(1, sizeof *a);
	if (!a)
		return NULL;
	a->address = address;
	a->place = look_up(o, address);
	if (a->place)
		HASH_ADD(hh, o->answers, address, sizeof a->address, a);
	if (!a->place || !a->hh.tbl) {
		free(a->place);
		free(a);
		return NULL;
	}
	return a->place;
}

/* ---- early ---- */

static void *read_early(void *arg)
{
	struct tide_objects *all = arg;
	tide_leave_core(all->core);
	/* nothing is at address 0, but libdw has to read everything to know that */
	for (uint32_t i = 0; i < all->earlies; i++)
		tide_object_place(all->early[i], 0);
	return NULL;
}

void tide_objects_early(struct tide_objects *all, struct tide_object *const *object, uint32_t count)
{
	tide_objects_settle(all);
	all->earlies = count < TIDE_EARLY_MOST ? count : TIDE_EARLY_MOST;
	all->core = sched_getcpu();
	for (uint32_t i = 0; i < all->earlies; i++)
		all->early[i] = object[i];
	if (all->earlies && pthread_create(&all->thread, NULL, read_early, all) != 0)
		all->earlies = 0;
}

void tide_objects_settle(struct tide_objects *all)
{
	if (!all || all->earlies == 0)
		return;
	pthread_join(all->thread, NULL);
	all->earlies = 0;
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
