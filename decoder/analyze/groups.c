/*
 * Which sites are one thing to a reader. Sites are pairs of whole stacks; one line of a program that is reached on several ways is
 * many sites. A group is the place where the program itself asked for memory: for Python the innermost Python line; for native
 * code the innermost return address outside the C and C++ libraries. A native place that many callers use is an allocation
 * function of the program's own, and its callers are taken instead. No symbols are needed for any of this.
 */
#include <stdlib.h>
#include <string.h>

#include "analyze/join.h"
#include "symbols/pylines.h"

#define uthash_fatal(message) (void)0 /* HASH_ADD is told by HASH_NONFATAL_OOM */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define MANY_CALLERS 12u
#define NODES_MOST 600u /* of one stack */

struct key {
	uint64_t low, high;
};
struct entry {
	struct key key;
	uint32_t number; /* of the group; of a place: how many different callers */
	UT_hash_handle hh;
};

static struct entry *find_or_add(struct entry **table, struct key key, bool *ret_new)
{
	struct entry *e;
	HASH_FIND(hh, *table, &key, sizeof key, e);
	*ret_new = !e;
	if (e)
		return e;
	e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	e->key = key;
	HASH_ADD(hh, *table, key, sizeof e->key, e);
	if (!e->hh.tbl) {
		free(e);
		return NULL;
	}
	return e;
}

static void release(struct entry **table)
{
	struct entry *e, *next;
	HASH_ITER(hh, *table, e, next)
	{
		HASH_DEL(*table, e);
		free(e);
	}
}

struct modules {
	const struct tide_module *module;
	uint32_t count;
};

static bool is_library(const struct modules *m, uint64_t word)
{
	static const char *const names[] = {"libc.so",   "libc-",          "libstdc++.so",
					    "libc++.so", "libtidemark.so", "ld-linux"};
	for (uint32_t i = 0; i < m->count; i++) {
		if (word <= m->module[i].start || word > m->module[i].end)
			continue;
		const char *slash = strrchr(m->module[i].path, '/'), *name = slash ? slash + 1 : m->module[i].path;
		for (size_t k = 0; k < sizeof names / sizeof *names; k++)
			if (strncmp(name, names[k], strlen(names[k])) == 0)
				return true;
		return false;
	}
	return false;
}

/* Node of the innermost frame that is no library's, or of the outermost of all. */
static uint32_t own_frame(const struct tide_log *log, const struct modules *m, uint32_t node)
{
	uint32_t steps = 0;
	while (node && steps++ < NODES_MOST) {
		uint32_t parent = tide_log_node_parent(log, node);
		if (!parent || !is_library(m, tide_log_node_word(log, node)))
			break;
		node = parent;
	}
	return node;
}

static uint64_t word_of(const struct tide_log *log, uint32_t node)
{
	return node ? tide_log_node_word(log, node) : 0;
}

static struct key python_key(const struct tide_log *log, uint32_t node)
{
	uint64_t word = word_of(log, node);
	uint32_t id = (uint32_t)((word & ~TIDE_WORD_PYTHON) >> 24);
	const struct tide_code *code = tide_log_code(log, id);
	if (!(word & TIDE_WORD_PYTHON) || !code)
		return (struct key){word, 2};
	int line = tide_python_line(code, (uint32_t)(word & TIDE_WORD_PYTHON_OFFSET));
	/* one source line may be several code objects: after a reload, or in another forked process */
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (const char *c = code->file; *c; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	for (const char *c = code->function; *c; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	return (struct key){hash, (uint64_t)(uint32_t)line << 8 | 1};
}

/* How many callers each native place has. */
static bool count_callers(struct tide_join *j, const struct modules *m, struct entry **places)
{
	struct entry *pairs = NULL;
	bool ok = true, new;
	for (uint32_t i = 0; i < j->state->sites && ok; i++) {
		const struct tide_site *s = &j->state->site[i];
		if (s->python)
			continue;
		uint32_t own = own_frame(j->log, m, s->native);
		uint32_t caller = own ? tide_log_node_parent(j->log, own) : 0;
		struct key pair = {word_of(j->log, own), word_of(j->log, caller)};
		ok = find_or_add(&pairs, pair, &new) != NULL;
		struct entry *place = ok && new ? find_or_add(places, (struct key){pair.low, 0}, &new) : NULL;
		if (place)
			place->number++;
	}
	release(&pairs);
	return ok;
}

static struct key native_key(struct tide_join *j, const struct modules *m, struct entry *places, uint32_t node)
{
	uint32_t own = own_frame(j->log, m, node);
	struct key key = {word_of(j->log, own), 0};
	struct entry *place;
	HASH_FIND(hh, places, &key, sizeof key, place);
	if (own && place && place->number > MANY_CALLERS && tide_log_node_parent(j->log, own))
		key.high = word_of(j->log, tide_log_node_parent(j->log, own)) << 8;
	return key;
}

static bool number_sites(struct tide_join *j, const struct modules *m, struct entry *places)
{
	struct entry *groups = NULL;
	bool ok = true, new;
	for (uint32_t i = 0; i < j->state->sites && ok; i++) {
		const struct tide_site *s = &j->state->site[i];
		struct key key = s->python ? python_key(j->log, s->python) : native_key(j, m, places, s->native);
		struct entry *group = find_or_add(&groups, key, &new);
		if (group && new)
			group->number = j->a->groups++;
		ok = group != NULL;
		j->a->group[i] = ok ? group->number : 0;
	}
	release(&groups);
	return ok;
}

enum tide_status tide_join_groups(struct tide_join *j)
{
	struct modules m;
	struct entry *places = NULL;
	m.count = tide_log_modules(j->log, &m.module);
	j->a->group = calloc(j->state->sites + 1ull, sizeof *j->a->group);
	if (!j->a->group)
		return TIDE_ERR_NOMEM;
	bool ok = count_callers(j, &m, &places) && number_sites(j, &m, places);
	j->a->grouped = ok ? j->state->sites : 0;
	release(&places);
	return ok ? TIDE_OK : TIDE_ERR_NOMEM;
}
