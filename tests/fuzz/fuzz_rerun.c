/*
 * A log, damaged as fuzz_log does it, becomes a plan for `tidemark replay`; nothing is executed. Whatever the log says, the operations
 * must be whole, within their tables and their mappings, and end; and must be the same when planned again.
 */
#include "memlog.h"

#include "rerun/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct checked {
	uint64_t *map_len; /* by slot */
	uint64_t samples, ops;
	bool ended;
};

static void check(const struct tide_plan *plan, struct checked *c, const struct tide_act *op)
{
	bool is_map = op->kind >= TIDE_ACT_MAP && op->kind <= TIDE_ACT_DISCARD;
	bool is_block = op->kind >= TIDE_ACT_MALLOC && op->kind <= TIDE_ACT_REALLOC;
	if ((is_block && op->slot >= plan->head.blocks) || (is_map && op->slot >= plan->head.maps) ||
	    (op->kind == TIDE_ACT_THREAD && op->slot >= TIDE_RERUN_THREADS))
		abort();
	if (op->kind == TIDE_ACT_MAP)
		c->map_len[op->slot] = op->size;
	else if (is_map && (op->extra > c->map_len[op->slot] || op->size > c->map_len[op->slot] - op->extra))
		abort();
	c->samples += op->kind == TIDE_ACT_SAMPLE;
	c->ops++;
	c->ended = op->kind == TIDE_ACT_END;
}

static uint64_t read_ops(const struct tide_plan *plan, int fd)
{
	off_t len = lseek(fd, 0, SEEK_CUR); /* what was written before is behind */
	uint8_t *bytes = malloc((size_t)len + 1);
	struct checked c = {.map_len = calloc(plan->head.maps + 1, sizeof(uint64_t))};
	if (!bytes || !c.map_len || pread(fd, bytes, (size_t)len, 0) != len || len < (off_t)sizeof plan->head)
		abort();
	uint64_t sum = tide_checksum(bytes, (size_t)len, 0);
	struct tide_in in = tide_in_of(bytes + sizeof plan->head, (size_t)len - sizeof plan->head);
	while (!c.ended) {
		struct tide_act op;
		if (!tide_act_get(&in, &op))
			abort();
		check(plan, &c, &op);
	}
	if (tide_in_left(&in) || c.samples != plan->head.samples || c.ops != plan->ops)
		abort();
	free(c.map_len);
	free(bytes);
	return sum;
}

static uint64_t plan_once(struct tide_log *log)
{
	static int fd = -1;
	struct tide_survey survey;
	struct tide_plan plan;
	struct tide_error err;
	uint64_t sum = 0;
	if (fd < 0)
		fd = memfd_create("ops", MFD_CLOEXEC);
	lseek(fd, 0, SEEK_SET);
	if (tide_survey_init(&survey, log) == TIDE_OK) {
		if (tide_plan_init(&plan, log, &survey, fd, &err) == TIDE_OK) {
			sum = read_ops(&plan, fd);
			tide_plan_release(&plan);
		}
		tide_survey_release(&survey);
	}
	return sum;
}

/* Two logs: one of many events; one of few, with censuses, and blocks that were carried over. */
static struct memlog *make(bool carried)
{
	struct mklog_options o = {.seed = carried ? 273 : 21,
				  .size = TIDE_FILE_MIN,
				  .events = carried ? 120 : 500,
				  .lanes = 3,
				  .depth = 3,
				  .python = true,
				  .pid = 4242,
				  .process_start = 99};
	struct mklog *m = mklog_make(&o);
	if (carried)
		memlog_carry(m);
	return memlog_of(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct memlog *logs[2];
	struct memlog **made = &logs[size % 4 > 1], *l = *made ? *made : (*made = make(size % 4 > 1));
	const struct tide_geometry *g = &l->m->g;
	for (size_t i = 0; i + 4 <= size; i += 4) { /* edits inside staging blocks */
		uint64_t offset = (data[i] | (uint64_t)data[i + 1] << 8 | (uint64_t)data[i + 2] << 16);
		memlog_put(l, g->staging_off + offset % ((uint64_t)l->m->o.lanes * g->block_len), data[i + 3]);
	}
	memlog_fix_blocks(l);
	memlog_serve(l->file, g->file_size);
	struct tide_log *log;
	if (tide_log_open(MEMLOG_PATH, &log, NULL) == TIDE_OK) {
		uint64_t first = plan_once(log);
		if (size % 16 < 4 && plan_once(log) != first)
			abort();
		tide_log_free(log);
	}
	memlog_restore(l);
	return 0;
}
