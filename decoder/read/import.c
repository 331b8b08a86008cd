#include "read/import.h"

#include <stdlib.h>
#include <string.h>

#include "read/log_internal.h"
#include "read/text.h"

#define NO_NODE UINT32_MAX

enum tide_status tide_import_init(struct tide_import *m, struct tide_log *to, const struct tide_log *from)
{
	uint32_t nodes = from->stacks.count;
	uint32_t *node = calloc(nodes + 1ull, sizeof *node);
	if (!node)
		return TIDE_ERR_NOMEM;
	*m = (struct tide_import){.to = to, .from = from, .node = node, .nodes = nodes};
	return TIDE_OK;
}

void tide_import_release(struct tide_import *m)
{
	free(m->node);
	*m = (struct tide_import){0};
}

static void note_code(struct tide_import *m, uint64_t word)
{
	if (word & TIDE_WORD_PYTHON && tide_word_code(word) > m->last_code)
		m->last_code = tide_word_code(word);
}

/* The same stack in m->to. NO_NODE: no memory. */
static uint32_t take_over(struct tide_import *m, uint32_t node)
{
	uint32_t path[2 * TIDE_STACK_MAX], depth = 0, at = node;
	/* deeper stacks than any that is written lose their outermost frames */
	for (; at && at < m->nodes && !m->node[at] && depth < 2 * TIDE_STACK_MAX; at = m->from->stacks.node[at].parent)
		path[depth++] = at;
	uint32_t to = at < m->nodes ? m->node[at] : 0;
	while (depth-- > 0) {
		uint64_t word = m->from->stacks.node[path[depth]].word;
		to = tide_stacks_child(&m->to->stacks, to, word);
		if (to == 0)
			return NO_NODE;
		m->node[path[depth]] = to;
		note_code(m, word);
	}
	return to;
}

uint32_t tide_import_pair(struct tide_import *m, uint32_t native, uint32_t python)
{
	native = take_over(m, native);
	python = take_over(m, python);
	return native == NO_NODE || python == NO_NODE ? UINT32_MAX : tide_stacks_pair(&m->to->stacks, native, python);
}

static const char *copy_text(struct tide_defs *d, const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = tide_text_room(&d->text, len);
	return copy ? memcpy(copy, text, len) : NULL;
}

static bool has_module(const struct tide_defs *d, const struct tide_module *m)
{
	for (uint32_t i = 0; i < d->modules; i++)
		if (d->module[i].base == m->base && strcmp(d->module[i].path, m->path) == 0)
			return true;
	return false;
}

/* Before its own: where two lay at one address, the child's is the later. */
static bool add_modules(struct tide_defs *to, const struct tide_defs *from, uint64_t until_ns)
{
	struct tide_module *all = malloc((from->modules + (size_t)to->modules + 1) * sizeof *all);
	uint32_t count = 0;
	bool ok = all != NULL;
	for (uint32_t i = 0; i < from->modules && ok; i++) {
		if (from->module[i].loaded_ns > until_ns || has_module(to, &from->module[i]))
			continue;
		all[count] = from->module[i];
		all[count].path = copy_text(to, from->module[i].path);
		ok = all[count++].path != NULL;
	}
	if (!ok) {
		free(all);
		return false;
	}
	if (to->modules)
		memcpy(all + count, to->module, to->modules * sizeof *all);
	free(to->module);
	to->module = all;
	to->modules = to->modules_cap = count + to->modules;
	return true;
}

static bool copy_code(struct tide_defs *to, const struct tide_code *from, struct tide_code *ret)
{
	uint8_t *table = tide_text_room(&to->text, from->table_len + 1ull);
	*ret = *from;
	ret->file = copy_text(to, from->file);
	ret->function = copy_text(to, from->function);
	ret->table = table;
	if (!table || !ret->file || !ret->function)
		return false;
	memcpy(table, from->table, from->table_len);
	return true;
}

static bool add_codes(struct tide_defs *to, const struct tide_defs *from, uint32_t last)
{
	struct tide_code *all = malloc((from->codes + (size_t)to->codes + 1) * sizeof *all);
	uint32_t count = to->codes;
	bool ok = all != NULL;
	if (ok && count)
		memcpy(all, to->code, count * sizeof *all);
	for (uint32_t i = 0; i < from->codes && ok; i++)
		if (from->code[i].id <= last && !tide_defs_code(to, from->code[i].id))
			ok = copy_code(to, &from->code[i], &all[count++]);
	if (!ok) {
		free(all);
		return false;
	}
	free(to->code);
	to->code = all;
	to->codes = to->codes_cap = count;
	tide_defs_finish(to);
	return true;
}

enum tide_status tide_import_definitions(struct tide_import *m, uint64_t until_ns)
{
	struct tide_defs *to = &m->to->defs;
	const struct tide_defs *from = &m->from->defs;
	return add_modules(to, from, until_ns) && add_codes(to, from, m->last_code) ? TIDE_OK : TIDE_ERR_NOMEM;
}
