/* The other of the two objects: see stacks_first_lib.c. */
#include <stdlib.h>

__attribute__((visibility("default"))) void *work(int depth)
{
	volatile char large[2008];
	large[0] = (char)depth;
	void *inner = depth > 0 ? work(depth - 1) : NULL;
	void *block = malloc((size_t)large[0] + 1);
	free(inner);
	return block;
}
