/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ready targets: how much those VMs of a node that have none may use, so that the vCPUs of those
 * that have one wait no longer than that. Feedback control, a step each TARGET_PERIOD_NS.
 *
 * A vCPU that could run and does not waits because somebody else has its pCPU. So with as many
 * thousandths of a pCPU as others have less, the permilles for which the vCPUs of a VM are ready
 * sum up to less: the gain of what is controlled is 1, or less where pCPUs are to spare. Each step
 * corrects half of an error that is large and a quarter of one that is small, which cannot
 * overshoot, and brings vCPUs that always wait to below a target of 50 permille in a dozen steps.
 *
 * Pure: no map, no helper, no lock. Rates are milli-pCPU.
 */
#ifndef KVMGANG_TARGET_H
#define KVMGANG_TARGET_H

#define TARGET_PERIOD_NS	100000000ULL

/* What is aimed at, of the target: turns come one by one, and so what is measured scatters. */
static inline __u32 target_aim(__u32 permille)
{
	return permille - permille / 8;
}

/*
 * With how much others go on who had @allowance. @excess is for how long the vCPUs waited beyond
 * the aim, all together, in permille of a period; negative: less than that. @aim is what would have
 * been none. @idle is what nobody used.
 */
static inline __u64 target_step(__u64 allowance, __s64 excess, __u64 aim, __u64 idle)
{
	__u64 less;

	if (excess <= 0)
		return allowance + (__u64)-excess / 4 + idle / 4;
	less = (__u64)excess > aim ? excess / 2 : excess / 4;
	return allowance > less ? allowance - less : 0;
}

/*
 * Can the targets be kept at all of VMs that together @want so much, are @allowed to wait for that
 * much, and can be given @capacity at most?
 */
static inline int target_is_feasible(__u64 want, __u64 allowed, __u64 capacity)
{
	return want <= capacity + allowed;
}

/* The part of @left for somebody who wants @want of the @wanted that all together want. */
static inline __u64 target_part(__u64 left, __u64 want, __u64 wanted)
{
	return wanted <= left ? want : left * want / wanted;
}

#endif /* KVMGANG_TARGET_H */
