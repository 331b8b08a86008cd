/*
 * mklog_write.h - how mklog.h lays a log out: superblock, definitions, ring, lanes, the items of an event. Every structure as the shim
 * would have written it.
 */
#ifndef TIDE_MKLOG_WRITE_H
#define TIDE_MKLOG_WRITE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/encode.h"
#include "format/layout.h"
#include "format/sum.h"
#include "format/wire.h"

struct mklog_options {
	uint64_t seed;
	uint64_t size; /* of the file */
	uint64_t events;
	uint32_t lanes; /* used, 1..8 */
	uint32_t skew;  /* ticks that counters of two lanes may disagree by */
	uint32_t slow;  /* ticks that may pass between taking a word and reading the counter */
	uint32_t depth; /* deepest stack */
	bool python;
	bool child;       /* a forked child: parent and LINEAGE */
	bool end;         /* END; else killed */
	bool untidy;      /* killed while blocks were being sealed or begun */
	const char *name; /* of the program, its modules, Python files and functions; NULL: ordinary ones */
	uint8_t *
		into; /* where the file is built: `size` zeros of the caller's, such as a shared mapping; NULL: own memory */
	/* who writes, for logs that are read while they are written; all 0: nobody that lives */
	int32_t pid;
	uint64_t process_start;
	uint8_t boot_id[16];
};

struct mklog_event {
	uint8_t kind;
	bool has_native, has_python;
	uint32_t lane, tid;
	uint64_t number; /* in the lane, from 0 */
	uint64_t addr, size, value, value2;
	uint64_t ns;                                     /* of its run's beginning */
	uint32_t native, native_len, python, python_len; /* in words, innermost first */
};

struct mklog_census {
	uint8_t *bytes;
	size_t len;
	uint32_t parts, parts_evicted;
	uint64_t ns;
};

struct mklog_lane {
	struct tide_encoder encoder;
	struct tide_block *block;
	uint8_t *at, *end;
	uint64_t events_before, visible_from, sum;
	uint32_t summed;
	uint64_t native[TIDE_STACK_MAX], python[TIDE_STACK_MAX]; /* innermost first */
	struct tide_kept native_kept, python_kept;
	uint64_t run_ticks, last_ticks, busy_until;
	uint32_t native_len, python_len, events, since_tick, tid, skew;
};

struct mklog_stored { /* a frame, by segment */
	uint32_t segment;
	bool census;
	uint64_t lane, upto; /* EVENTS: events of the lane up to its end. CENSUS: lane is its number */
};

#define MKLOG_LIVE 4096u
struct mklog {
	struct mklog_options o;
	uint64_t rng;
	uint8_t *file;
	struct tide_geometry g;
	struct tide_superblock super;
	struct mklog_event *event; /* in the order they happened */
	size_t events, events_cap;
	uint64_t *word;
	size_t words, words_cap;
	struct mklog_census *census;
	size_t censuses;
	struct mklog_stored *stored;
	size_t stored_count, stored_cap;
	struct mklog_lane lane[8];
	uint64_t ticks, owned[TIDE_WORDS]; /* epoch << 16 | lane + 1 */
	uint64_t live[MKLOG_LIVE], next_addr, next_code;
	uint32_t live_count;
	uint32_t segment, lap, used;
	uint64_t frame_seq, defs_used, evicted;
	uint32_t realloc_lane; /* 1 + lane between its two parts; 0 none */
	uint64_t realloc_old;
	uint8_t packed[TIDE_BLOCK_MAX * 2];
};

static inline void *mklog_grow(void *table, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return table;
	*cap = *cap ? 2 * *cap : 1024;
	void *more = realloc(table, *cap * size);
	if (!more)
		abort();
	return more;
}

