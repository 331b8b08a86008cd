#include "python/versions.h"

#include <stddef.h>

#define KIB 1024u
#define MIB (1024u * 1024u)

/* In the order of the structure's members. */
static const struct tide_py_version versions[] = {
	{8, 24, 176, -1, 0, 0, 24, 32, 104, -1, -1, 0, 40, 104, 112, 120, 0, 1, 1, 48, 256 * KIB, 4 * KIB},
	{9, 24, 176, -1, 0, 0, 24, 32, 104, -1, -1, 0, 40, 104, 112, 120, 0, 1, 1, 48, 256 * KIB, 4 * KIB},
	{10, 24, 176, -1, 0, 0, 24, 32, 96, -1, -1, 0, 40, 104, 112, 120, 0, 2, 2, 48, MIB, 16 * KIB},
	{11, 56, 152, 8, 232, 16, 48, 32, 56, 68, 69, 255, 72, 112, 128, 136, 184, 0, 3, 48, MIB, 16 * KIB},
	{12, 56, 136, 0, 216, 0, 8, 0, 56, -1, 70, 3, 68, 112, 128, 136, 192, 0, 3, 40, MIB, 16 * KIB},
	{13, 72, 152, -1, 216, 0, 8, 0, 56, -1, 70, 3, 68, 112, 128, 136, 200, 0, 3, 40, MIB, 16 * KIB},
};

const struct tide_py_version *tide_py_version(unsigned minor)
{
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
		if (versions[i].minor == minor)
			return &versions[i];
	return NULL;
}
