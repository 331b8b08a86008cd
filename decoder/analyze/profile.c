#include "analyze/profile.h"

#include <stdlib.h>
#include <string.h>

#include "format/layout.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

enum { STACK_MOST = 1024 };

/* What texts are matched by: a collision would join two frames' rows, and takes 2^64 of them. */
struct digest {
	uint64_t a, b;
};

struct tide_profile_index {
	struct digest key;
	uint32_t number;
	UT_hash_handle hh;
};

/* One stack, while it is gathered. */
struct gathering {
	struct tide_profile *profile;
	uint32_t key[STACK_MOST], stack[STACK_MOST];
	uint32_t key_len, stack_len;
	bool in_python; /* a Python frame was met */
	bool failed;
	unsigned side;
	const char *interpreter; /* module of the interpreter; NULL: not known */
	uint32_t *frame;         /* by a symbol's number, 1 + the frame's; 0: not looked up yet */
	uint32_t frames;
};

static struct digest mix(struct digest d, const void *bytes, size_t len)
{
	return (struct digest){tide_checksum(bytes, len, d.a), tide_checksum(bytes, len, d.b)};
}

static struct digest mix_text(struct digest d, const char *text)
{
	return mix(d, text ? text : "", text ? strlen(text) + 1 : 0);
}

static const char *last_part(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path;
}

/* The line that a frame is matched by. A code object without a name of its own is told from its like by its place in the file. */
static uint64_t line_to_match(const struct tide_symbol *s)
{
	size_t len = s->function ? strlen(s->function) : 0;
	bool named = len && s->function[len - 1] != '>';
	if (s->line <= 0)
		return 0;
	return s->python && named && s->first_line > 0
		       ? UINT64_C(1) << 40 | (uint64_t)((int64_t)s->line - s->first_line + INT32_MAX)
		       : (uint64_t)s->line;
}

static struct digest frame_digest(const struct tide_symbol *s, uint64_t line)
{
	struct digest d = {1, 2};
	uint64_t numbers[3] = {s->python | s->cut * 2u, line, s->function ? 0 : s->offset};
	d = mix_text(mix(d, numbers, sizeof numbers), s->function);
	d = mix_text(d, last_part(s->file));
	return s->python ? d : mix_text(d, last_part(s->module));
}

/* The number under which a digest is known; UINT32_MAX: none. */
static uint32_t known(struct tide_profile_index *index, struct digest key)
{
	struct tide_profile_index *entry;
	HASH_FIND(hh, index, &key, sizeof key, entry);
	return entry ? entry->number : UINT32_MAX;
}

static bool remember(struct tide_profile_index **index, struct digest key, uint32_t number)
{
	struct tide_profile_index *entry = calloc(1, sizeof *entry);
	if (!entry)
		return false;
	entry->key = key;
	entry->number = number;
	HASH_ADD(hh, *index, key, sizeof entry->key, entry);
	if (entry->hh.tbl)
		return true;
	free(entry);
	return false;
}

static void forget(struct tide_profile_index **index)
{
	struct tide_profile_index *entry, *next;
	HASH_ITER(hh, *index, entry, next)
	{
		HASH_DEL(*index, entry);
		free(entry);
	}
}

/* Room for `more` entries behind `used`. NULL: no memory, and the table is as it was. */
static void *room(void *table, uint32_t used, uint32_t more, uint32_t *cap, size_t size)
{
	if (more <= *cap - used)
		return table;
	uint64_t wanted = (uint64_t)used + more, bigger = *cap ? *cap : 256;
	while (bigger < wanted)
		bigger *= 2;
	void *grown = bigger <= UINT32_MAX ? realloc(table, bigger * size) : NULL;
	if (grown)
		*cap = (uint32_t)bigger;
	return grown;
}

static void free_frame(struct tide_symbol *s)
{
	free((char *)s->function);
	free((char *)s->file);
	free((char *)s->module);
}

