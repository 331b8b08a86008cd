/*
 * mklog.h - random valid logs by seed, and what a reader must find in them.
 *
 * Writes the structures that the shim would have written, with a simulated program: threads that allocate and free each
 * other's blocks, an ownership table, a ring that wraps, censuses, definitions, a kill at a random moment. Included by
 * tools/mklog.c and by tests, so everything is static. Never fails but by abort (no memory).
 */
#ifndef TIDE_MKLOG_H
#define TIDE_MKLOG_H

#include "mklog_write.h"

/* ---- the simulated program ---- */

static inline uint64_t mklog_new_block(struct mklog *m)
{
	uint64_t addr = m->next_addr;
	m->next_addr += 16 * (1 + mklog_below(m, 600));
	if (mklog_below(m, 100) == 0)
		addr |= 8;
	if (m->live_count < MKLOG_LIVE)
		m->live[m->live_count++] = addr;
	return addr;
}

static inline uint64_t mklog_any_block(struct mklog *m)
{
	uint32_t i = (uint32_t)mklog_below(m, m->live_count);
	uint64_t addr = m->live[i];
	m->live[i] = m->live[--m->live_count];
	return addr;
}

static inline void mklog_rare(struct mklog *m, uint32_t lane)
{
	uint64_t base = 0x7f0000000000 + TIDE_PAGE * mklog_below(m, 100000), len = TIDE_PAGE * (1 + mklog_below(m, 64));
	static const uint8_t kinds[] = {TIDE_KIND_MMAP,         TIDE_KIND_MUNMAP, TIDE_KIND_MREMAP,
					TIDE_KIND_MADVISE,      TIDE_KIND_BRK,    TIDE_KIND_PYARENA,
					TIDE_KIND_PYARENA_FREE, TIDE_KIND_FORK,   TIDE_KIND_MARK};
	struct mklog_event e = {.kind = kinds[mklog_below(m, sizeof kinds)]};
	unsigned has = tide_kind_fields(e.kind);
	if (has & TIDE_F_RANGE) {
		e.addr = base;
		e.size = len;
	}
	if (has & TIDE_F_VALUE)
		e.value = 1 + mklog_below(m, 5000);
	if (has & TIDE_F_VALUE2)
		e.value2 = mklog_below(m, 3);
	mklog_emit(m, lane, e);
}

static inline void mklog_realloc(struct mklog *m, uint32_t lane)
{
	bool py = m->o.python && mklog_below(m, 2);
	uint64_t old = mklog_any_block(m);
	mklog_emit(m, lane,
		   (struct mklog_event){.kind = py ? TIDE_KIND_PYREALLOC_FREE : TIDE_KIND_REALLOC_FREE, .addr = old});
	if (mklog_below(m, 10) == 0) {
		m->live[m->live_count++] = old;
		mklog_emit(m, lane,
			   (struct mklog_event){.kind = py ? TIDE_KIND_PYREALLOC_FAILED : TIDE_KIND_REALLOC_FAILED});
		return;
	}
	mklog_emit(m, lane,
		   (struct mklog_event){.kind = py ? TIDE_KIND_PYREALLOC_ALLOC : TIDE_KIND_REALLOC_ALLOC,
					.addr = mklog_new_block(m),
					.size = mklog_below(m, 5000)});
}

static inline void mklog_census(struct mklog *m)
{
	uint8_t *buf = malloc(8192), *out = buf, body[256], *b;
	m->census = realloc(m->census, (m->censuses + 1) * sizeof *m->census);
	if (!buf || !m->census)
		abort();
	*out++ = 1;
	*out++ = 1;
	b = tide_put_varint(tide_put_varint(body, 1 << 20), 2 << 20);
	b = tide_put_varint(tide_put_varint(tide_put_varint(b, 3), 4), 5);
	*out++ = 1;
	out = mklog_bytes(out, body, (size_t)(b - body));
	for (unsigned i = 0, n = 1 + (unsigned)mklog_below(m, 40); i < n; i++) {
		uint64_t pages = 1 + mklog_below(m, 1000), first = 1 + mklog_below(m, pages);
		b = tide_put_varint(tide_put_varint(body, 0x1000 * (i + 1)), pages);
		*b++ = 3;
		b = mklog_text(tide_put_varint(tide_put_varint(b, 0), 77), "[heap]");
		b = tide_put_varint(b, first * 4 + 1);
		if (pages > first)
			b = tide_put_varint(b, (pages - first) * 4);
		*out++ = 2;
		out = mklog_bytes(out, body, (size_t)(b - body));
	}
	struct mklog_census *c = &m->census[m->censuses];
	*c = (struct mklog_census){buf, (size_t)(out - buf), 0, 0, mklog_ns(m->ticks)};
	size_t part = 64 + mklog_below(m, c->len);
	for (size_t done = 0; done < c->len; done += part) {
		size_t len = c->len - done < part ? c->len - done : part;
		struct tide_frame f = {.kind = TIDE_FRAME_CENSUS,
				       .lane = c->parts++,
				       .block_seq = m->censuses,
				       .events = done + len == c->len,
				       .mono_ns = c->ns,
				       .ticks = m->ticks};
		mklog_put_frame(m, &f, buf + done, len);
	}
	m->censuses++;
}

