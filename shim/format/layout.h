/*
 * layout.h - what is on disk, byte by byte. FORMAT.md is the specification; a disagreement is a bug here.
 *
 * Words: file - one process image's log, of fixed size. Lane - one stream of events, written by one thread at
 * a time. Staging block - the lane's raw, growing tail. Frame - a sealed (compressed, checksummed) block in the
 * ring. Segment - the unit in which the ring is overwritten. Lap - how many times a segment has been begun.
 *
 * All integers are little-endian. Structures here have no padding; readers copy bytes out (memcpy) before
 * use, and never trust a length. Nothing in this header allocates or calls.
 */
#ifndef TIDE_FORMAT_LAYOUT_H
#define TIDE_FORMAT_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define TIDE_VERSION_MAJOR 1
#define TIDE_VERSION_MINOR 3

#define TIDE_PAGE 4096u
#define TIDE_FILE_MIN (256u << 10)
#define TIDE_FILE_MAX (UINT64_C(1) << 36) /* with more, a segment would be longer than a reader takes (1 GiB) */
#define TIDE_SEGMENTS_MAX 56u             /* a later shadow byte names a segment, with values to spare */
#define TIDE_LANES_MAX 4096u
#define TIDE_BLOCK_MIN 4096u
#define TIDE_BLOCK_MAX 65536u
#define TIDE_FRAME_ALIGN 64u
#define TIDE_FRAME_RAW_MAX (1u << 20) /* no frame expands to more than this */
#define TIDE_STACK_MAX 256u           /* frames of one stack, native or Python */

/* "\x89TIDE\r\n\x1a": as PNG's, shows text-mode damage and is not text. */
#define TIDE_MAGIC_FILE UINT64_C(0x1a0a0d4544495489)
#define TIDE_MAGIC_CONTROL UINT64_C(0x314c5254434454c1)
#define TIDE_MAGIC_DEF 0x46454454u /* "TDEF" */
#define TIDE_MAGIC_BLOCK UINT64_C(0x314b434f4c4254b2)
#define TIDE_MAGIC_FRAME UINT64_C(0x31454d4152465df3)
#define TIDE_MAGIC_SEGMENT UINT64_C(0x31544d47455354a4)

#define TIDE_ENDIAN 0x01020304u

/* Incompatible flags: a reader that does not know a set bit must refuse the file. */
#define TIDE_INCOMPAT_ENCODINGS UINT64_C(1) /* items of other encodings than the first (1.2) */
#define TIDE_INCOMPAT_KNOWN TIDE_INCOMPAT_ENCODINGS
/* Compatible flags: staging blocks have a check word (1.1). */
#define TIDE_COMPAT_CHECK UINT64_C(1)

/* ---- superblock: at 0 and, the same bytes, in the last page. Immutable after creation; a hint only. ---- */
struct tide_superblock {
	uint64_t magic;
	uint32_t header_len; /* bytes that `checksum` covers, itself excluded; a reader skips what it does not know */
	uint16_t version_major;
	uint16_t version_minor;
	uint64_t compat_flags;
	uint64_t incompat_flags;
	uint64_t file_uid; /* random, never 0; every block, frame and definition carries it */
	uint64_t file_size;
	uint32_t endian;
	uint16_t pointer_size;
	uint16_t arch; /* ELF e_machine: 62 is x86-64, 183 aarch64 */
	uint64_t control_off;
	uint64_t defs_off;
	uint64_t defs_len;
	uint64_t staging_off; /* lane i's block is at staging_off + i * block_len */
	uint32_t lanes;
	uint32_t shared_lanes; /* lanes 0..shared_lanes-1 are written under a lock by whoever has no lane */
	uint32_t block_len;
	uint32_t segment_len;
	uint64_t ring_off;
	uint64_t ring_len; /* a multiple of segment_len */
	uint64_t session;  /* random word of `tidemark record`, 0 without it */
	/* the process, and one instant read on four clocks */
	int32_t pid;
	int32_t ppid;
	uint64_t pid_ns; /* inode of /proc/self/ns/pid, 0 unknown */
	uint8_t boot_id[16];
	uint64_t process_start; /* clock ticks after boot, field 22 of /proc/self/stat; 0 unknown */
	uint64_t mono_ns;
	uint64_t real_ns;
	uint64_t boot_ns;
	uint64_t ticks;
	/* settings in force */
	uint64_t sample_bytes; /* 0: every event */
	uint32_t stack_limit;
	uint32_t python_mode; /* enum tide_python_mode */
	/* a forked child: who it was forked from; all 0 otherwise */
	uint64_t parent_uid;
	int32_t parent_pid;
	uint32_t page_size;
	uint64_t checksum; /* XXH64, seed 0, of the header_len bytes before it */
};
#define TIDE_SUPERBLOCK_LEN ((uint32_t)offsetof(struct tide_superblock, checksum))

