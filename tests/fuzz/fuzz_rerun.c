/*
 * A log, damaged as fuzz_log does it, becomes a plan for `tidemark replay`; nothing is executed. Whatever the log says, the operations
 * must be whole, within their tables and their mappings, and end; and must be the same when planned again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tools/mklog.h"
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
	off_t len = lseek(fd, 0, SEEK_END);
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
	struct tide_survey survey;
	struct tide_plan plan;
	struct tide_error err;
	int fd = memfd_create("ops", MFD_CLOEXEC);
	uint64_t sum = 0;
	if (tide_survey_init(&survey, log) == TIDE_OK) {
		if (tide_plan_init(&plan, log, &survey, fd, &err) == TIDE_OK) {
			sum = read_ops(&plan, fd);
			tide_plan_release(&plan);
		}
		tide_survey_release(&survey);
	}
	close(fd);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mklog *m;
	static int fd = -1;
	static uint8_t *file;
	static char path[64];
	if (!m) {
		struct mklog_options o = {
			.seed = 21, .size = TIDE_FILE_MIN, .events = 500, .lanes = 3, .depth = 3, .python = true};
		m = mklog_make(&o);
		fd = memfd_create("log", MFD_CLOEXEC);
		file = malloc(m->g.file_size);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	}
	memcpy(file, m->file, m->g.file_size);
	for (size_t i = 0; i + 4 <= size; i += 4) { /* edits inside staging blocks */
		uint64_t offset = (data[i] | (uint64_t)data[i + 1] << 8 | (uint64_t)data[i + 2] << 16);
		file[m->g.staging_off + offset % ((uint64_t)m->g.lanes * m->g.block_len)] = data[i + 3];
	}
	for (uint32_t i = 0; i < m->g.lanes; i++) {
		struct tide_block *b = (struct tide_block *)(file + m->g.staging_off + (uint64_t)i * m->g.block_len);
		mklog_fix_block(m, b);
	}
	if (ftruncate(fd, (off_t)m->g.file_size) != 0 || pwrite(fd, file, m->g.file_size, 0) != (ssize_t)m->g.file_size)
		abort();
	struct tide_log *log;
	if (tide_log_open(path, &log, NULL) == TIDE_OK) {
		uint64_t first = plan_once(log);
		if (size % 16 < 4 && plan_once(log) != first)
			abort();
		tide_log_free(log);
	}
	return 0;
}
