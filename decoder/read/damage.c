#include "read/damage.h"

#include <stdarg.h>
#include <stdio.h>

void tide_damage_add(struct tide_damages *damages, uint64_t offset, uint64_t len, const char *format, ...)
{
	damages->places++;
	if (damages->kept == TIDE_DAMAGE_KEPT)
		return;
	struct tide_damage *place = &damages->place[damages->kept++];
	place->offset = offset;
	place->len = len;
	va_list args;
	va_start(args, format);
	vsnprintf(place->what, sizeof place->what, format, args);
	va_end(args);
}
