/*
 * The corners of the malloc family, as a listing: what each call returns, what it does to errno, what the block's usable size is.
 * Addresses are not printed, only whether they are NULL and how they are aligned. The same with and without the shim.
 *
 * usage: alloc_edges [portable]: without what only glibc takes without harm.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>

#pragma GCC diagnostic ignored "-Walloc-size-larger-than=" /* asking for too much is the point */

static bool portable;

static unsigned alignment_of(const void *p)
{
	return p ? 1u << __builtin_ctzll((uintptr_t)p | 1u << 12) : 0;
}

static void show(const char *what, void *p)
{
	int e = errno;
	printf("%s: %s errno %d usable %zu aligned %d\n", what, p ? "block" : "NULL", e, p ? malloc_usable_size(p) : 0,
	       p ? alignment_of(p) >= 16 : 0);
	errno = 77;
}

static void sizes(void)
{
	char text[64];
	for (size_t n = 0; n <= 4200; n += n < 130 ? 1 : 61) {
		snprintf(text, sizeof text, "malloc %zu", n);
		errno = 77;
		void *p = malloc(n);
		show(text, p);
		free(p);
		printf("free errno %d\n", errno);
	}
	static const size_t large[] = {128 << 10, (128 << 10) - 24, 1 << 20,
				       33 << 20,  PTRDIFF_MAX,      (size_t)PTRDIFF_MAX + 1,
				       SIZE_MAX,  SIZE_MAX - 4096,  SIZE_MAX / 2};
	for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
		snprintf(text, sizeof text, "malloc %zu", large[i]);
		errno = 77;
		void *p = malloc(large[i]);
		show(text, p);
		free(p);
		printf("free errno %d\n", errno);
	}
}

static void zeroed(void)
{
	for (int round = 0; round < 50; round++) {
		unsigned char *dirty = malloc(1000), sum = 0;
		memset(dirty, 0xff, 1000);
		free(dirty);
		unsigned char *p = calloc(10, 100);
		for (int i = 0; i < 1000; i++)
			sum |= p[i];
		if (sum || round == 49)
			printf("calloc has zeros: %d\n", !sum);
		free(p);
	}
	errno = 77;
	show("calloc overflow", calloc(SIZE_MAX / 2 + 2, 2));
	show("calloc 2^32 squared", calloc((size_t)1 << 32, (size_t)1 << 32));
	void *p = calloc(0, 8);
	show("calloc 0", p);
	free(p);
}

static void resizing(void)
{
	errno = 77;
	char *p = realloc(NULL, 100);
	show("realloc NULL", p);
	strcpy(p, "kept");
	char *big = realloc(p, SIZE_MAX / 2);
	show("realloc too much", big);
	printf("old block: %s\n", p);
	p = realloc(p, 1 << 20);
	show("realloc larger", p);
	printf("contents: %s\n", p);
	p = realloc(p, 4 << 20);
	p = realloc(p, 20);
	show("realloc smaller", p);
	printf("contents: %s\n", p);
	show("realloc 0", realloc(p, 0));
	p = realloc(NULL, 0);
	show("realloc NULL 0", p);
	free(p);
	p = reallocarray(NULL, 10, 10);
	show("reallocarray", p);
	show("reallocarray overflow", reallocarray(p, SIZE_MAX / 8, 9));
	show("reallocarray 0", reallocarray(p, 0, 9));
	show("reallocarray NULL overflow", reallocarray(NULL, SIZE_MAX, SIZE_MAX));
}

