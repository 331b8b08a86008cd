/*
 * Loads two objects in turn, which take each other's place in memory, and allocates in each. Usage: stacks_dlopen ROUNDS DIRECTORY.
 * Exit status 1 if they never had the same address.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	long rounds = argc == 3 ? atol(argv[1]) : 0;
	uintptr_t last = 0;
	int reused = 0;
	for (long i = 0; i < rounds; i++) {
		char path[4096];
		snprintf(path, sizeof path, "%s/stacks_%s_lib.so", argv[2], i % 2 ? "second" : "first");
		void *object = dlopen(path, RTLD_NOW);
		void *(*work)(int) = object ? (void *(*)(int))dlsym(object, "work") : NULL;
		if (!work)
			return 2;
		for (int k = 0; k < 5; k++)
			free(work(k * 3));
		reused += (uintptr_t)work >> 12 == last;
		last = (uintptr_t)work >> 12;
		dlclose(object);
	}
	return reused == 0;
}
