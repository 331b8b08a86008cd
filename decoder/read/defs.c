#include "read/defs.h"

#include <stdlib.h>
#include <string.h>

#include "format/wire.h"
#include "read/sites.h"
#include "read/text.h"

#define LANES_MAX 65536u

static const char *get_text(struct tide_defs *d, struct tide_in *in, unsigned kind)
{
	uint64_t len = tide_get_varint(in);
	const uint8_t *bytes = tide_get_bytes(in, len);
	return bytes ? tide_text_copy(&d->text, kind, bytes, (size_t)len) : NULL;
}

/* Text was NULL for want of bytes, or for want of memory. */
static int failed(const struct tide_in *in)
{
	return in->bad ? 0 : TIDE_ERR_NOMEM;
}

static int parse_process(struct tide_defs *d, struct tide_in *in)
{
	const char *exe = get_text(d, in, TIDE_TEXT_UTF8);
	const char *comm = get_text(d, in, TIDE_TEXT_UTF8);
	const char *kernel = get_text(d, in, TIDE_TEXT_UTF8);
	uint64_t len = tide_get_varint(in);
	const uint8_t *id = tide_get_bytes(in, len);
	const char *hex = id ? tide_text_hex(&d->text, id, (size_t)len) : NULL;
	if (!exe || !comm || !kernel || !hex)
		return failed(in);
	d->exe = exe;
	d->comm = comm;
	d->kernel = kernel;
	d->build_id = hex;
	return 1;
}

/* Room for one more in a table that grows by doubling. */
static bool room_for_one(void **table, uint32_t count, uint32_t *cap, size_t size)
{
	if (count < *cap)
		return true;
	uint32_t more = *cap ? 2 * *cap : 64;
	void *grown = more > *cap ? realloc(*table, more * size) : NULL;
	if (!grown)
		return false;
	*table = grown;
	*cap = more;
	return true;
}

static int parse_module(struct tide_defs *d, struct tide_in *in)
{
	struct tide_module m = {.unloaded_ns = UINT64_MAX};
	m.base = tide_get_varint(in);
	m.start = tide_get_varint(in);
	m.end = tide_get_varint(in);
	m.loaded_ns = tide_get_varint(in);
	uint64_t len = tide_get_varint(in);
	const uint8_t *id = tide_get_bytes(in, len);
	m.path = get_text(d, in, TIDE_TEXT_UTF8);
	if (!id || !m.path)
		return failed(in);
	m.build_id_len = len < sizeof m.build_id ? (uint32_t)len : sizeof m.build_id;
	memcpy(m.build_id, id, m.build_id_len);
	if (!room_for_one((void **)&d->module, d->modules, &d->modules_cap, sizeof m))
		return TIDE_ERR_NOMEM;
	d->module[d->modules++] = m;
	return 1;
}

static int parse_unload(struct tide_defs *d, struct tide_in *in)
{
	uint64_t base = tide_get_varint(in), ns = tide_get_varint(in);
	if (in->bad)
		return 0;
	for (uint32_t i = d->modules; i-- > 0;) {
		struct tide_module *m = &d->module[i];
		if (m->base != base || m->unloaded_ns != UINT64_MAX)
			continue;
		m->unloaded_ns = ns;
		break;
	}
	return 1;
}

static int parse_allocator(struct tide_defs *d, struct tide_in *in)
{
	const char *provider = get_text(d, in, TIDE_TEXT_UTF8);
	const char *path = get_text(d, in, TIDE_TEXT_UTF8);
	if (!provider || !path)
		return failed(in);
	d->allocator = provider;
	d->allocator_path = path;
	return 1;
}

static int parse_python(struct tide_defs *d, struct tide_in *in)
{
	const char *version = get_text(d, in, TIDE_TEXT_UTF8);
	uint64_t usable = tide_get_varint(in), arena = tide_get_varint(in), pool = tide_get_varint(in);
	if (!version || in->bad || arena > UINT32_MAX || pool > UINT32_MAX)
		return version || in->bad ? 0 : TIDE_ERR_NOMEM;
	d->python = version;
	d->python_usable = usable != 0;
	d->python_arena = (uint32_t)arena;
	d->python_pool = (uint32_t)pool;
	return 1;
}

static int parse_code(struct tide_defs *d, struct tide_in *in)
{
	uint64_t id = tide_get_varint(in), line = tide_get_varint(in), table_kind = tide_get_varint(in);
	uint64_t len = tide_get_varint(in);
	const uint8_t *table = tide_get_bytes(in, len);
	uint64_t file_kind = tide_get_varint(in);
	if (in->bad || id == 0 || id > UINT32_MAX || file_kind < TIDE_TEXT_UTF8 || file_kind > TIDE_TEXT_UCS4)
		return 0;
	const char *file = get_text(d, in, (unsigned)file_kind);
	uint64_t name_kind = tide_get_varint(in);
	if (in->bad || name_kind < TIDE_TEXT_UTF8 || name_kind > TIDE_TEXT_UCS4)
		return file || in->bad ? 0 : TIDE_ERR_NOMEM;
	const char *name = get_text(d, in, (unsigned)name_kind);
	uint8_t *copy = in->bad ? NULL : tide_text_room(&d->text, (size_t)len + 1);
	if (!file || !name || !copy)
		return failed(in);
	memcpy(copy, table, (size_t)len);
	if (!room_for_one((void **)&d->code, d->codes, &d->codes_cap, sizeof *d->code))
		return TIDE_ERR_NOMEM;
	d->code[d->codes++] = (struct tide_code){
		.id = (uint32_t)id,
		.first_line = line > UINT32_MAX ? 0 : (uint32_t)line,
		.table_kind = table_kind > TIDE_LINES_LOCATIONS ? TIDE_LINES_NONE : (uint32_t)table_kind,
		.table_len = (uint32_t)len,
		.table = copy,
		.file = file,
		.function = name,
	};
	return 1;
}

