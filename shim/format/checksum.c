#include "format/wire.h"

#define XXH_INLINE_ALL /* the shim may link nothing but libc, so the library comes in through its header */
#include <xxhash.h>

uint64_t tide_checksum(const void *bytes, size_t len, uint64_t seed)
{
	return XXH64(bytes, len, seed);
}
