/*
 * lock.h - a try-lock that can be given up on. Nothing in the shim waits without an end: the holder may have been
 * killed (vfork child), cancelled, or may be the thread that a signal handler interrupted.
 */
#ifndef TIDE_LOCK_H
#define TIDE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "sys.h"

struct tide_lock {
	atomic_uint held;
	atomic_uint
		timeouts; /* in a row: after TIDE_LOCK_PATIENCE of them the holder is taken for dead, and nobody waits for it */
};

#define TIDE_LOCK_SPINS 2000u
#define TIDE_LOCK_PATIENCE 8u
#define TIDE_LOCK_TICKS UINT64_C(100000000) /* some 30 ms at usual counter rates */

static inline bool tide_trylock(struct tide_lock *lock)
{
	/* acquire pairs with the release in tide_unlock */
	return atomic_load_explicit(&lock->held, memory_order_relaxed) == 0 &&
	       atomic_exchange_explicit(&lock->held, 1, memory_order_acquire) == 0;
}

static inline void tide_unlock(struct tide_lock *lock)
{
	atomic_store_explicit(&lock->held, 0, memory_order_release);
}

/* Spins, then yields, for so many ticks. False: not got. */
static inline bool tide_lock_for(struct tide_lock *lock, uint64_t ticks)
{
	uint64_t begin = tide_ticks();
	for (unsigned spin = 0; !tide_trylock(lock); spin++) {
		if (spin < TIDE_LOCK_SPINS) {
#if defined(__x86_64__)
			__builtin_ia32_pause();
#endif
			continue;
		}
		if (tide_ticks() - begin > ticks)
			return false;
		tide_sys_yield();
	}
	return true;
}

/* The same for TIDE_LOCK_TICKS, and not at all when that was in vain too often. */
static inline bool tide_lock_within(struct tide_lock *lock)
{
	bool hopeless = atomic_load_explicit(&lock->timeouts, memory_order_relaxed) >= TIDE_LOCK_PATIENCE;
	if (hopeless ? !tide_trylock(lock) : !tide_lock_for(lock, TIDE_LOCK_TICKS)) {
		if (!hopeless)
			atomic_fetch_add_explicit(&lock->timeouts, 1, memory_order_relaxed);
		return false;
	}
	if (atomic_load_explicit(&lock->timeouts, memory_order_relaxed))
		atomic_store_explicit(&lock->timeouts, 0, memory_order_relaxed);
	return true;
}

#endif
