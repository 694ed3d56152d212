/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How long the vCPUs of VMs that have a ready target wait, and who uses how much: what target.bpf.h
 * goes by. The module's figures are exact, but asked for vCPU by vCPU; these are sums that are
 * there when a period ends. A wait counts when it ends, in the period when it does.
 *
 * Where no VM has a target nothing is measured.
 */
#ifndef KVMGANG_READY_BPF_H
#define KVMGANG_READY_BPF_H

#include "vms.bpf.h"

/* VMs that have a target. */
__u32 targets;

static bool any_targets(void)
{
	return *(volatile u32 *)&targets;
}

/* @t wants to run. */
static void ready_begins(struct thread *t)
{
	struct vm *vm;

	if (!any_targets() || !t->vm_id)
		return;
	vm = vm_of(t->vm_id);
	if (vm && vm->target)
		t->ready_since = bpf_ktime_get_ns();
}

/* It does, or not any more, or is held back from here on. */
static void ready_ends(struct thread *t)
{
	u64 since = t->ready_since, now;
	struct vm *vm;

	if (!since)
		return;
	t->ready_since = 0;
	vm = vm_of(t->vm_id);
	now = bpf_ktime_get_ns();
	if (!vm || now < since)
		return;
	if (t->ready_period != vm->ready_period) {
		t->ready_period = vm->ready_period;
		t->ready = 0;
	}
	t->ready += now - since;
	__sync_fetch_and_add(&vm->ready, now - since);
	/* Of two at a time the lesser may win; the next wait mends it. */
	if (vm->ready_worst < t->ready)
		vm->ready_worst = t->ready;
}

/*
 * @vm, or with NULL a host task, ran for @ns, and waits on @node, which is @n. Whoever is no VM
 * that is looked at there is counted apart: what VMs are counted for is read at another moment than
 * the node's sum, and the difference of the two would be as wrong as that is long.
 */
static void ran_for(struct node_state *n, struct vm *vm, u32 node, u64 ns)
{
	if (!any_targets())
		return;
	__sync_fetch_and_add(&n->ran, ns);
	if (vm)
		__sync_fetch_and_add(&vm->ran, ns);
	if (!vm || vm->part[0] != node)
		__sync_fetch_and_add(&n->ran_beside, ns);
}

#endif /* KVMGANG_READY_BPF_H */
