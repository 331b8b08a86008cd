#include "cli/build.h"
#include "symbols/symbols.h"

enum tide_status tide_loaded_init(struct tide_loaded *l, const char *path, struct tide_objects *objects,
				  struct tide_error *err)
{
	struct tide_loaded made = {0};
	enum tide_status status = tide_log_open(path, &made.log, err);
	if (status)
		return status;
	status = tide_analyze(made.log, &made.analysis);
	if (!status && !(made.symbols = tide_symbols_new(made.log, objects)))
		status = TIDE_ERR_NOMEM;
	if (status) {
		tide_loaded_release(&made);
		return tide_error_set(err, status, "cannot read '%s': %s", path,
				      status == TIDE_ERR_NOMEM ? "out of memory" : "damaged");
	}
	*l = made;
	return TIDE_OK;
}

void tide_loaded_release(struct tide_loaded *l)
{
	tide_symbols_free(l->symbols);
	tide_analysis_free(l->analysis);
	tide_log_free(l->log);
	*l = (struct tide_loaded){0};
}
