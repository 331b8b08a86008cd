/* Reading a log that another process is writing: every answer is a whole one, and nothing looks like damage. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../tools/mklog.h"
#include "read/alive.h"
#include "read/log.h"

#define EVENTS 150000

static void identify(struct mklog_options *o)
{
	char text[1024], *at;
	FILE *file = fopen("/proc/self/stat", "r");
	assert_true(file && fgets(text, sizeof text, file));
	fclose(file);
	at = strrchr(text, ')') + 2;
	for (unsigned field = 3; field < 22; field++)
		at = strchr(at, ' ') + 1;
	o->process_start = strtoull(at, NULL, 10);
	o->pid = getpid();
	file = fopen("/proc/sys/kernel/random/boot_id", "r");
	assert_true(file && fgets(text, sizeof text, file));
	fclose(file);
	for (unsigned i = 0, j = 0; i < 16; i++) {
		if (text[j] == '-')
			j++;
		unsigned byte;
		assert_int_equal(sscanf(text + j, "%2x", &byte), 1);
		o->boot_id[i] = (uint8_t)byte;
		j += 2;
	}
}

/* Writes at full speed, then waits to be killed. */
static void writer(struct mklog_options o)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* should a check fail */
	identify(&o);
	mklog_make(&o);
	for (;;)
		pause();
}

static bool same(const struct tide_event *got, const struct mklog_event *want)
{
	return got->kind == want->kind && got->tid == want->tid && got->addr == want->addr && got->size == want->size &&
	       got->value == want->value;
}

/* The lane's events as they were written; what was overwritten meanwhile is missing in one piece or more. */
static uint64_t read_once(const char *path, const struct mklog *m, uint64_t *ret_seen)
{
	struct tide_log *log;
	struct tide_error err;
	struct tide_event e;
	size_t next[8] = {0};
	*ret_seen = 0;
	if (tide_log_open(path, &log, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	while (tide_log_next(log, &e) == 1) {
		size_t *at = &next[e.lane];
		while (*at < m->events && (m->event[*at].lane != e.lane || !same(&e, &m->event[*at])))
			++*at;
		if (*at == m->events)
			fail_msg("lane %u: event %llu was never recorded", e.lane, (unsigned long long)*ret_seen);
		++*at;
		++*ret_seen;
	}
	const struct tide_losses *l = tide_log_losses(log);
	uint64_t recorded = l->recorded;
	for (uint32_t i = 0; i < l->damage_count; i++)
		print_message("%s\n", l->damage[i].what);
	assert_int_equal(tide_log_process(log)->end, TIDE_SEEN_RUNNING);
	assert_false(l->damaged);
	assert_int_equal(l->lost, 0);
	assert_int_equal(l->in_window, *ret_seen);
	assert_int_equal(recorded, l->in_window + l->evicted);
	tide_log_free(log);
	return recorded;
}

static void read_while_written(uint64_t seed)
{
	char path[] = "/tmp/tide-test-XXXXXX";
	int fd = mkstemp(path), status;
	struct mklog_options o = {.seed = seed,
				  .size = TIDE_FILE_MIN << seed % 2,
				  .events = EVENTS,
				  .lanes = 1 + seed % 5,
				  .depth = 5,
				  .python = true};
	struct mklog *m = mklog_make(&o); /* the same seed: the same events */
	assert_true(fd >= 0 && ftruncate(fd, (off_t)o.size) == 0);
	o.into = mmap(NULL, o.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(o.into != MAP_FAILED);
	pid_t pid = fork();
	if (pid == 0)
		writer(o);
	uint64_t recorded = 0, last = 0, seen;
	while (__atomic_load_n((uint64_t *)o.into, __ATOMIC_ACQUIRE) != TIDE_MAGIC_FILE)
		usleep(100);
	while (recorded < m->events) {
		recorded = read_once(path, m, &seen);
		assert_true(recorded >= last);
		last = recorded;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	struct tide_log *log;
	assert_int_equal(tide_log_open(path, &log, NULL), TIDE_OK);
	assert_int_equal(tide_log_process(log)->end, TIDE_SEEN_KILLED);
	assert_int_equal(tide_log_losses(log)->recorded, m->events);
	assert_int_equal(tide_log_losses(log)->evicted, m->evicted);
	assert_false(tide_log_losses(log)->damaged);
	tide_log_free(log);
	unlink(path);
	close(fd);
	munmap(o.into, o.size);
	mklog_free(m);
}

static void live(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < 106; seed++)
		read_while_written(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(live)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
