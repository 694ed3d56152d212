/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cpu.max of a cgroup: so much pCPU time in each period, and what was left of it before, up to
 * cpu.max.burst. Whoever draws from it may overdraw it by what several pCPUs use until they are
 * told; that is owed, but not more than a quota.
 *
 * A limit of a VM is another thing, see budget.h: it is earned all the time, not once in a period.
 *
 * Pure: no map, no helper, no lock. All ns. The kernel sees to it that a quota and a period are
 * 1 ms at least, a period 1 s at most, and a burst no more than the quota.
 */
#ifndef KVMGANG_QUOTA_H
#define KVMGANG_QUOTA_H

/* Periods that have passed at @now of which the first began at @since. */
static inline __u64 quota_periods(__u64 since, __u64 now, __u64 period)
{
	return now > since ? (now - since) / period : 0;
}

/* What they bring. Three fill any budget: that of one owed, that of this one, and the burst. */
static inline __s64 quota_earned(__u64 periods, __u64 quota)
{
	return (periods < 3 ? periods : 3) * quota;
}

/* @budget within its bounds. */
static inline __s64 quota_bounded(__s64 budget, __u64 quota, __u64 burst)
{
	__s64 least = -(__s64)quota, most = quota + burst;

	return budget < least ? least : budget > most ? most : budget;
}

/*
 * When there is something to use again of @budget, which is none and was brought up to date for the
 * period that began at @since: after two periods at the latest.
 */
static inline __u64 quota_next(__s64 budget, __u64 quota, __u64 period, __u64 since)
{
	__u64 owed = budget < 0 ? -budget : 0;

	return since + (owed / quota + 1) * period;
}

/* How long @budget, which is some, lasts when @running tasks use it, but at least @least. */
static inline __u64 quota_lasts(__s64 budget, __u32 running, __u64 least)
{
	__u64 ns = budget > 0 ? (__u64)budget / (running ?: 1) : 0;

	return ns > least ? ns : least;
}

#endif /* KVMGANG_QUOTA_H */
