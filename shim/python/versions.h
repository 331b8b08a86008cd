/*
 * versions.h - raw offsets in CPython's structures, by version, x86-64, non-debug builds. Taken with offsetof from the
 * installed headers of CPython 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0 (Include/cpython/pystate.h, frameobject.h,
 * code.h, internal/pycore_frame.h).
 */
#ifndef TIDE_PYTHON_VERSIONS_H
#define TIDE_PYTHON_VERSIONS_H

#include <stdint.h>

struct tide_py_version {
	uint8_t minor;
	uint16_t frame_of_state;  /* PyThreadState -> frame, or -> cframe when cframe_frame is used */
	uint16_t thread_id;       /* in PyThreadState: pthread_self() of its thread */
	int16_t cframe_frame;     /* offset in cframe; -1: the state points at the frame itself */
	uint16_t context_version; /* in PyThreadState: u64 context_ver; 0: not asked for */
	uint16_t cframe_back;  /* in a cframe: the one of the call of the evaluation loop outside; 0: not asked for */
	uint16_t back, code;   /* in a frame */
	uint16_t instruction;  /* in a frame: int f_lasti up to 3.10, a pointer into the code from 3.11 */
	int16_t entered;       /* u8 in a frame: a call of the evaluation loop began with it; -1: none */
	int16_t owner;         /* u8 in a frame; -1: none */
	uint8_t owner_skipped; /* frames of this owner run no code of their own: the loop's callers push them */
	uint16_t first_line, file, name, line_table,
		instructions; /* in a code object; instructions 0: f_lasti is an index */
	uint8_t lasti_bytes;  /* what one unit of f_lasti is; up to 3.10 */
	uint8_t table_kind;   /* enum tide_line_table of the reader */
	uint16_t ascii_data;  /* of a compact ASCII string */
	uint32_t arena, pool; /* bytes */
};

/* NULL: no table for 3.minor. */
const struct tide_py_version *tide_py_version(unsigned minor);

/* The same on all of them: PyUnicode length, state, bytes objects; every object's type; a type's name, flags, destructor. */
enum {
	TIDE_PY_LENGTH = 16,
	TIDE_PY_STATE = 32,
	TIDE_PY_BYTES = 32,
	TIDE_PY_TYPE = 8,
	TIDE_PY_TP_NAME = 24,
	TIDE_PY_TP_DEALLOC = 48,
	TIDE_PY_TP_FLAGS = 168
};

/* int in a frame of 3.11 to 3.13: negative while it runs (stack.h). */
enum { TIDE_PY_RUNNING_AT = 64 };

#endif
