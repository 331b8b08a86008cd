#include "read/account.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* No process records more events than this; greater numbers are nonsense, and sums of them could not overflow. */
#define EVENTS_MAX (UINT64_C(1) << 48)

struct walk {
	const struct tide_account_source *source;
	struct tide_account *account;
	uint64_t leading; /* events missing at the beginnings of lanes: evicted, most likely */
	bool explained;   /* the writer counted events that it could not store: holes are no damage then */
	bool nomem;
};

static void add_gap(struct walk *walk, const struct tide_gap *gap)
{
	walk->nomem = !tide_gap_add(&walk->account->gaps, gap) || walk->nomem;
}

/* Where the walk along a lane stands. */
struct place {
	uint64_t events; /* accounted for so far */
	uint64_t ns;     /* when the last of them was recorded, or later */
	bool any;        /* a block was found */
};

static void pass_hole(struct walk *walk, const struct tide_lane *lane, struct place *place, uint64_t events_before,
		      uint64_t ns)
{
	if (events_before == place->events)
		return;
	bool evicted = !place->any || walk->source->running;
	struct tide_gap gap = {lane->index, evicted, events_before - place->events, place->ns, ns};
	add_gap(walk, &gap);
	if (!place->any)
		walk->leading += gap.events;
	else if (evicted)
		walk->account->evicted += gap.events;
	else
		walk->account->lost += gap.events;
	if (!evicted && !walk->explained)
		tide_damage_add(walk->source->damages, 0, 0,
				"lane %" PRIu32 ": %" PRIu64 " events from its event %" PRIu64, lane->index, gap.events,
				place->events);
	place->events = events_before;
}

/* What was overwritten and carried over: the lane begins after it. */
static void pass_carried(struct walk *walk, struct tide_lane *lane, struct place *place)
{
	lane->from = tide_carried_mark(walk->source->carried, lane->index);
	if (lane->from == 0)
		return;
	place->events = lane->from;
	place->ns = walk->source->carried->told.cut_ns;
	place->any = true;
}

/* Events of a block that begins at `before` are shown from here on: the block may begin in what was carried over. */
static bool ends_before(const struct tide_lane *lane, uint64_t before, uint64_t events)
{
	return before < lane->from && before + events <= lane->from;
}

/* Frames of the lane are frame[0..frames); those that contradict earlier ones are left out. */
static void walk_frames(struct walk *walk, struct tide_lane *lane, struct tide_frame_at *frame, uint32_t frames,
			struct place *place)
{
	lane->frame = frame;
	for (uint32_t i = 0; i < frames; i++) {
		const struct tide_frame *f = &frame[i].head;
		if (ends_before(lane, f->events_before, f->events))
			continue;
		uint64_t before = f->events_before < lane->from ? lane->from : f->events_before;
		if (before < place->events || before > EVENTS_MAX) {
			tide_damage_add(walk->source->damages, frame[i].offset, sizeof *f,
					"frame %" PRIu64 ": contradicts the one before it in lane %" PRIu32,
					f->frame_seq, lane->index);
			continue;
		}
		pass_hole(walk, lane, place, before, f->mono_ns);
		place->events = f->events_before + f->events;
		place->ns = f->mono_end_ns;
		place->any = true;
		if (&frame[lane->frames] != &frame[i])
			frame[lane->frames] = frame[i];
		lane->frames++;
	}
}

/* The staging block, unless it is in the ring already. */
static void walk_staging(struct walk *walk, struct tide_lane *lane, struct place *place)
{
	const struct tide_block *head = &lane->staging.head;
	const struct tide_account_source *s = walk->source;
	const struct tide_frame *last = lane->frames ? &lane->frame[lane->frames - 1].head : NULL;
	if (!lane->has_block) {
		if (!lane->block_known && !s->running) /* else it was begun after we looked */
			tide_damage_add(
				s->damages, s->geometry->staging_off + (uint64_t)lane->index * s->geometry->block_len,
				s->geometry->block_len, "staging block of lane %" PRIu32 ": not there", lane->index);
		return;
	}
	if (last && (head->block_seq == last->block_seq || (s->running && head->block_seq < last->block_seq)))
		return;
	if (ends_before(lane, head->events_before, head->events + (uint64_t)lane->staging_lost))
		return;
	uint64_t before = head->events_before < lane->from ? lane->from : head->events_before;
	if (before < place->events || before > EVENTS_MAX) {
		tide_damage_add(s->damages, s->geometry->staging_off + (uint64_t)lane->index * s->geometry->block_len,
				s->geometry->block_len, "staging block of lane %" PRIu32 ": contradicts its frames",
				lane->index);
		return;
	}
	pass_hole(walk, lane, place, before, head->mono_ns);
	lane->staging.taken = true;
	walk->account->open_blocks += head->events > 0;
	walk->account->unverified += lane->unverified;
	uint64_t told = head->events_before + head->events, end = told + lane->staging_lost;
	place->events = end;
	if (lane->staging_lost == 0)
		return;
	uint64_t lost = end - (told < lane->from ? lane->from : told); /* what was carried over is not lost */
	struct tide_gap gap = {lane->index, false, lost, head->mono_ns, UINT64_MAX};
	add_gap(walk, &gap);
	walk->account->lost += lost;
}

