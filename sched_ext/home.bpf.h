/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Homes: each VM has a node where its vCPUs wait and, while there is room, run. The first is the
 * module's word for it, which is where first touch puts the VM's memory, unless that is full; the
 * user may say which nodes are allowed. Every two seconds it is asked whether another node would be
 * better (home.h); on one that is not full a VM stays for good.
 *
 * The home only says where vCPUs belong. A pCPU with nothing to do takes vCPUs from other nodes;
 * they go back when there is an idle pCPU at home. A vCPU that may not run on the home's pCPUs
 * waits where it may.
 *
 * Loads are counted, not locked: two VMs that look for a home at the same time may choose the same
 * one, and find out two seconds later.
 */
#ifndef KVMGANG_HOME_BPF_H
#define KVMGANG_HOME_BPF_H

#include "window.bpf.h"
#include "home.h"

int kvmgang_set_home(u32 vm_id, u64 nodes) __ksym;

#define HOME_PERIOD_NS	2000000000ULL

/* The first of @nodes that has pCPUs; @node if none has. */
static u32 home_first(u64 nodes, u32 node)
{
	u32 i;

	bpf_for(i, 0, MAX_NODES) {
		struct node_state *n = node_of(i);

		if (n && n->nr_cpus && nodes >> i & 1)
			return i;
	}
	return node;
}

static bool may_be_home(const struct vm *vm, u32 node)
{
	return !vm->wanted_nodes || vm->wanted_nodes >> node & 1;
}

/*
 * The node that VM @vm_id would be best on, of those that it may have and its vCPU @p may run on;
 * @node if none is better.
 */
__noinline u32 home_best(struct task_struct *p __arg_trusted, u32 vm_id, u32 node)
{
	struct vm *vm = vm_of(vm_id);
	struct node_state *here = node_of(node);
	u32 load, cpus, i;
	bool forced;

	if (!vm || !here)
		return node;
	forced = !may_be_home(vm, node) || !may_run_at(p, here);
	load = here->homed;
	cpus = here->nr_cpus;
	bpf_for(i, 0, MAX_NODES) {
		struct node_state *n = node_of(i);

		if (!n || !n->nr_cpus || i == vm->home || !may_be_home(vm, i) || !may_run_at(p, n))
			continue;
		if (!forced && !home_better(vm->threads, n->homed, n->nr_cpus, load, cpus))
			continue;
		/* From here on it is compared with this one. */
		forced = false;
		load = n->homed + vm->threads;
		cpus = n->nr_cpus;
		node = i;
	}
	return node;
}

/* @vm is as far ahead on the next node as it was on the last, within reason. */
static void home_move(struct vm *vm, u32 vm_id, u32 node)
{
	struct node_state *from = node_of(vm->home), *to = node_of(node);

	if (!from || !to)
		return;
	vm->on[node % MAX_NODES].vtime = fair_translate(vm->on[vm->home % MAX_NODES].vtime,
							from->clock, to->clock, LAG_NS);
	__sync_fetch_and_sub(&from->homed, vm->threads);
	__sync_fetch_and_add(&to->homed, vm->threads);
	vm->home = node;
	/* It was for the sake of VMs on the node that it leaves. */
	vm->squeeze = 0;
	kvmgang_set_home(vm_id, 1ULL << node);
	event(node, EVENT_HOME_MOVE);
}

/*
 * Is there a better home for VM @vm_id, by its vCPU @p? At most one pCPU asks at a time, and after
 * two seconds again.
 */
__noinline int home_review(struct task_struct *p __arg_trusted, u32 vm_id, u64 now)
{
	struct vm *vm = vm_of(vm_id);
	u64 looked_at;
	u32 node;

	if (!vm)
		return 0;
	looked_at = vm->home_looked_at;
	if (now < looked_at + HOME_PERIOD_NS ||
	    __sync_val_compare_and_swap(&vm->home_looked_at, looked_at, now) != looked_at)
		return 0;
	node = home_best(p, vm_id, vm->home);
	if (node != vm->home)
		home_move(vm, vm_id, node);
	return 0;
}

#endif /* KVMGANG_HOME_BPF_H */
