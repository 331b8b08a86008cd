/*
 * text.h - a report document for people. Every string of the document is hostile (it may come from a log) and passes
 * tide_text_safe, the one place where it becomes harmless for a terminal.
 */
#ifndef TIDE_RENDER_TEXT_H
#define TIDE_RENDER_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* Control bytes, escape sequences' first bytes, C1 controls and bidirectional overrides become '?'. */
void tide_text_safe(FILE *, const char *);

/* One page. */
void tide_text_report(FILE *, const json_t *report);
/* One section of it, whole, by CONTRACT's name. */
void tide_text_section(FILE *, const json_t *report, const char *section);
void tide_text_diff(FILE *, const json_t *diff);

#endif
