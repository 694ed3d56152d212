/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Homes: each VM has a node where its vCPUs wait and, while there is room, run; one that is wider
 * than a node has several, and each vCPU one of these. The first is the module's word for it, which
 * is where its first vCPU began; the user may say which nodes are allowed. Every two seconds it is
 * asked whether another node would be better (home.h): the one that most of the VM's memory is on,
 * if there is room, and else one that is less crowded. On one that is not full, where its memory is
 * or is nowhere in particular, a VM stays for good.
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

/* VMs that are in several parts. */
__u32 wide_vms;

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

/* Where @t, a vCPU's of @vm, belongs. */
static u32 home_of(const struct vm *vm, const struct thread *t)
{
	return vm->part[home_part(t->vcpu, vm->threads, vm->parts) % MAX_NODES];
}

/* What @part is of the vCPUs of @vm that wait on @node, as so much of all. */
static u64 vm_whole(const struct vm *vm, u32 node, u64 part)
{
	u32 members = vm->on[node % MAX_NODES].members;

	return members ? part * vm->threads / members : part;
}

/*
 * @ns that a vCPU of @vm ran which waits on @node, in virtual time: of the VM's shares, the vCPUs
 * that wait there have their part.
 */
static u64 vm_charge(const struct vm *vm, u32 node, u64 ns)
{
	return fair_charge(vm_whole(vm, node, ns), vm->shares);
}

/* How far ahead of the clock of @node @vm may come by what nobody else could use; virtual time. */
static u64 vm_lead(const struct vm *vm, u32 node)
{
	u32 members = vm->on[node % MAX_NODES].members;

	return vm_charge(vm, node, LEAD_WINDOWS * WINDOW_NS * (members ?: 1));
}

/* Two functions that the verifier looks at on their own: in one it would take too long. */

/* How many nodes may be home to VM @vm_id. */
__noinline u32 home_choice(u32 vm_id)
{
	struct vm *vm = vm_of(vm_id);
	u32 nr = 0, i;

	if (!vm)
		return 0;
	bpf_for(i, 0, MAX_NODES) {
		struct node_state *n = node_of(i);

		if (n && n->nr_cpus && may_be_home(vm, i))
			nr++;
	}
	return nr;
}

/* How many pCPUs the largest of them has. */
__noinline u32 home_widest(u32 vm_id)
{
	struct vm *vm = vm_of(vm_id);
	u32 cpus = 0, i;

	if (!vm)
		return 0;
	bpf_for(i, 0, MAX_NODES) {
		struct node_state *n = node_of(i);

		if (n && n->nr_cpus > cpus && may_be_home(vm, i))
			cpus = n->nr_cpus;
	}
	return cpus;
}

/* The nodes of the first @parts parts of VM @vm_id, without @but. */
__noinline u64 home_nodes(u32 vm_id, u32 parts, u32 but)
{
	struct vm *vm = vm_of(vm_id);
	u64 nodes = 0;
	u32 i;

	if (!vm)
		return 0;
	bpf_for(i, 0, MAX_NODES)
		if (i < parts && i != but)
			nodes |= 1ULL << vm->part[i % MAX_NODES] % 64;
	return nodes;
}

/* Is @node, where the memory of VM @vm_id is, where it should go to, too? */
__noinline int home_calls(struct task_struct *p __arg_trusted, u32 vm_id, u32 node)
{
	struct node_state *n = node_of(node);
	struct vm *vm = vm_of(vm_id);

	return n && vm && node != vm->part[0] && may_be_home(vm, node) && may_run_at(p, n) &&
	       home_fits(vm->threads, n->homed, n->nr_cpus);
}

/*
 * The node that @part of VM @vm_id would be best on, of those that it may have and no other part
 * has; the one that it is on if none is better. One that is on none yet gets any. Where a vCPU may
 * run is asked of @p, and for a VM of one part only: others would not speak for all parts.
 */
__noinline u32 home_best(struct task_struct *p __arg_trusted, u32 vm_id, u32 part, u32 parts)
{
	struct vm *vm = vm_of(vm_id);
	u32 node = vm ? vm->part[part % MAX_NODES] : 0, load, cpus, i;
	bool fresh = vm && part >= vm->parts, forced;
	u64 taken = home_nodes(vm_id, !vm || fresh ? part : vm->parts, part);
	struct node_state *here = node_of(node);

	if (!vm || !here)
		return node;
	forced = fresh || !may_be_home(vm, node) || taken >> node % 64 & 1 ||
		 (parts == 1 && !may_run_at(p, here));
	if (!fresh)
		taken |= 1ULL << node % 64;
	load = here->homed;
	cpus = here->nr_cpus;
	bpf_for(i, 0, MAX_NODES) {
		u32 size = home_part_size(part, vm->threads, parts);
		struct node_state *n = node_of(i);

		if (!n || !n->nr_cpus || taken >> i & 1 || !may_be_home(vm, i) ||
		    (parts == 1 && !may_run_at(p, n)))
			continue;
		if (!forced && !home_better(size, n->homed, n->nr_cpus, load, cpus))
			continue;
		/* From here on it is compared with this one. */
		forced = false;
		load = n->homed + size;
		cpus = n->nr_cpus;
		node = i;
	}
	return node;
}

