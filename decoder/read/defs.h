/*
 * defs.h - the definition region (FORMAT.md 4): found by scan, checked, parsed into tables.
 */
#ifndef TIDE_READ_DEFS_H
#define TIDE_READ_DEFS_H

#include "format/layout.h"
#include "read/damage.h"
#include "read/file.h"
#include "read/log.h"

/* A reader's own limit: no definition that tidemark writes comes near. */
#define TIDE_DEF_MAX (16u << 20)

struct tide_text_block; /* strings and tables live in a chain of these */

struct tide_def_bytes {
	const uint8_t *bytes;
	size_t len;
};

struct tide_defs {
	/* PROCESS, ALLOCATOR, PYTHON: never NULL but python */
	const char *exe, *comm, *kernel, *build_id, *allocator, *allocator_path, *python;
	bool python_usable;
	uint32_t python_arena, python_pool;
	struct tide_module *module;
	uint32_t modules, modules_cap;
	struct tide_code *code; /* by id, no two alike */
	uint32_t codes, codes_cap;
	struct tide_site_record { /* payloads of SITES, whole ones; sites.h reads them */
		const uint8_t *bytes;
		size_t len;
	} * site_record;
	uint32_t site_records, site_records_cap;
	struct tide_def_bytes *pystack_record; /* payloads of PYSTACKS, in order; pystacks.h reads them */
	uint32_t pystack_records, pystack_records_cap;
	uint64_t *lineage; /* NULL: none */
	uint32_t lineage_lanes;
	uint64_t lineage_ticks;
	uint32_t end; /* enum tide_end; TIDE_END_NONE: did not, or it was taken back */
	uint32_t end_status;
	uint64_t end_ns, end_ticks;
	struct tide_text_block *text;
};

/* False: no memory; *ret is then released. `used`: bytes handed out as the control page says, 0 unknown.
 * `running`: the writer is alive, records may be unfinished. */
struct tide_defs_source {
	const struct tide_file *file;
	const struct tide_geometry *geometry;
	uint64_t file_uid;
	uint64_t used;
	bool running;
};
bool tide_defs_read(const struct tide_defs_source *, struct tide_damages *, struct tide_defs *ret);
void tide_defs_release(struct tide_defs *);

void tide_defs_init(struct tide_defs *);
/* One record's payload. 1: taken (or of a kind not known). 0: it breaks the rules of its kind, nothing was changed.
 * TIDE_ERR_NOMEM. For tide_defs_read, and for fuzzing. */
int tide_defs_parse(struct tide_defs *, unsigned kind, const uint8_t *payload, size_t len);
/* After the last tide_defs_parse: makes tide_defs_code usable. */
void tide_defs_finish(struct tide_defs *);
const struct tide_code *tide_defs_code(const struct tide_defs *, uint32_t id);

#endif
