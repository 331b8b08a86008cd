/*
 * items.h - the stream of items in a staging block or an EVENTS frame (FORMAT.md 6): tags, decoding.
 * Encoding is in encode.h, inline, because it is the hot path.
 *
 * An item is a tag byte and its fields. Low four bits: the kind, or 0: a byte with the kind follows. High four bits: what
 * of it comes as expected (predict.h) and is not told. Every block starts from zero state, so it can be decoded alone.
 */
#ifndef TIDE_FORMAT_ITEMS_H
#define TIDE_FORMAT_ITEMS_H

#include "format/layout.h"
#include "format/predict.h"
#include "format/wire.h"

#define TIDE_TAG_KINDS 16u
/* Items with a stack: SAME: none of its stacks changed; NEXT: they are what came after the previous ones the last time. */
#define TIDE_TAG_SAME 0x10u
#define TIDE_TAG_NEXT 0x20u
/* Items with addr and size. */
#define TIDE_TAG_SIZE_EXPECTED 0x40u
#define TIDE_TAG_ADDR_EXPECTED 0x80u
/* Items with addr and no size: the block is a recent one, as many allocations ago as expected, or at a place that is told. */
#define TIDE_TAG_DISTANCE_EXPECTED 0x10u
#define TIDE_TAG_DISTANCE 0x20u

/* Frame words: a literal follows; what came after its caller the last time; those told so far, from this number on. */
enum { TIDE_WORD_NEW = 0, TIDE_WORD_EXPECTED = 1, TIDE_WORD_TOLD = 2 };
/* In encoding 1, which is `first`, none is expected. */
static inline uint64_t tide_word_told(bool first)
{
	return first ? 1 : TIDE_WORD_TOLD;
}

/* Low two bits of a far address. */
enum { TIDE_ADDR_NEAR_ALLOC = 0, TIDE_ADDR_NEAR_FREE = 1, TIDE_ADDR_FRONTIER = 2, TIDE_ADDR_ODD = 3 };

#define TIDE_TICK_SHIFT 8 /* a TICK counts in 256 ticks, rounded down: some 0.1 us */

/* kind, name in `tidemark dump`, what follows the tag. F_* below. The one table of items; FORMAT.md 6 is checked against it. */
#define TIDE_ITEMS(X)                                                                         \
	X(TICK, 1, "tick", TIDE_F_COARSE)                                                     \
	X(SYNC, 2, "sync", TIDE_F_SEQ | TIDE_F_TICKS)                                         \
	X(THREAD, 3, "thread", TIDE_F_VALUE)                                                  \
	X(ALLOC, 4, "malloc", TIDE_F_STACK | TIDE_F_ADDR | TIDE_F_SIZE)                       \
	X(CALLOC, 5, "calloc", TIDE_F_STACK | TIDE_F_ADDR | TIDE_F_SIZE)                      \
	X(ALIGNED, 6, "aligned", TIDE_F_STACK | TIDE_F_ADDR | TIDE_F_SIZE | TIDE_F_VALUE)     \
	X(FREE, 7, "free", TIDE_F_ADDR)                                                       \
	X(REALLOC_FREE, 8, "realloc-free", TIDE_F_ADDR)                                       \
	X(REALLOC_ALLOC, 9, "realloc-alloc", TIDE_F_STACK | TIDE_F_ADDR | TIDE_F_SIZE)        \
	X(REALLOC_FAILED, 10, "realloc-failed", 0)                                            \
	X(PYALLOC, 11, "pyalloc", TIDE_F_PYSTACK | TIDE_F_ADDR | TIDE_F_SIZE)                 \
	X(PYFREE, 12, "pyfree", TIDE_F_ADDR)                                                  \
	X(PYREALLOC_FREE, 13, "pyrealloc-free", TIDE_F_ADDR)                                  \
	X(PYREALLOC_ALLOC, 14, "pyrealloc-alloc", TIDE_F_PYSTACK | TIDE_F_ADDR | TIDE_F_SIZE) \
	X(MADVISE, 15, "madvise", TIDE_F_RANGE | TIDE_F_VALUE)                                \
	X(MMAP, 16, "mmap", TIDE_F_STACK | TIDE_F_RANGE | TIDE_F_VALUE | TIDE_F_VALUE2)       \
	X(MUNMAP, 17, "munmap", TIDE_F_RANGE)                                                 \
	X(MREMAP, 18, "mremap", TIDE_F_STACK | TIDE_F_RANGE | TIDE_F_VALUE | TIDE_F_VALUE2)   \
	X(BRK, 19, "brk", TIDE_F_STACK | TIDE_F_VALUE)                                        \
	X(PYARENA, 20, "pyarena", TIDE_F_STACK | TIDE_F_RANGE)                                \
	X(PYARENA_FREE, 21, "pyarena-free", TIDE_F_RANGE)                                     \
	X(PYREALLOC_FAILED, 22, "pyrealloc-failed", 0)                                        \
	X(PYREALLOC_GONE, 23, "pyrealloc-gone", 0)                                            \
	X(FORK, 24, "fork", TIDE_F_VALUE)                                                     \
	X(MARK, 25, "mark", TIDE_F_VALUE)                                                     \
	X(EPOCH, 26, "epoch", TIDE_F_TICKS | TIDE_F_VALUE)                                    \
	X(FOUND, 27, "found", TIDE_F_VALUE)                                                   \
	X(REALLOC_GONE, 28, "realloc-gone", 0)