enum tide_python_mode { TIDE_PYTHON_OFF = 0, TIDE_PYTHON_ARENAS = 1, TIDE_PYTHON_SITES = 2, TIDE_PYTHON_OBJECTS = 3 };

/* ---- control page: words that change. Each is kept twice; a pair that differs is damage or one call in flight ---- */
enum tide_loss {
	TIDE_LOSS_REENTRANT = 0, /* a signal handler allocated while every lane it may use was busy */
	TIDE_LOSS_PREINIT,       /* calls before the log existed */
	TIDE_LOSS_NO_SPACE,      /* a sealed block found no place in the ring */
	TIDE_LOSS_DEFINITIONS,   /* definitions that did not fit: frames or modules without a name */
	TIDE_LOSS_SEAL,          /* events of a block that could not be compressed */
	TIDE_LOSS_TRUNCATED,     /* stacks cut short (counted, not lost events) */
	TIDE_LOSS_CENSUS,        /* censuses begun and given up */
	TIDE_LOSS_FORK,          /* events of a child whose own log could not be created */
	TIDE_LOSS_SITES, /* allocations without a site, since more sites were met than there are numbers (not lost events) */
	TIDE_LOSS_REASONS /* how many reasons; at most 16 */
};
enum tide_control_word {
	TIDE_CTL_LOSS = 0, /* .. 15: by enum tide_loss */
	TIDE_CTL_EVICTED_FRAMES = 16,
	TIDE_CTL_EVICTED_EVENTS = 17,
	TIDE_CTL_SEALED_FRAMES = 18, /* frames ever published; the next frame's sequence number at least */
	TIDE_CTL_DEFS_USED = 19,     /* bytes of the definition region handed out */
	TIDE_CTL_SEGMENT = 20, /* segments ever begun: current is (n - 1) mod segments, lap (n - 1) / segments + 1 */
	TIDE_CTL_LANES = 21,   /* lanes that ever began a block; 0 before format 1.1 */
	TIDE_CTL_WORDS = 32
};
struct tide_control {
	uint64_t magic;
	uint64_t file_uid;
	uint64_t word[TIDE_CTL_WORDS][2];
};

