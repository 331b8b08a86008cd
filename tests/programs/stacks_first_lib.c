/* One of two objects that stacks_dlopen loads in turn: same size, same function at the same offset, another frame. */
#include <stdlib.h>

__attribute__((visibility("default"))) void *work(int depth)
{
	volatile char small[24];
	small[0] = (char)depth;
	void *inner = depth > 0 ? work(depth - 1) : NULL;
	void *block = malloc((size_t)small[0] + 1);
	free(inner);
	return block;
}