enum tide_field {
	TIDE_F_TICKS = 1,    /* varint: clock ticks since the block's last time */
	TIDE_F_SEQ = 2,      /* varint: ownership epoch that begins for the word of the next address */
	TIDE_F_STACK = 4,    /* unless SAME: native delta, then Python delta */
	TIDE_F_PYSTACK = 8,  /* unless SAME: Python delta */
	TIDE_F_ADDR = 16,    /* see FORMAT.md; after the size */
	TIDE_F_SIZE = 32,    /* varint: bytes asked for */
	TIDE_F_RANGE = 64,   /* varint address / 4096, varint length in bytes */
	TIDE_F_VALUE = 128,  /* varint; THREAD tid, ALIGNED alignment, MMAP prot | flags << 8, MREMAP old address,
	                       MADVISE advice, BRK new break, FORK child pid, MARK enum tide_mark,
	                       EPOCH its number, FOUND the shadow byte that the free after it found */
	TIDE_F_COARSE = 512, /* varint: 256 clock ticks each since the block's last time */
	TIDE_F_VALUE2 = 256  /* varint; MMAP fd kind (0 anonymous, 1 file), MREMAP old length */
};

enum tide_kind {
#define TIDE_ITEM_ENUM(id, number, name, fields) TIDE_KIND_##id = (number),
	TIDE_ITEMS(TIDE_ITEM_ENUM)
#undef TIDE_ITEM_ENUM
		TIDE_KINDS = 32
};

/* The place in `recent` of the block that such an item frees; `told`: what it tells, if its tag says that it does. */
static inline uint32_t tide_place_told(struct tide_model *m, uint8_t tag, uint64_t told, bool first)
{
	uint16_t *expected = tide_expect_distance(m);
	uint32_t place = m->allocs - *expected;
	if (tag & TIDE_TAG_DISTANCE)
		place = first ? m->allocs - (uint32_t)told : tide_place_after(m, told);
	place &= TIDE_RECENT - 1;
	*expected = (uint16_t)((m->allocs - place) & (TIDE_RECENT - 1));
	return place;
}

static inline bool tide_kind_is_pool(unsigned kind)
{
	return kind == TIDE_KIND_PYALLOC || kind == TIDE_KIND_PYREALLOC_ALLOC;
}

static inline struct tide_class tide_class_by(unsigned kind, uint64_t size, bool first)
{
	return tide_class_of(size, tide_kind_is_pool(kind), kind == TIDE_KIND_ALLOC, first);
}

/* Of blocks inside pools. */
static inline bool tide_kind_is_python(unsigned kind)
{
	return (kind >= TIDE_KIND_PYALLOC && kind <= TIDE_KIND_PYREALLOC_ALLOC) || kind == TIDE_KIND_PYREALLOC_FAILED ||
	       kind == TIDE_KIND_PYREALLOC_GONE;
}

/* Items that are operations of the program; the others say when, by whom, and in which order. */
static inline bool tide_kind_is_event(enum tide_kind kind)
{
	return kind > TIDE_KIND_THREAD && kind != TIDE_KIND_EPOCH && kind != TIDE_KIND_FOUND;
}

enum tide_mark {
	TIDE_MARK_PYTHON_FINALIZING = 1, /* the interpreter began to shut down */
	TIDE_MARK_FINI = 2,              /* exit() reached the shim's destructor */
	TIDE_MARK_TRIM = 3,              /* the program called malloc_trim */
	TIDE_MARK_ENDING = 4             /* exit() was called, or main returned: destructors have not run yet */
};
/* From here on the program takes itself apart: what it held is told as of before. The first such mark of a log counts. */
static inline bool tide_mark_ends(uint64_t mark)
{
	return mark == TIDE_MARK_PYTHON_FINALIZING || mark == TIDE_MARK_ENDING;
}