/* Counts the vCPUs of VM @vm_id where they are at home, as it is in @parts; 0: nowhere any more. */
__noinline int home_count(u32 vm_id, u32 parts)
{
	struct vm *vm = vm_of(vm_id);
	u32 i;

	if (!vm)
		return 0;
	bpf_for(i, 0, MAX_NODES) {
		u32 size = home_part_size(i, vm->threads, parts);
		u32 old = __sync_lock_test_and_set(&vm->homed[i % MAX_NODES], size);
		struct node_state *n = node_of(vm->part[i % MAX_NODES]);

		if (n && size != old)
			__sync_fetch_and_add(&n->homed, size - old);
	}
	return 0;
}

/*
 * @part is as far ahead on the next node as it was on the last, within reason; if it is new, as the
 * first is.
 */
static void home_move(struct vm *vm, u32 part, u32 node)
{
	bool fresh = part >= vm->parts;
	u32 old = vm->part[fresh ? 0 : part % MAX_NODES];
	struct node_state *from = node_of(old), *to = node_of(node);
	u32 homed = fresh ? 0 : __sync_lock_test_and_set(&vm->homed[part % MAX_NODES], 0);

	if (!from || !to)
		return;
	if (homed)
		__sync_fetch_and_sub(&from->homed, homed);
	if (node != old)
		vm->on[node % MAX_NODES].vtime = fair_translate(vm->on[old % MAX_NODES].vtime,
								from->clock, to->clock, LAG_NS);
	vm->part[part % MAX_NODES] = node;
	if (fresh)
		return;
	/* It was for the sake of VMs on the node that it leaves. */
	vm->squeeze = 0;
	event(node, EVENT_HOME_MOVE);
}

/* @vm is in @parts from now on. */
static void home_publish(struct vm *vm, u32 vm_id, u32 parts)
{
	u64 nodes;

	if (parts > 1 && vm->parts <= 1)
		__sync_fetch_and_add(&wide_vms, 1);
	else if (parts <= 1 && vm->parts > 1)
		__sync_fetch_and_sub(&wide_vms, 1);
	vm->parts = parts;
	nodes = home_nodes(vm_id, parts, MAX_NODES);
	if (nodes == vm->home_told)
		return;
	vm->home_told = nodes;
	kvmgang_set_home(vm_id, nodes);
}

/* A home for each part of VM @vm_id. */
__noinline int home_settle(struct task_struct *p __arg_trusted, u32 vm_id)
{
	u32 choice = home_choice(vm_id), parts, i;
	struct vm *vm = vm_of(vm_id);
	s32 memory;

	if (!vm)
		return 0;
	parts = home_parts(vm->threads, home_widest(vm_id), choice);
	/* To be asked costs a vCPU 64 page walks at its next entry, while siblings wait for it. */
	memory = parts == 1 && choice > 1 ? kvmgang_task_memory(p->pid) : -1;
	if (memory >= 0 && home_calls(p, vm_id, memory))
		home_move(vm, 0, memory);
	bpf_for(i, 0, MAX_NODES) {
		u32 node;

		if (i >= parts)
			break;
		node = home_best(p, vm_id, i, parts);
		if (i >= vm->parts || node != vm->part[i % MAX_NODES])
			home_move(vm, i, node);
	}
	home_publish(vm, vm_id, parts);
	home_count(vm_id, parts);
	return 0;
}

/* Is it time to look for better homes for @vm? At most one pCPU is at it. */
static void home_review(struct task_struct *p, struct vm *vm, u32 vm_id, u64 now)
{
	if (now < vm->home_looked_at + HOME_PERIOD_NS ||
	    __sync_val_compare_and_swap(&vm->home_asked, 0, 1))
		return;
	/* Who joins or leaves is counted, then has it looked at; here it is the other way round. */
	__sync_lock_test_and_set(&vm->home_looked_at, now);
	home_settle(p, vm_id);
	__sync_lock_test_and_set(&vm->home_asked, 0);
}

/* The last vCPU of @vm has gone. */
static void home_leave(struct vm *vm, u32 vm_id)
{
	home_count(vm_id, 0);
	if (vm->parts > 1)
		__sync_fetch_and_sub(&wide_vms, 1);
}

#endif /* KVMGANG_HOME_BPF_H */
