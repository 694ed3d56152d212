/* SPDX-License-Identifier: GPL-2.0 */
/*
 * On which node a VM is at home. A node's load is the vCPUs that are at home there, against its
 * pCPUs: what runs is no measure, since whoever waits does not run, and where it would run is what
 * is asked.
 *
 * A move must lower the load that the VM lives under, its own vCPUs counted in both places. The
 * more crowded of the two nodes is then less crowded than it was, so all loads in descending order
 * only ever become less: moves come to an end, and nobody moves back and forth.
 *
 * Pure: no map, no helper, no lock.
 */
#ifndef KVMGANG_HOME_H
#define KVMGANG_HOME_H

/* Is @load on @cpus pCPUs less crowded than @other on @other_cpus? */
static inline int home_less(__u32 load, __u32 cpus, __u32 other, __u32 other_cpus)
{
	return (__u64)load * other_cpus < (__u64)other * cpus;
}

/*
 * Is a VM of @vcpus better off on a node of @cpus that has @load without it than where it is, on
 * one of @here_cpus that has @here_load with it?
 */
static inline int home_better(__u32 vcpus, __u32 load, __u32 cpus, __u32 here_load,
			      __u32 here_cpus)
{
	return here_load > here_cpus && home_less(load + vcpus, cpus, here_load, here_cpus);
}

#endif /* KVMGANG_HOME_H */