static inline uint64_t mklog_random(struct mklog *m) /* splitmix64 */
{
	uint64_t z = m->rng += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
static inline uint64_t mklog_below(struct mklog *m, uint64_t n)
{
	return mklog_random(m) % n;
}

#define MKLOG_TICKS0 UINT64_C(1000000000000)
#define MKLOG_NS0 UINT64_C(5000000000000)
/* Three ticks a nanosecond. */
static inline uint64_t mklog_ns(uint64_t ticks)
{
	return MKLOG_NS0 + (ticks - MKLOG_TICKS0) / 3;
}

static inline void mklog_control(struct mklog *m, enum tide_control_word word, uint64_t n)
{
	struct tide_control *c = (struct tide_control *)(m->file + m->g.control_off);
	c->word[word][0] += n;
	c->word[word][1] += n;
}

/* ---- definitions ---- */

static inline void mklog_define(struct mklog *m, enum tide_def_kind kind, const uint8_t *payload, size_t len)
{
	struct tide_def head = {
		TIDE_MAGIC_DEF, (uint32_t)(sizeof head + len), (uint32_t)m->super.file_uid, (uint16_t)kind, 0, 0};
	size_t room = (head.len + 15u) / 16 * 16;
	uint8_t *at = m->file + m->g.defs_off + m->defs_used;
	if (room > m->g.defs_len - m->defs_used) {
		mklog_control(m, (enum tide_control_word)(TIDE_CTL_LOSS + TIDE_LOSS_DEFINITIONS), 1);
		return;
	}
	m->defs_used += room;
	mklog_control(m, TIDE_CTL_DEFS_USED, room);
	memcpy(at, &head, sizeof head);
	if (len)
		memcpy(at + sizeof head, payload, len);
	uint64_t sum = tide_checksum(at, head.len, m->super.file_uid);
	__atomic_store_n((uint64_t *)(at + offsetof(struct tide_def, checksum)), sum, __ATOMIC_RELEASE);
}

static inline uint8_t *mklog_bytes(uint8_t *out, const void *bytes, size_t len)
{
	out = tide_put_varint(out, len);
	memcpy(out, bytes, len);
	return out + len;
}
static inline uint8_t *mklog_text(uint8_t *out, const char *text)
{
	return mklog_bytes(out, text, strlen(text));
}

static inline void mklog_define_start(struct mklog *m)
{
	const char *name = m->o.name;
	uint8_t buf[32768], *out = mklog_text(buf, name ? name : "/usr/bin/worker");
	out = mklog_text(mklog_text(out, "worker"), "6.1.0");
	out = mklog_bytes(out, "\x01\x23\x45\x67", 4);
	mklog_define(m, TIDE_DEF_PROCESS, buf, (size_t)(out - buf));
	out = mklog_text(mklog_text(buf, name ? name : "glibc 2.36"), "/lib/libc.so.6");
	mklog_define(m, TIDE_DEF_ALLOCATOR, buf, (size_t)(out - buf));
	for (uint64_t i = 0; i < 4; i++) {
		char path[32];
		snprintf(path, sizeof path, "/lib/lib%c.so", (char)('a' + i));
		out = tide_put_varint(buf, 0x10000000 * (i + 1));
		out = tide_put_varint(out, 0x10000000 * (i + 1) + 0x1000);
		out = tide_put_varint(out, 0x10000000 * (i + 1) + 0x100000);
		out = tide_put_varint(out, mklog_ns(m->ticks));
		out = mklog_text(mklog_bytes(out, &i, sizeof i), name ? name : path);
		mklog_define(m, TIDE_DEF_MODULE, buf, (size_t)(out - buf));
	}
	if (m->o.python) {
		out = tide_put_varint(mklog_text(buf, "3.11.2"), 1);
		out = tide_put_varint(tide_put_varint(out, 1 << 20), 1 << 14);
		mklog_define(m, TIDE_DEF_PYTHON, buf, (size_t)(out - buf));
	}
	if (m->o.child) {
		out = tide_put_varint(buf, 3);
		for (unsigned i = 0; i < 3; i++)
			out = tide_put_varint(out, 100 * i);
		mklog_define(m, TIDE_DEF_LINEAGE, buf, (size_t)(out - buf));
	}
}

static inline void mklog_define_code(struct mklog *m, uint64_t id)
{
	char name[32];
	uint8_t buf[32768], *out = tide_put_varint(tide_put_varint(buf, id), 10 * id);
	out = mklog_text(tide_put_varint(out, 3), "\x80\x01");
	*out++ = 1;
	out = mklog_text(out, m->o.name ? m->o.name : "/srv/app.py");
	*out++ = id % 2 ? 1 : 2; /* odd: ASCII; even: Latin-1 with a letter beyond ASCII */
	snprintf(name, sizeof name, id % 2 ? "handle_%u" : "h\xe9_%u", (unsigned)id);
	out = mklog_text(out, m->o.name ? m->o.name : name);
	mklog_define(m, TIDE_DEF_CODE, buf, (size_t)(out - buf));
}

static inline void mklog_define_end(struct mklog *m, enum tide_end what)
{
	uint8_t buf[64], *out = tide_put_varint(tide_put_varint(buf, what), 7);
	out = tide_put_varint(tide_put_varint(out, mklog_ns(m->ticks)), m->ticks);
	mklog_define(m, TIDE_DEF_END, buf, (size_t)(out - buf));
}

/* Magic away, the rest, magic back: whoever reads meanwhile sees a whole header or none. */
static inline void mklog_put_header(uint8_t *at, const void *header, size_t len)
{
	uint64_t magic;
	memcpy(&magic, header, sizeof magic);
	__atomic_store_n((uint64_t *)at, 0, __ATOMIC_SEQ_CST);
	memcpy(at + sizeof magic, (const uint8_t *)header + sizeof magic, len - sizeof magic);
	__atomic_store_n((uint64_t *)at, magic, __ATOMIC_SEQ_CST);
}

/* ---- ring ---- */

static inline void mklog_evict(struct mklog *m, uint32_t segment)
{
	size_t kept = 0, frames = 0;
	uint64_t events = 0;
	for (size_t i = 0; i < m->stored_count; i++) {
		struct mklog_stored *s = &m->stored[i];
		if (s->segment != segment) {
			m->stored[kept++] = *s;
			continue;
		}
		frames++;
		if (s->census) {
			m->census[s->lane].parts_evicted++;
			continue;
		}
		events += s->upto - m->lane[s->lane].visible_from;
		m->lane[s->lane].visible_from = s->upto;
	}
	m->stored_count = kept;
	m->evicted += events;
	mklog_control(m, TIDE_CTL_EVICTED_FRAMES, frames);
	mklog_control(m, TIDE_CTL_EVICTED_EVENTS, events);
}

static inline void mklog_begin_segment(struct mklog *m)
{
	if (m->lap == 0)
		m->lap = 1;
	else if (++m->segment == m->g.ring_len / m->g.segment_len) {
		m->segment = 0;
		m->lap++;
	}
	mklog_evict(m, m->segment);
	struct tide_segment s = {.magic = TIDE_MAGIC_SEGMENT,
				 .file_uid = m->super.file_uid,
				 .index = m->segment,
				 .lap = m->lap,
				 .frame_seq = m->frame_seq,
				 .mono_ns = mklog_ns(m->ticks)};
	s.checksum = tide_checksum(&s, offsetof(struct tide_segment, checksum), m->super.file_uid);
	mklog_put_header(m->file + m->g.ring_off + (uint64_t)m->segment * m->g.segment_len, &s, sizeof s);
	m->used = sizeof s;
	mklog_control(m, TIDE_CTL_SEGMENT, 1);
}

static inline void mklog_put_frame(struct mklog *m, struct tide_frame *f, const void *raw, size_t raw_len)
{
	size_t len = ZSTD_compress(m->packed, sizeof m->packed, raw, raw_len, 1);
	if (ZSTD_isError(len))
		abort();
	if (m->lap == 0 || m->used + sizeof *f + len > m->g.segment_len)
		mklog_begin_segment(m);
	f->magic = TIDE_MAGIC_FRAME;
	f->file_uid = m->super.file_uid;
	f->header_len = sizeof *f;
	f->segment = m->segment;
	f->lap = m->lap;
	f->frame_seq = m->frame_seq++;
	f->stored_len = (uint32_t)len;
	f->raw_len = (uint32_t)raw_len;
	f->mono_end_ns = mklog_ns(m->ticks);
	f->ticks_end = m->ticks;
	f->payload_checksum = tide_checksum(m->packed, len, m->super.file_uid);
	f->header_checksum = tide_checksum(f, TIDE_FRAME_CHECKED, m->super.file_uid);
	uint8_t *at = m->file + m->g.ring_off + (uint64_t)m->segment * m->g.segment_len + m->used;
	memcpy(at + sizeof *f, m->packed, len);
	mklog_put_header(at, f, sizeof *f);
	m->used += (uint32_t)((sizeof *f + len + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN);
	m->stored = mklog_grow(m->stored, m->stored_count, &m->stored_cap, sizeof *m->stored);
	bool census = f->kind == TIDE_FRAME_CENSUS;
	m->stored[m->stored_count++] = (struct mklog_stored){m->segment, census, census ? f->block_seq : f->lane,
							     f->events_before + f->events};
	mklog_control(m, TIDE_CTL_SEALED_FRAMES, 1);
}

/* ---- lanes ---- */

static inline void mklog_open_block(struct mklog *m, uint32_t index)
{
	struct mklog_lane *l = &m->lane[index];
	struct tide_block *b = (struct tide_block *)(m->file + m->g.staging_off + (uint64_t)index * m->g.block_len);
	uint64_t ticks = m->ticks + l->skew > l->last_ticks ? m->ticks + l->skew : l->last_ticks;
	struct tide_block head = {
		.magic = TIDE_MAGIC_BLOCK,
		.file_uid = m->super.file_uid,
		.lane = index,
		.header_len = sizeof head,
		.block_seq = l->block ? b->block_seq + 1 : 0,
		.events_before = l->events_before,
		.mono_ns = mklog_ns(ticks),
		.ticks = ticks,
		.tid = l->tid,
		.encoding = TIDE_ENCODING_ITEMS,
		.state = TIDE_BLOCK_OPEN,
	};
	head.checksum = (uint32_t)tide_checksum(&head, TIDE_BLOCK_CHECKED, m->super.file_uid);
	mklog_put_header((uint8_t *)b, &head, sizeof head);
	l->block = b;
	l->at = (uint8_t *)(b + 1);
	l->end = (uint8_t *)b + m->g.block_len;
	l->events = l->since_tick = l->summed = 0;
	l->sum = tide_sum_begin(m->super.file_uid, head.checksum);
	l->run_ticks = l->last_ticks = ticks;
	tide_encode_reset(&l->encoder, ticks);
}

static inline void mklog_publish(struct mklog *m, uint32_t index)
{
	struct mklog_lane *l = &m->lane[index];
	struct tide_block *b = l->block;
	struct tide_frame f = {.kind = TIDE_FRAME_EVENTS,
			       .encoding = TIDE_ENCODING_ITEMS,
			       .lane = index,
			       .tid = b->tid,
			       .block_seq = b->block_seq,
			       .events_before = b->events_before,
			       .events = l->events,
			       .mono_ns = b->mono_ns,
			       .ticks = b->ticks};
	b->state = TIDE_BLOCK_SEALING;
	mklog_put_frame(m, &f, b + 1, (size_t)(l->at - (uint8_t *)(b + 1)));
}

static inline void mklog_seal(struct mklog *m, uint32_t index)
{
	mklog_publish(m, index);
	m->lane[index].events_before += m->lane[index].events;
	mklog_open_block(m, index);
}

static inline uint64_t mklog_now(struct mklog *m, struct mklog_lane *l)
{
	uint64_t ticks = m->ticks + l->skew;
	l->last_ticks = ticks > l->last_ticks ? ticks : l->last_ticks;
	return l->run_ticks = l->last_ticks;
}

/* THREAD, TICK, SYNC where they are due. */
static inline uint8_t *mklog_before(struct mklog *m, uint32_t index, uint32_t word)
{
	struct mklog_lane *l = &m->lane[index];
	uint8_t *out = l->at;
	if (mklog_below(m, 200) == 0) {
		out = tide_put_tag(out, TIDE_KIND_THREAD);
		l->tid = 1000 + index * 100 + (uint32_t)mklog_below(m, 50);
		out = tide_put_varint(out, l->tid);
		l->since_tick = 16;
	}
	if (l->since_tick++ >= 16) {
		out = tide_put_tick(out, &l->encoder, mklog_now(m, l));
		l->run_ticks = l->encoder.ticks;
		l->since_tick = 1;
	}
	if ((m->owned[word] & 0xffff) == index + 1)
		return out;
	m->owned[word] = ((m->owned[word] >> 16) + 1) << 16 | (index + 1);
	out = tide_put_tag(out, TIDE_KIND_SYNC);
	out = tide_put_varint(out, m->owned[word] >> 16);
	l->since_tick = 0;
	if (m->o.slow && mklog_below(m, 4) == 0)
		l->last_ticks = l->busy_until = m->ticks + mklog_below(m, m->o.slow);
	return tide_put_ticks(out, &l->encoder, mklog_now(m, l));
}

/* Next stack: some frames popped from the inside, others pushed. */
static inline void mklog_walk(struct mklog *m, uint64_t *stack, uint32_t *len, bool python)
{
	uint32_t pop = (uint32_t)mklog_below(m, *len + 1);
	if (mklog_below(m, 3) == 0)
		return;
	uint32_t push = (uint32_t)mklog_below(m, m->o.depth + 1 - (*len - pop));
	memmove(stack + push, stack + pop, (*len - pop) * sizeof *stack);
	*len = *len - pop + push;
	for (uint32_t i = 0; i < push; i++) {
		uint64_t code = 1 + mklog_below(m, 40);
		while (python && m->next_code < code)
			mklog_define_code(m, ++m->next_code);
		stack[i] = python ? TIDE_WORD_PYTHON | code << 24 | mklog_below(m, 30)
				  : 0x10001000 + 0x10000000 * mklog_below(m, 4) + 16 * mklog_below(m, 300);
	}
}

static inline uint32_t mklog_keep(struct mklog *m, const uint64_t *stack, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		m->word = mklog_grow(m->word, m->words, &m->words_cap, sizeof *m->word);
		m->word[m->words++] = stack[i];
	}
	return (uint32_t)(m->words - len);
}

static inline uint8_t *mklog_stacks(struct mklog *m, struct mklog_lane *l, uint8_t *out, uint8_t *tag,
				    struct mklog_event *e, uint64_t *ret_site)
{
	bool both = tide_kind_fields(e->kind) & TIDE_F_STACK;
	struct tide_words native = {0}, python;
	if (both)
		mklog_walk(m, l->native, &l->native_len, false);
	if (m->o.python)
		mklog_walk(m, l->python, &l->python_len, true);
	if (both) {
		native = tide_keep(&l->native_kept, l->native, l->native_len);
		e->native_len = l->native_len;
		e->native = mklog_keep(m, l->native, l->native_len);
	}
	python = tide_keep(&l->python_kept, l->python, l->python_len);
	e->python_len = l->python_len;
	e->python = mklog_keep(m, l->python, l->python_len);
	return tide_put_stacks(out, tag, &l->encoder, both ? &native : NULL, &python, ret_site);
}

static inline void mklog_sum(struct mklog_lane *l)
{
	uint8_t *items = (uint8_t *)(l->block + 1);
	l->sum = tide_sum_words(l->sum, items, &l->summed, l->block->committed);
	uint64_t sum = tide_sum_rest(l->sum, items, l->summed, l->block->committed);
	__atomic_store_n(&l->block->check, tide_check_word(sum, l->block->committed), __ATOMIC_RELEASE);
}

/* After edits: as if the damage had been there before the sums were made. */
static inline void mklog_fix_block(const struct mklog *m, struct tide_block *b)
{
	uint32_t at = 0, len = (uint32_t)b->check;
	b->checksum = (uint32_t)tide_checksum(b, TIDE_BLOCK_CHECKED, m->super.file_uid);
	if (len > m->g.block_len - sizeof *b)
		return;
	uint64_t sum = tide_sum_words(tide_sum_begin(m->super.file_uid, b->checksum), (uint8_t *)(b + 1), &at, len);
	b->check = tide_check_word(tide_sum_rest(sum, (uint8_t *)(b + 1), at, len), len);
}

static inline void mklog_emit(struct mklog *m, uint32_t index, struct mklog_event e)
{
	struct mklog_lane *l = &m->lane[index];
	unsigned has = tide_kind_fields(e.kind);
	if (m->ticks < l->busy_until)
		m->ticks = l->busy_until;
	if ((size_t)(l->end - l->at) < tide_item_bound(m->o.depth, m->o.depth))
		mklog_seal(m, index);
	uint8_t *tag = mklog_before(m, index, has & TIDE_F_ADDR ? tide_word_of(e.addr) : 0),
		*out = tide_put_tag(tag, e.kind);
	uint64_t site = 0;
	if (has & (TIDE_F_STACK | TIDE_F_PYSTACK))
		out = mklog_stacks(m, l, out, tag, &e, &site);
	if (has & TIDE_F_ADDR)
		out = has & TIDE_F_SIZE ? tide_put_block(out, tag, &l->encoder, site, e.addr, e.size, e.kind)
					: tide_put_gone(out, tag, &l->encoder, e.addr);
	if (has & TIDE_F_RANGE)
		out = tide_put_varint(tide_put_varint(out, e.addr / TIDE_PAGE), e.size);
	if (has & TIDE_F_VALUE)
		out = tide_put_varint(out, e.value);
	if (has & TIDE_F_VALUE2)
		out = tide_put_varint(out, e.value2);
	e.lane = index;
	e.tid = l->tid;
	e.number = l->events_before + l->events;
	e.ns = mklog_ns(l->run_ticks);
	l->at = out;
	l->block->events = ++l->events;
	__atomic_store_n(&l->block->committed, (uint32_t)(out - (uint8_t *)(l->block + 1)), __ATOMIC_RELEASE);
	if (l->events % 8 == 0)
		mklog_sum(l);
	m->event = mklog_grow(m->event, m->events, &m->events_cap, sizeof *m->event);
	m->event[m->events++] = e;
}

static inline void mklog_write_super(struct mklog *m)
{
	struct tide_superblock *s = &m->super;
	*s = (struct tide_superblock){
		.magic = TIDE_MAGIC_FILE,
		.header_len = TIDE_SUPERBLOCK_LEN,
		.version_major = TIDE_VERSION_MAJOR,
		.version_minor = TIDE_VERSION_MINOR,
		.incompat_flags = TIDE_INCOMPAT_ENCODINGS,
		.compat_flags = TIDE_COMPAT_CHECK,
		.file_uid = mklog_random(m) | 1,
		.file_size = m->g.file_size,
		.endian = TIDE_ENDIAN,
		.pointer_size = 8,
		.arch = 62,
		.control_off = m->g.control_off,
		.defs_off = m->g.defs_off,
		.defs_len = m->g.defs_len,
		.staging_off = m->g.staging_off,
		.lanes = m->g.lanes,
		.shared_lanes = m->g.shared_lanes,
		.block_len = m->g.block_len,
		.segment_len = m->g.segment_len,
		.ring_off = m->g.ring_off,
		.ring_len = m->g.ring_len,
		.pid = 4242,
		.ppid = 1,
		.boot_id = "no such boot id",
		.process_start = 99,
		.mono_ns = mklog_ns(m->ticks),
		.real_ns = UINT64_C(1700000000000000000),
		.boot_ns = mklog_ns(m->ticks),
		.ticks = m->ticks,
		.stack_limit = 64,
		.python_mode = m->o.python ? TIDE_PYTHON_OBJECTS : TIDE_PYTHON_OFF,
		.page_size = TIDE_PAGE,
	};
	if (m->o.pid) {
		s->pid = m->o.pid;
		s->process_start = m->o.process_start;
		memcpy(s->boot_id, m->o.boot_id, sizeof s->boot_id);
	}
	if (m->o.child) {
		s->parent_uid = 0x1234;
		s->parent_pid = 4241;
	}
	s->checksum = tide_checksum(s, TIDE_SUPERBLOCK_LEN, 0);
	struct tide_control *c = (struct tide_control *)(m->file + m->g.control_off);
	c->magic = TIDE_MAGIC_CONTROL;
	c->file_uid = s->file_uid;
	memcpy(m->file + m->g.file_size - TIDE_PAGE, s, sizeof *s);
	mklog_put_header(m->file, s, sizeof *s); /* last: with it the log is there */
}

#endif
