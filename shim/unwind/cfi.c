#include "unwind/cfi.h"

#include <string.h>

#include "unwind/unwind.h"

/* Pointer encodings (LSB 5.0, 10.5.1). */
enum {
	PE_ABSPTR = 0,
	PE_UDATA4 = 3,
	PE_SDATA4 = 0x0b,
	PE_SDATA8 = 0x0c,
	PE_UDATA8 = 4,
	PE_PCREL = 0x10,
	PE_DATAREL = 0x30
};
#define PE_OMIT 0xff
#define HDR_TABLE (PE_DATAREL | PE_SDATA4) /* the one that linkers write */

enum { REMEMBERED_MOST = 8 };
enum where { SAME, AT_CFA, UNDEFINED, ELSEWHERE };

struct bytes {
	const uint8_t *at, *end;
	bool bad;
};

struct state {
	bool cfa_known;
	unsigned cfa_register;
	int64_t cfa_offset;
	enum where bp, ra;
	int64_t bp_offset, ra_offset;
};

struct cie {
	uint64_t code_align;
	int64_t data_align;
	unsigned ra;
	uint8_t encoding; /* of addresses in its FDEs */
	bool signal, has_length;
	struct bytes program;
};

struct machine {
	struct state now, initial, saved[REMEMBERED_MOST];
	unsigned depth;
	uintptr_t at, target; /* the row that holds `target` is wanted */
	const struct cie *cie;
};

static uint64_t get_fixed(struct bytes *b, unsigned len)
{
	uint64_t value = 0;
	if (b->bad || (size_t)(b->end - b->at) < len) {
		b->bad = true;
		return 0;
	}
	memcpy(&value, b->at, len);
	b->at += len;
	return value;
}

static uint64_t get_leb(struct bytes *b, bool is_signed)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;
	do {
		byte = (uint8_t)get_fixed(b, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80 && !b->bad);
	if (is_signed && shift < 64 && byte & 0x40)
		value |= ~UINT64_C(0) << shift;
	return value;
}

static uint64_t unsigned_leb(struct bytes *b)
{
	return get_leb(b, false);
}

static int64_t signed_leb(struct bytes *b)
{
	return (int64_t)get_leb(b, true);
}

static void skip(struct bytes *b, uint64_t len)
{
	if (b->bad || len > (uint64_t)(b->end - b->at))
		b->bad = true;
	else
		b->at += len;
}

static uintptr_t get_pointer(struct bytes *b, uint8_t encoding)
{
	uintptr_t base = (encoding & 0x70) == PE_PCREL ? (uintptr_t)b->at : 0;
	switch (encoding & 0x0f) {
	case PE_ABSPTR:
	case PE_UDATA8:
	case PE_SDATA8:
		return base + get_fixed(b, 8);
	case PE_UDATA4:
		return base + get_fixed(b, 4);
	case PE_SDATA4:
		return base + (uintptr_t)(int64_t)(int32_t)get_fixed(b, 4);
	default:
		b->bad = true;
		return 0;
	}
}

/* The FDE whose range begins last at or before pc, by the sorted table; NULL: none. */
static const uint8_t *find_fde(const struct tide_unwind_module *object, uintptr_t pc)
{
	struct bytes b = {object->eh_frame_hdr, (const uint8_t *)object->end, object->eh_frame_hdr == NULL};
	uint8_t version = (uint8_t)get_fixed(&b, 1), pointer = (uint8_t)get_fixed(&b, 1);
	uint8_t count_encoding = (uint8_t)get_fixed(&b, 1), table = (uint8_t)get_fixed(&b, 1);
	if (b.bad || version != 1 || count_encoding == PE_OMIT || table != HDR_TABLE)
		return NULL;
	get_pointer(&b, pointer);
	uint64_t count = get_pointer(&b, count_encoding);
	uintptr_t hdr = (uintptr_t)object->eh_frame_hdr;
	const int32_t *row = (const int32_t *)b.at; /* {address, FDE}, relative to the header */
	if (b.bad || count == 0 || count > (uint64_t)(b.end - b.at) / 8 || pc < hdr + (uintptr_t)(intptr_t)row[0])
		return NULL;
	uint64_t low = 0, high = count;
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		if (hdr + (uintptr_t)(intptr_t)row[2 * middle] <= pc)
			low = middle;
		else
			high = middle;
	}
	return (const uint8_t *)(hdr + (uintptr_t)(intptr_t)row[2 * low + 1]);
}

