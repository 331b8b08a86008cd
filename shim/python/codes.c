/*
 * Code objects: address and fingerprint -> id. Addresses are used again for other code, so the fingerprint (file, name and line
 * table pointers, first line) is compared at each look-up; names and the line table are copied into the log at first sight.
 */
#include <stdatomic.h>
#include <string.h>

#include "defs.h"
#include "lock.h"
#include "python/interp.h"
#include "sys.h"

#define SLOTS 65536u /* direct-mapped by hash: a collision only defines a code object again, under a new id */
#define IDS_MOST (1u << 24)
#define TEXT_MOST 4096u

struct known {
	_Atomic uint32_t version; /* odd: being written */
	uint32_t id;
	uint64_t fingerprint;
	const uint8_t *code;
};

static struct known *_Atomic table;
static struct tide_lock lock;
static uint32_t last_id;

static const uint8_t *pointer_at(const uint8_t *object, size_t offset)
{
	const uint8_t *value;
	memcpy(&value, object + offset, sizeof value);
	return value;
}

static uint32_t number_at(const uint8_t *object, size_t offset)
{
	uint32_t value;
	memcpy(&value, object + offset, sizeof value);
	return value;
}

static uint64_t fingerprint_of(const uint8_t *code)
{
	const struct tide_py_version *v = tide_py.version;
	uint64_t mix = (uintptr_t)pointer_at(code, v->file);
	mix = mix * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)pointer_at(code, v->name);
	mix = mix * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)pointer_at(code, v->line_table);
	return mix * UINT64_C(0x9e3779b97f4a7c15) ^ number_at(code, v->first_line);
}

/* A PyUnicode: kind (FORMAT.md 4) and its bytes as stored. */
static uint64_t text_of(const uint8_t *text, struct tide_part *ret)
{
	static const uint8_t wide_kind[8] = {0, 2, 3, 0, 4};
	uint32_t state = text ? number_at(text, TIDE_PY_STATE) : 0;
	uint64_t length = 0, kind = state >> 2 & 7; /* bytes a character: 1, 2, 4 */
	bool compact = state >> 5 & 1, ascii = state >> 6 & 1;
	*ret = (struct tide_part){"", 0};
	if (!compact || (kind != 1 && kind != 2 && kind != 4))
		return 1;
	memcpy(&length, text + TIDE_PY_LENGTH, sizeof length);
	if (length > TEXT_MOST)
		length = TEXT_MOST;
	/* other compact strings have three words more: utf8, its length, and (before 3.12) the wchar_t length */
	size_t data = tide_py.version->ascii_data + (ascii ? 0 : tide_py.version->minor >= 12 ? 16 : 24);
	*ret = (struct tide_part){text + data, length * kind};
	return ascii ? 1 : wide_kind[kind];
}

static struct tide_part table_of(const uint8_t *code)
{
	const uint8_t *bytes = pointer_at(code, tide_py.version->line_table);
	uint64_t length = 0;
	if (bytes)
		memcpy(&length, bytes + TIDE_PY_LENGTH, sizeof length);
	return (struct tide_part){bytes ? bytes + TIDE_PY_BYTES : NULL, length < (1u << 20) ? length : 0};
}

static bool define(uint32_t id, const uint8_t *code)
{
	uint8_t head[64], file_head[24], name_head[24];
	struct tide_part file, name, lines = table_of(code);
	struct tide_out a = tide_out_of(head, sizeof head), b = tide_out_of(file_head, sizeof file_head),
			c = tide_out_of(name_head, sizeof name_head);
	tide_out_varint(&a, id);
	tide_out_varint(&a, number_at(code, tide_py.version->first_line));
	tide_out_varint(&a, tide_py.version->table_kind);
	tide_out_varint(&a, lines.len);
	tide_out_varint(&b, text_of(pointer_at(code, tide_py.version->file), &file));
	tide_out_varint(&b, file.len);
	tide_out_varint(&c, text_of(pointer_at(code, tide_py.version->name), &name));
	tide_out_varint(&c, name.len);
	struct tide_part parts[] = {{head, tide_out_len(&a)},      lines, {file_head, tide_out_len(&b)}, file,
				    {name_head, tide_out_len(&c)}, name};
	return tide_define(TIDE_DEF_CODE, parts, sizeof parts / sizeof *parts);
}

static uint32_t learn(struct known *k, const uint8_t *code, uint64_t fingerprint)
{
	uint32_t id = 0;
	if (!tide_trylock(&lock))
		return 0; /* a signal handler, or another thread at the same instant: the frame is without a name */
	if (last_id + 1 < IDS_MOST && define(last_id + 1, code)) {
		id = ++last_id;
		atomic_fetch_add_explicit(&k->version, 1, memory_order_acquire);
		atomic_thread_fence(memory_order_release);
		k->code = code;
		k->fingerprint = fingerprint;
		k->id = id;
		atomic_fetch_add_explicit(&k->version, 1, memory_order_release);
	}
	tide_unlock(&lock);
	return id;
}

static struct known *table_now(void)
{
	struct known *t = atomic_load_explicit(&table, memory_order_acquire);
	if (!t && tide_trylock(&lock)) {
		t = atomic_load_explicit(&table, memory_order_relaxed);
		if (!t)
			t = tide_sys_memory(SLOTS * sizeof *t);
		atomic_store_explicit(&table, t, memory_order_release);
		tide_unlock(&lock);
	}
	return t;
}

uint32_t tide_py_code_id(const uint8_t *code)
{
	struct known *t = table_now();
	if (!t)
		return 0;
	struct known *k = &t[(((uintptr_t)code >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> 48];
	uint64_t fingerprint = fingerprint_of(code);
	uint32_t before = atomic_load_explicit(&k->version, memory_order_acquire);
	bool same = k->code == code && k->fingerprint == fingerprint;
	uint32_t id = k->id;
	atomic_thread_fence(memory_order_acquire);
	if (same && !(before & 1) && atomic_load_explicit(&k->version, memory_order_relaxed) == before)
		return id;
	return learn(k, code, fingerprint);
}

void tide_py_codes_fork_child(void)
{
	struct known *t = atomic_load_explicit(&table, memory_order_relaxed);
	tide_unlock(&lock);
	last_id = 0;
	for (uint32_t i = 0; t && i < SLOTS; i++)
		if (t[i].code)
			t[i] = (struct known){0};
}
