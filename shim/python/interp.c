#include "python/interp.h"

#include <stdatomic.h>
#include <string.h>

#include "defs.h"
#include "unwind/modules.h"

struct tide_py tide_py;
atomic_bool tide_python_usable;

static char version_text[32]; /* "3.11.2", empty: no interpreter seen */
static bool usable;

static void define(void)
{
	uint8_t buf[128];
	struct tide_out out = tide_out_of(buf, sizeof buf);
	tide_out_bytes(&out, version_text, strlen(version_text));
	tide_out_varint(&out, usable);
	tide_out_varint(&out, usable ? tide_py.version->arena : 0);
	tide_out_varint(&out, usable ? tide_py.version->pool : 0);
	tide_define(TIDE_DEF_PYTHON, &(struct tide_part){buf, tide_out_len(&out)}, 1);
}

/* "3.11.2 (main, ...)": the version into version_text, the minor number returned; 0: not 3.x. */
static unsigned read_version(const char *text)
{
	size_t len = 0;
	unsigned minor = 0;
	while (text[len] && text[len] != ' ' && len + 1 < sizeof version_text) {
		version_text[len] = text[len];
		len++;
	}
	version_text[len] = '\0';
	if (strncmp(version_text, "3.", 2) != 0)
		return 0;
	for (const char *c = version_text + 2; *c >= '0' && *c <= '9'; c++)
		minor = minor * 10 + (unsigned)(*c - '0');
	return minor;
}

static bool find_functions(const struct tide_unwind_module *m)
{
	tide_py.thread_state = tide_module_symbol(m, "PyGILState_GetThisThreadState");
	tide_py.holder_state = tide_module_symbol(m, "_PyThreadState_UncheckedGet");
	if (!tide_py.holder_state) /* its name from 3.13 on */
		tide_py.holder_state = tide_module_symbol(m, "PyThreadState_GetUnchecked");
	tide_py.first_interpreter = tide_module_symbol(m, "PyInterpreterState_Head");
	tide_py.next_interpreter = tide_module_symbol(m, "PyInterpreterState_Next");
	tide_py.has_gil = tide_module_symbol(m, "PyGILState_Check");
	tide_py.is_finalizing = tide_module_symbol(m, "Py_IsFinalizing");
	if (!tide_py.is_finalizing)
		tide_py.is_finalizing = tide_module_symbol(m, "_Py_IsFinalizing");
	tide_py.get_allocator = tide_module_symbol(m, "PyMem_GetAllocator");
	tide_py.set_allocator = tide_module_symbol(m, "PyMem_SetAllocator");
	tide_py.get_arenas = tide_module_symbol(m, "PyObject_GetArenaAllocator");
	tide_py.set_arenas = tide_module_symbol(m, "PyObject_SetArenaAllocator");
	return tide_py.thread_state && tide_py.holder_state && tide_py.has_gil && tide_py.get_allocator &&
	       tide_py.set_allocator && tide_py.get_arenas && tide_py.set_arenas;
}

/* Structures differ where objects carry links for debugging, or where there is no GIL. */
static bool ordinary_build(const struct tide_unwind_module *m, const char *text)
{
	return !tide_module_symbol(m, "_Py_RefTotal") && !tide_module_symbol(m, "_Py_GetRefTotal") &&
	       !strstr(text, "free-threading");
}

void tide_python_module(const struct tide_unwind_module *m, enum tide_python_mode mode)
{
	const char *(*get_version)(void) = version_text[0] ? NULL : tide_module_symbol(m, "Py_GetVersion");
	if (mode == TIDE_PYTHON_OFF || !get_version || tide_module_symbol(m, "PyPy_IsInitialized"))
		return;
	const char *text = get_version();
	const struct tide_py_version *version = tide_py_version(read_version(text));
	if (!version_text[0])
		return;
	usable = version && ordinary_build(m, text) && find_functions(m);
	tide_py.mode = mode;
	if (usable) {
		tide_py.version = version;
		atomic_store_explicit(&tide_python_usable, true, memory_order_release);
		tide_py_hook_arenas();
	}
	define();
}

bool tide_python_finalizing(void)
{
	return tide_py.version && tide_py.is_finalizing && tide_py.is_finalizing();
}

uint32_t tide_python_last_code(void)
{
	return tide_py_last_code_id();
}

void tide_python_fork_child(void)
{
	if (!version_text[0])
		return;
	tide_py_codes_fork_child();
	tide_py_arenas_fork_child();
	tide_py_sites_fork_child();
	define();
}
