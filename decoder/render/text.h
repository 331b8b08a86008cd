/*
 * text.h - a report document for people: as wide as the terminal, else 100 columns; one page a process. Every string of the document is hostile (it may
 * come from a log) and passes safe.h.
 */
#ifndef TIDE_RENDER_TEXT_H
#define TIDE_RENDER_TEXT_H

#include <jansson.h>

#include "render/grid.h"

/* One page; a merged document (member "overview") begins with the sums and a row a process, then the page of the one process
 * that matters most. */
void tide_text_report(const struct tide_sink *, const json_t *report);
/* One section of it, whole, by the member's name. */
/* `most`: arenas that are shown one by one; their rest is summed up. */
void tide_text_section(const struct tide_sink *, const json_t *report, const char *section, size_t most);
void tide_text_diff(const struct tide_sink *, const json_t *diff);
/* What is wrong with a log, above every answer; nothing when nothing is. */
void tide_text_losses(const struct tide_sink *, const json_t *coverage);

/* page.c: parts of a page */
void tide_page_header(const struct tide_sink *, const json_t *process);
/* Of a process that was looked at while it ran: the member "live", and in a report without a log what it cannot tell ("unknown"). */
void tide_page_live(const struct tide_sink *, const json_t *live);
void tide_page_unknown(const struct tide_sink *, const json_t *unknown);
void tide_page_verdict(const struct tide_sink *, const json_t *verdict);
void tide_page_ledger(const struct tide_sink *, const json_t *report);
/* Below the table of pins: how few release half, 80 %, 95 %; what no block holds. */
void tide_page_pins_sum(const struct tide_sink *, const json_t *report);
void tide_page_peak(const struct tide_sink *, const json_t *report);
void tide_page_coverage(const struct tide_sink *, const json_t *coverage);
void tide_page_timeline(const struct tide_sink *, const json_t *report);
/* arenas.c: by kind; one by one, those with the most stranded memory first; and drawn, a row of characters each */
void tide_page_arenas(const struct tide_sink *, const json_t *arenas);
void tide_page_arena_rows(const struct tide_sink *, const json_t *arenas, size_t most);
void tide_page_map(const struct tide_sink *, const json_t *arenas, size_t most);
/* page.c: `label`, then the text, broken at blanks; lines after the first begin below its first character. */
void tide_wrapped(const struct tide_sink *, const char *label, const char *text);

#endif
