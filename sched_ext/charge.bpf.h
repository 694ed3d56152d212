/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VM's virtual time goes on by what its vCPUs run, on whichever pCPUs they do.
 *
 * Each pCPU charges what it has run when it asks. At the end of a window they all do, and the first
 * one elects: of what the others have run it would know nothing, a VM of four vCPUs would seem to
 * have had a quarter of its window, and would often have another before its turn. So that pCPU
 * charges for the others, too. Up to when a pCPU has been charged is a word of its own, and who
 * moves that on charges what is between: nothing is charged twice, and nothing is lost.
 */
#ifndef KVMGANG_CHARGE_BPF_H
#define KVMGANG_CHARGE_BPF_H

#include "cgroup.bpf.h"
#include "home.bpf.h"

/* A host task is entitled to as much as one vCPU, not to as much as a VM. */
static u64 host_vtime(const struct node_state *n, const struct task_struct *p,
		      const struct thread *t, u64 ns)
{
	return fair_charge(ns * (n->width ?: 1), weight_of(p, t));
}

/* How far ahead of the clock it may come by what nobody else could use, in virtual time. */
static u64 host_lead(const struct node_state *n, const struct task_struct *p,
		     const struct thread *t)
{
	return host_vtime(n, p, t, LEAD_WINDOWS * WINDOW_NS);
}

/* A vCPU of @vm, which waits on @node, ran for @ns. As long as nobody waits nobody is behind. */
static void charge_vm(struct node_state *n, struct vm *vm, u32 node, u64 ns)
{
	struct entity *e = &vm->on[node % MAX_NODES];
	u64 vtime;

	ns = vm_charge(vm, node, ns);
	vtime = __sync_fetch_and_add(&e->vtime, ns) + ns;
	if (!n->contended)
		clock_advance(n, vtime);
	else
		vtime_bring(&e->vtime, vtime,
			    fair_ceiling(vtime, vtime_ceiling(n, vm_lead(vm, node))));
}

/* From now on @pc is charged for @side, on @node. The word first: see charge_node(). */
static void charge_begin(struct pcpu_state *pc, u32 side, u32 node, u64 now)
{
	__sync_lock_test_and_set(&pc->charged, now);
	pc->side_node = node;
	*(volatile u32 *)&pc->side = side;
}

/* What @pc has run by @now and nobody has charged; the caller does. */
static u64 charge_due(struct pcpu_state *pc, u64 now)
{
	u64 charged = __sync_lock_test_and_set(&pc->charged, now);

	return charged < now ? now - charged : 0;
}

/*
 * Charges what is due by @now of the pCPUs of @node, of those that run vCPUs of gangs. Whose they
 * are is read after the word: if that is another's since, the word is another one, too.
 */
__noinline int charge_node(u32 node, u64 now)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return 0;
	bpf_for(i, 0, MAX_CPUS) {
		struct pcpu_state *pc = pcpu_at(n, i);
		u64 charged;
		struct vm *vm;
		u32 side;

		if (!pc)
			break;
		charged = *(volatile u64 *)&pc->charged;
		side = *(volatile u32 *)&pc->side;
		vm = pc->side_node == node ? vm_of(side) : NULL;
		if (vm && charged < now &&
		    __sync_val_compare_and_swap(&pc->charged, charged, now) == charged)
			charge_vm(n, vm, node, now - charged);
	}
	return 0;
}

#endif /* KVMGANG_CHARGE_BPF_H */
