/* What the dynamic linker does with libraries: loader_cases CASE [PATH]; the same with and without the shim. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const char *path;

static void *function(void *handle, const char *name)
{
	void *found = dlsym(handle, name);
	if (!found)
		exit(3);
	return found;
}

static void *opened(int flags)
{
	void *handle = dlopen(path, flags);
	if (!handle) {
		fprintf(stderr, "%s\n", dlerror());
		exit(4);
	}
	return handle;
}

static void exchange(void *handle)
{
	void *(*make)(size_t) = (void *(*)(size_t))function(handle, "plugin_make");
	void (*drop)(void *) = (void (*)(void *))function(handle, "plugin_drop");
	for (size_t i = 0; i < 500; i++) {
		free(make(i));
		drop(malloc(i));
		drop(make(i));
	}
}

static int deep(void)
{
	void *handle = opened(RTLD_NOW | RTLD_DEEPBIND);
	exchange(handle);
	printf("%d\n", dlclose(handle));
	return 0;
}

static int other_namespace(void)
{
	void *handle = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
	if (!handle)
		return 4;
	void *(*make)(size_t) = (void *(*)(size_t))function(handle, "plugin_make");
	void (*drop)(void *) = (void (*)(void *))function(handle, "plugin_drop");
	for (size_t i = 0; i < 500; i++)
		drop(make(i));
	printf("%d\n", dlclose(handle));
	return 0;
}

static void *touches(void *handle)
{
	size_t (*touch)(void) = (size_t(*)(void))function(handle, "plugin_touch");
	return (void *)touch();
}

static int thread_local_storage(void)
{
	size_t sum = 0;
	for (int round = 0; round < 20; round++) {
		void *handle = opened(RTLD_NOW);
		pthread_t id[8];
		for (int i = 0; i < 8; i++)
			pthread_create(&id[i], NULL, touches, handle);
		for (int i = 0; i < 8; i++) {
			void *size;
			pthread_join(id[i], &size);
			sum += (uintptr_t)size;
		}
		dlclose(handle);
	}
	printf("%zu\n", sum);
	return 0;
}

static int again_and_again(void)
{
	for (int i = 0; i < 200; i++) {
		void *handle = opened(i % 2 ? RTLD_NOW : RTLD_LAZY);
		exchange(handle);
		dlclose(handle);
	}
	puts("done");
	return 0;
}

/* `path` is the shim itself. */
static int late(void)
{
	void *handle = opened(RTLD_NOW);
	void *(*its_malloc)(size_t) = (void *(*)(size_t))function(handle, "malloc");
	void (*its_free)(void *) = (void (*)(void *))function(handle, "free");
	void *(*its_mmap)(void *, size_t, int, int, int, off_t) =
		(void *(*)(void *, size_t, int, int, int, off_t))function(handle, "mmap");
	its_free(malloc(10));
	free(its_malloc(10));
	void *at = its_mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("%d %d\n", at != MAP_FAILED, dlclose(handle));
	free(malloc(100));
	return 0;
}

extern void __libc_freeres(void);
static int frees_all_at_the_end(void)
{
	dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere");
	dlerror();
	puts("done");
	fflush(stdout);
	__libc_freeres();
	return 0;
}

/* C23; glibc has them since 2.43, the shim always. */
static int sized(void)
{
	void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
	void (*free_aligned)(void *, size_t, size_t) =
		(void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
	void (*drop)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "cfree");
	if (!free_sized || !free_aligned || !drop)
		return 3;
	for (size_t i = 1; i < 100; i++) {
		free_sized(malloc(i), i);
		free_aligned(aligned_alloc(64, 64 * i), 64, 64 * i);
		drop(malloc(i));
	}
	puts("done");
	return 0;
}

static void *(*volatile early_malloc)(size_t) = malloc;
static void (*volatile early_free)(void *) = free;
static int pointers(void)
{
	for (size_t i = 0; i < 500; i++)
		early_free(early_malloc(i));
	puts("done");
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{"deepbind", deep},
	{"dlmopen", other_namespace},
	{"tls", thread_local_storage},
	{"again", again_and_again},
	{"late", late},
	{"freeres", frees_all_at_the_end},
	{"sized", sized},
	{"pointers", pointers},
};

int main(int argc, char **argv)
{
	path = argc > 2 ? argv[2] : "";
	for (size_t i = 0; i < sizeof cases / sizeof *cases && argc > 1; i++)
		if (strcmp(cases[i].name, argv[1]) == 0)
			return cases[i].run();
	return 2;
}
