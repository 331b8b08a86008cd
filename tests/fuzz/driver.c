/*
 * driver.c - runs a fuzz target without libFuzzer, so that it is a test everywhere.
 *
 * usage: fuzz_NAME FILE_OR_FOLDER... [-runs=N [-seed=S]]
 * Runs the target over the files; then N times over what a generator of a fixed seed makes of them: the same inputs each time and
 * everywhere. An input that ends the program, or takes longer than LONGEST, is left in the current directory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define LONGEST 20 /* seconds of CPU of one input, under sanitizers too */
#define LEN_MAX 4096u
#define MEMORY_MAX (UINT64_C(1) << 30)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *bytes;
	size_t len;
};

static struct input *corpus;
static size_t inputs;
static struct input now; /* which the target has in hand */
static uint64_t rng;

/* ---- one input ---- */

static void keep_input(int signal)
{
	static const char name[] = "fuzz-crash";
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, now.bytes, now.len) == (ssize_t)now.len &&
	    write(2, "input is in fuzz-crash\n", 23) == 23)
		close(fd);
	struct sigaction usual = {.sa_handler = SIG_DFL};
	sigaction(signal, &usual, NULL);
	raise(signal);
}

static void watch(void)
{
	/* tables of a megabyte come and go with every input: not as mappings */
	mallopt(M_MMAP_THRESHOLD, 1 << 28);
	mallopt(M_TRIM_THRESHOLD, 1 << 28);
	struct sigaction action = {.sa_handler = keep_input, .sa_flags = (int)SA_RESETHAND};
	static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPROF};
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY_MAX, MEMORY_MAX});
#endif
}

/* On a copy of exactly as many bytes as there are, so that reading past the end is seen. */
static void run_input(const uint8_t *bytes, size_t len)
{
	now.bytes = malloc(len + (len == 0));
	now.len = len;
	if (!now.bytes)
		abort();
	memcpy(now.bytes, bytes, len);
	setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = LONGEST}, NULL);
	LLVMFuzzerTestOneInput(now.bytes, len);
	free(now.bytes);
}

/* ---- the corpus ---- */

static int read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	if (!file || fstat(fileno(file), &st) != 0) {
		fprintf(stderr, "cannot read '%s'\n", path);
		return 1;
	}
	struct input in = {malloc((size_t)st.st_size + 1), 0};
	struct input *more = realloc(corpus, (inputs + 1) * sizeof *corpus);
	if (!in.bytes || !more)
		abort();
	in.len = fread(in.bytes, 1, (size_t)st.st_size, file);
	fclose(file);
	corpus = more;
	corpus[inputs++] = in;
	return 0;
}

static int read_all(const char *path)
{
	struct dirent **entries;
	int failed = 0, n = scandir(path, &entries, NULL, alphasort);
	if (n < 0)
		return read_file(path);
	for (int i = 0; i < n; i++) {
		char name[4096];
		snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			failed |= read_all(name);
		free(entries[i]);
	}
	free(entries);
	return failed;
}

/* ---- new inputs ---- */

static uint64_t draw(uint64_t below)
{
	uint64_t z = rng += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return below ? (z ^ z >> 31) % below : 0;
}

static size_t some_len(size_t most)
{
	size_t short_one = 1 + (size_t)draw(8);
	size_t len = draw(4) ? short_one : 1 + (size_t)draw(most);
	return len < most ? len : most;
}

/* [at, at + cut) becomes `len` bytes of `from`. */
static void replace(uint8_t *bytes, size_t *size, size_t at, size_t cut, const uint8_t *from, size_t len)
{
	uint8_t kept[LEN_MAX];
	len = len < LEN_MAX - (*size - cut) ? len : LEN_MAX - (*size - cut);
	memmove(kept, from, len);
	memmove(bytes + at + len, bytes + at + cut, *size - at - cut);
	memcpy(bytes + at, kept, len);
	*size += len - cut;
}

/* Numbers at which parsers go wrong, as bytes and as varints. */
static void put_number(uint8_t *bytes, size_t *size)
{
	static const uint64_t edge[] = {0,    1,    15,    16,    127,       128,        255,       256,
					4095, 4096, 65535, 65536, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX};
	uint64_t value = edge[draw(sizeof edge / sizeof *edge)] + draw(3) - 1;
	uint8_t out[10];
	size_t len = 0, at = (size_t)draw(*size + 1), most = (size_t)1 << draw(4);
	if (draw(2)) {
		memcpy(out, &value, len = most);
	} else {
		for (; value >= 128 && len < 9; value >>= 7)
			out[len++] = (uint8_t)(value | 128);
		out[len++] = (uint8_t)(value & 127);
	}
	size_t cut = draw(2) ? 0 : len;
	replace(bytes, size, at, cut < *size - at ? cut : *size - at, out, len);
}

static void change(uint8_t *bytes, size_t *size)
{
	size_t at = (size_t)draw(*size), left = *size - at;
	const struct input *other = &corpus[draw(inputs)];
	size_t from = (size_t)draw(other->len), most = other->len - from;
	switch (*size ? draw(8) : 7) {
	case 0:
	case 1:
		bytes[at] ^= (uint8_t)(1u << draw(8));
		return;
	case 2:
		bytes[at] = (uint8_t)draw(256);
		return;
	case 3:
		put_number(bytes, size);
		return;
	case 4: /* something goes */
		replace(bytes, size, at, some_len(left), bytes, 0);
		return;
	case 5: /* something comes twice */
		replace(bytes, size, at, 0, bytes + at, some_len(left));
		return;
	case 6: /* something of another input in its place */
		replace(bytes, size, at, some_len(left), other->bytes + from, most ? some_len(most) : 0);
		return;
	default: /* or between */
		replace(bytes, size, at, 0, other->bytes + from, most ? some_len(most) : 0);
	}
}

static void run_changed(void)
{
	uint8_t bytes[LEN_MAX];
	const struct input *in = &corpus[draw(inputs)];
	size_t size = in->len < LEN_MAX ? in->len : LEN_MAX;
	memcpy(bytes, in->bytes, size);
	for (uint64_t n = 1 + draw(6); n > 0; n--)
		change(bytes, &size);
	run_input(bytes, size);
}

int main(int argc, char **argv)
{
	uint64_t runs = 0;
	int failed = argc < 2;
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-runs=", 6) == 0)
			runs = strtoull(argv[i] + 6, NULL, 10);
		else if (strncmp(argv[i], "-seed=", 6) == 0)
			rng = strtoull(argv[i] + 6, NULL, 10);
		else
			failed |= read_all(argv[i]);
	}
	watch();
	for (size_t i = 0; i < inputs; i++)
		run_input(corpus[i].bytes, corpus[i].len);
	for (uint64_t i = 0; i < runs && inputs > 0; i++)
		run_changed();
	printf("%zu inputs, and %llu made of them\n", inputs, (unsigned long long)runs);
	failed |= inputs == 0;
	for (size_t i = 0; i < inputs; i++)
		free(corpus[i].bytes);
	free(corpus);
	return failed;
}
