/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ranks: the VMs of a node in the order of virtual time, those that have runnable members and those
 * that have waiting ones. A rank is a heap under a lock; nothing but the heap is touched while that
 * is held. Solo tasks are in no rank, their queue is in order by itself.
 *
 * A VM is put in when something is counted for it (struct entity), and falls out when it comes up
 * and nothing is. entity::in_* says whether it is in, so that it is in once.
 */
#ifndef KVMGANG_RANK_BPF_H
#define KVMGANG_RANK_BPF_H

#include "state.bpf.h"

static struct rank *rank_of(u32 node, u32 kind)
{
	u32 id = node * NR_RANKS + kind;

	return bpf_map_lookup_elem(&ranks, &id);
}

static void rank_push(struct rank *r, u32 vm_id, u64 vtime)
{
	bpf_spin_lock(&r->lock);
	heap_push(&r->heap, vm_id, vtime);
	bpf_spin_unlock(&r->lock);
}

/* Puts @vm_id back that rank_next() took out. */
__noinline int rank_return(u32 node, u32 kind, u32 vm_id)
{
	struct rank *r = rank_of(node, kind);
	struct vm *vm = vm_of(vm_id);

	if (r && vm)
		rank_push(r, vm_id, vm->on[node % MAX_NODES].vtime);
	return 0;
}

static u32 *mark_of(struct entity *e, u32 kind)
{
	return kind == WAITING ? &e->in_waiting : &e->in_runnable;
}

/* Puts @vm_id, for which something has just been counted, into a heap unless it is there. */
__noinline int rank_add(u32 node, u32 kind, u32 vm_id)
{
	struct rank *r = rank_of(node, kind);
	struct vm *vm = vm_of(vm_id);

	if (!r || !vm || node >= MAX_NODES)
		return 0;
	if (!__sync_val_compare_and_swap(mark_of(&vm->on[node], kind), 0, 1))
		rank_push(r, vm_id, vm->on[node].vtime);
	return 0;
}

/* A throttled VM has nothing to run; it is added again when it may go on. */
static u32 counted(const struct vm *vm, const struct entity *e, u32 kind)
{
	if (*(volatile u32 *)&vm->throttled)
		return 0;
	return kind == WAITING ? *(volatile u32 *)&e->waiting : *(volatile u32 *)&e->runnable;
}

/* Takes the top out; true: @vm_id is a VM that has something to run, and with an exact key. */
__noinline int rank_take(u32 node, u32 kind, u32 *vm_id __arg_nonnull)
{
	struct rank *r = rank_of(node, kind);
	struct heap_entry top;
	struct entity *e;
	struct vm *vm;

	*vm_id = 0;
	if (!r || node >= MAX_NODES)
		return true;
	bpf_spin_lock(&r->lock);
	top = heap_pop(&r->heap);
	bpf_spin_unlock(&r->lock);
	vm = top.id ? vm_of(top.id) : NULL;
	if (!vm)
		return !top.id;
	e = &vm->on[node];
	if (e->vtime > top.key) {
		rank_push(r, top.id, e->vtime);
		return false;
	}
	*vm_id = top.id;
	if (counted(vm, e, kind))
		return true;
	/* Whoever counts looks for the mark after that; here it is the other way round. */
	__sync_lock_test_and_set(mark_of(e, kind), 0);
	if (counted(vm, e, kind))
		rank_add(node, kind, top.id);
	return false;
}

/*
 * The VM with the least virtual time that has waiting or runnable tasks on @node, out of its heap;
 * the caller returns it. 0: there is none.
 */
__noinline u32 rank_next(u32 node, u32 kind)
{
	u32 vm_id;
	int i;

	bpf_for(i, 0, 2 * MAX_GANGS)
		if (rank_take(node, kind, &vm_id))
			return vm_id;
	return 0;
}

#endif /* KVMGANG_RANK_BPF_H */
