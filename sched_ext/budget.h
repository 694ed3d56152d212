/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Budgets: pCPU time that a VM earns by the clock and uses up by running. A limit is a budget that
 * must not be overdrawn, a reservation is one that should not be left over.
 *
 * Pure: no map, no helper, no lock. Times and budgets are ns, rates milli-pCPU.
 */
#ifndef KVMGANG_BUDGET_H
#define KVMGANG_BUDGET_H

#define BUDGET_SECOND	1000000000ULL

/* What is earned in @ns; of a pause longer than a second the rest does not count. */
static inline __u64 budget_earned(__u64 ns, __u32 rate)
{
	return (ns < BUDGET_SECOND ? ns : BUDGET_SECOND) * rate / 1000;
}

/*
 * With how much a VM of @vcpus begins that has a limit: enough to run for @turn together. Where the
 * limit is so low that it would take longer than a second to earn that, with what a second earns.
 */
static inline __s64 budget_burst(__u32 vcpus, __u64 turn, __u32 limit)
{
	__u64 wanted = turn * (vcpus ?: 1), second = budget_earned(BUDGET_SECOND, limit);

	return wanted < second ? wanted : second;
}

/* How long it takes to come from @budget to @burst; @limit is not 0. */
static inline __u64 budget_wait(__s64 budget, __s64 burst, __u32 limit)
{
	return budget < burst ? (__u64)(burst - budget) * 1000 / limit + 1 : 0;
}

/*
 * When to look at @budget again, from which @running vCPUs draw while @limit is earned: when it is
 * used up, but after a second at the latest, of which all that is earned counts; 0: never.
 */
static inline __u64 budget_lasts(__s64 budget, __u32 running, __u32 limit)
{
	__u64 drawn = 1000ULL * running, ns = 1;

	if (drawn <= limit)
		return 0;
	if (budget > 0)
		ns += (__u64)budget * 1000 / (drawn - limit);
	return ns < BUDGET_SECOND ? ns : BUDGET_SECOND;
}

#endif /* KVMGANG_BUDGET_H */
