/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who is entitled to how much: virtual time. A VM's, or a host task's, virtual time is the pCPU
 * time that it got divided by its weight; whoever has the least is next. The clock of a node
 * follows the least virtual time that is being served there, and whoever was away is brought near
 * to it: nobody saves up, and nobody pays for what was free.
 *
 * Pure: no map, no helper, no lock. Times are ns; a weight of 100 makes virtual ns of ns.
 */
#ifndef KVMGANG_FAIR_H
#define KVMGANG_FAIR_H

#define FAIR_WEIGHT	100

/* @ns of pCPU time, in virtual time of somebody with @weight (1 to 10000). */
static inline __u64 fair_charge(__u64 ns, __u32 weight)
{
	return ns * FAIR_WEIGHT / (weight ?: 1);
}

/* @vtime brought up to at most @lag behind @clock. */
static inline __u64 fair_floor(__u64 vtime, __u64 clock, __u64 lag)
{
	__u64 floor = clock > lag ? clock - lag : 0;

	return vtime > floor ? vtime : floor;
}

/* @vtime, but at most @front. */
static inline __u64 fair_ceiling(__u64 vtime, __u64 front)
{
	return vtime < front ? vtime : front;
}

/* @vtime by one clock, in terms of another: as far ahead or behind, but at most @lag. */
static inline __u64 fair_translate(__u64 vtime, __u64 clock, __u64 other, __u64 lag)
{
	if (vtime > clock)
		return other + (vtime - clock < lag ? vtime - clock : lag);
	return fair_floor(other - (clock - vtime < other ? clock - vtime : other), other, lag);
}

/* The first end of a window of @length at or after half a window from @now. */
static inline __u64 fair_window_end(__u64 now, __u64 length)
{
	__u64 least = now + length / 2;

	return least + length - 1 - (least + length - 1) % length;
}

/* The mean of the last @nr samples or so, those of long ago counting for less and less. */
static inline __u64 fair_recent(__u64 mean, __u64 sample, __u64 nr)
{
	return mean - mean / nr + sample / nr;
}

/*
 * The mean of lengths, weighted by the lengths themselves: @sample is added, and what lies more
 * than @reach back counts for little.
 */
static inline __u64 fair_mean(__u64 mean, __u64 sample, __u64 reach)
{
	if (sample > mean)
		return mean + (sample - mean) * sample / (sample + reach);
	return mean - (mean - sample) * sample / (sample + reach);
}

#endif /* KVMGANG_FAIR_H */
