#include "format/carry.h"

static uint8_t *put_u32(uint8_t *out, uint32_t value)
{
	memcpy(out, &value, sizeof value);
	return out + sizeof value;
}

static uint32_t bytes_from(const uint8_t *from, const uint8_t *to)
{
	return (uint32_t)(to - from);
}

/* Multiples of 16, as nearly all distances are, become small numbers. */
static uint64_t rotate(uint64_t distance)
{
	return distance >> 4 | distance << 60;
}

/* The kind, and the length as a varint of four bytes whatever it is. */
static void put_length(uint8_t *head, enum tide_carry_section kind, uint32_t len)
{
	head[0] = (uint8_t)kind;
	for (unsigned i = 0; i < 4; i++)
		head[1 + i] = (uint8_t)((len >> 7 * i & 0x7f) | (i < 3 ? 0x80 : 0));
}

/* Column by column: compresses to half of what it would entry by entry. */
uint8_t *tide_carry_put_blocks(uint8_t *out, const struct tide_carry_block *block, size_t count, unsigned shift)
{
	uint8_t *const head = out; /* a kind, a length of four bytes (padded varint), four numbers */
	uint8_t *const body = head + 5;
	uint8_t *column = put_u32(body, (uint32_t)count);
	*column++ = (uint8_t)shift;
	uint8_t *lengths = column;
	uint8_t *at = column = lengths + 3 * sizeof(uint32_t);
	uint64_t last = 0;
	for (size_t i = 0; i < count; i++, last = block[i - 1].addr)
		at = tide_put_varint(at, rotate(block[i].addr - last));
	lengths = put_u32(lengths, bytes_from(column, at));
	column = at;
	for (size_t i = 0; i < count; i++)
		at = tide_put_varint(at, block[i].size << 2 | block[i].op);
	lengths = put_u32(lengths, bytes_from(column, at));
	column = at;
	for (size_t i = 0; i < count; i++)
		at = tide_put_varint(at, block[i].site);
	put_u32(lengths, bytes_from(column, at));
	last = 0;
	for (size_t i = 0; i < count; i++, last = block[i - 1].ticks >> shift)
		at = tide_put_varint(at, tide_zigzag((int64_t)((block[i].ticks >> shift) - last)));
	put_length(head, TIDE_CARRY_BLOCKS, bytes_from(body, at));
	return at;
}

uint8_t *tide_carry_put_gone(uint8_t *out, const uint64_t *addr, size_t count)
{
	uint8_t *at = out + 5;
	uint64_t last = 0;
	for (size_t i = 0; i < count; i++, last = addr[i - 1])
		at = tide_put_varint(at, rotate(addr[i] - last));
	put_length(out, TIDE_CARRY_GONE, bytes_from(out + 5, at));
	return at;
}

int tide_carry_next_gone(struct tide_in *section, uint64_t *addr)
{
	if (tide_in_left(section) == 0)
		return section->bad ? -1 : 0;
	uint64_t distance = tide_get_varint(section);
	*addr += distance << 4 | distance >> 60;
	return section->bad ? -1 : 1;
}

static bool column(struct tide_in *in, uint32_t len, struct tide_in *ret)
{
	const uint8_t *bytes = tide_get_bytes(in, len);
	*ret = tide_in_of(bytes, bytes ? len : 0);
	return bytes != NULL;
}

bool tide_carry_open_blocks(struct tide_carry_reader *r, const uint8_t *bytes, uint64_t len)
{
	struct tide_in in = tide_in_of(bytes, len);
	*r = (struct tide_carry_reader){.left = tide_get_u32(&in), .shift = tide_get_u8(&in)};
	uint32_t addr = tide_get_u32(&in), size = tide_get_u32(&in), site = tide_get_u32(&in);
	if (in.bad || r->shift > 63 || !column(&in, addr, &r->addr) || !column(&in, size, &r->size) ||
	    !column(&in, site, &r->site))
		return false;
	r->time = in;
	return true;
}

int tide_carry_next_block(struct tide_carry_reader *r, struct tide_carry_block *ret)
{
	if (r->left == 0)
		return 0;
	uint64_t distance = tide_get_varint(&r->addr), size = tide_get_varint(&r->size),
		 site = tide_get_varint(&r->site);
	r->last_time += (uint64_t)tide_unzigzag(tide_get_varint(&r->time));
	r->last_addr += distance << 4 | distance >> 60;
	if (r->addr.bad || r->size.bad || r->site.bad || r->time.bad || site > UINT32_MAX ||
	    (size & 3) > TIDE_CARRY_DIED)
		return -1;
	r->left--;
	*ret = (struct tide_carry_block){
		.addr = r->last_addr,
		.ticks = r->last_time << r->shift,
		.size = size >> 2,
		.site = (uint32_t)site,
		.op = size & 3,
	};
	return 1;
}

int tide_carry_next_section(struct tide_in *payload, uint8_t *ret_kind, struct tide_in *ret)
{
	if (payload->bad)
		return -1;
	if (tide_in_left(payload) == 0)
		return 0;
	*ret_kind = tide_get_u8(payload);
	uint64_t len = tide_get_varint(payload);
	const uint8_t *bytes = tide_get_bytes(payload, len);
	if (!bytes)
		return -1;
	*ret = tide_in_of(bytes, len);
	return 1;
}

uint8_t *tide_carry_put_totals(uint8_t *out, const struct tide_carry_totals *t)
{
	uint8_t *at = out + 2;
	at = tide_put_varint(at, t->events);
	at = tide_put_varint(at, t->allocs);
	at = tide_put_varint(at, t->frees);
	at = tide_put_varint(at, t->alloc_bytes);
	at = tide_put_varint(at, t->unknown);
	at = tide_put_varint(at, t->unreadable);
	at = tide_put_varint(at, t->dropped);
	at = tide_put_varint(at, t->sample_bytes);
	at = tide_put_varint(at, t->deaths);
	out[0] = TIDE_CARRY_TOTALS;
	out[1] = (uint8_t)(at - out - 2); /* below 128 */
	return at;
}

bool tide_carry_get_totals(struct tide_in in, struct tide_carry_totals *ret)
{
	struct tide_carry_totals t;
	t.events = tide_get_varint(&in);
	t.allocs = tide_get_varint(&in);
	t.frees = tide_get_varint(&in);
	t.alloc_bytes = tide_get_varint(&in);
	t.unknown = tide_get_varint(&in);
	t.unreadable = tide_get_varint(&in);
	t.dropped = tide_get_varint(&in);
	t.sample_bytes = tide_get_varint(&in);
	t.deaths = tide_in_left(&in) ? tide_get_varint(&in) : TIDE_DEATHS_NOT_TOLD;
	if (in.bad)
		return false;
	*ret = t;
	return true;
}