/* An entry of .eh_frame: the bytes behind its length. */
static struct bytes entry_at(const uint8_t *at, const struct tide_unwind_module *object)
{
	struct bytes b = {at, (const uint8_t *)object->end,
			  (uintptr_t)at < object->start || (uintptr_t)at >= object->end};
	uint64_t len = get_fixed(&b, 4);
	if (len == UINT32_MAX)
		len = get_fixed(&b, 8);
	if (b.bad || len == 0 || len > (uint64_t)(b.end - b.at))
		b.bad = true;
	else
		b.end = b.at + len;
	return b;
}

static void read_augmentation(struct bytes *b, const char *text, struct cie *cie)
{
	cie->has_length = *text == 'z';
	if (!cie->has_length) {
		b->bad = b->bad || *text != '\0';
		return;
	}
	uint64_t len = unsigned_leb(b);
	const uint8_t *begin = b->at;
	for (text++; *text && !b->bad; text++) {
		if (*text == 'R')
			cie->encoding = (uint8_t)get_fixed(b, 1);
		else if (*text == 'S')
			cie->signal = true;
		else if (*text == 'P')
			get_pointer(b, (uint8_t)get_fixed(b, 1) & 0x7f);
		else if (*text == 'L')
			skip(b, 1);
		else
			break;
	}
	if (!b->bad && len <= (uint64_t)(b->end - begin))
		b->at = begin + len;
	else
		b->bad = true;
}

static bool read_cie(const uint8_t *at, const struct tide_unwind_module *object, struct cie *ret)
{
	struct bytes b = entry_at(at, object);
	*ret = (struct cie){.encoding = PE_ABSPTR};
	if (get_fixed(&b, 4) != 0)
		return false;
	uint8_t version = (uint8_t)get_fixed(&b, 1);
	const char *text = (const char *)b.at;
	if (b.bad || !memchr(b.at, 0, (size_t)(b.end - b.at)))
		return false;
	b.at += strlen(text) + 1;
	if (version == 4)
		skip(&b, 2);
	ret->code_align = unsigned_leb(&b);
	ret->data_align = signed_leb(&b);
	ret->ra = version == 1 ? (unsigned)get_fixed(&b, 1) : (unsigned)unsigned_leb(&b);
	read_augmentation(&b, text, ret);
	ret->program = b;
	return !b.bad && ret->ra == TIDE_DWARF_RA;
}

static void set_register(struct state *s, uint64_t which, enum where where, int64_t offset)
{
	if (which == TIDE_DWARF_BP) {
		s->bp = where;
		s->bp_offset = offset;
	} else if (which == TIDE_DWARF_RA) {
		s->ra = where;
		s->ra_offset = offset;
	}
}

static void restore(struct machine *m, uint64_t which)
{
	if (which == TIDE_DWARF_BP)
		set_register(&m->now, which, m->initial.bp, m->initial.bp_offset);
	else if (which == TIDE_DWARF_RA)
		set_register(&m->now, which, m->initial.ra, m->initial.ra_offset);
}

static void define_cfa(struct machine *m, uint64_t which, int64_t offset)
{
	m->now.cfa_known = true;
	m->now.cfa_register = (unsigned)which;
	m->now.cfa_offset = offset;
}

/* DW_CFA_remember_state and DW_CFA_restore_state. */
static void remember(struct machine *m, struct bytes *b, bool push)
{
	if (push && m->depth < REMEMBERED_MOST)
		m->saved[m->depth++] = m->now;
	else if (!push && m->depth > 0)
		m->now = m->saved[--m->depth];
	else
		b->bad = true;
}

