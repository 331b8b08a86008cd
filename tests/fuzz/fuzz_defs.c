/* Definition payloads: a sequence of (kind, two bytes of length, payload), as if their checksums had held. */
#include <stdlib.h>
#include <string.h>

#include "read/defs.h"
#include "read/pystacks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every site's node is one of the tree. */
static size_t walk_sites(const struct tide_defs *defs)
{
	struct tide_stacks stacks;
	struct tide_pystacks sites = {0};
	size_t sum = 0;
	if (tide_stacks_init(&stacks) != 0)
		abort();
	for (uint32_t i = 0; i < defs->pystack_records; i++)
		if (tide_pystacks_parse(&sites, &stacks, defs->pystack_record[i].bytes, defs->pystack_record[i].len) <
		    0)
			abort();
	for (uint32_t i = 0; sites.node_plus_one && i < TIDE_PYSTACK_NUMBERS; i++) {
		if (sites.node_plus_one[i] > stacks.count)
			abort();
		sum += sites.node_plus_one[i];
	}
	tide_pystacks_release(&sites);
	tide_stacks_release(&stacks);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_defs defs;
	size_t text = 0;
	tide_defs_init(&defs);
	for (size_t at = 0; at + 3 <= size;) {
		unsigned kind = data[at];
		size_t len = data[at + 1] | (size_t)data[at + 2] << 8;
		at += 3;
		len = len < size - at ? len : size - at;
		if (tide_defs_parse(&defs, kind, data + at, len) < 0)
			abort();
		at += len;
	}
	tide_defs_finish(&defs);
	text += strlen(defs.exe) + strlen(defs.comm) + strlen(defs.allocator) + strlen(defs.build_id);
	for (uint32_t i = 0; i < defs.codes; i++) {
		const struct tide_code *code = tide_defs_code(&defs, defs.code[i].id);
		if (code != &defs.code[i])
			abort();
		text += strlen(code->file) + strlen(code->function);
		for (uint32_t j = 0; j < code->table_len; j++)
			text += code->table[j];
	}
	for (uint32_t i = 0; i < defs.modules; i++)
		text += strlen(defs.module[i].path) + defs.module[i].build_id_len;
	for (uint32_t i = 0; i < defs.lineage_lanes; i++)
		text += (size_t)defs.lineage[i];
	text += walk_sites(&defs);
	tide_defs_release(&defs);
	return text == SIZE_MAX; /* so that no byte is read for nothing */
}