static inline void mklog_step(struct mklog *m)
{
	uint32_t lane = (uint32_t)mklog_below(m, m->o.lanes);
	for (uint32_t i = 0; i < m->o.lanes && m->ticks < m->lane[lane].busy_until; i++)
		lane = (lane + 1) % m->o.lanes;
	uint64_t dice = mklog_below(m, 1000);
	m->ticks += 1 + mklog_below(m, 2000);
	if (dice < 2)
		mklog_census(m);
	else if (dice < 20)
		mklog_rare(m, lane);
	else if (m->live_count > 10 && dice < 100)
		mklog_realloc(m, lane);
	else if (m->live_count > 10 && (dice < 520 || m->live_count > MKLOG_LIVE - 10))
		mklog_emit(m, lane,
			   (struct mklog_event){.kind = m->o.python && dice % 2 ? TIDE_KIND_PYFREE : TIDE_KIND_FREE,
						.addr = mklog_any_block(m)});
	else {
		static const uint8_t kinds[] = {TIDE_KIND_ALLOC, TIDE_KIND_CALLOC, TIDE_KIND_ALIGNED, TIDE_KIND_ALLOC};
		struct mklog_event e = {
			.kind = kinds[dice % 4], .addr = mklog_new_block(m), .size = mklog_below(m, 9000)};
		if (m->o.python && dice % 3 == 0)
			e.kind = TIDE_KIND_PYALLOC;
		if (e.kind == TIDE_KIND_ALIGNED)
			e.value = 64;
		mklog_emit(m, lane, e);
	}
}

/* How a killed process leaves its lanes: sealing with and without the frame, a block being begun, an event in flight. */
static inline void mklog_kill(struct mklog *m, uint32_t lane)
{
	struct tide_block *b = m->lane[lane].block;
	switch (mklog_below(m, 5)) {
	case 0:
		mklog_publish(m, lane);
		break;
	case 1:
		b->state = TIDE_BLOCK_SEALING;
		break;
	case 2:
		mklog_publish(m, lane);
		b->magic = 0;
		break;
	case 3:
		b->events++;
		break;
	default:
		break;
	}
}

static inline struct mklog *mklog_make(const struct mklog_options *o)
{
	struct mklog *m = calloc(1, sizeof *m);
	if (!m)
		abort();
	m->o = *o;
	m->rng = o->seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	m->g = tide_geometry_of(o->size);
	m->ticks = MKLOG_TICKS0;
	m->next_addr = 0x555500000000;
	m->file = o->into ? o->into : calloc(1, o->size);
	if (!m->file)
		abort();
	mklog_write_super(m);
	mklog_define_start(m);
	for (uint32_t i = 0; i < o->lanes; i++) {
		m->lane[i].tid = 1000 + i * 100;
		m->lane[i].skew = o->skew ? (uint32_t)mklog_below(m, o->skew) : 0;
		mklog_open_block(m, i);
	}
	while (m->events < o->events)
		mklog_step(m);
	m->ticks += 3000;
	if (o->end)
		mklog_define_end(m, TIDE_END_EXIT);
	for (uint32_t i = 0; i < o->lanes && o->untidy; i++)
		mklog_kill(m, i);
	return m;
}

static inline void mklog_free(struct mklog *m)
{
	for (size_t i = 0; i < m->censuses; i++)
		free(m->census[i].bytes);
	free(m->census);
	free(m->stored);
	free(m->event);
	free(m->word);
	if (!m->o.into)
		free(m->file);
	free(m);
}

/* A spread of options for a seed, so that tests by many seeds meet all of them. */
static inline struct mklog_options mklog_options_of(uint64_t seed)
{
	return (struct mklog_options){
		.seed = seed,
		.size = TIDE_FILE_MIN << seed % 3,
		.events = seed % 7 == 0 ? seed % 50 : (UINT64_C(300) << seed % 9) + seed % 100,
		.lanes = 1 + (uint32_t)(seed / 3 % 8),
		.skew = seed % 4 == 1 ? 700 : 0,
		.slow = seed % 4 >= 2 ? 20000 : 0,
		.depth = seed % 5 == 0   ? 60
			 : seed % 5 == 1 ? 0
					 : 12,
		.python = seed / 2 % 2,
		.child = seed % 11 == 3,
		.end = seed % 3 != 0,
		.untidy = seed % 3 == 0,
	};
}

static inline bool mklog_visible(const struct mklog *m, const struct mklog_event *e)
{
	return e->number >= m->lane[e->lane].visible_from;
}

/* The last part of the line is the stacks, innermost first: native / Python. */
static inline void mklog_print_event(const struct mklog *m, const struct mklog_event *e, FILE *to)
{
	fprintf(to, "%u %u %s 0x%llx %llu %llu %llu", e->lane, e->tid, tide_kind_name(e->kind),
		(unsigned long long)e->addr, (unsigned long long)e->size, (unsigned long long)e->value,
		(unsigned long long)e->value2);
	for (uint32_t i = 0; i < e->native_len; i++)
		fprintf(to, " %llx", (unsigned long long)m->word[e->native + i]);
	fprintf(to, " /");
	for (uint32_t i = 0; i < e->python_len; i++)
		fprintf(to, " %llx", (unsigned long long)m->word[e->python + i]);
	fprintf(to, "\n");
}

#endif
