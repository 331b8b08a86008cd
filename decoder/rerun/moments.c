#include "rerun/moments.h"

#include <stdlib.h>

#include "model/space.h"
#include "read/census.h"

#define PRIVATE_WRITABLE \
	(3u | 0x22u << 8) /* an MMAP event's value: PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS */

static bool is_last(uint32_t reason)
{
	return reason == TIDE_WHY_EXIT || tide_why_ends(reason);
}

/* Fills in the next census that can be used. */
static void look_for_census(struct tide_moments *m)
{
	m->next_ns = UINT64_MAX;
	for (; m->next < m->censuses; m->next++) {
		struct tide_census_blob blob;
		struct tide_census census;
		enum tide_status status = tide_log_census(m->log, m->next, &blob);
		if (status == TIDE_ERR_NOMEM)
			m->status = status;
		if (status || !blob.complete || !tide_census_init(&census, blob.bytes, blob.len))
			continue;
		m->next_ns = blob.time_ns;
		m->next_reason = census.reason;
		return;
	}
}

/* pymalloc's arenas of the first census: mapped before the window began, or in it, which then takes their place. */
static void find_arenas(struct tide_moments *m)
{
	struct tide_census_blob blob;
	struct tide_space space;
	if (m->next_ns == UINT64_MAX || tide_log_census(m->log, m->next, &blob) || tide_space_init(&space, &blob))
		return;
	m->made_up.arena = calloc(2 * (size_t)space.arenas + 1, sizeof *m->made_up.arena);
	if (!m->made_up.arena)
		m->status = TIDE_ERR_NOMEM;
	for (uint32_t i = 0; m->made_up.arena && i < space.arenas; i++) {
		m->made_up.arena[2 * i] = space.arena[i].base;
		m->made_up.arena[2 * i + 1] = space.arena[i].bytes;
	}
	m->made_up.arenas = m->made_up.arena ? space.arenas : 0;
	tide_space_release(&space);
}

/* Two events an arena, then one a block. */
static struct tide_event make_up(const struct tide_moments *m, uint64_t i)
{
	struct tide_event e = {
		.index = i,
		.tid = (uint32_t)tide_log_process(m->log)->super.pid,
		.lane = UINT32_MAX,
		.time_ns = m->carried->cut_ns,
	};
	if (i < 2 * (uint64_t)m->made_up.arenas) {
		e.kind = i % 2 ? TIDE_KIND_PYARENA : TIDE_KIND_MMAP;
		e.addr = m->made_up.arena[i / 2 * 2];
		e.size = m->made_up.arena[i / 2 * 2 + 1];
		e.value = i % 2 ? 0 : PRIVATE_WRITABLE;
		return e;
	}
	const struct tide_carried_block *b = &m->carried->block[i - 2 * (uint64_t)m->made_up.arenas];
	e.kind = b->python ? TIDE_KIND_PYALLOC : TIDE_KIND_ALLOC;
	e.addr = b->addr;
	e.size = b->size;
	return e;
}

void tide_moments_release(struct tide_moments *m)
{
	free(m->made_up.arena);
	m->made_up.arena = NULL;
}

void tide_moments_init(struct tide_moments *m, struct tide_log *log)
{
	m->made_up = (struct tide_made_up){0};
	m->carried = tide_log_carried(log);
	m->log = log;
	m->have = m->at = m->next = 0;
	m->census_at = TIDE_RUN_MOST;
	m->has_ahead = m->ended = m->stopped = false;
	m->status = TIDE_OK;
	m->censuses = tide_log_census_count(log);
	tide_log_rewind(log);
	look_for_census(m);
	if (m->carried->epoch == 0)
		return;
	find_arenas(m);
	m->made_up.all = 2 * (uint64_t)m->made_up.arenas + m->carried->blocks;
}

static bool pull(struct tide_moments *m, struct tide_event *ret)
{
	int more = m->ended ? 0 : tide_log_next(m->log, ret);
	m->ended |= more != 1;
	if (more < 0)
		m->status = (enum tide_status)more;
	if (more == 1)
		ret->index += m->made_up.all;
	return more == 1;
}

static bool is_arena(const struct tide_event *e)
{
	return e->kind == TIDE_KIND_PYARENA || e->kind == TIDE_KIND_PYARENA_FREE;
}

static bool is_mark_of(const struct tide_event *e, uint32_t reason)
{
	uint64_t mark = reason == TIDE_WHY_EXIT     ? TIDE_MARK_FINI
			: reason == TIDE_WHY_ENDING ? TIDE_MARK_ENDING
						    : TIDE_MARK_PYTHON_FINALIZING;
	return e->kind == TIDE_KIND_MARK && e->value == mark;
}

/* Where in this run, if at all. */
static void place_census(struct tide_moments *m)
{
	bool later = m->has_ahead && m->next_ns >= m->ahead.time_ns;
	m->census_at = TIDE_RUN_MOST;
	if (m->next_ns == UINT64_MAX || m->have == 0)
		return;
	if (is_last(m->next_reason)) {
		for (uint32_t i = 0; i < m->have && m->census_at == TIDE_RUN_MOST; i++)
			if (is_mark_of(&m->run[i], m->next_reason))
				m->census_at = i;
		return;
	}
	if (later)
		return;
	m->census_at = m->run[0].time_ns <= m->next_ns;
	for (uint32_t i = 0; m->next_reason == TIDE_WHY_ARENA && i < m->have; i++)
		if (is_arena(&m->run[i])) {
			m->census_at = i + 1;
			return;
		}
}

static void refill(struct tide_moments *m)
{
	m->have = m->at = 0;
	if (m->has_ahead)
		m->run[m->have++] = m->ahead;
	m->has_ahead = false;
	while (m->have < TIDE_RUN_MOST - 1 && !m->has_ahead) {
		struct tide_event e;
		if (!pull(m, &e))
			break;
		if (m->have && e.time_ns != m->run[0].time_ns) {
			m->ahead = e;
			m->has_ahead = true;
		} else {
			m->run[m->have++] = e;
		}
	}
	place_census(m);
}

static enum tide_moment hand_out_census(struct tide_moments *m, uint32_t *ret_census)
{
	*ret_census = m->next++;
	m->stopped = is_last(m->next_reason);
	look_for_census(m);
	place_census(m);
	return TIDE_MOMENT_CENSUS;
}

enum tide_moment tide_moments_next(struct tide_moments *m, struct tide_event *ret_event, uint32_t *ret_census)
{
	if (m->stopped || m->status)
		return TIDE_MOMENT_END;
	if (m->made_up.given < m->made_up.all) {
		*ret_event = make_up(m, m->made_up.given++);
		return TIDE_MOMENT_EVENT;
	}
	if (m->at == m->have && m->census_at > m->have)
		refill(m);
	if (m->status)
		return TIDE_MOMENT_END;
	if (m->census_at <= m->at)
		return hand_out_census(m, ret_census);
	if (m->at < m->have) {
		*ret_event = m->run[m->at++];
		return TIDE_MOMENT_EVENT;
	}
	if (m->have == 0 && m->next_ns != UINT64_MAX) /* behind the last event, or its mark is lost */
		return hand_out_census(m, ret_census);
	return TIDE_MOMENT_END;
}
