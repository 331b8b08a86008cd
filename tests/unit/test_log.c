/* The reader against random valid logs: tools/mklog.h knows what must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../tools/mklog.h"
#include "read/log.h"

#define SEEDS 60

static void write_file(const char *path, const void *bytes, size_t len)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static struct tide_log *open_bytes(const void *bytes, size_t len)
{
	char path[] = "/tmp/tide-test-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	write_file(path, bytes, len);
	struct tide_log *log = NULL;
	struct tide_error err;
	enum tide_status status = tide_log_open(path, &log, &err);
	unlink(path);
	if (status != TIDE_OK)
		fail_msg("%s", err.text);
	return log;
}

static void same_stack(struct tide_log *log, uint32_t node, const uint64_t *words, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		assert_true(node != 0);
		assert_true(tide_log_node_word(log, node) == words[i]);
		node = tide_log_node_parent(log, node);
	}
	assert_int_equal(node, 0);
}

static void same_event(struct tide_log *log, const struct mklog *m, const struct tide_event *got,
		       const struct mklog_event *want)
{
	assert_int_equal(got->kind, want->kind);
	assert_int_equal(got->tid, want->tid);
	assert_true(got->addr == want->addr);
	assert_true(got->size == want->size);
	assert_true(got->value == want->value);
	assert_true(got->value2 == want->value2);
	same_stack(log, got->native, m->word + want->native, want->native_len);
	same_stack(log, got->python, m->word + want->python, want->python_len);
	uint64_t off = got->time_ns > want->ns ? got->time_ns - want->ns : want->ns - got->time_ns;
	assert_true(off < 100);
}

/* Events of each lane, in order, that a reader can still see. */
struct lanes {
	const struct mklog_event **event[8];
	size_t count[8], next[8];
};

static void sort_by_lane(const struct mklog *m, struct lanes *ret)
{
	memset(ret, 0, sizeof *ret);
	for (unsigned i = 0; i < 8; i++) {
		ret->event[i] = malloc((m->events + 1) * sizeof *ret->event[i]);
		assert_non_null(ret->event[i]);
	}
	for (size_t i = 0; i < m->events; i++)
		if (mklog_visible(m, &m->event[i]))
			ret->event[m->event[i].lane][ret->count[m->event[i].lane]++] = &m->event[i];
}

static void release_lanes(struct lanes *lanes)
{
	for (unsigned i = 0; i < 8; i++)
		free(lanes->event[i]);
}

static uint32_t word_of(const struct mklog_event *e)
{
	return tide_kind_fields(e->kind) & TIDE_F_ADDR ? tide_word_of(e->addr) : 0;
}

/* When the last of the lanes whose beginnings were evicted begins, and whoever took a word before has read the counter. From then on
 * the order is exact; before, an epoch's predecessor may be one that was evicted. */
static uint64_t exact_from(const struct mklog *m, const struct lanes *lanes)
{
	uint64_t from = 0;
	for (unsigned i = 0; i < 8; i++)
		if (lanes->count[i] && lanes->event[i][0]->number > 0 && lanes->event[i][0]->ns > from)
			from = lanes->event[i][0]->ns;
	return from ? from + m->o.slow / 3 : 0;
}

/* Reads to the end: every lane as it was written, every ownership word in the order of what happened. */
static void read_all(struct tide_log *log, const struct mklog *m)
{
	struct lanes lanes;
	struct tide_event e;
	static const struct mklog_event *last[TIDE_WORDS];
	uint64_t index = 0;
	memset(last, 0, sizeof last);
	sort_by_lane(m, &lanes);
	uint64_t exact = exact_from(m, &lanes);
	while (tide_log_next(log, &e) == 1) {
		assert_true(e.lane < m->o.lanes && lanes.next[e.lane] < lanes.count[e.lane]);
		assert_true(e.index == index++);
		const struct mklog_event *want = lanes.event[e.lane][lanes.next[e.lane]++];
		same_event(log, m, &e, want);
		assert_true(!last[word_of(want)] || last[word_of(want)] < want || want->ns < exact);
		last[word_of(want)] = want;
	}
	for (unsigned i = 0; i < m->o.lanes; i++)
		assert_int_equal(lanes.next[i], lanes.count[i]);
	release_lanes(&lanes);
}

