/*
 * The file of censuses beside a log. The first byte says how: bit 0 - checksums of headers and payloads are put right, bit 1 - what those
 * headers need to be of this log too, for a checksum stops a fuzzer but not an enemy. The rest is the file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/layout.h"
#include "format/wire.h"
#include "read/beside.h"
#include "read/census.h"

enum { FIX_SUMS = 1, FIX_HEADS = 2 };
#define UID UINT64_C(0x1122334455667788)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix(uint8_t *file, size_t size, uint8_t how)
{
	for (size_t at = 0; at + sizeof(struct tide_frame) <= size; at += TIDE_FRAME_ALIGN) {
		struct tide_frame f;
		memcpy(&f, file + at, sizeof f);
		if (f.magic != TIDE_MAGIC_FRAME)
			continue;
		f.file_uid = UID;
		if (how & FIX_HEADS) {
			f.kind = TIDE_FRAME_CENSUS;
			f.segment = TIDE_BESIDE_SEGMENT;
			f.lap = TIDE_BESIDE_LAP;
			f.header_len = sizeof f;
		}
		if (f.stored_len <= size - at - sizeof f)
			f.payload_checksum = tide_checksum(file + at + sizeof f, f.stored_len, UID);
		f.header_checksum = tide_checksum(&f, TIDE_FRAME_CHECKED, UID);
		memcpy(file + at, &f, sizeof f);
	}
}

static void walk(const uint8_t *bytes, size_t len)
{
	struct tide_census census;
	struct tide_census_item item;
	if (tide_census_init(&census, bytes, len))
		while (tide_census_next(&census, &item) == 1)
			;
}

static void read_frames(const struct tide_beside *b, size_t size)
{
	struct tide_feed_env env = {&b->file, UID, false};
	struct tide_scratch scratch = {0};
	uint64_t end = 0;
	for (size_t i = 0; i < b->frames; i++) {
		const struct tide_frame_at *f = &b->frame[i];
		if (f->offset < end || f->head.lap != TIDE_BESIDE_LAP || f->head.kind != TIDE_FRAME_CENSUS)
			abort();
		end = f->offset + f->head.header_len + f->head.stored_len;
		if (end > size || f->head.raw_len > TIDE_FRAME_RAW_MAX)
			abort();
		uint8_t *raw = malloc(f->head.raw_len + 1);
		if (raw && tide_frame_load(f, &env, &scratch, raw) == TIDE_LOAD_OK)
			walk(raw, f->head.raw_len);
		free(raw);
	}
	tide_scratch_release(&scratch);
}

static char directory[48], log_path[64], path[64];

static void clean_up(void)
{
	unlink(path);
	rmdir(directory);
}

/* In memory where that can be had: a disk makes ten times fewer inputs a second. */
static void find_place(void)
{
	snprintf(directory, sizeof directory, "%s/tidemark-fuzz-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(directory))
		abort();
	snprintf(log_path, sizeof log_path, "%s/x.tide", directory);
	snprintf(path, sizeof path, "%s/x.census", directory);
	atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!*path)
		find_place();
	if (size == 0)
		return 0;
	uint8_t *file = malloc(size);
	FILE *out = fopen(path, "wb");
	if (!file || !out)
		abort();
	memcpy(file, data + 1, size - 1);
	if (data[0] & FIX_SUMS)
		fix(file, size - 1, data[0]);
	if (fwrite(file, 1, size - 1, out) != size - 1 || fclose(out) != 0)
		abort();
	struct tide_beside b;
	if (tide_beside_init(&b, log_path, UID))
		read_frames(&b, size - 1);
	tide_beside_release(&b);
	free(file);
	return 0;
}
