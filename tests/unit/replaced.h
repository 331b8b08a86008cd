/*
 * replaced.h - many blocks, of which any is freed and allocated again: what makes a ring go round. After alone.h.
 */
#ifndef REPLACED_H
#define REPLACED_H

#define BLOCKS 20000u
#define MORE 1100u /* addresses behind them, for a test's own */

static bool live[BLOCKS + MORE];

static uint64_t next_random(void)
{
	static uint64_t state = 88172645463325252u;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static const void *address(uint32_t i)
{
	return (const void *)(uintptr_t)(HEAP + (uint64_t)i * 4096); /* each has its own word: no SYNC */
}

static void replace(uint32_t i, const struct tide_regs *regs)
{
	if (live[i])
		tide_record_free_now(TIDE_KIND_FREE, address(i));
	tide_record_alloc_now(TIDE_KIND_ALLOC, regs, address(i), 1 + i, 0);
	live[i] = true;
}

#endif
