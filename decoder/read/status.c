#include "format/status.h"

#include <stdarg.h>
#include <stdio.h>

enum tide_status tide_error_set(struct tide_error *err, enum tide_status status, const char *format, ...)
{
	if (!err)
		return status;
	va_list args;
	va_start(args, format);
	vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);
	err->status = status;
	err->offset = 0;
	return status;
}