static bool copy_text(const char **text)
{
	*text = *text ? strdup(*text) : NULL;
	return *text != NULL;
}

static bool copy_frame(const struct tide_symbol *s, struct tide_symbol *ret)
{
	*ret = *s;
	bool function = copy_text(&ret->function), file = copy_text(&ret->file), module = copy_text(&ret->module);
	if (function == !!s->function && file == !!s->file && module == !!s->module)
		return true;
	free_frame(ret);
	return false;
}

/* Adds the frame as number `frames`, with the number of the one that it is matched as. */
static bool add_frame(struct tide_profile *p, const struct tide_symbol *s, struct digest key)
{
	struct digest matched = frame_digest(s, line_to_match(s));
	uint32_t match = known(p->match_index, matched);
	if (!copy_frame(s, &p->frame[p->frames]))
		return false;
	if ((match == UINT32_MAX && !remember(&p->match_index, matched, p->frames)) ||
	    !remember(&p->frame_index, key, p->frames)) {
		free_frame(&p->frame[p->frames]);
		return false;
	}
	p->match[p->frames] = match == UINT32_MAX ? p->frames : match;
	p->frames++;
	return true;
}

/* The frame's number; UINT32_MAX: no memory. */
static uint32_t frame_number(struct tide_profile *p, const struct tide_symbol *s)
{
	struct digest key = frame_digest(s, s->line > 0 ? (uint64_t)s->line : 0);
	uint32_t number = known(p->frame_index, key);
	if (number != UINT32_MAX)
		return number;
	struct tide_symbol *frame = room(p->frame, p->frames, 1, &p->frames_cap, sizeof *frame);
	p->frame = frame ? frame : p->frame;
	uint32_t *match = room(p->match, p->frames, 1, &p->matches_cap, sizeof *match);
	p->match = match ? match : p->match;
	return frame && match && add_frame(p, s, key) ? p->frames - 1 : UINT32_MAX;
}

static bool of_interpreter(const struct gathering *g, const struct tide_symbol *s)
{
	return g->interpreter && s->module && strcmp(s->module, g->interpreter) == 0;
}

/* frame_number, looked up once a symbol. */
static uint32_t frame_of(struct gathering *g, const struct tide_symbol *s)
{
	if (s->number >= g->frames) {
		uint32_t had = g->frames, *more = room(g->frame, had, s->number + 1 - had, &g->frames, sizeof *more);
		if (!more)
			return UINT32_MAX;
		memset(more + had, 0, (g->frames - had) * sizeof *more);
		g->frame = more;
	}
	if (!g->frame[s->number]) {
		uint32_t number = frame_number(g->profile, s);
		if (number == UINT32_MAX)
			return number;
		g->frame[s->number] = number + 1;
	}
	return g->frame[s->number] - 1;
}

static bool gather_frame(void *arg, const struct tide_symbol *s)
{
	struct gathering *g = arg;
	uint32_t number = frame_of(g, s);
	if (number == UINT32_MAX) {
		g->failed = true;
		return false;
	}
	g->stack[g->stack_len++] = number;
	g->in_python |= s->python;
	g->key[g->key_len++] = number;
	return g->stack_len < STACK_MOST;
}

/* From all frames to those that a stack with Python frames is matched by (profile.h). */
static void shorten_key(struct gathering *g)
{
	uint32_t kept = 0, natives = 0;
	bool called = true; /* by the innermost Python frame */
	for (uint32_t i = 0; g->in_python && i < g->key_len; i++) {
		const struct tide_symbol *s = &g->profile->frame[g->key[i]];
		called &= !s->python;
		natives += !s->python;
		if (s->python || natives == 1 || (called && !of_interpreter(g, s)))
			g->key[kept++] = g->key[i];
	}
	if (g->in_python)
		g->key_len = kept;
	for (uint32_t i = 0; i < g->key_len; i++)
		g->key[i] = g->profile->match[g->key[i]];
}

