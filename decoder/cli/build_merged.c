/* Several reports as one document. What is added up: counts and bytes. What is not: verdicts, peaks of different moments. */
#include <stdlib.h>
#include <string.h>

#include "cli/build.h"
#include "render/value.h"

static void add_numbers(json_t *sum, const json_t *part)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)part, key, value)
	{
		json_t *so_far = json_object_get(sum, key);
		if (json_is_integer(value))
			json_object_set_new(sum, key,
					    json_integer(json_integer_value(so_far) + json_integer_value(value)));
		else if (json_is_boolean(value))
			json_object_set_new(sum, key, json_boolean(json_is_true(so_far) || json_is_true(value)));
		else if (json_is_object(value)) {
			if (!so_far)
				json_object_set_new(sum, key, so_far = json_object());
			add_numbers(so_far, value);
		}
	}
}

static json_t *sum_of(const json_t *reports, const char *member)
{
	size_t i;
	const json_t *r;
	json_t *sum = json_object();
	json_array_foreach(reports, i, r) add_numbers(sum, json_object_get(r, member));
	return sum;
}

static json_t *coverage(const json_t *reports)
{
	json_t *sum = sum_of(reports, "coverage");
	size_t i;
	const json_t *r;
	long long first = 0, sample = 0, sites = 0;
	json_array_foreach(reports, i, r)
	{
		const json_t *c = json_object_get(r, "coverage");
		long long start = tide_number_at(c, "window_start_ns");
		if (i == 0 || start < first)
			first = start;
		if (tide_number_at(c, "sample_bytes") > sample)
			sample = tide_number_at(c, "sample_bytes");
		if (tide_number_at(c, "python_sites_ns") > sites)
			sites = tide_number_at(c, "python_sites_ns");
	}
	json_object_set_new(sum, "python_sites_ns", sites ? json_integer(sites) : json_null());
	json_object_set_new(sum, "window_start_ns", json_integer(first));
	json_object_set_new(sum, "sample_bytes", json_integer(sample));
	json_object_del(sum, "python_frames");
	json_object_set_new(sum, "logs", json_integer((json_int_t)json_array_size(reports)));
	return sum;
}

/* Row by row; a page that processes share is in each of their sums, as it is in what top(1) shows. */
static json_t *ledger(const json_t *reports)
{
	json_t *sum = json_pack("{s:n, s:i, s:[], s:i}", "at_ns", "rss_bytes", 0, "rows", "unexplained_bytes", 0);
	json_t *rows = json_object_get(sum, "rows"), *row;
	size_t i, k, known = 0;
	const json_t *r;
	json_array_foreach(reports, i, r)
	{
		const json_t *l = json_object_get(r, "ledger");
		known += json_is_object(l);
		json_array_foreach(json_object_get(l, "rows"), k, row)
		{
			if (k >= json_array_size(rows))
				json_array_append_new(rows, json_pack("{s:O, s:i}", "kind",
								      json_object_get(row, "kind"), "bytes", 0));
			json_t *to = json_array_get(rows, k);
			json_object_set_new(to, "bytes",
					    json_integer(tide_number_at(to, "bytes") + tide_number_at(row, "bytes")));
		}
		static const char *const sums[] = {"rss_bytes", "unexplained_bytes"};
		for (size_t m = 0; m < 2; m++)
			json_object_set_new(sum, sums[m],
					    json_integer(tide_number_at(sum, sums[m]) + tide_number_at(l, sums[m])));
	}
	if (known)
		return sum;
	json_decref(sum);
	return json_null();
}

/* Where each process hangs: the last one with its parent's id that began before it, on the same boot. */
struct node {
	const json_t *report, *process;
	size_t number; /* in the order given */
	long long start;
	int parent; /* index in the sorted array; -1: none */
};

