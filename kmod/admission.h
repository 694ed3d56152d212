/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whether pCPUs suffice for what VMs reserve of them.
 *
 * Looked at are all pCPUs together, of which every VM reserves; and those of each set of nodes that
 * is what the user wants as home_nodes of a VM with a reservation, of which all VMs reserve whose
 * home_nodes are within the set. A VM whose home_nodes are auto can be moved, so it counts with the
 * host only. This finds whatever does not fit as long as any two of these sets are disjoint or one
 * is within the other; of two that overlap otherwise the union is not looked at.
 *
 * A change is refused when it takes more of such a pool than before and more than there is. What
 * takes no more is never refused, so one can always go back, also when pCPUs have gone or when a
 * VM was born with a default for which there is no room.
 *
 * Pure, as policy_keys.h. Amounts are milli-pCPU; of all VMs that there can be they sum up to less
 * than 2^34.
 */
#ifndef KVMGANG_ADMISSION_H
#define KVMGANG_ADMISSION_H

#include "policy_keys.h"

/* What a VM reserves. */
struct admission_claim {
	__u64 nodes;			/* its home_nodes; 0: auto */
	__u64 amount;
};

/* What all VMs reserve of the same pCPUs. Begins with @nodes set and the rest zero. */
struct admission_pool {
	__u64 nodes;			/* 0: of the host */
	__u64 before, after;		/* reserved without the change, and with it */
	__u64 next;			/* the pool to be looked at after this one; 0: none */
};

/* Arguments as of policy_value(). */
static inline struct admission_claim admission_claim(const struct policy_settings *own,
						     const struct policy_settings *cgroup,
						     const struct policy_settings *defaults)
{
	struct admission_claim claim;
	__u32 origin;

	claim.nodes = policy_value(own, cgroup, defaults, KVMGANG_KEY_HOME_NODES, &origin);
	claim.amount = policy_value(own, cgroup, defaults, KVMGANG_KEY_RESERVATION, &origin);
	return claim;
}

static inline __u64 admission_amount(const struct admission_claim *claim, __u64 nodes)
{
	if (nodes && (!claim->nodes || claim->nodes & ~nodes))
		return 0;
	return claim->amount;
}

/* Adds a VM that reserves @before and is to reserve @after. */
static inline void admission_add(struct admission_pool *pool, const struct admission_claim *before,
				 const struct admission_claim *after)
{
	pool->before += admission_amount(before, pool->nodes);
	pool->after += admission_amount(after, pool->nodes);
	if (after->amount && after->nodes > pool->nodes &&
	    (!pool->next || after->nodes < pool->next))
		pool->next = after->nodes;
}

/* Once all VMs have been added: is the change too much for @pool, which has @capacity? */
static inline int admission_refused(const struct admission_pool *pool, __u64 capacity)
{
	return pool->after > capacity && pool->after > pool->before;
}

#endif /* KVMGANG_ADMISSION_H */