/* ---- definitions: append-only, 16-byte aligned ---- */
enum tide_def_kind {
	TIDE_DEF_PROCESS = 1,   /* text: exe path, comm, kernel release; build-id of the exe */
	TIDE_DEF_MODULE = 2,    /* a mapped ELF object */
	TIDE_DEF_UNLOAD = 3,    /* u64 base, u64 mono_ns: the object is going away (dlclose) */
	TIDE_DEF_ALLOCATOR = 4, /* text: provider ("glibc 2.36"), path of the object that provides malloc */
	TIDE_DEF_PYTHON = 5,    /* version text, usable or not, arena and pool size */
	TIDE_DEF_CODE = 6,      /* one Python code object */
	TIDE_DEF_LINEAGE = 7,   /* forked: events of each lane of the parent that came before the fork */
	TIDE_DEF_END = 8,       /* u32 enum tide_end, u32 status, u64 mono_ns, u64 ticks */
	TIDE_DEF_SITES = 10,    /* call stacks of events that were overwritten */
	TIDE_DEF_RESUMED = 9,   /* the END before it did not happen (exec failed) */
	TIDE_DEF_PYSTACKS = 16, /* Python stacks by number, for the censuses of `sites` mode */
};
enum tide_end { TIDE_END_NONE = 0, TIDE_END_EXIT = 1, TIDE_END_EXEC = 2 };
#define TIDE_DEF_ALIGN 16u
/* A definition is valid if and only if magic, file_uid32 and checksum hold and 24 <= len <= what is left. */
struct tide_def {
	uint32_t magic;
	uint32_t len;        /* whole record, header included, before padding to 16 */
	uint32_t file_uid32; /* low half of file_uid */
	uint16_t kind;
	uint16_t reserved;
	uint64_t checksum; /* XXH64, seed = file_uid, of the record with this field 0 */
};

/* ---- staging block: one a lane ---- */
struct tide_block {
	uint64_t magic;
	uint64_t file_uid;
	uint32_t lane;
	uint32_t header_len;    /* payload begins here, sizeof(struct tide_block) */
	uint64_t block_seq;     /* 0, 1, 2 ... within the lane */
	uint64_t events_before; /* events of this lane before this block */
	uint64_t mono_ns;       /* anchor: read when the block was begun */
	uint64_t ticks;
	uint32_t tid; /* thread that wrote when the block was begun */
	uint32_t encoding;
	uint32_t epoch; /* in force when the block was begun */
	uint32_t reserved;
	uint32_t checksum;  /* low half of XXH64, seed = file_uid, of the 72 bytes before this field */
	uint32_t committed; /* payload bytes that are whole items: release store, read with acquire */
	uint32_t events;    /* events in them: stored before `committed`, so it may run ahead by one */
	uint32_t state;     /* enum tide_block_state */
	uint64_t check;     /* low half: so many payload bytes; high half: sum over them (sum.h) */
	uint8_t rest[32];
};
enum tide_block_state { TIDE_BLOCK_EMPTY = 0, TIDE_BLOCK_OPEN = 1, TIDE_BLOCK_SEALING = 2 };
#define TIDE_BLOCK_CHECKED ((uint32_t)offsetof(struct tide_block, checksum))

/* ---- ring ---- */
struct tide_segment {
	uint64_t magic;
	uint64_t file_uid;
	uint32_t index;
	uint32_t lap;       /* 1, 2, 3 ... */
	uint64_t frame_seq; /* the first frame in it has at least this number */
	uint64_t mono_ns;
	uint64_t reserved[2];
	uint64_t checksum; /* XXH64, seed = file_uid, of the 56 bytes before it */
};

enum tide_frame_kind { TIDE_FRAME_EVENTS = 1, TIDE_FRAME_CENSUS = 2, TIDE_FRAME_CARRY = 3 };
/* FORMAT.md 6, of what holds items. FIRST: before 1.2 other things were expected of them. */
enum tide_encoding { TIDE_ENCODING_FIRST = 1, TIDE_ENCODING_ITEMS = 2 };

/* A frame is valid if and only if: magic and file_uid hold, the header checksum holds, segment and lap are those
 * of the valid segment header it lies behind (if that is valid), it ends inside its segment, and the payload
 * checksum holds. Stale bytes of an earlier lap fail `lap`; those of another file fail `file_uid`. */