/* Instructions about the CFA. False: not one of them. */
static bool cfa_instruction(struct machine *m, struct bytes *b, uint8_t op)
{
	uint64_t which;
	switch (op) {
	case 0x0c: /* def_cfa */
		which = unsigned_leb(b);
		define_cfa(m, which, (int64_t)unsigned_leb(b));
		return true;
	case 0x0d: /* def_cfa_register */
		define_cfa(m, unsigned_leb(b), m->now.cfa_offset);
		return true;
	case 0x0e: /* def_cfa_offset */
		m->now.cfa_offset = (int64_t)unsigned_leb(b);
		return true;
	case 0x12: /* def_cfa_sf */
		which = unsigned_leb(b);
		define_cfa(m, which, signed_leb(b) * m->cie->data_align);
		return true;
	case 0x13: /* def_cfa_offset_sf */
		m->now.cfa_offset = signed_leb(b) * m->cie->data_align;
		return true;
	case 0x0f: /* def_cfa_expression */
		m->now.cfa_known = false;
		skip(b, unsigned_leb(b));
		return true;
	default:
		return false;
	}
}

static void register_instruction(struct machine *m, struct bytes *b, uint8_t op)
{
	uint64_t which;
	switch (op) {
	case 0x05: /* offset_extended */
	case 0x11: /* offset_extended_sf */
		which = unsigned_leb(b);
		set_register(&m->now, which, AT_CFA,
			     (op == 0x05 ? (int64_t)unsigned_leb(b) : signed_leb(b)) * m->cie->data_align);
		break;
	case 0x06: /* restore_extended */
		restore(m, unsigned_leb(b));
		break;
	case 0x07: /* undefined */
	case 0x08: /* same_value */
		set_register(&m->now, unsigned_leb(b), op == 0x07 ? UNDEFINED : SAME, 0);
		break;
	case 0x09: /* register */
	case 0x14: /* val_offset */
	case 0x15: /* val_offset_sf */
		set_register(&m->now, unsigned_leb(b), ELSEWHERE, 0);
		unsigned_leb(b);
		break;
	case 0x10: /* expression */
	case 0x16: /* val_expression */
		set_register(&m->now, unsigned_leb(b), ELSEWHERE, 0);
		skip(b, unsigned_leb(b));
		break;
	case 0x0a:
	case 0x0b:
		remember(m, b, op == 0x0a);
		break;
	case 0x2e: /* GNU_args_size */
		unsigned_leb(b);
		break;
	default:
		b->bad = op != 0x00 || b->bad;
	}
}

/* Location instructions, but for advance_loc. False: not one of them. */
static bool location_instruction(struct machine *m, struct bytes *b, uint8_t op)
{
	if (op == 0x01) /* set_loc */
		m->at = get_pointer(b, m->cie->encoding);
	else if (op >= 0x02 && op <= 0x04) /* advance_loc1, 2, 4 */
		m->at += get_fixed(b, 1u << (op - 2)) * m->cie->code_align;
	else
		return false;
	return true;
}

__attribute__((noinline)) static void other_instruction(struct machine *m, struct bytes *b, uint8_t op)
{
	if (op >> 6 == 2) /* offset */
		set_register(&m->now, op & 0x3f, AT_CFA, (int64_t)unsigned_leb(b) * m->cie->data_align);
	else if (op >> 6 == 3) /* restore */
		restore(m, op & 0x3f);
	else if (!location_instruction(m, b, op) && !cfa_instruction(m, b, op))
		register_instruction(m, b, op);
}

/* The instructions that nearly all of a program are, with an operand of one byte; a large function has hundreds before the row that
 * is wanted. False: another one, which is not done. */