static void check_losses(struct tide_log *log, const struct mklog *m)
{
	const struct tide_losses *l = tide_log_losses(log);
	for (unsigned i = 0; i < l->damage_count; i++)
		print_message("seed %llu: %s\n", (unsigned long long)m->o.seed, l->damage[i].what);
	assert_false(l->damaged);
	assert_int_equal(l->recorded, m->events);
	assert_int_equal(l->evicted, m->evicted);
	assert_int_equal(l->lost, 0);
	assert_int_equal(l->in_window, m->events - m->evicted);
	if (m->evicted == 0)
		assert_int_equal(l->order_anomalies, 0);
}

static void check_censuses(struct tide_log *log, const struct mklog *m)
{
	uint32_t whole = 0, found = 0;
	for (size_t i = 0; i < m->censuses; i++)
		whole += m->census[i].parts_evicted == 0;
	for (uint32_t i = 0; i < tide_log_census_count(log); i++) {
		struct tide_census_blob blob;
		assert_int_equal(tide_log_census(log, i, &blob), TIDE_OK);
		assert_true(blob.number < m->censuses);
		const struct mklog_census *want = &m->census[blob.number];
		assert_true(blob.len <= want->len);
		assert_memory_equal(blob.bytes, want->bytes, blob.len);
		assert_true(blob.time_ns == want->ns);
		assert_int_equal(blob.complete, blob.len == want->len);
		found += blob.complete;
	}
	assert_int_equal(found, whole);
}

static void check_process(struct tide_log *log, const struct mklog *m)
{
	const struct tide_process *p = tide_log_process(log);
	const struct tide_module *module;
	assert_string_equal(p->name, "worker");
	assert_string_equal(p->exe, "/usr/bin/worker");
	assert_string_equal(p->build_id, "01234567");
	assert_string_equal(p->allocator, "glibc 2.36");
	assert_int_equal(p->end, m->o.end ? TIDE_SEEN_EXIT : TIDE_SEEN_KILLED);
	assert_int_equal(tide_log_modules(log, &module), 4);
	assert_string_equal(module[2].path, "/lib/libc.so");
	assert_int_equal(module[0].build_id_len, 8);
	if (m->o.python)
		assert_string_equal(p->python, "3.11.2");
	else
		assert_null(p->python);
	assert_int_equal(tide_log_lineage(log)->lanes, m->o.child ? 3 : 0);
	for (uint32_t id = 1; id <= m->next_code; id++) {
		char name[32];
		const struct tide_code *code = tide_log_code(log, id);
		snprintf(name, sizeof name, id % 2 ? "handle_%u" : "h\xc3\xa9_%u", id);
		assert_non_null(code);
		assert_string_equal(code->function, name);
		assert_int_equal(code->first_line, 10 * id);
		assert_int_equal(code->table_len, 2);
	}
	assert_null(tide_log_code(log, 0));
	assert_null(tide_log_code(log, 1000));
}

static void random_logs(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mklog_options o = mklog_options_of(seed);
		struct mklog *m = mklog_make(&o);
		struct tide_log *log = open_bytes(m->file, m->g.file_size);
		check_process(log, m);
		read_all(log, m);
		check_losses(log, m);
		uint32_t nodes = tide_log_node_count(log);
		tide_log_rewind(log);
		read_all(log, m);
		check_losses(log, m);
		assert_int_equal(tide_log_node_count(log), nodes);
		check_censuses(log, m);
		tide_log_free(log);
		mklog_free(m);
	}
}

