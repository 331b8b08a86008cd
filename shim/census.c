#include "census.h"

#include <stdatomic.h>
#include <string.h>

#include "format/wire.h"
#include "init.h"
#include "lock.h"
#include "logfile.h"
#include "python/python.h"
#include "record.h"
#include "residency.h"
#include "ring.h"
#include "sys.h"

#define VERSION 1
#define COST_SHARE 50u /* the next census waits this many times what the last one took: at most 2 % */
/* While RSS stays as it is, censuses say nothing new and push events out of the ring: they come after 8 intervals, then 16 ... */
#define STEADY_FIRST 8u
#define STEADY_MOST 1024u
#define MOVED_LEAST (UINT64_C(1) << 20)
#define MOVED_SHARE 32u

struct tide_census_writer {
	uint8_t *part; /* block_len bytes */
	size_t used, cap;
	uint32_t number_of_part;
	uint64_t number, mono_ns;
	uint64_t bytes; /* of its frames */
	bool given_up;
};

static struct {
	struct tide_lock lock;
	struct tide_census_writer writer;
	uint8_t *memory;
	uint64_t taken;
	uint64_t cost_ns;         /* CPU time of the last one */
	_Atomic uint64_t next_ns; /* no census by interval before this */
	_Atomic uint64_t last;    /* number + 1 of the last that is whole */
	_Atomic uint64_t last_bytes;
	atomic_bool gone;   /* it was overwritten */
	uint64_t rss;       /* bytes, at the last one */
	uint64_t steady_ns; /* none before this while RSS has not moved */
	uint64_t steady_intervals;
	bool forked; /* a child that has not taken its first one */
	bool ended;  /* one was taken before the program took itself apart: what comes later tells nothing */
} census;

static bool flush(struct tide_census_writer *w, bool last)
{
	struct tide_frame head = {
		.kind = TIDE_FRAME_CENSUS,
		.encoding = TIDE_ENCODING_ITEMS,
		.lane = w->number_of_part++,
		.block_seq = w->number,
		.events = last,
		.mono_ns = w->mono_ns,
	};
	if (w->given_up || !tide_ring_lock(true)) {
		w->given_up = true;
		return false;
	}
	const struct tide_frame *frame = tide_ring_put(&head, w->part, w->used);
	w->given_up = !frame;
	w->bytes += frame ? tide_frame_span(frame) : 0;
	if (frame && last) { /* under the lock of who asks */
		atomic_store_explicit(&census.last_bytes, w->bytes, memory_order_relaxed);
		atomic_store_explicit(&census.last, w->number + 1, memory_order_relaxed);
	}
	tide_ring_unlock();
	w->used = 0;
	return !w->given_up;
}

static bool append(struct tide_census_writer *w, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	while (len) {
		size_t n = len < w->cap - w->used ? len : w->cap - w->used;
		memcpy(w->part + w->used, from, n);
		w->used += n;
		from += n;
		len -= n;
		if (w->used == w->cap && !flush(w, false))
			return false;
	}
	return true;
}

bool tide_census_put(struct tide_census_writer *w, enum tide_census_record kind, const void *bytes, size_t len)
{
	uint8_t head[1 + TIDE_VARINT_MAX], *end = head;
	*end++ = (uint8_t)kind;
	end = tide_put_varint(end, len);
	return append(w, head, (size_t)(end - head)) && append(w, bytes, len);
}

static bool begin(struct tide_census_writer *w, enum tide_census_reason reason, uint64_t now)
{
	uint8_t head[2] = {VERSION, (uint8_t)reason};
	if (!census.memory)
		census.memory = tide_sys_memory(TIDE_BLOCK_MAX + TIDE_RESIDENCY_SCRATCH);
	*w = (struct tide_census_writer){
		.part = census.memory,
		.cap = tide_logfile.geometry.block_len,
		.number = census.taken++,
		.mono_ns = now,
	};
	return w->part && append(w, head, sizeof head);
}

/* Resident bytes, as /proc/self/statm has them: cheap, and good enough to see that something has moved. */
static uint64_t resident(void)
{
	char text[128];
	uint64_t pages = 0;
	if (tide_sys_slurp("/proc/self/statm", text, sizeof text) <= 0)
		return 0;
	const char *at = text;
	while (*at && *at != ' ')
		at++;
	for (at += *at == ' '; *at >= '0' && *at <= '9'; at++)
		pages = pages * 10 + (uint64_t)(*at - '0');
	return pages * TIDE_PAGE;
}

