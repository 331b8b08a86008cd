#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/sum.h"
#include "format/wire.h"
#include "read/account.h"

#define READ_TRIES 4u /* of a block that a living writer seals while we copy it */

enum block_read { BLOCK_UNUSED, BLOCK_BEING_BEGUN, BLOCK_BAD, BLOCK_GOOD, BLOCK_NOMEM };

static bool header_holds(const struct tide_block *b, const struct tide_account_source *s, uint32_t lane)
{
	return b->magic == TIDE_MAGIC_BLOCK && b->file_uid == s->file_uid && b->lane == lane &&
	       b->header_len >= sizeof *b && b->header_len < s->geometry->block_len &&
	       (b->encoding == TIDE_ENCODING_ITEMS || b->encoding == TIDE_ENCODING_FIRST) &&
	       b->checksum == (uint32_t)tide_checksum(b, TIDE_BLOCK_CHECKED, s->file_uid);
}

static enum block_read block_state(const struct tide_block *b, const struct tide_account_source *s, uint32_t lane)
{
	static const struct tide_block zero;
	if (memcmp(b, &zero, offsetof(struct tide_block, rest)) == 0)
		return BLOCK_UNUSED;
	if (b->magic == 0 && b->file_uid == s->file_uid)
		return BLOCK_BEING_BEGUN;
	return header_holds(b, s, lane) ? BLOCK_GOOD : BLOCK_BAD;
}

/* Header, payload, and the header again: the items that were committed in the first are whole if the block is still the same. */
static enum block_read read_block(const struct tide_account_source *s, uint32_t lane, struct tide_staging *ret)
{
	uint64_t offset = s->geometry->staging_off + (uint64_t)lane * s->geometry->block_len;
	enum block_read state = BLOCK_UNUSED;
	for (unsigned i = 0; i < READ_TRIES; i++) {
		struct tide_block b, again;
		if (tide_file_read(s->file, offset, &b, sizeof b) != sizeof b)
			return BLOCK_UNUSED;
		state = block_state(&b, s, lane);
		if (state != BLOCK_GOOD && s->running)
			continue;
		if (state != BLOCK_GOOD)
			break;
		ret->head = b;
		if (b.committed > s->geometry->block_len - b.header_len)
			return BLOCK_BAD;
		ret->payload = malloc(b.committed + 1);
		if (!ret->payload)
			return BLOCK_NOMEM;
		ret->head.committed =
			(uint32_t)tide_file_read(s->file, offset + b.header_len, ret->payload, b.committed);
		if (!s->running || (tide_file_read(s->file, offset, &again, sizeof again) == sizeof again &&
				    memcmp(&b, &again, TIDE_BLOCK_CHECKED + sizeof b.checksum) == 0))
			return BLOCK_GOOD;
		free(ret->payload);
		ret->payload = NULL;
		state = BLOCK_BEING_BEGUN;
	}
	return s->running && state == BLOCK_BAD ? BLOCK_BEING_BEGUN : state;
}

/* Payload bytes that the check word covers. False: it is not theirs. */
static bool check_sum(const struct tide_account_source *s, const struct tide_staging *staging, uint32_t *ret_covered)
{
	const struct tide_block *head = &staging->head;
	uint32_t len = (uint32_t)head->check, at = 0;
	*ret_covered = 0;
	if (!s->checked || head->check == 0)
		return true;
	if (len > head->committed)
		return false;
	uint64_t sum = tide_sum_begin(s->file_uid, head->checksum);
	sum = tide_sum_words(sum, staging->payload, &at, len);
	if (tide_check_word(tide_sum_rest(sum, staging->payload, at, len), len) != head->check)
		return false;
	*ret_covered = len;
	return true;
}

struct staged {
	uint32_t events, unverified; /* of them, ends behind what is under the sum */
	bool whole;                  /* the items end where the bytes do */
};

static struct staged count_events(const struct tide_staging *staging, uint32_t covered, uint64_t *dict,
				  uint32_t dict_cap)
{
	struct tide_items items;
	struct tide_item item;
	struct staged count = {0};
	int got;
	tide_items_init(&items, staging->head.encoding, staging->payload, staging->head.committed, staging->head.ticks,
			dict, dict_cap);
	while ((got = tide_items_next(&items, &item)) == 1) {
		count.events += item.is_event;
		count.unverified += item.is_event && items.in.at > staging->payload + covered;
	}
	count.whole = got == 0;
	return count;
}

