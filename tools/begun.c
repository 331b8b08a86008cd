/*
 * begun - what the threads of a killed process were about to record, for tests that have their own oracle: the address of the allocation
 * that stands uncommitted behind a staging block's items, hexadecimal, a line each. Its byte in the shadow is there already, so a block
 * that died at that address in the same epoch may be told as live (tests/harness.py, Oracle).
 *
 * What stands there may as well be left of an older block of the lane: an address too many.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/items.h"
#include "format/layout.h"

static uint64_t dict[2 * TIDE_BLOCK_MAX]; /* tide_items_words(TIDE_BLOCK_MAX) are fewer */

/* The address of the first event behind the committed ones, if it is an allocation; else 0. */
static uint64_t begun(const struct tide_block *b, size_t room)
{
	struct tide_items items;
	struct tide_item item;
	if (b->header_len > room || b->committed > room - b->header_len)
		return 0;
	size_t len = room - b->header_len < TIDE_BLOCK_MAX ? room - b->header_len : TIDE_BLOCK_MAX;
	const uint8_t *payload = (const uint8_t *)b + b->header_len;
	tide_items_init(&items, b->encoding, payload, len, b->ticks, dict, tide_items_words(TIDE_BLOCK_MAX));
	while (tide_items_next(&items, &item) == 1)
		if (item.is_event && items.in.at > payload + b->committed)
			return tide_kind_fields(item.kind) & TIDE_F_SIZE ? item.addr : 0;
	return 0;
}

static void each_block(const uint8_t *file, size_t len)
{
	for (size_t at = 0; at + sizeof(struct tide_block) <= len; at += 256) {
		const struct tide_block *b = (const struct tide_block *)(file + at);
		uint64_t addr = b->magic == TIDE_MAGIC_BLOCK ? begun(b, len - at) : 0;
		if (addr)
			printf("%" PRIx64 "\n", addr);
	}
}

int main(int argc, char **argv)
{
	struct stat st;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0) {
		fprintf(stderr, "usage: begun LOG\n");
		return 2;
	}
	const uint8_t *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return 4;
	each_block(file, (size_t)st.st_size);
	return 0;
}
