/*
 * cfi.h - one address' unwind rule, from the call frame information of its module (DWARF 5, section 6.4; LSB 5.0,
 * .eh_frame_hdr). Only what compilers write for ordinary code is understood; anything else is RULE_UNKNOWN.
 */
#ifndef TIDE_UNWIND_CFI_H
#define TIDE_UNWIND_CFI_H

#include <stdbool.h>
#include <stdint.h>

#include "unwind/modules.h"

enum tide_rule_kind { TIDE_RULE_NONE = 0, TIDE_RULE_STEP, TIDE_RULE_SIGNAL, TIDE_RULE_END, TIDE_RULE_UNKNOWN };
enum tide_rule_bp { TIDE_BP_SAME = 0, TIDE_BP_SAVED, TIDE_BP_LOST };

/* STEP: cfa = (cfa_from_bp ? bp : sp) + cfa_offset; bp is unchanged, at cfa + bp_offset, or lost. */
struct tide_rule {
	uint8_t kind;
	uint8_t bp;
	bool cfa_from_bp;
	int32_t cfa_offset;
	int32_t bp_offset;
};

/* `exact`: pc is the next instruction of an interrupted function; otherwise it is a return address, and the call lies before it. */
struct tide_rule tide_cfi_rule(const struct tide_unwind_module *, uintptr_t pc, bool exact);

#endif
