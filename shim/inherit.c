#include "inherit.h"

#include <string.h>
#include <sys/mman.h>

#include "defs.h"
#include "logfile.h"
#include "python/python.h"
#include "sys.h"

#define GENERATIONS 4u /* a child may fork before it has a file, and so on */

static struct {
	uint8_t *defs;
	size_t len;
	uint32_t last_code; /* of the parent when it forked; what it defined since is not ours */
} kept[GENERATIONS];
static unsigned count;

void tide_inherit_keep(void)
{
	size_t used = tide_control_get(TIDE_CTL_DEFS_USED);
	size_t len = (used + TIDE_PAGE - 1) / TIDE_PAGE * TIDE_PAGE;
	uint32_t last = tide_python_last_code();
	if (!last || !used || count == GENERATIONS)
		return;
	uint8_t *aside = tide_sys_mmap(len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!aside)
		return;
	if (tide_sys_move(tide_logfile_at(tide_logfile.geometry.defs_off), aside, len) != 0) {
		tide_sys_munmap(aside, len);
		return;
	}
	kept[count].defs = aside;
	kept[count].len = used;
	kept[count++].last_code = last;
}

static void define_codes(const uint8_t *defs, size_t len, uint32_t last_code)
{
	struct tide_def head;
	for (size_t at = 0; at + sizeof head <= len;) {
		memcpy(&head, defs + at, sizeof head);
		if (head.magic != TIDE_MAGIC_DEF || head.len < sizeof head || head.len > len - at) {
			at += TIDE_DEF_ALIGN; /* another thread was writing it when the process forked */
			continue;
		}
		struct tide_part payload = {defs + at + sizeof head, head.len - sizeof head};
		struct tide_in in = tide_in_of(payload.bytes, payload.len);
		if (head.kind == TIDE_DEF_CODE && tide_get_varint(&in) <= last_code)
			tide_define(TIDE_DEF_CODE, &payload, 1);
		at += (head.len + TIDE_DEF_ALIGN - 1) / TIDE_DEF_ALIGN * TIDE_DEF_ALIGN;
	}
}

void tide_inherit_define(void)
{
	for (unsigned i = 0; i < count; i++) {
		define_codes(kept[i].defs, kept[i].len, kept[i].last_code);
		tide_sys_munmap(kept[i].defs, (kept[i].len + TIDE_PAGE - 1) / TIDE_PAGE * TIDE_PAGE);
	}
	count = 0;
}
