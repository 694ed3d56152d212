/* SPDX-License-Identifier: GPL-2.0 */
/* On which NUMA node a VM's memory is: see memory.c. */
#ifndef KVMGANG_MEMORY_H
#define KVMGANG_MEMORY_H

#include <linux/numa.h>
#include <linux/types.h>

struct kvm;

/* Fewer pages say nothing. */
#define MEMORY_LEAST	8

/*
 * The node of at least three quarters of @nr pages, whose nodes are @nid; NUMA_NO_NODE: there is
 * none, or they are too few. Only one node can be that of more than half, and whoever is outlasts
 * all others when each is set off against one of another (Boyer and Moore, MJRTY, 1981).
 */
static inline int memory_majority(const s16 *nid, u32 nr)
{
	int node = NUMA_NO_NODE;
	u32 i, lead = 0, count = 0;

	if (nr < MEMORY_LEAST)
		return NUMA_NO_NODE;
	for (i = 0; i < nr; i++) {
		if (!lead)
			node = nid[i];
		lead += nid[i] == node ? 1 : -1;
	}
	for (i = 0; i < nr; i++)
		count += nid[i] == node;
	return 4 * count >= 3 * nr ? node : NUMA_NO_NODE;
}

/*
 * The node where most of @kvm's memory is, NUMA_NO_NODE if there is none. The current thread is in
 * KVM_RUN of one of its vCPUs. Does not sleep; some ten microseconds.
 */
int memory_node(struct kvm *kvm);

#endif /* KVMGANG_MEMORY_H */
