/* bend - damages a log in many ways and reads it each time: the answer must be the same, or damage must be told of. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/layout.h"
#include "format/wire.h"
#include "read/log.h"

struct answer {
	bool refused, damaged;
	uint64_t digest;
	uint64_t events;
};

struct counts {
	uint64_t same, told, refused, silent, out_of_scope, wrong_sum;
};

struct bend {
	uint8_t *good, *bytes;
	size_t len;
	int fd;
	char path[64];
	struct tide_geometry geometry; /* of the good log */
	bool has_checks;               /* format 1.1 */
	struct answer right;
	uint64_t rng;
};

static uint64_t mix(uint64_t digest, uint64_t value)
{
	return (digest ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (digest >> 29);
}

static uint64_t mix_text(uint64_t digest, const char *text)
{
	return mix(digest, text ? tide_checksum(text, strlen(text), 1) : 0);
}

static uint64_t mix_stack(struct tide_log *log, uint64_t digest, uint32_t node)
{
	for (; node; node = tide_log_node_parent(log, node))
		digest = mix(digest, tide_log_node_word(log, node));
	return digest;
}

static uint64_t mix_carried(struct tide_log *log, uint64_t d)
{
	const struct tide_carried *c = tide_log_carried(log);
	d = mix(mix(mix(d, c->epoch), c->totals.allocs), c->totals.alloc_bytes);
	d = mix(mix(mix(d, c->totals.frees), c->totals.events), c->totals.sample_bytes);
	for (size_t i = 0; i < c->blocks; i++)
		d = mix(mix(mix(mix(d, c->block[i].addr), c->block[i].size), c->block[i].site), c->block[i].time_ns);
	d = mix(d, tide_carried_tells_deaths(c));
	for (size_t i = 0; i < c->gone_count; i++)
		d = mix(d, c->gone[i]);
	for (uint32_t i = 0; i < c->sites; i++) {
		const struct tide_carried_site *s = &c->site[i];
		d = mix_stack(log, mix_stack(log, mix(mix(d, s->allocs), s->alloc_bytes), s->native), s->python);
	}
	return d;
}

static uint64_t mix_facts(struct tide_log *log, uint64_t d)
{
	const struct tide_process *p = tide_log_process(log);
	const struct tide_losses *l = tide_log_losses(log);
	const struct tide_module *module;
	d = mix_text(mix_text(mix_text(mix_text(d, p->exe), p->build_id), p->allocator), p->python);
	d = mix(mix(mix(mix(d, p->end), p->start_ns), p->super.sample_bytes), (uint64_t)p->super.pid);
	for (uint32_t i = 0, n = tide_log_modules(log, &module); i < n; i++)
		d = mix_text(mix(mix(d, module[i].base), module[i].unloaded_ns), module[i].path);
	for (uint32_t id = 1; id < 200; id++) {
		const struct tide_code *code = tide_log_code(log, id);
		d = code ? mix_text(mix_text(mix(d, code->first_line), code->function), code->file) : mix(d, 0);
	}
	for (uint32_t i = 0; i < tide_log_census_count(log); i++) {
		struct tide_census_blob blob;
		if (tide_log_census(log, i, &blob) == TIDE_OK)
			d = mix(mix(mix(d, blob.complete), blob.time_ns), tide_checksum(blob.bytes, blob.len, 0));
	}
	return mix(mix(mix(mix_carried(log, d), l->recorded), l->evicted), l->lost);
}

static struct answer ask(struct bend *b, size_t len, struct counts *counts)
{
	struct answer a = {0};
	struct tide_log *log;
	struct tide_event e;
	if (ftruncate(b->fd, (off_t)len) != 0 || pwrite(b->fd, b->bytes, len, 0) != (ssize_t)len) {
		perror("bend: write");
		exit(1);
	}
	if (tide_log_open(b->path, &log, NULL) != TIDE_OK) {
		a.refused = true;
		return a;
	}
	while (tide_log_next(log, &e) == 1) {
		a.events++;
		a.digest = mix(mix(mix(mix(a.digest, e.kind), e.lane), e.tid), e.addr);
		a.digest = mix(mix(mix(mix(a.digest, e.size), e.value), e.value2), e.time_ns);
		a.digest = mix_stack(log, mix_stack(log, a.digest, e.native), e.python);
	}
	a.digest = mix_facts(log, a.digest);
	const struct tide_losses *l = tide_log_losses(log);
	a.damaged = l->damaged;
	counts->wrong_sum += a.events != l->in_window || l->recorded != l->in_window + l->evicted + l->lost;
	tide_log_free(log);
	return a;
}

static uint64_t draw(struct bend *b)
{
	uint64_t z = b->rng += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	return z ^ z >> 27;
}

/* What no checksum covers: a lane's last items while it is open, and how many of them there are. */
static bool is_out_of_scope(const struct bend *b, size_t offset)
{
	const struct tide_geometry *g = &b->geometry;
	struct tide_block head;
	if (offset < g->staging_off || offset >= g->staging_off + (uint64_t)g->lanes * g->block_len)
		return false;
	size_t in_block = (offset - g->staging_off) % g->block_len;
	memcpy(&head, b->good + offset - in_block, sizeof head);
	uint32_t covered = b->has_checks ? (uint32_t)head.check : 0;
	if (b->has_checks && covered == head.committed)
		return false;
	bool in_count =
		in_block >= offsetof(struct tide_block, committed) && in_block < offsetof(struct tide_block, check);
	return in_count || in_block >= sizeof head + covered;
}

static void judge(struct bend *b, struct answer a, bool in_scope, const char *what, size_t where, struct counts *counts)
{
	if (a.refused)
		counts->refused++;
	else if (a.damaged)
		counts->told++;
	else if (a.digest == b->right.digest)
		counts->same++;
	else if (!in_scope)
		counts->out_of_scope++;
	else {
		counts->silent++;
		fprintf(stderr, "bend: %s %zu: another answer, and no damage told of\n", what, where);
	}
}

/* Half of the flips go to the parts that steer reading: they are few bytes among many. */
static void flip_bits(struct bend *b, uint64_t times, struct counts *counts)
{
	for (uint64_t i = 0; i < times; i++) {
		size_t room = i % 2 ? b->len : (size_t)b->geometry.defs_off + 4096;
		size_t bit = (size_t)(draw(b) % (room * 8));
		if (i % 4 == 2)
			bit = (size_t)(b->geometry.ring_off + draw(b) % b->geometry.ring_len / 64 * 64 +
				       draw(b) % 128) *
			      8;
		if (bit / 8 >= b->len)
			continue;
		b->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		judge(b, ask(b, b->len, counts), !is_out_of_scope(b, bit / 8), "bit", bit, counts);
		b->bytes[bit / 8] = b->good[bit / 8];
	}
}

static void cut(struct bend *b, uint64_t times, struct counts *counts)
{
	for (uint64_t i = 0; i < times; i++) {
		size_t len = (size_t)(draw(b) % b->len);
		judge(b, ask(b, len, counts), true, "cut at", len, counts);
	}
}

/* A page of zeros, or one that is another page's: what lost writes and bad sectors leave behind. */
static void replace_pages(struct bend *b, uint64_t times, struct counts *counts)
{
	size_t pages = b->len / TIDE_PAGE;
	for (uint64_t i = 0; i < times; i++) {
		size_t to = (size_t)(draw(b) % pages) * TIDE_PAGE, from = (size_t)(draw(b) % pages) * TIDE_PAGE;
		if (i % 2)
			memcpy(b->bytes + to, b->good + from, TIDE_PAGE);
		else
			memset(b->bytes + to, 0, TIDE_PAGE);
		bool in_scope = true;
		for (size_t at = 0; at < TIDE_PAGE; at++)
			in_scope = in_scope && !is_out_of_scope(b, to + at);
		judge(b, ask(b, b->len, counts), in_scope, i % 2 ? "copied page" : "zero page", to, counts);
		memcpy(b->bytes + to, b->good + to, TIDE_PAGE);
	}
}

/* Every STEP-th length that a file cut short can have. */
static void cut_everywhere(struct bend *b, uint64_t step, struct counts *counts)
{
	for (size_t len = (size_t)(b->rng % step); len < b->len; len += step)
		judge(b, ask(b, len, counts), true, "cut at", len, counts);
}

/* Every STEP-th bit of bytes [from, from + len); *at counts them over all calls. */
static void flip_range(struct bend *b, uint64_t from, size_t len, uint64_t step, uint64_t *at, struct counts *counts)
{
	for (size_t bit = (size_t)from * 8; bit < (from + len) * 8; bit++) {
		if ((*at)++ % step)
			continue;
		b->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		judge(b, ask(b, b->len, counts), !is_out_of_scope(b, bit / 8), "bit", bit, counts);
		b->bytes[bit / 8] = b->good[bit / 8];
	}
}

static void flip_frame_headers(struct bend *b, uint64_t step, uint64_t *at, struct counts *counts)
{
	const struct tide_geometry *g = &b->geometry;
	for (uint64_t offset = g->ring_off; offset < g->ring_off + g->ring_len; offset += TIDE_FRAME_ALIGN) {
		uint64_t magic;
		memcpy(&magic, b->good + offset, sizeof magic);
		if (magic == TIDE_MAGIC_FRAME)
			flip_range(b, offset, sizeof(struct tide_frame), step, at, counts);
		else if (magic == TIDE_MAGIC_SEGMENT)
			flip_range(b, offset, sizeof(struct tide_segment), step, at, counts);
	}
}

/* Every STEP-th bit of all headers and definitions. */
static void flip_everywhere(struct bend *b, uint64_t step, struct counts *counts)
{
	const struct tide_geometry *g = &b->geometry;
	uint64_t at = b->rng % step;
	size_t used = (size_t)g->defs_len;
	while (used > 0 && b->good[g->defs_off + used - 1] == 0)
		used--;
	flip_range(b, 0, sizeof(struct tide_superblock), step, &at, counts);
	flip_range(b, g->file_size - TIDE_PAGE, sizeof(struct tide_superblock), step, &at, counts);
	flip_range(b, g->control_off, sizeof(struct tide_control), step, &at, counts);
	flip_range(b, g->defs_off, used, step, &at, counts);
	for (uint32_t i = 0; i < g->lanes; i++)
		flip_range(b, g->staging_off + (uint64_t)i * g->block_len, sizeof(struct tide_block), step, &at,
			   counts);
	flip_frame_headers(b, step, &at, counts);
}

static bool load(struct bend *b, const char *path)
{
	struct tide_log *log;
	struct tide_error err;
	FILE *file = fopen(path, "rb");
	struct stat st;
	if (!file || fstat(fileno(file), &st) != 0) {
		fprintf(stderr, "bend: cannot open '%s': %s\n", path, strerror(errno));
		return false;
	}
	b->len = (size_t)st.st_size;
	b->good = malloc(b->len + 1);
	b->bytes = malloc(b->len + 1);
	bool read = b->good && b->bytes && fread(b->good, 1, b->len, file) == b->len;
	fclose(file);
	if (!read || tide_log_open(path, &log, &err) != TIDE_OK) {
		fprintf(stderr, "bend: %s\n", read ? err.text : "cannot read");
		return false;
	}
	b->geometry = tide_log_process(log)->geometry;
	b->has_checks = tide_log_process(log)->super.compat_flags & TIDE_COMPAT_CHECK;
	tide_log_free(log);
	memcpy(b->bytes, b->good, b->len);
	b->fd = memfd_create("bend", MFD_CLOEXEC);
	snprintf(b->path, sizeof b->path, "/proc/self/fd/%d", b->fd);
	return b->fd >= 0;
}

int main(int argc, char **argv)
{
	bool help = argc == 2 && strcmp(argv[1], "--help") == 0;
	uint64_t step = argc > 2 && strcmp(argv[2], "every") == 0 ? argc > 3 ? strtoull(argv[3], NULL, 10) : 1 : 0;
	if (help || argc < 2 || argc > (step ? 5 : 4)) {
		fprintf(help ? stdout : stderr, "usage: bend LOG [TIMES [SEED]]\n"
						"       bend LOG every STEP [SEED]\n"
						"Flips bits, cuts, and replaces pages of a copy of LOG, TIMES times "
						"(default 2000), and reads it;\n"
						"or cuts it at every STEP-th byte, and flips every STEP-th bit of all "
						"headers and definitions.\n"
						"Exit 1 when an answer changed and no damage was told of.\n");
		return help ? 0 : 2;
	}
	int seed = step ? 4 : 3;
	struct bend b = {.rng = argc > seed ? strtoull(argv[seed], NULL, 10) : 1};
	struct counts counts = {0};
	uint64_t times = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
	if (!load(&b, argv[1]))
		return 2;
	b.right = ask(&b, b.len, &counts);
	if (b.right.refused || b.right.damaged) {
		fprintf(stderr, "bend: '%s' is damaged already\n", argv[1]);
		return 2;
	}
	if (step) {
		cut_everywhere(&b, step, &counts);
		flip_everywhere(&b, step, &counts);
	} else {
		flip_bits(&b, times - times / 4, &counts);
		cut(&b, times / 8, &counts);
		replace_pages(&b, times / 8, &counts);
	}
	printf("same %" PRIu64 ", told %" PRIu64 ", refused %" PRIu64 ", out of scope %" PRIu64 ", silent %" PRIu64
	       ", wrong sums %" PRIu64 "\n",
	       counts.same, counts.told, counts.refused, counts.out_of_scope, counts.silent, counts.wrong_sum);
	free(b.good);
	free(b.bytes);
	return counts.silent > 0 || counts.wrong_sum > 0;
}
