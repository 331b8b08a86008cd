#include "format/items.h"
#include "python/interp.h"

unsigned tide_python_frames(struct tide_py_stack *s, uint64_t *words, unsigned max)
{
	unsigned n = 0;
	if (!tide_py.version)
		return 0;
	for (uint32_t i = tide_py_stack_update(s, tide_py.thread_state(), max); i < s->depth; i++) {
		s->known[i] = tide_py_stack_word(s, i);
		if (s->known[i] && !tide_word_code(s->known[i]))
			s->seen[i].at = UINT64_MAX; /* no frame's: asked again the next time */
	}
	for (uint32_t i = s->depth; i-- > 0;)
		if (s->known[i])
			words[n++] = s->known[i];
	if (n && s->base)
		words[n++] = TIDE_WORD_CUT_LIMIT;
	return n;
}
