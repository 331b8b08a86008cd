/* Inheritance where the parent's log is not what the child's says: any other log, or the child's own. tests/cli/test_inherited.py has
 * real processes, and what must come out. */
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
#include "replay/heritage.h"

struct file {
	char path[32];
	struct mklog *m;
};

static void write_file(struct file *f)
{
	strcpy(f->path, "/tmp/tide-test-XXXXXX");
	int fd = mkstemp(f->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, f->m->file, f->m->g.file_size), f->m->g.file_size);
	close(fd);
}

/* A log of some seed; a child's says that it is that of `parent_uid`, or, for 0, its own child. */
static struct file make(uint64_t seed, bool child, uint64_t parent_uid)
{
	struct mklog_options o = mklog_options_of(seed);
	struct file f;
	o.child = child;
	f.m = mklog_make(&o);
	struct tide_superblock *s = (struct tide_superblock *)f.m->file;
	s->parent_uid = child ? (parent_uid ? parent_uid : s->file_uid) : 0;
	s->checksum = tide_checksum(s, TIDE_SUPERBLOCK_LEN, 0);
	memcpy(f.m->file + f.m->g.file_size - TIDE_PAGE, s, sizeof *s);
	write_file(&f);
	return f;
}

static void drop(struct file *f)
{
	unlink(f->path);
	mklog_free(f->m);
}

static const char *always(void *arg, uint64_t uid, bool *ret_nomem)
{
	(void)uid;
	(void)ret_nomem;
	return arg;
}

static const char *never(void *arg, uint64_t uid, bool *ret_nomem)
{
	(void)arg;
	(void)uid;
	(void)ret_nomem;
	return NULL;
}

static struct tide_log *open_file(const struct file *f)
{
	struct tide_log *log;
	struct tide_error err;
	assert_int_equal(tide_log_open(f->path, &log, &err), TIDE_OK);
	return log;
}

static void check(const struct tide_heritage *h, const struct tide_log *child)
{
	uint64_t bytes = 0;
	assert_in_range(h->heir, TIDE_HEIR_WHOLE, TIDE_HEIR_NO_LINEAGE);
	assert_true(h->heir <= TIDE_HEIR_UNSURE || h->blocks == 0);
	for (size_t i = 0; i < h->blocks; i++) {
		assert_true(h->block[i].addr != 0 && h->block[i].flags & TIDE_BLOCK_INHERITED);
		assert_true(h->block[i].site < tide_log_pair_count(child));
		bytes += h->block[i].size;
	}
	assert_true(h->bytes == bytes);
}

static void any_parent(void **state)
{
	(void)state;
	unsigned told = 0;
	for (uint64_t seed = 0; seed < 24; seed++) {
		struct file parent = make(seed, false, 0), child = make(seed + 100, true, parent.m->super.file_uid);
		struct tide_log *log = open_file(&child);
		struct tide_heritage h;
		assert_int_equal(tide_heritage_init(&h, log, always, parent.path), TIDE_OK);
		check(&h, log);
		told += h.blocks > 0;
		size_t blocks = h.blocks;
		tide_heritage_release(&h);
		assert_int_equal(tide_heritage_init(&h, log, always, parent.path), TIDE_OK);
		assert_int_equal(h.blocks, blocks);
		tide_heritage_release(&h);
		assert_int_equal(tide_heritage_init(&h, log, never, NULL), TIDE_OK);
		assert_int_equal(h.heir, TIDE_HEIR_NO_LOG);
		assert_int_equal(tide_heritage_init(&h, log, always, "/nowhere"), TIDE_OK);
		assert_int_equal(h.heir, TIDE_HEIR_UNREADABLE);
		tide_log_free(log);
		drop(&parent);
		drop(&child);
	}
	assert_true(told > 5);
}

static void own_ancestor(void **state)
{
	(void)state;
	struct file self = make(9, true, 0);
	struct tide_log *log = open_file(&self);
	struct tide_heritage h;
	assert_int_equal(tide_heritage_init(&h, log, always, self.path), TIDE_OK);
	check(&h, log);
	assert_true(h.heir != TIDE_HEIR_WHOLE);
	tide_heritage_release(&h);
	tide_log_free(log);
	drop(&self);
}

static void no_child(void **state)
{
	(void)state;
	struct file plain = make(5, false, 0);
	struct tide_log *log = open_file(&plain);
	struct tide_heritage h;
	assert_int_equal(tide_heritage_init(&h, log, always, plain.path), TIDE_OK);
	assert_true(h.heir == TIDE_HEIR_NONE && h.blocks == 0);
	tide_log_free(log);
	drop(&plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_parent), cmocka_unit_test(own_ancestor),
					   cmocka_unit_test(no_child)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