static bool append(struct tide_profile *p, const uint32_t *numbers, uint32_t len, uint32_t *ret_at)
{
	uint32_t *word = len ? room(p->word, p->words, len, &p->words_cap, sizeof *word) : p->word;
	if (len && !word)
		return false;
	p->word = word;
	if (len)
		memcpy(word + p->words, numbers, len * sizeof *word);
	*ret_at = p->words;
	p->words += len;
	return true;
}

/* NULL: no memory. */
static struct tide_profile_row *row_of(struct tide_profile *p, const struct gathering *g)
{
	struct digest key = mix((struct digest){3, 4}, g->key, g->key_len * sizeof *g->key);
	uint32_t number = known(p->row_index, key);
	if (number != UINT32_MAX)
		return &p->row[number];
	struct tide_profile_row *row = room(p->row, p->rows, 1, &p->rows_cap, sizeof *row),
				made = {.key_len = g->key_len};
	if (!row)
		return NULL;
	p->row = row;
	if (!append(p, g->key, g->key_len, &made.key) || !remember(&p->row_index, key, p->rows))
		return NULL;
	row[p->rows] = made;
	return &row[p->rows++];
}

static void add(struct tide_measures *m, const struct tide_site *s, bool uncertain, bool unsure)
{
	m->allocs += s->allocs;
	m->alloc_bytes += s->alloc_bytes;
	m->live_bytes += s->live_bytes;
	m->live_blocks += s->live_blocks;
	m->peak_bytes += s->peak_bytes;
	m->uncertain_bytes += uncertain ? s->live_bytes : unsure ? s->inherited_bytes : 0;
	m->inherited_bytes += s->inherited_bytes;
	if (s->first_ns && (!m->first_ns || s->first_ns < m->first_ns))
		m->first_ns = s->first_ns;
	if (s->last_ns > m->last_ns)
		m->last_ns = s->last_ns;
}

/* At least a byte of what lives at all, so that nothing live is left out of a table. */
static uint64_t suspect(const struct tide_analysis *a, uint32_t site)
{
	uint64_t live = a->state.site[site].live_bytes;
	uint64_t bytes = site < a->growths ? (uint64_t)(a->growth[site].score * (double)live) : 0;
	return live && !bytes ? 1 : bytes;
}

/* Of blocks with events something is known in any case: whether such blocks were ever freed. */
static uint64_t judged(const struct tide_analysis *a, uint32_t site)
{
	const struct tide_site *s = &a->state.site[site];
	return site < a->growths && (a->growth[site].known || !s->counted_bytes) ? s->live_bytes : 0;
}

static void add_pin(struct tide_measures *m, const struct tide_pin *pin)
{
	m->arenas += pin->arenas;
	m->pins_bytes += pin->pins_bytes;
	m->releases_bytes += pin->releases_bytes;
	m->pin_blocks += pin->blocks;
	m->pin_bytes += pin->bytes;
}

/* The row shows the stack of the site that weighs most in it. */
static bool keep_biggest(struct tide_profile *p, struct tide_profile_row *row, const struct gathering *g,
			 const struct tide_site *s)
{
	uint64_t weight = ((s->live_bytes + s->peak_bytes) / 2 + 1) | (uint64_t)g->side << 63;
	if (weight <= row->biggest)
		return true;
	row->biggest = weight;
	row->stack_len = g->stack_len;
	return append(p, g->stack, g->stack_len, &row->stack);
}

/* By site, 1 + the number of its pin; NULL: no memory. Owned by the caller. */
static uint32_t *pins_by_site(const struct tide_analysis *a)
{
	uint32_t *pin = calloc(a->state.sites + 1, sizeof *pin);
	for (uint32_t i = 0; pin && i < a->worthy_pins; i++)
		pin[a->pin[i].site] = i + 1;
	return pin;
}

