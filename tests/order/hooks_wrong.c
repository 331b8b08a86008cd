/*
 * The malloc hooks with one mistake: what releases an address is recorded after the real call, when another thread may
 * have been given it already. Built into a library of its own, so that test_order.py can show that it would notice.
 */
#include "real.h"
#include "record.h"

/* What is to be recorded after the real call that follows. */
static __thread struct {
	enum tide_kind kind;
	const void *block;
} later __attribute__((tls_model("initial-exec")));

static void record_later(enum tide_kind kind, const void *block)
{
	later.kind = kind;
	later.block = block;
}

static void record_now(void)
{
	const void *block = later.block;
	later.block = NULL;
	if (block)
		tide_record_free(later.kind, block);
}

static void wrong_free(void *block)
{
	tide_real_get()->free(block);
	record_now();
}

static void *wrong_realloc(void *block, size_t size)
{
	void *now = tide_real_get()->realloc(block, size);
	record_now();
	return now;
}

/* Threads race here, to write what is there already. */
static const struct tide_real *wrong_real(void)
{
	static struct tide_real wrong;
	if (!wrong.free) {
		wrong = *tide_real_get();
		wrong.realloc = wrong_realloc;
		wrong.free = wrong_free;
	}
	return &wrong;
}

#define tide_record_free record_later
#define tide_record_moves(kind, block) (record_later(kind, block), (struct tide_moving){0})
#define tide_real_get wrong_real
#include "hooks_malloc.c"
