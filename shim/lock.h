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
};

#define TIDE_LOCK_SPINS 2000u
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

/* Spins, then yields, for a bounded time. False: not got. */
static inline bool tide_lock_within(struct tide_lock *lock)
{
	uint64_t begin = tide_ticks();
	for (unsigned spin = 0; !tide_trylock(lock); spin++) {
		if (spin < TIDE_LOCK_SPINS) {
#if defined(__x86_64__)
			__builtin_ia32_pause();
#endif
			continue;
		}
		if (tide_ticks() - begin > TIDE_LOCK_TICKS)
			return false;
		tide_sys_yield();
	}
	return true;
}

#endif