static int by_start(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

static struct node *tree(const json_t *reports)
{
	size_t count = json_array_size(reports);
	struct node *node = calloc(count + 1, sizeof *node);
	for (size_t i = 0; node && i < count; i++) {
		node[i].report = json_array_get(reports, i);
		node[i].process = json_object_get(node[i].report, "process");
		node[i].number = i;
		node[i].start = tide_number_at(node[i].process, "start_ns");
	}
	if (node)
		qsort(node, count, sizeof *node, by_start);
	for (size_t i = 0; node && i < count; i++) {
		const json_t *p = node[i].process;
		long long parent =
			tide_known_at(p, "parent_pid") ? tide_number_at(p, "parent_pid") : tide_number_at(p, "ppid");
		node[i].parent = -1;
		for (size_t k = 0; k < i; k++)
			if (tide_number_at(node[k].process, "pid") == parent &&
			    strcmp(tide_text_at(node[k].process, "boot_id"), tide_text_at(p, "boot_id")) == 0)
				node[i].parent = (int)k;
	}
	return node;
}

static json_t *process_row(const struct node *n, int depth)
{
	const json_t *v = json_object_get(n->report, "verdict"), *l = json_object_get(n->report, "ledger");
	const json_t *t = json_object_get(n->report, "totals"), *p = n->process;
	bool weighed = v && strcmp(tide_text_at(v, "class"), "unknown") != 0;
	json_t *row =
		tide_row(&tide_table_processes, json_incref(json_object_get(p, "pid")),
			 json_incref(json_object_get(p, "ppid")), json_incref(json_object_get(p, "end")),
			 json_is_object(l) ? json_incref(json_object_get(l, "rss_bytes")) : json_null(),
			 json_incref(json_object_get(t, "live_bytes")), json_incref(json_object_get(t, "live_blocks")),
			 v ? json_incref(json_object_get(v, "class")) : json_null(),
			 weighed ? json_incref(json_object_get(v, "bytes")) : json_null(),
			 json_incref(json_object_get(p, "name")), json_incref(json_object_get(p, "log")));
	json_object_set_new(row, "depth", json_integer(depth));
	json_object_set_new(row, "report", json_integer((json_int_t)n->number));
	return row;
}

/* Children follow their parent. Parents come before children in the array, so depth is bounded by it. */
static json_t *overview(const json_t *reports)
{
	size_t count = json_array_size(reports), done = 0;
	struct node *node = tree(reports);
	int *depth = calloc(count + 1, sizeof *depth), *open = calloc(count + 1, sizeof *open);
	json_t *rows = json_array();
	/* a walk with a stack of its own: `open` holds what is still to be shown, last first */
	size_t left = 0;
	for (size_t i = count; node && depth && open && i-- > 0;)
		if (node[i].parent < 0)
			open[left++] = (int)i;
	while (left > 0 && done++ < count) {
		int at = open[--left];
		json_array_append_new(rows, process_row(&node[at], depth[at]));
		for (size_t i = count; i-- > (size_t)at + 1;)
			if (node[i].parent == at) {
				depth[i] = depth[at] + 1;
				open[left++] = (int)i;
			}
	}
	free(open);
	free(depth);
	free(node);
	return rows;
}

/* The process whose page is shown: the one whose verdict weighs most, else the one with most resident memory. */
static size_t worst(const json_t *reports)
{
	size_t i, best = 0;
	const json_t *r;
	long long best_verdict = -1, best_rss = -1;
	json_array_foreach(reports, i, r)
	{
		const json_t *v = json_object_get(r, "verdict");
		const char *class = tide_text_at(v, "class");
		bool calm = strcmp(class, "unknown") == 0 || strcmp(class, "cache_or_steady") == 0;
		long long weight = calm ? 0 : tide_number_at(v, "bytes");
		long long rss = tide_number_at(json_object_get(r, "ledger"), "rss_bytes");
		if (weight > best_verdict || (weight == best_verdict && rss > best_rss)) {
			best = i;
			best_verdict = weight;
			best_rss = rss;
		}
	}
	return best;
}

json_t *tide_build_merged(const json_t *reports)
{
	json_t *doc = json_object();
	json_object_set(doc, "tidemark", json_object_get(json_array_get(reports, 0), "tidemark"));
	json_object_set_new(doc, "coverage", coverage(reports));
	json_object_set_new(doc, "totals", sum_of(reports, "totals"));
	json_object_set_new(doc, "ledger", ledger(reports));
	json_object_set_new(doc, "overview", overview(reports));
	json_object_set_new(doc, "worst", json_integer((json_int_t)worst(reports)));
	json_object_set(doc, "processes", (json_t *)reports);
	return doc;
}
