#include "analyze/keys.h"

#include <stdlib.h>
#include <string.h>

#include "symbols/pylines.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
/* uthash: its macros nest deep, and the analyser does not follow what HASH_DEL unlinks */
/* NOLINTBEGIN(readability-function-size,clang-analyzer-unix.Malloc) */

#define FRAMES_MOST 32u /* of a stack, from its innermost one */
#define KEYS_MOST (2 * FRAMES_MOST)

enum { NATIVE = 0, LINE = 1, FUNCTION = 2 };

struct name {
	uint64_t hash, kind; /* kind: enum above, the line shifted in */
};

struct tide_key_entry {
	struct name name;
	uint32_t number;
	bool own; /* a line of the application's */
	UT_hash_handle hh;
};

/* What is known of a word of a stack: most are in many stacks. */
struct tide_key_word {
	uint64_t word;
	uint32_t number[2]; /* keys */
	unsigned count;
	bool library; /* of the C and C++ libraries, or their like */
	UT_hash_handle hh;
};

/* A frame's names: a Python one has two, its line and its function. */
static unsigned names_of(const struct tide_log *log, uint64_t word, struct name ret[2])
{
	const struct tide_code *code;
	if (!(word & TIDE_WORD_PYTHON)) {
		ret[0] = (struct name){word, NATIVE};
		return 1;
	}
	code = tide_log_code(log, tide_word_code(word));
	if (!code) {
		ret[0] = (struct name){word, LINE};
		return 1;
	}
	/* by name: one source line may be several code objects, after a reload */
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (const char *c = code->file; *c; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	for (const char *c = code->function; *c; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	int line = tide_python_line(code, (uint32_t)(word & TIDE_WORD_PYTHON_OFFSET));
	ret[0] = (struct name){hash, (uint64_t)(uint32_t)line << 8 | LINE};
	ret[1] = (struct name){hash, FUNCTION};
	return 2;
}

static struct tide_key_entry *find(const struct tide_keys *k, struct name name)
{
	struct tide_key_entry *e;
	HASH_FIND(hh, k->table, &name, sizeof name, e);
	return e;
}

static struct tide_key_entry *find_or_add(struct tide_keys *k, struct name name)
{
	struct tide_key_entry *e = find(k, name);
	if (e)
		return e;
	e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->name = name;
	e->number = k->keys;
	HASH_ADD(hh, k->table, name, sizeof e->name, e);
	if (!e->hh.tbl) {
		free(e);
		return NULL;
	}
	k->keys++;
	return e;
}

/* Neither the standard library nor what was installed. */
static bool is_application(const char *file)
{
	static const char *const installed[] = {"/site-packages/", "/dist-packages/", "/lib/python3"};
	for (size_t i = 0; i < sizeof installed / sizeof *installed; i++)
		if (strstr(file, installed[i]))
			return false;
	return strncmp(file, "<frozen ", 8) != 0;
}

static bool is_own_line(const struct tide_log *log, uint64_t word, const struct name *name)
{
	const struct tide_code *code = word & TIDE_WORD_PYTHON ? tide_log_code(log, tide_word_code(word)) : NULL;
	return code && (name->kind & 0xff) == LINE && is_application(code->file);
}

/* A frame of the C and C++ libraries is no place of the program's. */
static bool is_library(const struct tide_log *log, uint64_t word)
{
	static const char *const names[] = {"libc.so",   "libc-",          "libstdc++.so",
					    "libc++.so", "libtidemark.so", "ld-linux"};
	const struct tide_module *m;
	uint32_t count = tide_log_modules(log, &m);
	for (uint32_t i = 0; i < count; i++) {
		if (word <= m[i].start || word > m[i].end)
			continue;
		const char *slash = strrchr(m[i].path, '/'), *name = slash ? slash + 1 : m[i].path;
		for (size_t n = 0; n < sizeof names / sizeof *names; n++)
			if (strncmp(name, names[n], strlen(names[n])) == 0)
				return true;
	}
	return false;
}

static bool append(struct tide_keys *k, uint32_t site, uint32_t number)
{
	uint32_t first = k->first[site];
	for (uint32_t i = first; i < k->listed; i++)
		if (k->key[i] == number)
			return true; /* recursion */
	if (k->listed == k->cap) {
		uint32_t cap = k->cap ? k->cap * 2 : 1024;
		uint32_t *more = realloc(k->key, cap * sizeof *more);
		if (!more)
			return false;
		k->key = more;
		k->cap = cap;
	}
	k->key[k->listed++] = number;
	k->count[site]++;
	return true;
}

/* NULL: no memory. */
static struct tide_key_word *learn(struct tide_keys *k, uint64_t word)
{
	struct name names[2];
	struct tide_key_word *w = calloc(1, sizeof *w);
	if (!w)
		return NULL;
	w->word = word;
	w->library = is_library(k->log, word);
	unsigned count = names_of(k->log, word, names);
	for (; w->count < count; w->count++) {
		struct tide_key_entry *e = find_or_add(k, names[w->count]);
		if (!e)
			break;
		w->number[w->count] = e->number;
		e->own = e->own || is_own_line(k->log, word, &names[w->count]);
	}
	if (w->count == count)
		HASH_ADD(hh, k->words, word, sizeof w->word, w);
	if (w->count == count && w->hh.tbl)
		return w;
	free(w);
	return NULL;
}

static bool add_site(struct tide_keys *k, const struct tide_site *s, uint32_t site)
{
	uint32_t node = s->python ? s->python : s->native;
	k->first[site] = k->listed;
	for (unsigned depth = 0; node && depth < FRAMES_MOST; depth++) {
		uint64_t word = tide_log_node_word(k->log, node);
		uint32_t parent = tide_log_node_parent(k->log, node);
		struct tide_key_word *w;
		HASH_FIND(hh, k->words, &word, sizeof word, w);
		if (!w && !(w = learn(k, word)))
			return false;
		bool skip = !s->python && parent && w->library;
		for (unsigned i = 0; i < w->count && !skip; i++)
			if (!append(k, site, w->number[i]))
				return false;
		node = parent;
	}
	return true;
}

enum tide_status tide_keys_init(struct tide_keys *k, const struct tide_log *log, const struct tide_replay *r)
{
	*k = (struct tide_keys){.log = log, .sites = r->sites};
	k->first = calloc(r->sites + 1ull, sizeof *k->first);
	k->count = calloc(r->sites + 1ull, sizeof *k->count);
	bool ok = k->first && k->count;
	for (uint32_t i = 0; i < r->sites && ok; i++)
		if (r->site[i].live_blocks)
			ok = add_site(k, &r->site[i], i);
	k->own = calloc(k->keys + 1ull, 1);
	ok = ok && k->own;
	for (const struct tide_key_entry *e = k->table; e && ok; e = e->hh.next)
		k->own[e->number] = e->own;
	if (ok)
		return TIDE_OK;
	tide_keys_release(k);
	return TIDE_ERR_NOMEM;
}

void tide_keys_release(struct tide_keys *k)
{
	struct tide_key_entry *e, *next;
	struct tide_key_word *w, *next_word;
	HASH_ITER(hh, k->words, w, next_word)
	{
		HASH_DEL(k->words, w);
		free(w);
	}
	HASH_ITER(hh, k->table, e, next)
	{
		HASH_DEL(k->table, e);
		free(e);
	}
	free(k->first);
	free(k->count);
	free(k->key);
	free(k->own);
	*k = (struct tide_keys){0};
}

/* Is the key one of the word's? */
static bool has_key(const struct tide_keys *k, uint64_t word, uint32_t key)
{
	const struct tide_key_word *w;
	HASH_FIND(hh, k->words, &word, sizeof word, w);
	for (unsigned i = 0; w && i < w->count; i++)
		if (w->number[i] == key)
			return true;
	return false;
}

bool tide_keys_frame(const struct tide_keys *k, const struct tide_site *s, uint32_t key, uint32_t *ret_native,
		     uint32_t *ret_python)
{
	uint32_t node = s->python ? s->python : s->native;
	for (unsigned depth = 0; node && depth < FRAMES_MOST; depth++) {
		if (has_key(k, tide_log_node_word(k->log, node), key)) {
			*ret_native = s->python ? s->native : node;
			*ret_python = s->python ? node : 0;
			return true;
		}
		node = tide_log_node_parent(k->log, node);
	}
	return false;
}
/* NOLINTEND(readability-function-size,clang-analyzer-unix.Malloc) */