/* Lanes with frames and without a staging block exist too. Both lists are sorted by lane. */
static bool add_missing_lanes(struct tide_ring *ring, struct tide_lanes *lanes)
{
	uint32_t more = 0;
	for (size_t i = 0; i < ring->events_count; i++)
		more += i == 0 || ring->frame[i].head.lane != ring->frame[i - 1].head.lane;
	struct tide_lane *all = calloc((size_t)lanes->count + more + 1, sizeof *all);
	if (!all)
		return false;
	uint32_t from = 0, count = 0;
	for (size_t i = 0; i < ring->events_count; i++) {
		uint32_t index = ring->frame[i].head.lane;
		while (from < lanes->count && lanes->lane[from].index <= index)
			all[count++] = lanes->lane[from++];
		if (count == 0 || all[count - 1].index != index)
			all[count++] = (struct tide_lane){.index = index, .limit = UINT64_MAX};
	}
	while (from < lanes->count)
		all[count++] = lanes->lane[from++];
	free(lanes->lane);
	lanes->lane = all;
	lanes->count = count;
	return true;
}

/* The writer's own count tells what of the missing beginnings it overwrote on purpose. */
static void split_leading(const struct walk *walk, const struct tide_control_read *control)
{
	struct tide_account *a = walk->account;
	uint64_t evicted = walk->leading;
	bool trusted = control->valid && control->apart[TIDE_CTL_EVICTED_EVENTS] == 0 && !walk->source->running;
	if (trusted && control->word[TIDE_CTL_EVICTED_EVENTS] < evicted)
		evicted = control->word[TIDE_CTL_EVICTED_EVENTS];
	a->evicted += evicted;
	a->lost += walk->leading - evicted;
}

/* Events before the marks: looked at when they were overwritten, or not readable any more then. */
static void count_carried(const struct walk *walk, const struct tide_lanes *lanes)
{
	const struct tide_carry_state *c = walk->source->carried;
	uint64_t marks = 0;
	for (uint32_t i = 0; i < c->marks; i++)
		marks += c->mark[i];
	walk->account->recorded += marks;
	for (uint32_t i = 0; i < lanes->count; i++) /* those count theirs themselves */
		walk->account->recorded -= lanes->lane[i].from;
	uint64_t seen = c->told.totals.events < marks ? c->told.totals.events : marks;
	walk->account->evicted += seen;
	walk->account->lost += marks - seen;
	if (c->told.totals.events > marks)
		tide_damage_add(walk->source->damages, 0, 0, "carried: %" PRIu64 " events, but lanes have %" PRIu64,
				c->told.totals.events, marks);
}

/* A block of zeros looks as if its lane had never been used; but the writer counted those. */
static void check_count(const struct tide_account_source *s, const struct tide_control_read *control, uint32_t lanes)
{
	uint64_t begun = control->valid ? control->word[TIDE_CTL_LANES] : 0;
	if (begun > lanes && !s->running)
		tide_damage_add(s->damages, s->geometry->staging_off, 0, "%" PRIu64 " lanes are missing",
				begun - lanes);
}

bool tide_account_frames(const struct tide_account_source *s, struct tide_ring *ring,
			 const struct tide_control_read *control, struct tide_lanes *lanes, struct tide_account *ret)
{
	*ret = (struct tide_account){0};
	struct walk walk = {
		.source = s, .account = ret, .explained = control->word[TIDE_CTL_LOSS + TIDE_LOSS_SEAL] > 0};
	if (!add_missing_lanes(ring, lanes))
		return false;
	size_t at = 0;
	for (uint32_t i = 0; i < lanes->count && !walk.nomem; i++) {
		struct tide_lane *lane = &lanes->lane[i];
		struct place place = {0};
		uint32_t frames = 0;
		while (at + frames < ring->events_count && ring->frame[at + frames].head.lane == lane->index)
			frames++;
		pass_carried(&walk, lane, &place);
		walk_frames(&walk, lane, ring->frame + at, frames, &place);
		walk_staging(&walk, lane, &place);
		at += frames;
		lane->fate = calloc((size_t)lane->frames + 1, 1);
		walk.nomem = walk.nomem || !lane->fate;
		ret->recorded += place.events;
	}
	split_leading(&walk, control);
	check_count(s, control, lanes->count);
	count_carried(&walk, lanes);
	if (ring->missing > 0 && !s->running)
		tide_damage_add(s->damages, ring->gap_offset, 0, "%" PRIu64 " frames are missing from the ring",
				ring->missing);
	if (!walk.nomem)
		return true;
	tide_account_release(ret);
	return false;
}

void tide_account_release(struct tide_account *account)
{
	tide_gaps_release(&account->gaps);
}
