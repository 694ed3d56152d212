/* SPDX-License-Identifier: GPL-2.0 */
/*
 * On which nodes a VM is at home. One that is wider than a node is in parts, each of which has a
 * node as a narrow one does: as few as it takes, and vCPUs whose numbers are near to each other in
 * the same one, since that is what a guest takes for near.
 *
 * A node's load is the vCPUs that are at home there, against its
 * pCPUs: what runs is no measure, since whoever waits does not run, and where it would run is what
 * is asked.
 *
 * A move must lower the load that the part lives under, its own vCPUs counted in both places. The
 * more crowded of the two nodes is then less crowded than it was, so all loads in descending order
 * only ever become less: moves come to an end, and nobody moves back and forth. A move to where the
 * VM's memory is must find room there: it makes no node crowded, so all that was said holds for
 * what loads are beyond full nodes; and a VM makes one such move at most between two of the other
 * kind.
 *
 * Pure: no map, no helper, no lock.
 */
#ifndef KVMGANG_HOME_H
#define KVMGANG_HOME_H

/* The parts of a VM of @vcpus, where @nodes may be its home and have at most @cpus pCPUs each. */
static inline __u32 home_parts(__u32 vcpus, __u32 cpus, __u32 nodes)
{
	__u32 parts = cpus ? (vcpus + cpus - 1) / cpus : 1;

	return (parts < nodes ? parts : nodes) ?: 1;
}

/* In which of @parts the @vcpu-th of @vcpus is. */
static inline __u32 home_part(__u32 vcpu, __u32 vcpus, __u32 parts)
{
	if (vcpu >= vcpus)
		return parts ? parts - 1 : 0;
	return (__u64)vcpu * parts / vcpus;
}

/* How many of @vcpus are in each of the first @part of @parts, together. */
static inline __u32 home_before(__u32 part, __u32 vcpus, __u32 parts)
{
	return parts ? ((__u64)part * vcpus + parts - 1) / parts : 0;
}

/* How many of @vcpus are in @part of @parts: with others of the VM it differs by one at most. */
static inline __u32 home_part_size(__u32 part, __u32 vcpus, __u32 parts)
{
	return part < parts ? home_before(part + 1, vcpus, parts) -
			      home_before(part, vcpus, parts) : 0;
}

/* Is @load on @cpus pCPUs less crowded than @other on @other_cpus? */
static inline int home_less(__u32 load, __u32 cpus, __u32 other, __u32 other_cpus)
{
	return (__u64)load * other_cpus < (__u64)other * cpus;
}

/*
 * Is a part of @vcpus better off on a node of @cpus that has @load without it than where it is, on
 * one of @here_cpus that has @here_load with it?
 */
static inline int home_better(__u32 vcpus, __u32 load, __u32 cpus, __u32 here_load,
			      __u32 here_cpus)
{
	return here_load > here_cpus && home_less(load + vcpus, cpus, here_load, here_cpus);
}

/* Is there room for @vcpus more on a node of @cpus that has @load? */
static inline int home_fits(__u32 vcpus, __u32 load, __u32 cpus)
{
	return load + vcpus <= cpus;
}

#endif /* KVMGANG_HOME_H */
