#include "sites.h"

#include <string.h>

#include "defs.h"
#include "format/layout.h"
#include "format/wire.h"
#include "sys.h"

#define WORDS (TIDE_STACK_MAX + 2u)
#define FIRST_CAP 256u
/* Most bytes of one site in a SITES record. */
#define SITE_BOUND (2 * WORDS * TIDE_VARINT_MAX + 4 * TIDE_VARINT_MAX)

static struct {
	struct tide_site_sum *sum; /* by number */
	uint32_t *slot;            /* by hash: number, 0 free; the first 2 * cap are in use */
	uint32_t count, cap, most;
	/* sites that are not defined yet, as they will be written; each against the one before it */
	uint8_t pending[2 * SITE_BOUND];
	size_t pending_len;
	uint32_t pending_first;
	uint64_t native[WORDS], python[WORDS]; /* of the last one */
	uint32_t native_len, python_len;
	uint64_t last_native, last_python;
} sites TIDE_BIG;

static uint32_t slot_of(uint64_t hash)
{
	uint32_t mask = 2 * sites.cap - 1, i = (uint32_t)(hash >> 16) & mask;
	while (sites.slot[i] && sites.sum[sites.slot[i]].hash != hash)
		i = (i + 1) & mask;
	return i;
}

/* In place: the memory is there for `most` sites, and real as far as it was used. */
static void use_slots(uint32_t cap)
{
	memset(sites.slot, 0, 2 * sites.cap * sizeof *sites.slot);
	sites.cap = cap;
	for (uint32_t i = 1; i < sites.count; i++)
		sites.slot[slot_of(sites.sum[i].hash)] = i;
}

bool tide_sites_init(uint32_t most)
{
	sites.most = FIRST_CAP;
	while (sites.most < most)
		sites.most *= 2;
	sites.count = 1;
	sites.sum = tide_sys_memory(sites.most * sizeof *sites.sum);
	sites.slot = tide_sys_memory(2 * sites.most * sizeof *sites.slot);
	if (!sites.sum || !sites.slot)
		return false;
	use_slots(FIRST_CAP);
	return true;
}

void tide_sites_fork_child(void)
{
	if (!sites.sum)
		return;
	memset(sites.sum, 0, sites.count * sizeof *sites.sum);
	memset(sites.slot, 0, 2 * sites.cap * sizeof *sites.slot);
	sites.count = 1;
	sites.pending_len = 0;
}

static uint32_t shared(const uint64_t *a, uint32_t a_len, const uint64_t *b, uint32_t b_len)
{
	uint32_t n = 0;
	while (n < a_len && n < b_len && a[n] == b[n])
		n++;
	return n;
}

static uint8_t *put_stack(uint8_t *out, uint64_t *kept, uint32_t *kept_len, uint64_t *last, const uint64_t *now,
			  uint32_t len)
{
	uint32_t keep = shared(kept, *kept_len, now, len);
	out = tide_put_varint(out, keep);
	out = tide_put_varint(out, len - keep);
	for (uint32_t i = keep; i < len; i++) {
		out = tide_put_varint(out, tide_zigzag((int64_t)(now[i] - *last)));
		kept[i] = *last = now[i];
	}
	*kept_len = len;
	return out;
}

static void add_definition(uint32_t number, const struct tide_site_stacks *s)
{
	if (sites.pending_len + SITE_BOUND > sizeof sites.pending)
		tide_sites_define();
	if (sites.pending_len == 0) {
		sites.pending_first = number;
		sites.native_len = sites.python_len = 0;
		sites.last_native = sites.last_python = 0;
	}
	uint8_t *at = sites.pending + sites.pending_len;
	at = put_stack(at, sites.native, &sites.native_len, &sites.last_native, s->native, s->native_len);
	at = put_stack(at, sites.python, &sites.python_len, &sites.last_python, s->python, s->python_len);
	sites.pending_len = (size_t)(at - sites.pending);
}

uint32_t tide_sites_number(uint64_t hash, const struct tide_site_stacks *s)
{
	hash |= hash == 0;
	uint32_t i = slot_of(hash);
	if (sites.slot[i])
		return sites.slot[i];
	if (sites.count == sites.most)
		return 0;
	if (sites.count == sites.cap)
		use_slots(2 * sites.cap);
	uint32_t number = sites.count;
	sites.sum[number] = (struct tide_site_sum){.hash = hash};
	sites.slot[slot_of(hash)] = number;
	sites.count++;
	add_definition(number, s);
	return number;
}

uint32_t tide_sites_find(uint64_t hash)
{
	return sites.slot[slot_of(hash | (hash == 0))];
}

bool tide_sites_known(uint64_t hash)
{
	return sites.count == sites.most || tide_sites_find(hash);
}

void tide_sites_define(void)
{
	if (sites.pending_len == 0)
		return;
	uint8_t head[TIDE_VARINT_MAX];
	size_t len = (size_t)(tide_put_varint(head, sites.pending_first) - head);
	struct tide_part parts[] = {{head, len}, {sites.pending, sites.pending_len}};
	tide_define(TIDE_DEF_SITES, parts, 2); /* if it does not fit, that is counted, and the stacks are not known */
	sites.pending_len = 0;
}

struct tide_site_sum *tide_sites_sums(uint32_t *ret_count)
{
	*ret_count = sites.count;
	return sites.sum;
}
