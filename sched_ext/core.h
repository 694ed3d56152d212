/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who has a core: one word that says for whom its hardware threads run, and which of them do.
 *
 * A thread enters before it begins to run somebody, and is let in if no other thread is in, or all
 * that are in are there for the same owner. One that stops is leaving; it is out when somebody has
 * seen that it runs nobody any more, since the word changes before the switch has happened.
 *
 * A word of another epoch says nothing. Bits from the top: 32 owner, 16 epoch, 8 leaving, 8 in.
 *
 * Pure: no map, no helper, no lock. The caller compares and swaps.
 */
#ifndef KVMGANG_CORE_H
#define KVMGANG_CORE_H

/* Of one core, at most. */
#define CORE_THREADS	8

#define CORE_EPOCHS	0xffff

static inline __u32 core_owner(__u64 word)
{
	return word >> 32;
}

static inline __u32 core_in(__u64 word)
{
	return word & 0xff;
}

static inline __u32 core_leaving(__u64 word)
{
	return word >> 8 & 0xff;
}

/* What @word says in @epoch. */
static inline __u64 core_word(__u64 word, __u32 epoch)
{
	epoch &= CORE_EPOCHS;
	return (word >> 16 & CORE_EPOCHS) == epoch ? word : (__u64)epoch << 16;
}

/* @word without the threads of @mask. */
static inline __u64 core_without(__u64 word, __u32 mask)
{
	return word & ~((__u64)mask << 8 | mask);
}

/* Has @thread entered for @owner? */
static inline int core_is_for(__u64 word, __u32 thread, __u32 owner)
{
	return core_in(word) >> thread & 1 && core_owner(word) == owner;
}

/* @word after @thread has entered for @owner, which is not 0; 0: it may not. */
static inline __u64 core_entered(__u64 word, __u32 thread, __u32 owner)
{
	__u64 own = 1U << thread;

	if (core_in(word) & ~own && core_owner(word) != owner)
		return 0;
	return (__u64)owner << 32 | (__u32)(core_without(word, own) | own);
}

/* @word after @thread has begun to leave, which may not be in. */
static inline __u64 core_left(__u64 word, __u32 thread)
{
	return word | (word & 1U << thread) << 8;
}

#endif /* KVMGANG_CORE_H */
