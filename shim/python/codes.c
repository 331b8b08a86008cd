/*
 * Code objects: address -> id. Addresses are used again for other code, as soon as the next function is compiled, and nothing in
 * a code object tells it from one that was there before. So the destructor of their type is stood in front of: an address
 * is known from the object's first sight to its death. Names and the line table are copied into the log at first sight.
 */
#include <stdatomic.h>
#include <string.h>

#include "defs.h"
#include "lock.h"
#include "python/interp.h"
#include "sys.h"

#define FIRST_SLOTS 1024u
#define SLOTS_MOST (1u << 21)
#define IDS_MOST (1u << 24)
#define TEXT_MOST 4096u

/* By address, open addressing. Grown under the lock into new memory; the old stays, as somebody may be reading it. */
struct table {
	uint32_t mask, used;
	struct tide_py_known slot[]; /* of code objects by address; an address stays: it will be used for code again */
};

/* By content, under the lock: what is compiled again and again is one code object to a reader, and is defined once. */
struct content {
	uint64_t hash;
	uint32_t id; /* 0: free */
};

static struct table *_Atomic table;
const struct tide_py_known *_Atomic tide_py_known;
static struct {
	struct content *slot;
	uint32_t mask, used;
} contents;
static struct tide_lock lock;
static uint32_t last_id;
static atomic_bool stale; /* a death could not be noted: nothing that is known can be believed */
static void (*real_dealloc)(void *code);
static const uint8_t *_Atomic hooked_type;

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

/* What a definition says, but for the id. */
struct described {
	uint32_t first_line;
	struct tide_part lines, file, name;
	uint64_t file_kind, name_kind;
};

static struct described describe(const uint8_t *code)
{
	struct described d = {.first_line = number_at(code, tide_py.version->first_line), .lines = table_of(code)};
	d.file_kind = text_of(pointer_at(code, tide_py.version->file), &d.file);
	d.name_kind = text_of(pointer_at(code, tide_py.version->name), &d.name);
	return d;
}

static uint64_t hash_of(const struct described *d)
{
	uint64_t hash = tide_checksum(d->lines.bytes, d->lines.len, d->first_line + 1);
	hash = tide_checksum(d->file.bytes, d->file.len, hash + d->file_kind);
	return tide_checksum(d->name.bytes, d->name.len, hash + d->name_kind);
}

static bool define(uint32_t id, const struct described *d)
{
	uint8_t head[64], file_head[24], name_head[24];
	struct tide_out a = tide_out_of(head, sizeof head), b = tide_out_of(file_head, sizeof file_head),
			c = tide_out_of(name_head, sizeof name_head);
	tide_out_varint(&a, id);
	tide_out_varint(&a, d->first_line);
	tide_out_varint(&a, tide_py.version->table_kind);
	tide_out_varint(&a, d->lines.len);
	tide_out_varint(&b, d->file_kind);
	tide_out_varint(&b, d->file.len);
	tide_out_varint(&c, d->name_kind);
	tide_out_varint(&c, d->name.len);
	struct tide_part parts[] = {{head, tide_out_len(&a)},      d->lines, {file_head, tide_out_len(&b)}, d->file,
				    {name_head, tide_out_len(&c)}, d->name};
	return tide_define(TIDE_DEF_CODE, parts, sizeof parts / sizeof *parts);
}

static struct content *content_slot(uint64_t hash)
{
	uint32_t i = (uint32_t)hash;
	while (contents.slot[i & contents.mask].id && contents.slot[i & contents.mask].hash != hash)
		i++;
	return &contents.slot[i & contents.mask];
}

static bool content_room(void)
{
	struct content *old = contents.slot;
	uint32_t slots = old ? contents.mask + 1 : 0, more = old ? 2 * slots : FIRST_SLOTS;
	if (contents.used < slots / 4 * 3)
		return true;
	struct content *bigger = more <= SLOTS_MOST ? tide_sys_memory(more * sizeof *bigger) : NULL;
	if (!bigger)
		return false;
	contents.slot = bigger;
	contents.mask = more - 1;
	for (uint32_t i = 0; i < slots; i++)
		if (old[i].id)
			*content_slot(old[i].hash) = old[i];
	return true;
}

/* Lock held. The id of what the code object says, defined if it never was; 0: no memory, or no room in the log. */
static uint32_t id_of_content(const uint8_t *code)
{
	struct described d = describe(code);
	uint64_t hash = hash_of(&d);
	if (!content_room())
		return 0;
	struct content *c = content_slot(hash);
	if (!c->id && last_id + 1 < IDS_MOST && define(last_id + 1, &d)) {
		*c = (struct content){hash, ++last_id};
		contents.used++;
	}
	return c->id;
}