/* With threads that read ahead: the same, also if they are stopped in the middle. */
static void threads(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct mklog_options o = mklog_options_of(seed);
		struct mklog *m = mklog_make(&o);
		struct tide_log *log = open_bytes(m->file, m->g.file_size);
		struct tide_event e;
		tide_log_threads(log, 1 + (unsigned)seed % 3);
		for (unsigned i = 0; i < 100 * seed && tide_log_next(log, &e) == 1;)
			i++;
		tide_log_rewind(log);
		read_all(log, m);
		check_losses(log, m);
		tide_log_threads(log, seed % 2);
		read_all(log, m);
		check_losses(log, m);
		tide_log_free(log);
		mklog_free(m);
	}
}

static void limits_end_lanes(void **state)
{
	(void)state;
	struct mklog_options o = {.seed = 5, .size = TIDE_FILE_MIN, .events = 4000, .lanes = 3, .depth = 4};
	struct mklog *m = mklog_make(&o);
	struct tide_log *log = open_bytes(m->file, m->g.file_size);
	const uint64_t limit[2] = {m->lane[0].visible_from + 100, 0};
	assert_int_equal(tide_log_limit(log, limit, 2), TIDE_OK);
	struct tide_event e;
	uint64_t seen = 0;
	while (tide_log_next(log, &e) == 1) {
		assert_int_equal(e.lane, 0);
		seen++;
	}
	assert_int_equal(seen, 100);
	assert_int_equal(tide_log_limit(log, NULL, 0), TIDE_OK);
	read_all(log, m);
	check_losses(log, m);
	tide_log_free(log);
	mklog_free(m);
}

/* A frame whose payload is damaged: its events are lost, told to the event, with a gap; all others come. */
static void bad_payload(void **state)
{
	(void)state;
	struct mklog_options o = {
		.seed = 9, .size = TIDE_FILE_MIN, .events = 3000, .lanes = 2, .depth = 4, .end = true};
	struct mklog *m = mklog_make(&o);
	struct tide_frame f;
	uint8_t *at = m->file + m->g.ring_off + sizeof(struct tide_segment);
	memcpy(&f, at, sizeof f);
	assert_true(f.magic == TIDE_MAGIC_FRAME);
	at[sizeof f + 20] ^= 4;
	struct tide_log *log = open_bytes(m->file, m->g.file_size);
	struct tide_event e;
	uint64_t seen = 0;
	while (tide_log_next(log, &e) == 1)
		seen++;
	const struct tide_losses *l = tide_log_losses(log);
	assert_true(l->damaged);
	assert_int_equal(l->lost, f.events);
	assert_int_equal(l->bad_frames, 1);
	assert_int_equal(seen, l->in_window);
	assert_int_equal(l->recorded, m->events);
	assert_int_equal(l->recorded, l->in_window + l->evicted + l->lost);
	const struct tide_gap *gap;
	uint64_t lost = 0;
	for (uint32_t i = 0, n = tide_log_gaps(log, &gap); i < n; i++)
		lost += gap[i].evicted ? 0 : gap[i].events;
	assert_int_equal(lost, f.events);
	tide_log_free(log);
	mklog_free(m);
}

/* The header is gone: the lane's numbers still tell how much. */
static void bad_frame_header(void **state)
{
	(void)state;
	struct mklog_options o = {
		.seed = 9, .size = TIDE_FILE_MIN, .events = 3000, .lanes = 2, .depth = 4, .end = true};
	struct mklog *m = mklog_make(&o);
	struct tide_frame f;
	uint8_t *at = m->file + m->g.ring_off + sizeof(struct tide_segment);
	memcpy(&f, at, sizeof f);
	at[40] ^= 1;
	struct tide_log *log = open_bytes(m->file, m->g.file_size);
	const struct tide_losses *l = tide_log_losses(log);
	assert_true(l->damaged);
	assert_int_equal(l->lost, f.kind == TIDE_FRAME_EVENTS ? f.events : 0);
	assert_int_equal(l->recorded, m->events);
	tide_log_free(log);
	mklog_free(m);
}

