#include "read/log_internal.h"

const char *tide_loss_name(unsigned reason)
{
	static const char *const name[TIDE_LOSS_REASONS] = {
		[TIDE_LOSS_REENTRANT] = "reentrant", [TIDE_LOSS_PREINIT] = "preinit",
		[TIDE_LOSS_NO_SPACE] = "no_space",   [TIDE_LOSS_DEFINITIONS] = "definitions",
		[TIDE_LOSS_SEAL] = "seal",           [TIDE_LOSS_TRUNCATED] = "truncated_stacks",
		[TIDE_LOSS_CENSUS] = "census",       [TIDE_LOSS_FORK] = "fork",
		[TIDE_LOSS_SITES] = "sites",
	};
	return reason < TIDE_LOSS_REASONS ? name[reason] : NULL;
}

static void find_window(const struct tide_log *log, struct tide_losses *l)
{
	l->first_ns = UINT64_MAX;
	l->last_ns = 0;
	for (uint32_t i = 0; i < log->lanes.count; i++) {
		const struct tide_lane *lane = &log->lanes.lane[i];
		const struct tide_block *b = &lane->staging.head;
		uint64_t first = lane->frames ? lane->frame[0].head.mono_ns : UINT64_MAX;
		uint64_t last = lane->frames ? lane->frame[lane->frames - 1].head.mono_end_ns : 0;
		if (lane->staging.taken && b->events > 0) {
			first = lane->frames ? first : b->mono_ns;
			last = log->process.end_ns > b->mono_ns ? log->process.end_ns : b->mono_ns;
		}
		l->first_ns = first < l->first_ns ? first : l->first_ns;
		l->last_ns = last > l->last_ns ? last : l->last_ns;
	}
	if (l->first_ns != UINT64_MAX && l->first_ns < log->carried.told.cut_ns)
		l->first_ns = log->carried.told.cut_ns;
	if (l->first_ns == UINT64_MAX)
		l->first_ns = l->last_ns = log->process.start_ns;
}

static void sum_frames(const struct tide_ring *ring, struct tide_losses *l)
{
	for (size_t i = 0; i < ring->events_count; i++) {
		const struct tide_frame *f = &ring->frame[i].head;
		uint64_t len = f->header_len + (uint64_t)f->stored_len;
		l->frame_events += f->events;
		l->frame_bytes += (len + TIDE_FRAME_ALIGN - 1) / TIDE_FRAME_ALIGN * TIDE_FRAME_ALIGN;
	}
}

static void sum_up(struct tide_log *log)
{
	struct tide_losses *l = &log->losses;
	*l = (struct tide_losses){
		.recorded = log->account.recorded,
		.evicted = log->account.evicted + log->env.evicted,
		.lost = log->account.lost + log->env.lost,
		.frames = log->ring.count,
		.bad_frames = log->env.bad_frames,
		.open_blocks = log->account.open_blocks,
		.unverified = log->account.unverified,
		.order_anomalies = log->merge.anomalies,
		.damage_count = log->damages.kept,
		.damage = log->damages.place,
		.damage_places = log->damages.places,
	};
	l->in_window = l->recorded - l->evicted - l->lost;
	for (unsigned i = 0; i < TIDE_CTL_EVICTED_FRAMES; i++)
		l->dropped[i] = log->control.word[TIDE_CTL_LOSS + i];
	/* Blocks that the writer could not store are holes too, but ones that it told of. */
	l->damaged = l->damage_places > 0 || l->lost > l->dropped[TIDE_LOSS_SEAL];
	sum_frames(&log->ring, l);
	find_window(log, l);
}

/* The numbers are a cache of what the log knows; const for whoever asks. */
const struct tide_losses *tide_log_losses(const struct tide_log *log)
{
	sum_up((struct tide_log *)log);
	return &log->losses;
}

uint32_t tide_log_gaps(const struct tide_log *log, const struct tide_gap **ret)
{
	tide_gaps_sort(&((struct tide_log *)log)->account.gaps);
	*ret = log->account.gaps.gap;
	return log->account.gaps.count;
}
