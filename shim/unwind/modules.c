#include "unwind/modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>

#include "lock.h"
#include "sys.h"

#define MODULES_MOST 4096u
#define PAGE UINT64_C(4096)

/* glibc 2.35 and later: lock-free, async-signal-safe. */
extern int _dl_find_object(void *, struct dl_find_object *) __attribute__((weak));

static struct {
	struct tide_unwind_module *all; /* append-only */
	atomic_uint count;
	struct tide_lock lock;
	tide_module_fn *loaded, *unloaded;
	const char *exe;
	bool listening;
} modules;

struct found { /* what the dynamic linker says of an address */
	uintptr_t base;
	const char *path;
	const uint8_t *eh_frame_hdr;
	const void *dynamic;        /* also tells objects apart */
	const ElfW(Phdr) * headers; /* NULL: not to be had */
	unsigned count;
};

struct search {
	uintptr_t address;
	struct found *ret;
};

static int look_at(struct dl_phdr_info *info, size_t size, void *search)
{
	struct search *s = search;
	struct found f = {.base = info->dlpi_addr,
			  .path = info->dlpi_name,
			  .headers = info->dlpi_phdr,
			  .count = info->dlpi_phnum};
	bool inside = false;
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + p->p_vaddr;
		if (p->p_type == PT_LOAD && s->address - at < p->p_memsz)
			inside = true;
		if (p->p_type == PT_GNU_EH_FRAME)
			f.eh_frame_hdr = (const uint8_t *)at;
		if (p->p_type == PT_DYNAMIC)
			f.dynamic = (const void *)at;
	}
	if (inside)
		*s->ret = f;
	return inside;
}

/* The program's headers are told by the kernel; another object's lie behind the ELF header at its lowest address, which is
 * its base, if the dynamic linker agrees that this is part of it. */
static void find_headers(struct found *f, const struct link_map *map)
{
	struct dl_find_object o;
	if (map == _r_debug.r_map) {
		f->headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
		f->count = (unsigned)getauxval(AT_PHNUM);
		return;
	}
	const ElfW(Ehdr) *head = (const ElfW(Ehdr) *)f->base;
	if (_dl_find_object((void *)f->base, &o) != 0 || o.dlfo_link_map != map ||
	    memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_phentsize != sizeof(ElfW(Phdr)) ||
	    head->e_phoff + head->e_phnum * sizeof(ElfW(Phdr)) > PAGE)
		return;
	f->headers = (const ElfW(Phdr) *)(f->base + head->e_phoff);
	f->count = head->e_phnum;
}

static bool find(uintptr_t address, struct found *ret)
{
	struct dl_find_object o;
	if (!_dl_find_object) { /* takes the dynamic linker's lock: at misses only */
		struct search search = {address, ret};
		return dl_iterate_phdr(look_at, &search) == 1;
	}
	if (_dl_find_object((void *)address, &o) != 0)
		return false;
	*ret = (struct found){
		.base = o.dlfo_link_map->l_addr,
		.path = o.dlfo_link_map->l_name,
		.eh_frame_hdr = o.dlfo_eh_frame,
		.dynamic = o.dlfo_link_map->l_ld,
	};
	find_headers(ret, o.dlfo_link_map);
	return true;
}

/* NT_GNU_BUILD_ID of the notes in [at, end). */
static void read_notes(struct tide_unwind_module *m, const uint8_t *at, const uint8_t *end)
{
	while (end - at >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
		ElfW(Nhdr) note;
		memcpy(&note, at, sizeof note);
		uint64_t name = (note.n_namesz + 3u) & ~3u, desc = (note.n_descsz + 3u) & ~3u;
		at += sizeof note;
		if (name + desc > (uint64_t)(end - at))
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(at, "GNU", 4) == 0 &&
		    note.n_descsz <= TIDE_BUILD_ID_MAX) {
			memcpy(m->build_id, at + name, note.n_descsz);
			m->build_id_len = note.n_descsz;
			return;
		}
		at += name + desc;
	}
}

