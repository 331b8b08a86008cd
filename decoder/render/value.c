#include "render/value.h"

#include <stdlib.h>
#include <string.h>

static const char *bytes_text(char *buf, long long bytes, bool sign, bool padded)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double scaled = (double)bytes;
	unsigned unit = 0;
	while ((scaled >= 1023.95 || scaled <= -1023.95) && unit < 4) { /* 1024.0 would be shown */
		scaled /= 1024;
		unit++;
	}
	snprintf(buf, TIDE_VALUE_LEN, sign ? "%+.*f %-*s" : "%.*f %-*s", unit ? 1 : 0, scaled, padded ? 3 : 0,
		 units[unit]);
	return buf;
}

const char *tide_bytes_text(char *buf, long long bytes)
{
	return bytes_text(buf, bytes, false, false);
}

static const char *count_text(char *buf, long long count, bool sign)
{
	char digits[32];
	int len = snprintf(digits, sizeof digits, "%lld", llabs(count)), out = 0;
	if (count < 0 || sign)
		buf[out++] = count < 0 ? '-' : '+';
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	buf[out] = '\0';
	return buf;
}

const char *tide_count_text(char *buf, long long count)
{
	return count_text(buf, count, false);
}

const char *tide_value_text(char *buf, const struct tide_column *c, const json_t *cell,
			    const struct tide_value_style *style)
{
	long long number = json_integer_value(cell);
	if (!cell || json_is_null(cell)) {
		snprintf(buf, TIDE_VALUE_LEN, "unknown");
		return buf;
	}
	switch (c->type) {
	case TIDE_TYPE_BYTES:
	case TIDE_TYPE_RARE:
		return bytes_text(buf, number, c->change, style->padded);
	case TIDE_TYPE_COUNT:
		return count_text(buf, number, c->change);
	case TIDE_TYPE_TIME:
		snprintf(buf, TIDE_VALUE_LEN, "%.3f s", (double)(number - style->origin_ns) / 1e9);
		break;
	case TIDE_TYPE_SHARE:
		snprintf(buf, TIDE_VALUE_LEN, "%.1f %%", json_real_value(cell) * 100);
		break;
	case TIDE_TYPE_ADDRESS:
		snprintf(buf, TIDE_VALUE_LEN, "%llx", number);
		break;
	default:
		snprintf(buf, TIDE_VALUE_LEN, "%lld", number);
		break;
	}
	return buf;
}

const char *tide_text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "unknown";
}

long long tide_number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool tide_known_at(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return value && !json_is_null(value);
}
