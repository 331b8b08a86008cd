/*
 * inhand - a thread that stands still between the shadow byte of an allocation and its event, for a lap of the ring: what lived at the
 * address before, in the same epoch, must not be carried over in its place; and the allocation must be, once its event is there.
 *
 * usage: inhand [CYCLES]. Exit 0: so it was each time. Built with the fault points of the shim, at one of which the thread waits.
 */
#include <pthread.h>
#include <zstd.h>

#include "alone.h"
#include "fault.h"
#include "format/carry.h"
#include "format/layout.h"
#include "replaced.h"

#define OLD_SIZE 1000u
#define NEW_SIZE 2000u

struct tide_config tide_config = {.size = 1u << 20, .name = "inhand", .census_ns = UINT64_MAX};
static pthread_barrier_t turn;
static unsigned long cycles = 20;
static const void *held; /* the address of the allocation that waits; its thread's alone */

long tide_fault_call(void)
{
	return 0;
}

static __thread bool stands_still;
void tide_fault(const char *name)
{
	if (!stands_still || strcmp(name, "alloc-marked") != 0)
		return;
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
}

static void lap(void)
{
	uint32_t until = tide_ring_epoch() + tide_ring_segments() + 1;
	while (tide_ring_epoch() < until)
		replace((uint32_t)(next_random() >> 32) % (next_random() & 15 ? 256 : BLOCKS), NULL);
}

/* Every second address is no multiple of 16, as of small blocks of some allocators. */
static void *sleeper(void *arg)
{
	(void)arg;
	for (unsigned long c = 0; c < cycles; c++) {
		const void *block = (const char *)address(BLOCKS + (uint32_t)c) + (c & 1) * 8;
		tide_record_alloc_now(TIDE_KIND_ALLOC, NULL, block, OLD_SIZE, 0);
		tide_record_free_now(TIDE_KIND_FREE, block);
		held = block;
		stands_still = true;
		tide_record_alloc_now(TIDE_KIND_ALLOC, NULL, block, NEW_SIZE, 0);
		stands_still = false;
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
		tide_record_free_now(TIDE_KIND_FREE, block);
	}
	return NULL;
}

/* What the log's carried blocks tell of an address, as a reader takes it: the latest entry's size; 0: none, or it died. */
struct told {
	uint64_t addr, size, ticks;
};
static void read_payload(struct told *t, const uint8_t *raw, size_t len)
{
	struct tide_in payload = tide_in_of(raw, len), section;
	struct tide_carry_reader reader;
	struct tide_carry_block b;
	uint8_t kind;
	while (tide_carry_next_section(&payload, &kind, &section) == 1)
		if (kind == TIDE_CARRY_BLOCKS && tide_carry_open_blocks(&reader, section.at, tide_in_left(&section)))
			while (tide_carry_next_block(&reader, &b) == 1)
				if (b.addr == t->addr && b.ticks >= t->ticks) {
					t->ticks = b.ticks;
					t->size = b.op == TIDE_CARRY_DIED ? 0 : b.size;
				}
}

static void read_segment(struct told *t, uint32_t epoch)
{
	static uint8_t raw[TIDE_BLOCK_MAX];
	const uint8_t *segment = (const uint8_t *)tide_ring_segment(epoch);
	uint32_t len = tide_logfile.geometry.segment_len, at = sizeof(struct tide_segment);
	while (at + sizeof(struct tide_frame) <= len) {
		const struct tide_frame *f = (const struct tide_frame *)(segment + at);
		if (f->magic != TIDE_MAGIC_FRAME)
			return;
		if (f->kind == TIDE_FRAME_CARRY)
			read_payload(t, raw, ZSTD_decompress(raw, sizeof raw, f + 1, f->stored_len));
		at += tide_frame_span(f);
	}
}

static uint64_t carried_size(const void *block)
{
	struct told t = {.addr = (uintptr_t)block};
	for (uint32_t e = tide_survive_done() + 1; e <= tide_ring_epoch(); e++)
		read_segment(&t, e);
	return t.size;
}

int main(int argc, char **argv)
{
	pthread_t id;
	unsigned told_dead = 0, mistaken = 0, missing = 0;
	cycles = argc > 1 ? strtoul(argv[1], NULL, 10) : cycles;
	if (!alone_begin() || pthread_barrier_init(&turn, NULL, 2) != 0 ||
	    pthread_create(&id, NULL, sleeper, NULL) != 0)
		return 2;
	for (unsigned long c = 0; c < cycles; c++) {
		pthread_barrier_wait(&turn);
		lap();
		told_dead += carried_size(held) != 0;
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
		lap();
		mistaken += carried_size(held) == OLD_SIZE;
		missing += carried_size(held) == 0;
		pthread_barrier_wait(&turn);
	}
	pthread_join(id, NULL);
	printf("of %lu: %u dead ones told, %u in the place of a live one, %u live ones missing\n", cycles, told_dead,
	       mistaken, missing);
	return told_dead + mistaken + missing == 0 ? 0 : 1;
}
