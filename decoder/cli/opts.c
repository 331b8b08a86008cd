#include "cli/opts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool tide_opts_bytes(const char *text, uint64_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
	if (*text < '0' || *text > '9' || errno || (shift ? end[1] : *end) || value > UINT64_MAX >> shift)
		return false;
	*ret = (uint64_t)value << shift;
	return true;
}

bool tide_opts_time(const char *text, uint64_t *ret)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	uint64_t unit = strcmp(end, "ms") == 0 ? 1000000u : 1000000000u;
	bool known = !*end || strcmp(end, "s") == 0 || strcmp(end, "ms") == 0;
	if (*text < '0' || *text > '9' || errno || !known || value > UINT64_MAX / 2 / unit)
		return false;
	*ret = value * unit;
	return true;
}

/* Which word of "a|b|c" the text is; -1: none. */
static int choice_of(const char *words, const char *text)
{
	size_t len = strlen(text);
	for (int i = 0; *words; i++) {
		size_t n = strcspn(words, "|");
		if (n == len && memcmp(words, text, n) == 0)
			return i;
		words += n + (words[n] == '|');
	}
	return -1;
}

static bool set(const struct tide_opt *o, struct tide_args *args, const char *value)
{
	void *field = (char *)args + o->field;
	int choice;
	switch (o->kind) {
	case TIDE_OPT_FLAG:
		*(bool *)field = true;
		return true;
	case TIDE_OPT_TEXT:
		*(const char **)field = value;
		return *value != '\0';
	case TIDE_OPT_WORD:
		*(const char **)field = value;
		return choice_of(o->value, value) >= 0;
	case TIDE_OPT_COUNT:
		return tide_opts_bytes(value, field) && *(uint64_t *)field > 0;
	case TIDE_OPT_BYTES:
		return tide_opts_bytes(value, field);
	default:
		choice = choice_of(o->value, value);
		*(uint64_t *)field = (uint64_t)choice;
		return choice >= 0;
	}
}

static const struct tide_opt *find(const struct tide_cmd *c, const char *name, size_t len)
{
	for (const struct tide_opt *o = c->opts; o->name; o++)
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

/* The option at argv[*i], with its value in the next argument or behind '='. */
static enum tide_status option(const struct tide_cmd *c, int argc, char **argv, int *i, struct tide_args *args,
			       struct tide_error *err)
{
	const char *word = argv[*i], *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
	const struct tide_opt *o = find(c, word, equals ? (size_t)(equals - word) : strlen(word));
	const char *value = equals ? equals + 1 : NULL;
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		args->help = true;
		return TIDE_OK;
	}
	if (!o)
		return tide_error_set(err, TIDE_ERR_USAGE, "unknown option '%.60s'; try: tidemark %s --help", word,
				      c->name);
	if (o->kind != TIDE_OPT_FLAG && !value && *i + 1 < argc)
		value = argv[++*i];
	if ((o->kind != TIDE_OPT_FLAG) != (value != NULL))
		return tide_error_set(err, TIDE_ERR_USAGE, "option '%s' %s; try: tidemark %s --help", o->name,
				      value ? "takes no value" : "needs a value", c->name);
	if (!set(o, args, value))
		return tide_error_set(err, TIDE_ERR_USAGE, "bad value '%.60s' for '%s': it is %s%s", value, o->name,
				      o->value, o->kind == TIDE_OPT_BYTES ? ", such as 64K" : "");
	return TIDE_OK;
}

enum tide_status tide_opts_parse(const struct tide_cmd *c, int argc, char **argv, struct tide_args *args,
				 struct tide_error *err)
{
	bool options = true;
	args->operand = argv;
	for (int i = 0; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
		} else if (options && argv[i][0] == '-' && argv[i][1]) {
			enum tide_status status = option(c, argc, argv, &i, args, err);
			if (status)
				return status;
		} else {
			args->operand[args->operands++] = argv[i];
			options &= !c->stops_at_operand;
		}
	}
	args->operand[args->operands] = NULL;
	if (!args->help && (args->operands < c->min_operands || args->operands > c->max_operands))
		return tide_error_set(err, TIDE_ERR_USAGE, "%s %s; usage: tidemark %s [OPTIONS] %s", c->name,
				      args->operands < c->min_operands ? "needs more than that"
								       : "takes less than that",
				      c->name, c->synopsis);
	return TIDE_OK;
}

/* Broken at blanks, in as many columns as an answer. */
static void wrapped(const char *text, FILE *out)
{
	size_t column = 0;
	while (*text) {
		size_t n = strcspn(text, " \n");
		if (column && column + 1 + n > TIDE_TEXT_COLUMNS)
			column = (size_t)fprintf(out, "\n") - 1;
		column += (size_t)fprintf(out, "%s%.*s", column ? " " : "", (int)n, text);
		if (text[n] == '\n')
			column = (size_t)fprintf(out, "\n") - 1;
		text += n + (text[n] != '\0');
	}
	fputs("\n\n", out);
}

void tide_opts_help(const struct tide_cmd *c, FILE *out)
{
	fprintf(out, "usage: tidemark %s [OPTIONS] %s\n\n", c->name, c->synopsis);
	wrapped(c->summary, out);
	for (const struct tide_opt *o = c->opts; o->name; o++) {
		char left[60];
		snprintf(left, sizeof left, "%s %s", o->name, o->value ? o->value : "");
		fprintf(out, "  %-26s %s\n", left, o->help);
	}
	fprintf(out, "  %-26s this text\n", "--help");
	if (c->example)
		fprintf(out, "\nexample: %s\n", c->example);
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static void complete_value(const struct tide_opt *o, const char *so_far, FILE *out)
{
	bool words = o->kind == TIDE_OPT_CHOICE || o->kind == TIDE_OPT_WORD;
	for (const char *word = o->value; words && *word;) {
		size_t n = strcspn(word, "|");
		if (starts(word, so_far))
			fprintf(out, "%.*s\n", (int)n, word);
		word += n + (word[n] == '|');
	}
}

void tide_opts_complete(int argc, char **argv, FILE *out)
{
	const char *last = argc > 0 ? argv[argc - 1] : "";
	const struct tide_cmd *c = NULL;
	for (size_t i = 0; tide_commands[i]; i++) {
		if (argc <= 1 && starts(tide_commands[i]->name, last))
			fprintf(out, "%s\n", tide_commands[i]->name);
		if (argc > 1 && strcmp(tide_commands[i]->name, argv[0]) == 0)
			c = tide_commands[i];
	}
	if (!c)
		return;
	const struct tide_opt *before = argc > 2 ? find(c, argv[argc - 2], strlen(argv[argc - 2])) : NULL;
	if (before && before->kind != TIDE_OPT_FLAG) {
		complete_value(before, last, out);
		return;
	}
	for (const struct tide_opt *o = c->opts; last[0] == '-' && o->name; o++)
		if (starts(o->name, last))
			fprintf(out, "%s\n", o->name);
	if (last[0] == '-' && starts("--help", last))
		fprintf(out, "--help\n");
}
