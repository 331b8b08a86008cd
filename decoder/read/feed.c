#include "read/feed.h"

#include <stdlib.h>
#include <string.h>

#include "format/wire.h"

static bool grow(uint8_t **bytes, size_t *cap, size_t len)
{
	if (len <= *cap)
		return true;
	uint8_t *more = malloc(len); /* the old bytes are not needed */
	if (!more)
		return false;
	free(*bytes);
	*bytes = more;
	*cap = len;
	return true;
}

void tide_scratch_release(struct tide_scratch *s)
{
	ZSTD_freeDCtx(s->zstd);
	free(s->stored);
	tide_chunk_free(s->draft);
	*s = (struct tide_scratch){0};
}

static bool still_there(const struct tide_frame_at *frame, const struct tide_file *file)
{
	struct tide_frame now;
	return tide_file_read(file, frame->offset, &now, sizeof now) == sizeof now &&
	       memcmp(&now, &frame->head, sizeof now) == 0;
}

static bool decompress(const struct tide_frame *head, struct tide_scratch *s, uint8_t *buf)
{
	if (ZSTD_getFrameContentSize(s->stored, head->stored_len) != head->raw_len ||
	    ZSTD_findFrameCompressedSize(s->stored, head->stored_len) != head->stored_len)
		return false;
	return ZSTD_decompressDCtx(s->zstd, buf, head->raw_len, s->stored, head->stored_len) == head->raw_len;
}

enum tide_load tide_frame_load(const struct tide_frame_at *frame, const struct tide_feed_env *env,
			       struct tide_scratch *s, uint8_t *buf)
{
	const struct tide_frame *head = &frame->head;
	if (!s->zstd && !(s->zstd = ZSTD_createDCtx()))
		return TIDE_LOAD_NOMEM;
	if (!grow(&s->stored, &s->stored_cap, head->stored_len))
		return TIDE_LOAD_NOMEM;
	uint64_t offset = frame->offset + head->header_len;
	if (tide_file_read(env->file, offset, s->stored, head->stored_len) == head->stored_len &&
	    tide_checksum(s->stored, head->stored_len, env->file_uid) == head->payload_checksum &&
	    decompress(head, s, buf))
		return TIDE_LOAD_OK;
	return env->running && !still_there(frame, env->file) ? TIDE_LOAD_GONE : TIDE_LOAD_BAD;
}

struct tide_feed *tide_feed_new(const struct tide_blocks_of *blocks, uint32_t first, uint32_t step)
{
	struct tide_feed *feed = malloc(sizeof *feed);
	if (!feed)
		return NULL;
	memset(feed, 0, offsetof(struct tide_feed, unpack));
	feed->blocks = *blocks;
	feed->next_block = first;
	feed->step = step;
	tide_unpack_init(&feed->unpack);
	return feed;
}

void tide_feed_free(struct tide_feed *feed)
{
	if (!feed)
		return;
	tide_unpack_release(&feed->unpack);
	free(feed->raw);
	free(feed);
}

static enum tide_load open_frame(struct tide_feed *feed, uint32_t i, const struct tide_feed_env *env,
				 struct tide_scratch *s)
{
	const struct tide_frame *head = &feed->blocks.frame[i].head;
	if (head->encoding != TIDE_ENCODING_ITEMS && head->encoding != TIDE_ENCODING_FIRST)
		return TIDE_LOAD_BAD;
	if (!grow(&feed->raw, &feed->raw_cap, head->raw_len))
		return TIDE_LOAD_NOMEM;
	enum tide_load load = tide_frame_load(&feed->blocks.frame[i], env, s, feed->raw);
	if (load == TIDE_LOAD_OK)
		tide_unpack_begin(&feed->unpack, head->encoding, feed->raw, head->raw_len, head->ticks, head->tid,
				  head->events);
	return load;
}

/* Opens the next block, if there is one. */
static void open_next(struct tide_feed *feed, const struct tide_feed_env *env, struct tide_scratch *s,
		      struct tide_chunk *c)
{
	const struct tide_block *staged = &feed->blocks.staging->head;
	uint64_t i = feed->next_block;
	if (i < feed->blocks.frames) {
		c->load = open_frame(feed, (uint32_t)i, env, s);
	} else if (i == feed->blocks.frames && feed->blocks.staging->taken) {
		tide_unpack_begin(&feed->unpack, staged->encoding, feed->blocks.staging->payload, staged->committed,
				  staged->ticks, staged->tid, staged->events);
	} else {
		c->last = true;
		return;
	}
	feed->block = (uint32_t)i;
	feed->next_block += feed->step;
	feed->reading = c->load == TIDE_LOAD_OK;
	c->begins = true;
}

void tide_feed_fill(struct tide_feed *feed, const struct tide_feed_env *env, struct tide_scratch *s,
		    struct tide_chunk *c)
{
	c->ops = c->runs = c->extras = c->nodes = c->pairs = 0;
	c->begins = c->last = false;
	c->ends = true;
	c->load = TIDE_LOAD_OK;
	if (!feed->reading)
		open_next(feed, env, s, c);
	if (feed->reading) {
		tide_unpack_chunk(&feed->unpack, c);
		feed->reading = !c->ends;
	}
	c->block = feed->block;
}