static inline bool quick_instruction(struct machine *m, struct bytes *b, uint8_t op)
{
	if (op >> 6 == 1) { /* advance_loc */
		m->at += (op & 0x3f) * m->cie->code_align;
		return true;
	}
	if (op >> 6 == 3) /* restore */
		return (op & 0x3f) != TIDE_DWARF_BP && (op & 0x3f) != TIDE_DWARF_RA;
	if (b->at == b->end || *b->at >= 0x80)
		return false;
	if (op == 0x0e) /* def_cfa_offset */
		m->now.cfa_offset = *b->at;
	else if (op == 0x02) /* advance_loc1 */
		m->at += *b->at * m->cie->code_align;
	else if (op >> 6 != 2 || (op & 0x3f) == TIDE_DWARF_BP || (op & 0x3f) == TIDE_DWARF_RA) /* offset */
		return false;
	b->at++;
	return true;
}

/* Up to the row that holds m->target. */
static bool run(struct machine *m, struct bytes b)
{
	while (b.at < b.end && !b.bad && m->at <= m->target) {
		uint8_t op = *b.at++;
		if (quick_instruction(m, &b, op))
			continue;
		struct bytes rest = b;
		other_instruction(m, &rest, op);
		b = rest;
	}
	return !b.bad;
}

static struct tide_rule rule_of(const struct state *s)
{
	struct tide_rule rule = {.kind = TIDE_RULE_UNKNOWN};
	bool from_bp = s->cfa_register == TIDE_DWARF_BP;
	if (s->ra == UNDEFINED) {
		rule.kind = TIDE_RULE_END;
		return rule;
	}
	if (!s->cfa_known || (!from_bp && s->cfa_register != TIDE_DWARF_SP) || s->ra != AT_CFA ||
	    s->ra_offset != -TIDE_RA_BELOW_CFA || s->cfa_offset % 8 || s->bp_offset % 8 ||
	    s->cfa_offset != (int32_t)s->cfa_offset || s->bp_offset != (int32_t)s->bp_offset ||
	    (!from_bp && s->cfa_offset <= 0))
		return rule;
	rule.kind = TIDE_RULE_STEP;
	rule.cfa_from_bp = from_bp;
	rule.cfa_offset = (int32_t)s->cfa_offset;
	rule.bp = s->bp == SAME ? TIDE_BP_SAME : s->bp == AT_CFA ? TIDE_BP_SAVED : TIDE_BP_LOST;
	rule.bp_offset = (int32_t)s->bp_offset;
	return rule;
}

struct fde {
	uintptr_t begin;
	struct cie cie;
	struct bytes program;
};

/* The FDE whose range holds `address`. */
static bool read_fde(const struct tide_unwind_module *object, uintptr_t address, struct fde *ret)
{
	const uint8_t *fde = find_fde(object, address);
	if (!fde)
		return false;
	struct bytes b = entry_at(fde, object);
	const uint8_t *cie_field = b.at;
	uint64_t back = get_fixed(&b, 4);
	if (b.bad || back == 0 || !read_cie(cie_field - back, object, &ret->cie))
		return false;
	uintptr_t len;
	ret->begin = get_pointer(&b, ret->cie.encoding);
	len = get_pointer(&b, ret->cie.encoding & 0x0f);
	if (ret->cie.has_length)
		skip(&b, unsigned_leb(&b));
	ret->program = b;
	return !b.bad && address >= ret->begin && address - ret->begin < len;
}

struct tide_rule tide_cfi_rule(const struct tide_unwind_module *object, uintptr_t pc, bool exact)
{
	struct tide_rule unknown = {.kind = TIDE_RULE_UNKNOWN}, end = {.kind = TIDE_RULE_END};
	uintptr_t target = exact ? pc : pc - 1;
	struct fde f;
	if (!read_fde(object, target,
		      &f)) /* no call returns to where a function begins: makecontext planted it, or its like */
		return !exact && read_fde(object, pc, &f) && f.begin == pc && !f.cie.signal ? end : unknown;
	if (f.cie.signal)
		return (struct tide_rule){.kind = TIDE_RULE_SIGNAL};
	struct machine m = {.at = f.begin, .target = target, .cie = &f.cie};
	if (!run(&m, f.cie.program))
		return unknown;
	m.initial = m.now;
	m.at = f.begin;
	return run(&m, f.program) ? rule_of(&m.now) : unknown;
}