static void read_headers(struct tide_unwind_module *m, const struct found *f)
{
	m->start = f->count ? UINTPTR_MAX : 0;
	for (unsigned i = 0; i < f->count; i++) {
		const ElfW(Phdr) *p = &f->headers[i];
		uintptr_t at = m->base + p->p_vaddr;
		if (p->p_type == PT_LOAD && (at & ~(PAGE - 1)) < m->start)
			m->start = at & ~(PAGE - 1);
		if (p->p_type == PT_LOAD && at + p->p_memsz > m->end)
			m->end = at + p->p_memsz;
		if (p->p_type == PT_LOAD && p->p_flags & PF_X && !m->code)
			m->code = at;
		if (p->p_type == PT_GNU_EH_FRAME)
			m->eh_frame_hdr = (const uint8_t *)at;
	}
	for (unsigned i = 0; i < f->count && !m->build_id_len; i++) {
		uintptr_t at = m->base + f->headers[i].p_vaddr;
		if (f->headers[i].p_type == PT_NOTE)
			read_notes(m, (const uint8_t *)at, (const uint8_t *)at + f->headers[i].p_memsz);
	}
}

static struct tide_unwind_module *known(const struct found *f)
{
	unsigned count = atomic_load_explicit(&modules.count, memory_order_acquire);
	for (unsigned i = count; i-- > 0;) {
		struct tide_unwind_module *m = &modules.all[i];
		if (m->dynamic == f->dynamic && m->base == f->base && !m->gone)
			return m;
	}
	return NULL;
}

static struct tide_unwind_module *append(const struct found *f)
{
	unsigned count = atomic_load_explicit(&modules.count, memory_order_relaxed);
	if (!modules.all || count == MODULES_MOST)
		return NULL;
	struct tide_unwind_module *m = &modules.all[count];
	*m = (struct tide_unwind_module){
		.base = f->base,
		.path = f->path && f->path[0] ? f->path : modules.exe,
		.eh_frame_hdr = f->eh_frame_hdr,
		.dynamic = f->dynamic,
	};
	read_headers(m, f);
	/* pairs with the acquire in known() */
	atomic_store_explicit(&modules.count, count + 1, memory_order_release);
	return m;
}

static const struct tide_unwind_module *enter(const struct found *f)
{
	struct tide_unwind_module *m = known(f);
	if (m || !tide_trylock(&modules.lock))
		return m;
	m = known(f);
	bool fresh = !m;
	if (fresh)
		m = append(f);
	tide_unlock(&modules.lock);
	if (fresh && m && modules.listening)
		modules.loaded(m);
	return m;
}

const struct tide_unwind_module *tide_module_at(uintptr_t address)
{
	struct found f;
	return find(address, &f) ? enter(&f) : NULL;
}

static const struct link_map *first_object(void)
{
	return _r_debug.r_map;
}

void tide_modules_listen(tide_module_fn *loaded, tide_module_fn *unloaded, const char *exe)
{
	modules.loaded = loaded;
	modules.unloaded = unloaded;
	modules.exe = exe;
	modules.all = tide_sys_memory(MODULES_MOST * sizeof *modules.all);
	modules.listening = modules.all != NULL;
	for (const struct link_map *l = first_object(); l; l = l->l_next) {
		struct found f = {.base = l->l_addr, .path = l->l_name, .dynamic = l->l_ld};
		if (_dl_find_object)
			find_headers(&f, l);
		else if (!find((uintptr_t)l->l_ld, &f))
			continue;
		enter(&f);
	}
}

void tide_modules_again(void)
{
	unsigned count = atomic_load_explicit(&modules.count, memory_order_acquire);
	for (unsigned i = 0; i < count && modules.listening; i++)
		if (!modules.all[i].gone)
			modules.loaded(&modules.all[i]);
}

void tide_modules_sweep(void)
{
	unsigned count = atomic_load_explicit(&modules.count, memory_order_acquire);
	struct found f;
	if (!tide_trylock(&modules.lock))
		return;
	for (unsigned i = 0; i < count; i++) {
		struct tide_unwind_module *m = &modules.all[i];
		if (m->gone || (find(m->code, &f) && f.dynamic == m->dynamic))
			continue;
		m->gone = true;
		m->path = "";
		modules.unloaded(m);
	}
	tide_unlock(&modules.lock);
}

void tide_modules_fork_child(void)
{
	tide_unlock(&modules.lock);
}

const struct tide_unwind_module *tide_module_main(void)
{
	return atomic_load_explicit(&modules.count, memory_order_acquire) ? &modules.all[0] : NULL;
}

/* ---- symbols ---- */

struct symbols {
	const ElfW(Sym) * table;
	const char *strings;
	const ElfW(Half) * versions; /* NULL: none */
	const uint32_t *gnu_hash;    /* NULL: use `count` */
	uint32_t count;
	uintptr_t base;
};