/* NULL: no memory. */
static struct tide_profile_row *gather(struct gathering *g, struct tide_symbols *symbols, const struct tide_site *s)
{
	g->key_len = g->stack_len = 0;
	g->in_python = false;
	tide_symbols_site(symbols, s->native, s->python, gather_frame, g);
	shorten_key(g);
	struct tide_profile_row *row = g->failed ? NULL : row_of(g->profile, g);
	return row && keep_biggest(g->profile, row, g, s) ? row : NULL;
}

enum tide_status tide_profile_add(struct tide_profile *p, const struct tide_analysis *a, struct tide_symbols *symbols,
				  bool (*wanted)(const struct tide_analysis *, uint32_t site), unsigned side)
{
	struct gathering *g = calloc(1, sizeof *g);
	uint32_t *pin = pins_by_site(a);
	bool ok = g && pin, uncertain = a->uncertain_bytes && a->uncertain_bytes >= a->state.live_bytes;
	if (g) {
		g->profile = p;
		g->side = side;
		g->interpreter = tide_symbols_interpreter(symbols);
	}
	for (uint32_t i = 0; ok && i < a->state.sites; i++) {
		if (wanted && !wanted(a, i))
			continue;
		struct tide_profile_row *row = gather(g, symbols, &a->state.site[i]);
		ok = row != NULL;
		if (row) {
			add(&row->side[side], &a->state.site[i], uncertain, a->state.unsure);
			row->side[side].suspect_bytes += suspect(a, i);
			row->side[side].judged_bytes += judged(a, i);
		}
		if (row && pin[i])
			add_pin(&row->side[side], &a->pin[pin[i] - 1]);
	}
	free(pin);
	free(g ? g->frame : NULL);
	free(g);
	return ok ? TIDE_OK : TIDE_ERR_NOMEM;
}

void tide_profile_release(struct tide_profile *p)
{
	for (uint32_t i = 0; i < p->frames; i++)
		free_frame(&p->frame[i]);
	forget(&p->frame_index);
	forget(&p->match_index);
	forget(&p->row_index);
	free(p->frame);
	free(p->match);
	free(p->word);
	free(p->row);
	*p = (struct tide_profile){0};
}

/* Wrappers that make memory for others: their caller is who is meant. */
static bool is_wrapper(const struct tide_symbol *s)
{
	static const char *const modules[] = {"libc.so.6", "libstdc++.so", "ld-linux", "libc-", "libglib-2.0.so"};
	static const char *const functions[] = {"operator new",    "__gnu_cxx::", "std::",   "PyMem_",
						"PyObject_Malloc", "xmalloc",     "xcalloc", "xrealloc"};
	const char *module = last_part(s->module);
	for (size_t i = 0; module && i < sizeof modules / sizeof *modules; i++)
		if (strncmp(module, modules[i], strlen(modules[i])) == 0)
			return true;
	for (size_t i = 0; s->function && i < sizeof functions / sizeof *functions; i++)
		if (strncmp(s->function, functions[i], strlen(functions[i])) == 0)
			return true;
	return false;
}

/* How an import runs a module: the line that imported is who is meant. */
static bool is_importing(const struct tide_symbol *s)
{
	return s->file && strncmp(s->file, "<frozen importlib", 17) == 0;
}

const struct tide_symbol *tide_profile_place(const struct tide_profile *p, const struct tide_profile_row *row)
{
	const struct tide_symbol *native = NULL, *first = NULL, *importing = NULL;
	for (uint32_t i = 0; i < row->stack_len; i++) {
		const struct tide_symbol *s = &p->frame[p->word[row->stack + i]];
		if (s->cut)
			continue;
		if (s->python && !is_importing(s))
			return s;
		if (s->python && !importing)
			importing = s;
		if (!first)
			first = s;
		if (!s->python && !native && !is_wrapper(s))
			native = s;
	}
	return importing ? importing : native ? native : first;
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
