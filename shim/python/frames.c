#include "format/items.h"
#include "python/compare.h"
#include "python/interp.h"
#include "python/native.h"

static void put(struct tide_kept *k, uint64_t word, struct tide_words *ret)
{
	if (ret->shared == ret->depth && ret->depth < k->depth && k->word[ret->depth] == word)
		ret->shared++;
	k->word[ret->depth++] = word;
}

/* Of a stack that is cut, or in which some frames run no code: its words, without those, in memory of their own. */
__attribute__((noinline)) static void put_all(const struct tide_py_stack *s, struct tide_kept *k,
					      struct tide_words *ret)
{
	*ret = (struct tide_words){k->word, 0, 0};
	for (uint32_t i = 0; i < s->depth; i++) {
		if (s->known[i] && ret->depth == 0 && s->base)
			put(k, TIDE_WORD_CUT_LIMIT, ret);
		if (s->known[i])
			put(k, s->known[i], ret);
	}
	k->depth = ret->depth;
}

/* The words of the frames from `i` on. False: some of them have none. */
static bool name(struct tide_py_stack *s, uint32_t i)
{
	bool whole = true;
	for (; i < s->depth; i++) {
		s->known[i] = tide_py_stack_word(s, i);
		whole = whole && s->known[i];
		if (s->known[i] && !tide_word_code(s->known[i])) {
			s->seen[i].at = UINT64_MAX; /* no frame's: asked again the next time */
			tide_py_stack_doubt(s);
		}
	}
	return whole;
}

uintptr_t tide_python_words(struct tide_py_stack *s, struct tide_kept *k, unsigned max, struct tide_words *ret,
			    const struct tide_unwinder *u, const struct tide_regs *regs)
{
	const uint8_t *state = tide_py.thread_state();
	tide_py_native_begin(s, state);
	uint32_t same = tide_py_stack_update(s, tide_py_frame_of(state), max);
	uintptr_t stands = tide_py_native_stands(s, u, regs);
	bool was_whole = s->whole, whole = name(s, same) && !s->base;
	for (uint32_t i = 0; whole && !was_whole && i < same; i++)
		whole = s->known[i] != 0;
	s->whole = whole;
	if (__builtin_expect(whole, 1)) {
		*ret = (struct tide_words){s->known, s->depth, was_whole ? same : 0};
		return stands;
	}
	if (was_whole)
		k->depth = 0; /* what is in it was not told last */
	put_all(s, k, ret);
	return stands;
}
