/* Opened by loader_cases: allocates and frees for its caller, and has thread-local storage too large for the static block. */
#include <stdlib.h>
#include <string.h>

#pragma GCC visibility push(default)

static __thread char large[4096];
static char *at_start;

void *plugin_make(size_t size);
void plugin_drop(void *block);
size_t plugin_touch(void);

__attribute__((constructor)) static void begin(void)
{
	at_start = strdup("made by a constructor");
}
__attribute__((destructor)) static void end(void)
{
	free(at_start);
}

void *plugin_make(size_t size)
{
	return malloc(size);
}

void plugin_drop(void *block)
{
	free(block);
}

/* The first touch of each thread allocates inside the dynamic linker. */
size_t plugin_touch(void)
{
	large[4095]++;
	return sizeof large;
}