/* Whether a census by interval would tell anything new: RSS rose or fell, or it is long ago. */
static bool is_worth_it(uint64_t now)
{
	uint64_t rss = resident(), apart = rss > census.rss ? rss - census.rss : census.rss - rss;
	bool moved = apart >= MOVED_LEAST && apart >= census.rss / MOVED_SHARE;
	bool gone = atomic_exchange_explicit(&census.gone, false, memory_order_relaxed);
	if (!moved && !gone && now < census.steady_ns)
		return false;
	census.steady_intervals = moved || !census.steady_intervals ? STEADY_FIRST : census.steady_intervals * 2;
	if (census.steady_intervals > STEADY_MOST)
		census.steady_intervals = STEADY_MOST;
	census.steady_ns = now + census.steady_intervals * tide_config.census_ns;
	census.rss = rss;
	return true;
}

static bool take(enum tide_census_reason reason, uint64_t now)
{
	struct tide_census_writer *w = &census.writer;
	uint64_t begun = tide_clock_ns(CLOCK_THREAD_CPUTIME_ID); /* not of others' work on a busy machine */
	bool done = begin(w, reason, now);
	if (done) {
		tide_python_census(w);
		done = tide_residency(w, census.memory + TIDE_BLOCK_MAX) && flush(w, true);
	}
	if (!done)
		tide_count_loss(TIDE_LOSS_CENSUS, 1);
	census.cost_ns = tide_clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun;
	uint64_t wait = census.cost_ns * COST_SHARE;
	if (wait < tide_config.census_ns)
		wait = tide_config.census_ns;
	atomic_store_explicit(&census.next_ns, now + wait, memory_order_relaxed);
	return done;
}

void tide_census(enum tide_census_reason reason)
{
	bool ends = reason == TIDE_CENSUS_FINALIZING || reason == TIDE_CENSUS_ENDING;
	bool always = ends || reason == TIDE_CENSUS_EXIT;
	if (tide_config.census_ns == UINT64_MAX || !tide_logfile.base || tide_logfile.is_private ||
	    tide_sys_forbidden() || (always && census.ended))
		return;
	uint64_t now = tide_clock_ns(CLOCK_MONOTONIC), none = 0;
	/* the first one by interval comes an interval after the start, so that short programs pay for the last one only */
	atomic_compare_exchange_strong_explicit(&census.next_ns, &none, now + tide_config.census_ns,
						memory_order_relaxed, memory_order_relaxed);
	uint64_t next = atomic_load_explicit(&census.next_ns, memory_order_relaxed);
	if (!always && now < next)
		return;
	/* somebody who sees more may come soon */
	if (reason == TIDE_CENSUS_INTERVAL && now < next + tide_config.census_ns && tide_python_census_is_poor())
		return;
	if (!tide_trylock(&census.lock))
		return;
	if (!always)
		tide_logfile_rest(); /* the log's own growth is no news either */
	if (always || census.forked || is_worth_it(now))
		census.ended |= take(census.forked && !always ? TIDE_CENSUS_FORK : reason, now) && ends;
	else
		atomic_store_explicit(&census.next_ns, now + tide_config.census_ns, memory_order_relaxed);
	census.forked = false;
	tide_unlock(&census.lock);
}

uint64_t tide_census_last(uint64_t *ret_bytes)
{
	*ret_bytes = atomic_load_explicit(&census.last_bytes, memory_order_relaxed);
	return atomic_load_explicit(&census.last, memory_order_relaxed) - 1;
}

void tide_census_is_gone(void)
{
	atomic_store_explicit(&census.gone, true, memory_order_relaxed);
}

void tide_census_fork_child(void)
{
	atomic_store_explicit(&census.last, 0, memory_order_relaxed);
	census.taken = 0;
	census.ended = false;
	census.forked = true; /* what it inherited is told as soon as it has a log */
	census.rss = census.steady_ns = census.steady_intervals = 0;
	atomic_store_explicit(&census.next_ns, 1, memory_order_relaxed);
	tide_unlock(&census.lock);
}
