#include "config.h"

#include <string.h>
#include <sys/auxv.h>

#include "sys.h"

#define DEFAULT_SIZE (UINT64_C(64) << 20)
#define DEFAULT_STACK 64
#define DEFAULT_DIR_FILES 4096u
#define DEFAULT_DIR_SIZE (UINT64_C(64) << 30)
#define DEFAULT_CENSUS_NS UINT64_C(1000000000)
#define DEFAULT_PYTHON TIDE_PYTHON_SITES

/* Digits only; the byte after them in *end. False: none, or too many. */
static bool number(const char *text, uint64_t *ret, const char **end)
{
	uint64_t value = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9'; at++) {
		if (value > (UINT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (uint64_t)(*at - '0');
	}
	*ret = value;
	*end = at;
	return at != text;
}

static bool bytes_of(const char *text, uint64_t *ret)
{
	const char *end;
	uint64_t value, unit = 1;
	if (!number(text, &value, &end))
		return false;
	if (*end == 'K' || *end == 'k')
		unit = UINT64_C(1) << 10;
	else if (*end == 'M' || *end == 'm')
		unit = UINT64_C(1) << 20;
	else if (*end == 'G' || *end == 'g')
		unit = UINT64_C(1) << 30;
	if (unit > 1)
		end++;
	if (*end || value > UINT64_MAX / unit)
		return false;
	*ret = value * unit;
	return true;
}

static bool interval_of(const char *text, uint64_t *ret)
{
	const char *end;
	uint64_t value, unit = 1000000000u;
	if (strcmp(text, "off") == 0) {
		*ret = UINT64_MAX;
		return true;
	}
	if (!number(text, &value, &end))
		return false;
	if (strcmp(end, "ms") == 0)
		unit = 1000000u;
	else if (*end && strcmp(end, "s") != 0)
		return false;
	if (value > UINT64_MAX / 2 / unit)
		return false;
	*ret = value * unit;
	return true;
}

/* Shell pattern with * and ? only. */
static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;
	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static bool read_size(struct tide_config *c)
{
	const char *text = tide_getenv("TIDEMARK_SIZE");
	if (text && (!bytes_of(text, &c->size) || c->size < TIDE_FILE_MIN || c->size > TIDE_FILE_MAX)) {
		tide_say("TIDEMARK_SIZE takes a size from 256K to 64G, such as 64M; not tracing: ", text);
		return false;
	}
	c->size = tide_round_down(c->size, TIDE_PAGE);
	return true;
}

static bool read_numbers(struct tide_config *c)
{
	const char *end;
	uint64_t value;
	const char *text = tide_getenv("TIDEMARK_STACK");
	if (text) {
		if (!number(text, &value, &end) || *end || value > TIDE_STACK_MAX) {
			tide_say("TIDEMARK_STACK takes a number of frames from 0 to 256; not tracing: ", text);
			return false;
		}
		c->stack_limit = (uint32_t)value;
	}
	text = tide_getenv("TIDEMARK_SAMPLE");
	if (text && !bytes_of(text, &c->sample)) {
		tide_say("TIDEMARK_SAMPLE takes 0 or a mean number of bytes, such as 512K; not tracing: ", text);
		return false;
	}
	text = tide_getenv("TIDEMARK_CENSUS");
	if (text && !interval_of(text, &c->census_ns)) {
		tide_say("TIDEMARK_CENSUS takes off or an interval, such as 1s or 200ms; not tracing: ", text);
		return false;
	}
	text = tide_getenv("TIDEMARK_SESSION"); /* set by `tidemark record` only; a strange value is no session */
	if (text && (!number(text, &c->session, &end) || *end))
		c->session = 0;
	return true;
}

static bool read_python(struct tide_config *c)
{
	static const char *const modes[] = {
		[TIDE_PYTHON_OFF] = "off",
		[TIDE_PYTHON_ARENAS] = "arenas",
		[TIDE_PYTHON_SITES] = "sites",
		[TIDE_PYTHON_OBJECTS] = "objects",
	};
	const char *text = tide_getenv("TIDEMARK_PYTHON");
	if (!text)
		return true;
	for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++)
		if (strcmp(text, modes[i]) == 0) {
			c->python = (enum tide_python_mode)i;
			return true;
		}
	tide_say("TIDEMARK_PYTHON takes off, arenas, sites or objects; not tracing: ", text);
	return false;
}

static bool read_dir(struct tide_config *c)
{
	const char *text = tide_getenv("TIDEMARK_DIR_FILES"), *end;
	if (text && (!number(text, &c->dir_files, &end) || *end)) {
		tide_say("TIDEMARK_DIR_FILES takes a number of logs, or 0: any number; not tracing: ", text);
		return false;
	}
	text = tide_getenv("TIDEMARK_DIR_SIZE");
	if (text && !bytes_of(text, &c->dir_size)) {
		tide_say("TIDEMARK_DIR_SIZE takes a size, such as 16G, or 0: any size; not tracing: ", text);
		return false;
	}
	text = tide_getenv("TIDEMARK_DIR");
	if (!text || !*text)
		text = ".";
	if (strlen(text) >= sizeof c->dir) {
		tide_say("TIDEMARK_DIR is too long; not tracing", "");
		return false;
	}
	tide_append(c->dir, sizeof c->dir, 0, text);
	return true;
}

bool tide_config_read(struct tide_config *c)
{
	*c = (struct tide_config){
		.size = DEFAULT_SIZE,
		.stack_limit = DEFAULT_STACK,
		.dir_files = DEFAULT_DIR_FILES,
		.dir_size = DEFAULT_DIR_SIZE,
		.census_ns = DEFAULT_CENSUS_NS,
		.python = DEFAULT_PYTHON,
	};
	if (getauxval(AT_SECURE)) /* RULE 4: never in a program that runs with more rights than its caller */
		return false;
	if (tide_sys_readlink("/proc/self/exe", c->exe, sizeof c->exe) < 0)
		c->exe[0] = '\0';
	const char *slash = strrchr(c->exe, '/');
	c->name = slash ? slash + 1 : c->exe;
	const char *pattern = tide_getenv("TIDEMARK_EXE");
	if (pattern && !matches(pattern, c->exe))
		return false;
	return read_size(c) && read_numbers(c) && read_python(c) && read_dir(c);
}