static int parse_sites(struct tide_defs *d, const uint8_t *payload, size_t len)
{
	struct tide_site_reader *r = malloc(sizeof *r);
	int got = 1;
	if (!r)
		return TIDE_ERR_NOMEM;
	tide_site_reader_init(r, payload, len);
	while (got == 1)
		got = tide_site_reader_next(r);
	free(r);
	if (got < 0)
		return 0;
	uint8_t *copy = tide_text_room(&d->text, len + 1);
	if (!copy ||
	    !room_for_one((void **)&d->site_record, d->site_records, &d->site_records_cap, sizeof *d->site_record))
		return TIDE_ERR_NOMEM;
	memcpy(copy, payload, len);
	d->site_record[d->site_records++] = (struct tide_site_record){copy, len};
	return 1;
}

static int parse_pystacks(struct tide_defs *d, const uint8_t *payload, size_t len)
{
	uint8_t *copy = tide_text_room(&d->text, len + 1);
	if (!copy || !room_for_one((void **)&d->pystack_record, d->pystack_records, &d->pystack_records_cap,
				   sizeof *d->pystack_record))
		return TIDE_ERR_NOMEM;
	memcpy(copy, payload, len);
	d->pystack_record[d->pystack_records++] = (struct tide_def_bytes){copy, len};
	return 1;
}

static int parse_lineage(struct tide_defs *d, struct tide_in *in)
{
	uint64_t lanes = tide_get_varint(in);
	if (in->bad || lanes > LANES_MAX || lanes > tide_in_left(in))
		return 0;
	uint64_t *events = malloc((size_t)(lanes + 1) * sizeof *events);
	if (!events)
		return TIDE_ERR_NOMEM;
	for (uint64_t i = 0; i < lanes; i++)
		events[i] = tide_get_varint(in);
	if (in->bad) {
		free(events);
		return 0;
	}
	free(d->lineage);
	d->lineage = events;
	d->lineage_lanes = (uint32_t)lanes;
	d->lineage_ticks = tide_in_left(in) ? tide_get_varint(in) : 0;
	return 1;
}

static int parse_end(struct tide_defs *d, struct tide_in *in)
{
	uint64_t what = tide_get_varint(in), status = tide_get_varint(in);
	uint64_t ns = tide_get_varint(in), ticks = tide_get_varint(in);
	if (in->bad || (what != TIDE_END_EXIT && what != TIDE_END_EXEC))
		return 0;
	d->end = (uint32_t)what;
	d->end_status = (uint32_t)status;
	d->end_ns = ns;
	d->end_ticks = ticks;
	return 1;
}

int tide_defs_parse(struct tide_defs *d, unsigned kind, const uint8_t *payload, size_t len)
{
	struct tide_in in = tide_in_of(payload, len);
	switch (kind) {
	case TIDE_DEF_PROCESS:
		return parse_process(d, &in);
	case TIDE_DEF_MODULE:
		return parse_module(d, &in);
	case TIDE_DEF_UNLOAD:
		return parse_unload(d, &in);
	case TIDE_DEF_ALLOCATOR:
		return parse_allocator(d, &in);
	case TIDE_DEF_PYTHON:
		return parse_python(d, &in);
	case TIDE_DEF_CODE:
		return parse_code(d, &in);
	case TIDE_DEF_PYSTACKS:
		return parse_pystacks(d, payload, len);
	case TIDE_DEF_LINEAGE:
		return parse_lineage(d, &in);
	case TIDE_DEF_END:
		return parse_end(d, &in);
	case TIDE_DEF_SITES:
		return parse_sites(d, payload, len);
	case TIDE_DEF_RESUMED:
		d->end = TIDE_END_NONE;
		return 1;
	default:
		return 1;
	}
}

void tide_defs_init(struct tide_defs *d)
{
	*d = (struct tide_defs){
		.exe = "", .comm = "", .kernel = "", .build_id = "", .allocator = "", .allocator_path = ""};
}

void tide_defs_release(struct tide_defs *d)
{
	free(d->module);
	free(d->code);
	free(d->site_record);
	free(d->pystack_record);
	free(d->lineage);
	tide_text_free(d->text);
	*d = (struct tide_defs){0};
}

static int compare_codes(const void *va, const void *vb)
{
	const struct tide_code *a = va, *b = vb;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return strcmp(a->function, b->function);
}

void tide_defs_finish(struct tide_defs *d)
{
	uint32_t kept = 0;
	if (d->codes > 1)
		qsort(d->code, d->codes, sizeof *d->code, compare_codes);
	for (uint32_t i = 0; i < d->codes; i++)
		if (kept == 0 || d->code[kept - 1].id != d->code[i].id)
			d->code[kept++] = d->code[i];
	d->codes = kept;
}

static int compare_code_id(const void *key, const void *code)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct tide_code *)code)->id;
	return (a > b) - (a < b);
}

const struct tide_code *tide_defs_code(const struct tide_defs *d, uint32_t id)
{
	return d->codes ? bsearch(&id, d->code, d->codes, sizeof *d->code, compare_code_id) : NULL;
}
