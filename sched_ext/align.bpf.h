/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Alignment: the parts of a VM that is wider than a node run at the same time, as its vCPUs spin
 * for each other whatever node they are on. Windows of all nodes end at the same times; the node
 * that elects first for such a time decides, by its own order, which wide VMs take part, and on the
 * others those come before all VMs whose turn it is. A VM is not chosen that is ahead by more than
 * two windows of its own on another of its nodes where somebody waits: who shares that node with it
 * loses no more than that. One would not do, as the clock there is that of the last election. Solo
 * tasks keep their turn: where all VMs are wide nothing else would ever say that one is ahead.
 *
 * As long as there are wide VMs one node elects at a time. That makes others wait for some ten
 * microseconds each, with interrupts off; if it takes longer they go on alone.
 *
 * Not here: a node where nobody waits has no windows, and a part there runs anyway.
 */
#ifndef KVMGANG_ALIGN_BPF_H
#define KVMGANG_ALIGN_BPF_H

#include "home.bpf.h"

/* Wide VMs that can take part in windows that end at one time. */
#define MAX_ALIGNED	16

/* Under @aligning, or if that took too long, of little harm. */
static struct aligned {
	u64 end;
	u32 nr;
	u32 vm_id[MAX_ALIGNED];
} aligned;

static u32 aligning;

/* True: this pCPU has to say so when it is done. */
static bool align_begin(void)
{
	int i;

	if (!wide_vms)
		return false;
	bpf_for(i, 0, 10000)
		if (!__sync_val_compare_and_swap(&aligning, 0, 1))
			return true;
	return false;
}

static void align_end(void)
{
	__sync_lock_test_and_set(&aligning, 0);
}

/* VM @vm_id has a part of a window that ends at @end. */
static void align(struct vm *vm, u32 vm_id, u64 end)
{
	if (vm->parts <= 1 || vm->aligned == end)
		return;
	if (aligned.end != end) {
		aligned.end = end;
		aligned.nr = 0;
	}
	if (aligned.nr >= MAX_ALIGNED)
		return;
	aligned.vm_id[aligned.nr % MAX_ALIGNED] = vm_id;
	aligned.nr++;
	vm->aligned = end;
}

/* The @i-th VM that has a part of windows that end at @end; 0: there are not so many. */
static u32 aligned_at(u32 i, u64 end)
{
	return aligned.end == end && i < aligned.nr ? aligned.vm_id[i % MAX_ALIGNED] : 0;
}

enum { MAY_LEAD, IS_DECIDED, IS_AHEAD };

/*
 * May VM @vm_id, which is wide, be the first to have a part of a window of @node? Not if another of
 * its nodes has elected for the time when that ends, nor if the VM is ahead there.
 */
__noinline int may_lead(u32 vm_id, u32 node)
{
	struct node_state *here = node_of(node);
	struct vm *vm = vm_of(vm_id);
	int verdict = MAY_LEAD;
	u32 i;

	if (!vm || !here)
		return IS_DECIDED;
	bpf_for(i, 0, MAX_NODES) {
		u32 other = vm->part[i % MAX_NODES] % MAX_NODES;
		struct node_state *n = node_of(other);
		u64 most;

		if (i >= vm->parts)
			break;
		if (!n || other == node || !n->contended || !vm->on[other].runnable)
			continue;
		most = vm_charge(vm, other, 2 * WINDOW_NS * vm->on[other].members);
		if (vm->on[other].vtime > level_of(n) + most)
			return IS_AHEAD;
		if (n->electing_for == here->electing_for)
			verdict = IS_DECIDED;
	}
	return verdict;
}

#endif /* KVMGANG_ALIGN_BPF_H */