static void aligned_kinds(void)
{
	char text[80];
	static const size_t alignments[] = {
		0, 1, 2, 3, 4, 8, 16, 24, 32, 48, 64, 100, 256, 4096, 8192, 1 << 16, (size_t)1 << 63, SIZE_MAX};
	static const size_t sizes[] = {0, 1, 96, 4097, SIZE_MAX - 8192, PTRDIFF_MAX};
	for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++)
		for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			size_t a = alignments[i], n = sizes[k];
			void *p = (void *)0x5a5a;
			errno = 77;
			int rc = posix_memalign(&p, a, n);
			bool fits = rc == 0 && (uintptr_t)p % a == 0;
			printf("posix_memalign %zu %zu: %d errno %d %s\n", a, n, rc, errno,
			       rc     ? p == (void *)0x5a5a ? "untouched" : "touched"
			       : fits ? "aligned"
				      : "not aligned");
			if (rc == 0)
				free(p);
			if (portable && (a < 8 || a > 4096 || (a & (a - 1)) || n % a))
				continue;
			snprintf(text, sizeof text, "aligned_alloc %zu %zu", a, n);
			errno = 77;
			p = aligned_alloc(a, n);
			show(text, p);
			free(p);
			snprintf(text, sizeof text, "memalign %zu %zu", a, n);
			errno = 77;
			p = memalign(a, n);
			show(text, p);
			free(p);
		}
	errno = 77;
	static const size_t paged[] = {0, 1, 4095, 4096, 4097, SIZE_MAX};
	for (size_t i = 0; i < sizeof paged / sizeof *paged; i++) {
		void *p = valloc(paged[i]);
		show("valloc", p);
		free(p);
		p = portable ? NULL : pvalloc(paged[i]); /* jemalloc has none */
		show("pvalloc", p);
		free(p);
	}
}

static void mappings(void)
{
	errno = 77;
	printf("mmap of nothing: %d", mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	printf(" errno %d\n", errno);
	char *p = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(p, "mapped");
	errno = 77;
	int crooked = munmap(p + 1, 4096);
	printf("munmap crooked: %d errno %d\n", crooked, errno);
	errno = 77;
	p = mremap(p, 8 * 4096, 64 * 4096, MREMAP_MAYMOVE);
	printf("mremap: %s errno %d\n", p, errno);
	char *to = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p = mremap(p, 64 * 4096, 64 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	printf("mremap fixed: %s %d\n", p, p == to);
	errno = 77;
	int advised = madvise(p, 4096, MADV_DONTNEED), wrongly = madvise(p + 1, 4096, MADV_DONTNEED);
	printf("madvise: %d %d errno %d, now %d\n", advised, wrongly, errno, p[0]);
	printf("partial munmap: %d %d\n", munmap(p + 4096, 4096), munmap(p, 64 * 4096));
	errno = 77;
	void *at = sbrk(0), *before = sbrk(4096), *after = sbrk(-4096);
	printf("sbrk: %d %d brk %d errno %d\n", at == before, (char *)after - (char *)at == 4096, brk(at), errno);
	void *none = sbrk(PTRDIFF_MAX);
	printf("sbrk too much: %d errno %d\n", none == (void *)-1, errno);
}

/* What libc allocates for its caller comes from the same family. */
static void from_libc(void)
{
	char *text = strdup("duplicated"), *line = NULL, *stream_text = NULL;
	size_t len = 0, stream_len = 0;
	if (asprintf(&line, "%s %d", text, 12345) < 0)
		abort();
	printf("%s|%s|%zu\n", text, line, malloc_usable_size(line));
	free(line);
	line = NULL;
	FILE *out = open_memstream(&stream_text, &stream_len);
	for (int i = 0; i < 3000; i++)
		fprintf(out, "%d,", i);
	fclose(out);
	FILE *in = fmemopen(stream_text, stream_len, "r");
	printf("getdelim %zd of %zu\n", getdelim(&line, &len, '\n', in), stream_len);
	fclose(in);
	free(line);
	free(stream_text);
	free(text);
	wchar_t *wide = wcsdup(L"wide");
	printf("%zu\n", malloc_usable_size(wide));
	free(wide);
	char *cwd = getcwd(NULL, 0), *real = realpath("/proc/self/../self", NULL);
	printf("%d %d\n", cwd != NULL, real != NULL);
	free(cwd);
	free(real);
}

int main(int argc, char **argv)
{
	portable = argc > 1 && strcmp(argv[1], "portable") == 0;
	printf("errno at main: %d\n", errno);
	sizes();
	zeroed();
	resizing();
	aligned_kinds();
	mappings();
	from_libc();
	errno = 77;
	free(NULL);
	printf("free NULL errno %d, usable of NULL %zu, trim %d\n", errno, malloc_usable_size(NULL), malloc_trim(0));
	return 0;
}
