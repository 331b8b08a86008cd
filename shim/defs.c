#include "defs.h"

#include <stdatomic.h>
#include <string.h>

#include "logfile.h"
#include "record.h"

/* However many code objects there are, the log can say how its process ended, and of a few execs that failed before. */
#define KEPT_FOR_THE_END 512u

/* Hands out room; the counter moves only when it fits, so that a full region stays exact. */
static uint8_t *reserve(enum tide_def_kind kind, size_t len)
{
	const struct tide_geometry *g = &tide_logfile.geometry;
	bool last_word = kind == TIDE_DEF_END || kind == TIDE_DEF_RESUMED;
	uint64_t room = g->defs_len - (last_word ? 0 : KEPT_FOR_THE_END);
	struct tide_control *control = tide_logfile_at(g->control_off);
	_Atomic uint64_t *used = (_Atomic uint64_t *)&control->word[TIDE_CTL_DEFS_USED][0];
	uint64_t at = atomic_load_explicit(used, memory_order_relaxed);
	do {
		if (at > room || len > room - at)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(used, &at, at + len, memory_order_relaxed,
							memory_order_relaxed));
	atomic_fetch_add_explicit((_Atomic uint64_t *)&control->word[TIDE_CTL_DEFS_USED][1], len, memory_order_relaxed);
	return tide_logfile_at(g->defs_off + at);
}

bool tide_define(enum tide_def_kind kind, const struct tide_part *parts, unsigned count)
{
	size_t len = sizeof(struct tide_def);
	for (unsigned i = 0; i < count; i++)
		len += parts[i].len;
	uint8_t *at = tide_logfile.base && len <= tide_logfile.geometry.defs_len
			      ? reserve(kind, (len + TIDE_DEF_ALIGN - 1) / TIDE_DEF_ALIGN * TIDE_DEF_ALIGN)
			      : NULL;
	if (!at) {
		tide_count_loss(TIDE_LOSS_DEFINITIONS, 1);
		return false;
	}
	struct tide_def head = {
		.magic = TIDE_MAGIC_DEF,
		.len = (uint32_t)len,
		.file_uid32 = (uint32_t)tide_logfile.file_uid,
		.kind = (uint16_t)kind,
	};
	size_t done = sizeof head;
	memcpy(at, &head, sizeof head);
	for (unsigned i = 0; i < count; i++) {
		memcpy(at + done, parts[i].bytes, parts[i].len);
		done += parts[i].len;
	}
	/* the checksum is what makes the record valid, so it is stored last */
	uint64_t sum = tide_checksum(at, len, tide_logfile.file_uid);
	atomic_store_explicit((_Atomic uint64_t *)(at + offsetof(struct tide_def, checksum)), sum,
			      memory_order_release);
	return true;
}