/* head.events runs ahead of `committed` by the one event that was being written. Anything else is damage. */
static void check_events(const struct tide_account_source *s, struct tide_lane *lane, uint32_t covered, uint64_t *dict)
{
	struct tide_block *head = &lane->staging.head;
	uint32_t told = head->events;
	struct staged count = count_events(&lane->staging, covered, dict, tide_items_words(s->geometry->block_len));
	uint32_t found = count.events;
	head->events = found;
	lane->unverified = count.unverified;
	if (s->running || (count.whole && (told == found || told == found + 1)))
		return;
	lane->staging_lost = told > found ? told - found : 0;
	tide_damage_add(s->damages, s->geometry->staging_off + (uint64_t)lane->index * s->geometry->block_len,
			s->geometry->block_len, "staging block of lane %" PRIu32 ": %" PRIu32 " of %" PRIu32 " events",
			lane->index, found, told);
}

static struct tide_lane *add_lane(struct tide_lanes *lanes, uint32_t *cap, uint32_t index)
{
	if (lanes->count == *cap) {
		uint32_t more = *cap ? 2 * *cap : 16;
		struct tide_lane *lane = realloc(lanes->lane, more * sizeof *lane);
		if (!lane)
			return NULL;
		lanes->lane = lane;
		*cap = more;
	}
	struct tide_lane *lane = &lanes->lane[lanes->count++];
	*lane = (struct tide_lane){.index = index, .limit = UINT64_MAX};
	return lane;
}

/* False: no memory. */
static bool take_block(const struct tide_account_source *s, struct tide_lane *lane, enum block_read state,
		       uint64_t *dict)
{
	uint64_t offset = s->geometry->staging_off + (uint64_t)lane->index * s->geometry->block_len;
	uint32_t covered = 0;
	/* of a log that is being written the word may have been copied in two halves */
	bool sum_good = state != BLOCK_GOOD || check_sum(s, &lane->staging, &covered) || s->running;
	lane->has_block = state == BLOCK_GOOD;
	lane->block_known = state == BLOCK_BEING_BEGUN || s->running;
	if (state == BLOCK_GOOD && sum_good)
		check_events(s, lane, covered, dict);
	if (state != BLOCK_BAD && sum_good)
		return state != BLOCK_NOMEM;
	bool header_good = lane->staging.head.magic == TIDE_MAGIC_BLOCK;
	lane->has_block = header_good; /* then `committed` or what it held is wrong, and all is lost */
	lane->staging_lost = header_good ? lane->staging.head.events : 0;
	lane->staging.head.events = lane->staging.head.committed = 0;
	lane->block_known = true;
	tide_damage_add(s->damages, offset, s->geometry->block_len, "staging block of lane %" PRIu32 ": %s",
			lane->index,
			!sum_good     ? "checksum"
			: header_good ? "length"
				      : "header");
	return true;
}

/* Does nothing of the block's header lie in what was ever written? *data: up to there that is known. Of thousands of lanes a few are used. */
static bool is_in_hole(const struct tide_account_source *s, uint32_t lane, uint64_t *data)
{
	uint64_t offset = s->geometry->staging_off + (uint64_t)lane * s->geometry->block_len;
	if (offset >= *data)
		*data = tide_file_data(s->file, offset);
	return *data > offset && *data - offset >= sizeof(struct tide_block);
}

bool tide_staging_read(const struct tide_account_source *s, struct tide_lanes *ret)
{
	struct tide_lanes lanes = {0};
	uint32_t cap = 0;
	uint64_t data = 0;
	uint64_t *dict = malloc(tide_items_words(s->geometry->block_len) * sizeof *dict);
	bool done = dict != NULL;
	for (uint32_t i = 0; i < s->geometry->lanes && done; i++) {
		struct tide_staging staging = {0};
		if (is_in_hole(s, i, &data))
			continue;
		enum block_read state = read_block(s, i, &staging);
		if (state == BLOCK_UNUSED)
			continue;
		struct tide_lane *lane = state == BLOCK_NOMEM ? NULL : add_lane(&lanes, &cap, i);
		if (!lane) {
			free(staging.payload);
			done = false;
			break;
		}
		lane->staging = staging;
		done = take_block(s, lane, state, dict);
	}
	free(dict);
	if (done)
		*ret = lanes;
	else
		tide_lanes_release(&lanes);
	return done;
}

void tide_lanes_release(struct tide_lanes *lanes)
{
	for (uint32_t i = 0; i < lanes->count; i++)
		tide_lane_release(&lanes->lane[i]);
	free(lanes->lane);
	*lanes = (struct tide_lanes){0};
}