/* One frame of a stack is a word. Native: the return address. Python: TIDE_WORD_PYTHON | code id << 24 | offset,
 * offset in instruction units (2 bytes), code id as defined by TIDE_DEF_CODE (0: not known), and TIDE_WORD_PYTHON_ENTERED if a
 * call of the evaluation loop began with this frame: one native frame of that function stands for it and those inside of it.
 * Two native words are no addresses and stand outermost. */
#define TIDE_WORD_PYTHON (UINT64_C(1) << 63)
#define TIDE_WORD_PYTHON_ENTERED (UINT64_C(1) << 62)
#define TIDE_WORD_PYTHON_OFFSET 0xffffffu
static inline uint32_t tide_word_code(uint64_t word)
{
	return (uint32_t)((word & ~(TIDE_WORD_PYTHON | TIDE_WORD_PYTHON_ENTERED)) >> 24);
}
#define TIDE_WORD_CUT_LIMIT UINT64_C(1)   /* more frames than TIDEMARK_STACK */
#define TIDE_WORD_CUT_UNKNOWN UINT64_C(2) /* no unwind rule, or outside the stack */

/* What the decoder says of a stack: drop `pop` innermost frames of the previous one, add `push` words, outermost first. */
struct tide_stack_delta {
	uint32_t pop;
	uint32_t push;
	const uint64_t *words; /* owned by the decoder, until its next item */
};

/* A stack, outermost word first. */
struct tide_words {
	const uint64_t *word;
	uint32_t depth;
	uint32_t shared; /* so many outermost words are those of the stack before */
};

struct tide_item {
	enum tide_kind kind;
	bool is_event;  /* counted in `events`: tide_kind_is_event */
	bool has_stack; /* native and python deltas are meaningful (0/0: same as before) */
	uint64_t addr;
	uint64_t size; /* bytes; RANGE: length */
	uint64_t value;
	uint64_t value2;
	uint64_t seq;
	uint64_t ticks; /* absolute; lower bound of everything that follows */
	struct tide_stack_delta native;
	struct tide_stack_delta python;
	uint64_t site; /* with a stack: what both stacks are, by their words (predict.h) */
};

/* A delta that was told, to come again where NEXT says so. */
struct tide_told_next {
	uint64_t before; /* site */
	uint32_t words;  /* place in the buffer of the native words pushed; the Python ones follow */
	uint16_t pop[2], push[2];
};

/* A stack as far as it was told. */
struct tide_stack_told {
	uint32_t depth;
	uint32_t
		agreed; /* the writer's: so many outermost words are those of the last stack that it saw, told or not */
	uint64_t path[TIDE_STACK_MAX + 3]; /* of its outermost 0, 1, 2 ... words */
};

/* Decoding state of one block. Zero heap; about 50 KiB: keep it off small stacks. */
struct tide_items {
	struct tide_in in;
	bool first; /* encoding 1 */
	uint64_t ticks;
	uint64_t last[2]; /* literals: native, Python */
	uint64_t *words;  /* owned by the caller: the dictionary from the left, pushed words from the right */
	uint32_t dict_len, pushed_from;
	struct tide_stack_told told[2];
	uint64_t word[2][TIDE_STACK_MAX + 3]; /* of the stacks, from 1 on, outermost first; [0] is 0 */
	uint32_t callee[TIDE_CALLEES];        /* place in the dictionary + 1; 0: none */
	struct tide_told_next next[TIDE_NEXTS];
	struct tide_model model;
};

/* Words that decoding `len` bytes of payload may need: a new word takes at least two bytes, one told again at least one. */
static inline uint32_t tide_items_words(size_t len)
{
	return (uint32_t)(len + len / 2 + 2);
}
/* `payload` stays the caller's; so does `words`, with room for `cap` words: with tide_items_words(len), none is ever missing. */
void tide_items_init(struct tide_items *, enum tide_encoding, const void *payload, size_t len, uint64_t ticks,
		     uint64_t *words, uint32_t cap);
/* 1: *ret is the next item; 0: the end; -1: the bytes are no items (nothing after this point can be told). */
int tide_items_next(struct tide_items *, struct tide_item *ret);

/* Name as in the table above, NULL for a kind that does not exist. */
const char *tide_kind_name(unsigned kind);
/* OR of enum tide_field, 0 if there is no such kind. */
extern const uint16_t tide_kinds_fields[TIDE_KINDS];
static inline unsigned tide_kind_fields(unsigned kind)
{
	return kind < TIDE_KINDS ? tide_kinds_fields[kind] : 0;
}

/* The ownership word that an address belongs to, of `TIDE_WORDS`. Mapping items (RANGE) and BRK all use word 0. */
#define TIDE_WORDS 65536u
static inline uint32_t tide_word_of(uint64_t addr)
{
	return (uint32_t)((addr >> 16) ^ (addr >> 32)) & (TIDE_WORDS - 1);
}

#endif
