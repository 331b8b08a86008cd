/* The items of a block: any bytes decode to events or are refused; stacks stay within their limits. */
#include <stdlib.h>

#include "format/items.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tide_items items;
	static uint64_t dict[TIDE_DICT_MAX];
	struct tide_item item;
	uint32_t native = 0, python = 0;
	if (size > TIDE_FRAME_RAW_MAX)
		return 0;
	tide_items_init(&items, data, size, 1, dict, (uint32_t)(size / 2 + 1));
	while (tide_items_next(&items, &item) == 1) {
		if (!tide_kind_name(item.kind) || item.native.pop > native || item.python.pop > python)
			abort();
		native += item.native.push - item.native.pop;
		python += item.python.push - item.python.pop;
		if (native > TIDE_STACK_MAX + 2 || python > TIDE_STACK_MAX + 2)
			abort();
		for (uint32_t i = 0; i < item.native.push; i++)
			items.ticks ^= item.native.words[i] & 1;
	}
	return 0;
}