struct tide_frame {
	uint64_t magic; /* written last */
	uint64_t file_uid;
	uint32_t header_len;
	uint16_t kind;
	uint16_t encoding;
	uint32_t segment;
	uint32_t lap;
	uint64_t frame_seq;
	uint32_t stored_len; /* payload bytes, one zstd frame */
	uint32_t raw_len;    /* after decompression, <= TIDE_FRAME_RAW_MAX */
	/* EVENTS: the block it was. CENSUS: lane = part number, block_seq = census number, events = 1 in the last part.
	 * CARRY: the same, block_seq = epoch that is overwritten next, events_before = blocks in it */
	uint32_t lane;
	uint32_t tid;
	uint64_t block_seq;
	uint64_t events_before;
	uint32_t events;
	uint32_t epoch;   /* EVENTS: of the block; else 0 */
	uint64_t mono_ns; /* anchor at the beginning, as in the block */
	uint64_t ticks;
	uint64_t mono_end_ns; /* anchor when it was sealed */
	uint64_t ticks_end;
	uint64_t payload_checksum; /* XXH64, seed = file_uid, of the stored bytes */
	uint64_t header_checksum;  /* XXH64, seed = file_uid, of the 120 bytes before it */
};
#define TIDE_FRAME_CHECKED ((uint32_t)offsetof(struct tide_frame, header_checksum))

_Static_assert(sizeof(struct tide_superblock) == 240, "superblock");
_Static_assert(offsetof(struct tide_superblock, pid) == 128, "superblock.pid");
_Static_assert(sizeof(struct tide_control) == 16 + TIDE_CTL_WORDS * 16, "control");
_Static_assert(sizeof(struct tide_def) == 24, "definition");
_Static_assert(sizeof(struct tide_block) == 128, "block");
_Static_assert(TIDE_BLOCK_CHECKED == 72, "block.checksum");
_Static_assert(offsetof(struct tide_block, check) == 88, "block.check: stored as one word");
_Static_assert(sizeof(struct tide_segment) == 64, "segment");
_Static_assert(sizeof(struct tide_frame) == 128, "frame");
_Static_assert(TIDE_FRAME_CHECKED == 120, "frame.header_checksum");
_Static_assert((int)TIDE_LOSS_REASONS <= (int)TIDE_CTL_EVICTED_FRAMES, "loss reasons fit the control page");

/* How a file of `size` bytes (a multiple of TIDE_PAGE, within the limits) is divided. */
struct tide_geometry {
	uint64_t file_size, control_off, defs_off, defs_len, staging_off, ring_off, ring_len;
	uint32_t lanes, shared_lanes, block_len, segment_len;
};
static inline uint64_t tide_round_down(uint64_t value, uint64_t unit)
{
	return value - value % unit;
}
static inline struct tide_geometry tide_geometry_of(uint64_t size)
{
	struct tide_geometry g = {.file_size = size, .control_off = TIDE_PAGE, .defs_off = 2 * TIDE_PAGE};
	g.block_len = TIDE_BLOCK_MIN;
	while (g.block_len < TIDE_BLOCK_MAX && g.block_len < size / 1024)
		g.block_len *= 2;
	g.defs_len = tide_round_down(size / 8, TIDE_PAGE);
	/* in a small file what lives needs the room more than threads do */
	g.lanes = (uint32_t)(size / (size < (8u << 20) ? 8 : 4) / g.block_len);
	if (g.lanes > TIDE_LANES_MAX)
		g.lanes = TIDE_LANES_MAX;
	g.shared_lanes = g.lanes / 16 ? g.lanes / 16 : 1;
	g.staging_off = g.defs_off + g.defs_len;
	g.ring_off = g.staging_off + (uint64_t)g.lanes * g.block_len;
	uint64_t room = size - TIDE_PAGE - g.ring_off;
	uint64_t segment = tide_round_down(room / 48 + TIDE_PAGE - 1, TIDE_PAGE);
	uint64_t least = 2ull * g.block_len;
	g.segment_len = (uint32_t)(segment < least ? least : segment);
	g.ring_len = tide_round_down(room, g.segment_len);
	return g;
}

#endif