/* Most dynamic linkers relocate these pointers in place; the vDSO's and some others' are left as they are. */
static const void *relocated(const ElfW(Dyn) * d, uintptr_t base)
{
	return (const void *)(d->d_un.d_ptr < base ? d->d_un.d_ptr + base : d->d_un.d_ptr);
}

static bool symbols_of(const void *dynamic, uintptr_t base, struct symbols *ret)
{
	*ret = (struct symbols){.base = base};
	for (const ElfW(Dyn) *d = dynamic; d && d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			ret->table = relocated(d, base);
		else if (d->d_tag == DT_STRTAB)
			ret->strings = relocated(d, base);
		else if (d->d_tag == DT_VERSYM)
			ret->versions = relocated(d, base);
		else if (d->d_tag == DT_GNU_HASH)
			ret->gnu_hash = relocated(d, base);
		else if (d->d_tag == DT_HASH)
			ret->count = ((const uint32_t *)relocated(d, base))[1];
	}
	return ret->table && ret->strings && (ret->gnu_hash || ret->count);
}

static void *usable(const struct symbols *s, uint32_t i, const char *name)
{
	const ElfW(Sym) *symbol = &s->table[i];
	unsigned type = ELF64_ST_TYPE(symbol->st_info);
	bool hidden = s->versions && s->versions[i] & 0x8000; /* an old version, kept for old programs */
	if (symbol->st_shndx == SHN_UNDEF || hidden || type == STT_TLS ||
	    strcmp(s->strings + symbol->st_name, name) != 0)
		return NULL;
	void *address = (void *)(s->base + symbol->st_value);
	if (type == STT_GNU_IFUNC)
		address = ((void *(*)(void))address)();
	return address;
}

/* glibc elf/dl-lookup.c; the format is described in "ELF: symbol lookup via DT_GNU_HASH" by the GNU toolchain. */
static void *by_gnu_hash(const struct symbols *s, const char *name)
{
	uint32_t hash = 5381;
	for (const char *c = name; *c; c++)
		hash = hash * 33 + (uint8_t)*c;
	const uint32_t *head = s->gnu_hash; /* buckets, first symbol, bloom words, bloom shift */
	const ElfW(Addr) *bloom = (const ElfW(Addr) *)(head + 4);
	const uint32_t *bucket = (const uint32_t *)(bloom + head[2]);
	const uint32_t *chain = bucket + head[0];
	if (head[0] == 0)
		return NULL;
	uint32_t i = bucket[hash % head[0]];
	for (; i >= head[1] && i; i++) {
		uint32_t link = chain[i - head[1]];
		void *address = (link | 1) == (hash | 1) ? usable(s, i, name) : NULL;
		if (address)
			return address;
		if (link & 1)
			break;
	}
	return NULL;
}

static void *symbol_of(const void *dynamic, uintptr_t base, const char *name)
{
	struct symbols s;
	if (!symbols_of(dynamic, base, &s))
		return NULL;
	if (s.gnu_hash)
		return by_gnu_hash(&s, name);
	for (uint32_t i = 1; i < s.count; i++) {
		void *address = usable(&s, i, name);
		if (address)
			return address;
	}
	return NULL;
}

void *tide_module_symbol(const struct tide_unwind_module *m, const char *name)
{
	return m->gone ? NULL : symbol_of(m->dynamic, m->base, name);
}

void *tide_next_symbol(const void *inside, const char *name)
{
	struct found self;
	bool after = false;
	if (!find((uintptr_t)inside, &self))
		return NULL;
	for (const struct link_map *l = first_object(); l; l = l->l_next) {
		void *address = after && l->l_ld ? symbol_of(l->l_ld, l->l_addr, name) : NULL;
		if (address)
			return address;
		after = after || l->l_ld == self.dynamic;
	}
	return NULL;
}

void *tide_first_symbol(const char *name)
{
	for (const struct link_map *l = first_object(); l; l = l->l_next) {
		void *address = l->l_ld ? symbol_of(l->l_ld, l->l_addr, name) : NULL;
		if (address)
			return address;
	}
	return NULL;
}

bool tide_module_same(const void *one, const void *other)
{
	struct found a, b;
	return find((uintptr_t)one, &a) && find((uintptr_t)other, &b) && a.dynamic == b.dynamic;
}

void tide_module_path_of(const void *address, char *buf, size_t cap)
{
	struct found f;
	buf[0] = '\0';
	if (find((uintptr_t)address, &f) && f.path)
		tide_append(buf, cap, 0, f.path);
}