static uint32_t home(uintptr_t code)
{
	return (uint32_t)(((code >> 4) * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* Code objects that could not be defined: the log's room for that is used up. To find it out anew for each frame of each event took two thirds of
 * the time of a Python program with a log of 1 MiB. */
#define REFUSED 4096u
static _Atomic uintptr_t refused[REFUSED];

static _Atomic uintptr_t *refused_at(uintptr_t code)
{
	return &refused[home(code) & (REFUSED - 1)];
}

static bool is_refused(uintptr_t code)
{
	return atomic_load_explicit(refused_at(code), memory_order_relaxed) == code;
}

/* NULL: an address without code so far. */
static struct tide_py_known *find(struct table *t, uintptr_t code)
{
	for (uint32_t i = home(code); t; i++) {
		struct tide_py_known *k = &t->slot[i & t->mask];
		uintptr_t there = atomic_load_explicit(&k->code, memory_order_acquire);
		if (there == code)
			return k;
		if (there == 0)
			break;
	}
	return NULL;
}

/* Lock held; there is room, or the address is there. */
static void insert(struct table *t, uintptr_t code, uint32_t id)
{
	uint32_t i = home(code);
	uintptr_t there;
	while ((there = atomic_load_explicit(&t->slot[i & t->mask].code, memory_order_relaxed)) && there != code)
		i++;
	struct tide_py_known *k = &t->slot[i & t->mask];
	t->used += there == 0;
	atomic_store_explicit(&k->id, id, memory_order_relaxed);
	atomic_store_explicit(&k->code, code, memory_order_release);
}

/* Lock held. A table with room for one more; NULL: no memory. */
static struct table *room_for_one(void)
{
	struct table *old = atomic_load_explicit(&table, memory_order_relaxed);
	bool forget = atomic_exchange_explicit(&stale, false, memory_order_acq_rel);
	if (old && !forget && old->used < (old->mask + 1) / 4 * 3)
		return old;
	uint32_t slots = !old ? FIRST_SLOTS : forget ? old->mask + 1 : 2 * (old->mask + 1);
	struct table *t = slots <= SLOTS_MOST ? tide_sys_memory(sizeof *t + slots * sizeof t->slot[0]) : NULL;
	if (!t)
		return NULL;
	t->mask = slots - 1;
	for (uint32_t i = 0; old && !forget && i <= old->mask; i++) {
		uintptr_t code = atomic_load_explicit(&old->slot[i].code, memory_order_relaxed);
		if (code)
			insert(t, code, atomic_load_explicit(&old->slot[i].id, memory_order_relaxed));
	}
	atomic_store_explicit(&table, t, memory_order_release);
	atomic_store_explicit(&tide_py_known, t->slot, memory_order_release);
	return t;
}

static void believe_nothing(void)
{
	atomic_store_explicit(&stale, true, memory_order_release);
	atomic_store_explicit(&tide_py_known, NULL, memory_order_release);
}

/* The lock keeps a table that is being grown from copying what has died. */
static void on_dealloc(void *code)
{
	if (is_refused((uintptr_t)code))
		atomic_store_explicit(refused_at((uintptr_t)code), 0, memory_order_relaxed);
	struct tide_py_known *k = find(atomic_load_explicit(&table, memory_order_acquire), (uintptr_t)code);
	if (k && tide_lock_within(&lock)) {
		k = find(atomic_load_explicit(&table, memory_order_relaxed), (uintptr_t)code);
		if (k)
			atomic_store_explicit(&k->id, 0, memory_order_relaxed);
		tide_unlock(&lock);
	} else if (k) {
		believe_nothing();
	}
	if (k)
		atomic_fetch_add_explicit(&tide_py.code_deaths, 1, memory_order_release);
	real_dealloc(code);
}

/* Lock held. False: this is no code object. */
static bool hook_type_of(const uint8_t *code)
{
	uint8_t *type = (uint8_t *)(uintptr_t)pointer_at(code, TIDE_PY_TYPE);
	if (type == atomic_load_explicit(&hooked_type, memory_order_relaxed))
		return true;
	const uint8_t *name = pointer_at(type, TIDE_PY_TP_NAME);
	if (real_dealloc || !name || strcmp((const char *)name, "code") != 0)
		return false;
	void (*ours)(void *) = on_dealloc;
	memcpy(&real_dealloc, type + TIDE_PY_TP_DEALLOC, sizeof real_dealloc);
	memcpy(type + TIDE_PY_TP_DEALLOC, &ours, sizeof ours);
	atomic_store_explicit(&hooked_type, type, memory_order_relaxed);
	return true;
}

static uint32_t learn(const uint8_t *code)
{
	uint32_t id = 0;
	if (!tide_trylock(&lock))
		return 0; /* a signal handler, or another thread at the same instant: the frame is without a name */
	struct table *t = hook_type_of(code) ? room_for_one() : NULL;
	if (t)
		id = id_of_content(code);
	if (id)
		insert(t, (uintptr_t)code, id);
	else if (t)
		atomic_store_explicit(refused_at((uintptr_t)code), (uintptr_t)code, memory_order_relaxed);
	tide_unlock(&lock);
	return id;
}

/* A code object that is on the calling thread's stack cannot die meanwhile, so its slot does not change. */
uint32_t tide_py_code_id(const uint8_t *code)
{
	struct tide_py_known *k = find(atomic_load_explicit(&table, memory_order_acquire), (uintptr_t)code);
	uint32_t id = k ? atomic_load_explicit(&k->id, memory_order_relaxed) : 0;
	if (__builtin_expect(id && !atomic_load_explicit(&stale, memory_order_relaxed), 1))
		return id;
	if (!id && is_refused((uintptr_t)code))
		return 0;
	return learn(code);
}

const struct tide_py_known *tide_py_known_code(const uint8_t *code)
{
	return find(atomic_load_explicit(&table, memory_order_acquire), (uintptr_t)code);
}

/* Ids stay what they are: the child's log gets the parent's definitions of code (inherit.h). But if another thread was in the
 * middle of something, what it left is not to be believed. */
void tide_py_codes_fork_child(void)
{
	for (uint32_t i = 0; i < REFUSED; i++) /* its log has room of its own; reads break no page in two */
		if (atomic_load_explicit(&refused[i], memory_order_relaxed))
			atomic_store_explicit(&refused[i], 0, memory_order_relaxed);
	if (!tide_trylock(&lock)) {
		believe_nothing();
		atomic_fetch_add_explicit(&tide_py.code_deaths, 1, memory_order_relaxed);
		contents.slot = NULL;
		contents.mask = contents.used = 0;
	}
	tide_unlock(&lock);
}

uint32_t tide_py_last_code_id(void)
{
	return last_id;
}