static void superblocks(void **state)
{
	(void)state;
	struct mklog_options o = {
		.seed = 3, .size = TIDE_FILE_MIN, .events = 1000, .lanes = 2, .depth = 4, .end = true};
	for (unsigned which = 1; which < 4; which++) {
		struct mklog *m = mklog_make(&o);
		if (which & 1)
			m->file[100] ^= 1;
		if (which & 2)
			m->file[m->g.file_size - TIDE_PAGE + 100] ^= 1;
		struct tide_log *log = open_bytes(m->file, m->g.file_size);
		struct tide_event e;
		uint64_t seen = 0;
		while (tide_log_next(log, &e) == 1)
			seen++;
		assert_int_equal(seen, m->events - m->evicted);
		assert_true(tide_log_losses(log)->damaged);
		assert_int_equal(tide_log_losses(log)->damage_count, which == 3 ? 2 : 1);
		tide_log_free(log);
		mklog_free(m);
	}
}

/* Cut at every page: never more events than before the cut, and the sum holds. */
static void cut_short(void **state)
{
	(void)state;
	struct mklog_options o = {
		.seed = 4, .size = TIDE_FILE_MIN, .events = 6000, .lanes = 3, .depth = 4, .end = true};
	struct mklog *m = mklog_make(&o);
	uint64_t least = 0;
	for (uint64_t len = TIDE_PAGE; len < m->g.file_size; len += 1000) {
		struct tide_log *log = open_bytes(m->file, len);
		struct tide_event e;
		uint64_t seen = 0;
		while (tide_log_next(log, &e) == 1)
			seen++;
		const struct tide_losses *l = tide_log_losses(log);
		assert_true(l->damaged);
		assert_true(seen == l->in_window && seen >= least);
		assert_int_equal(l->recorded, l->in_window + l->evicted + l->lost);
		if (len > m->g.ring_off) {
			assert_int_equal(l->recorded, m->events);
			assert_int_equal(l->evicted, m->evicted);
		}
		least = seen;
		tide_log_free(log);
	}
	mklog_free(m);
}

static void refused(void **state)
{
	(void)state;
	struct tide_log *log = NULL;
	struct tide_error err;
	assert_int_equal(tide_log_open("/tmp", &log, &err), TIDE_ERR_NOT_A_LOG);
	assert_int_equal(tide_log_open("/dev/null", &log, &err), TIDE_ERR_NOT_A_LOG);
	assert_int_equal(tide_log_open("/nonexistent/x.tide", &log, &err), TIDE_ERR_IO);
	assert_null(log);
	tide_log_free(NULL);
}

static void newer_formats(void **state)
{
	(void)state;
	struct mklog_options o = {.seed = 3, .size = TIDE_FILE_MIN, .events = 10, .lanes = 1};
	for (unsigned which = 0; which < 2; which++) {
		struct mklog *m = mklog_make(&o);
		struct tide_superblock s = m->super;
		char path[] = "/tmp/tide-test-XXXXXX";
		if (which)
			s.version_major = 2;
		else
			s.incompat_flags = 2;
		s.checksum = tide_checksum(&s, TIDE_SUPERBLOCK_LEN, 0);
		memcpy(m->file, &s, sizeof s);
		close(mkstemp(path));
		write_file(path, m->file, m->g.file_size);
		struct tide_log *log = NULL;
		struct tide_error err;
		assert_int_equal(tide_log_open(path, &log, &err), TIDE_ERR_TOO_NEW);
		assert_null(log);
		unlink(path);
		mklog_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_logs), cmocka_unit_test(threads),          cmocka_unit_test(limits_end_lanes),
		cmocka_unit_test(bad_payload), cmocka_unit_test(bad_frame_header), cmocka_unit_test(superblocks),
		cmocka_unit_test(cut_short),   cmocka_unit_test(refused),          cmocka_unit_test(newer_formats),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
