/*
 * keys.h - the places under which blocks were made. Every line (and function) of a site's Python stack, or return address of its
 * native one, is a key; a block is "under" all keys of its stacks. One line that is reached in several ways, and an
 * object together with what its constructor made, are then one thing, as they are to a reader. No symbols are needed.
 */
#ifndef TIDE_ANALYZE_KEYS_H
#define TIDE_ANALYZE_KEYS_H

#include "read/log.h"
#include "replay/replay.h"

struct tide_key_entry;
struct tide_key_word;

struct tide_keys {
	const struct tide_log *log;
	uint32_t *first, *count; /* by site: its keys are key[first .. first + count), innermost first */
	uint32_t sites;
	uint32_t *key;
	uint32_t listed, cap;
	uint32_t keys; /* different ones: 0 .. keys - 1 */
	uint8_t *own;  /* by key: a line of Python that is neither the standard library's nor an installed package's */
	struct tide_key_entry *table;
	struct tide_key_word *words;
};

/* Keys of every site that has live blocks. TIDE_OK or TIDE_ERR_NOMEM; on failure nothing is held. */
enum tide_status tide_keys_init(struct tide_keys *, const struct tide_log *, const struct tide_replay *);
void tide_keys_release(struct tide_keys *);

/* The frame of that site that is the key: nodes from which its stack is shown. False: it has none, nothing is set. */
bool tide_keys_frame(const struct tide_keys *, const struct tide_site *, uint32_t key, uint32_t *ret_native,
		     uint32_t *ret_python);

#endif
