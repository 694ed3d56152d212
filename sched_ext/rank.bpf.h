/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ranks: the VMs of a node in the order of virtual time, those that have runnable members and those
 * that have waiting ones; and those of the runnable that have a reservation, in the order of when
 * there is something to use of it. A rank is a heap under a lock; nothing but the heap is touched
 * while that is held. Solo tasks are in no rank, their queue is in order by itself.
 *
 * A VM is put in when something is counted for it (struct entity), and falls out when it comes up
 * and nothing is. entity::in_* says whether it is in, so that it is in once.
 */
#ifndef KVMGANG_RANK_BPF_H
#define KVMGANG_RANK_BPF_H

#include "budget.h"
#include "home.bpf.h"

/* When the first of the throttled VMs may go on; 0: none is. Written under the rank's lock. */
__u64 release_at;

static struct rank *rank_at(u32 id)
{
	return bpf_map_lookup_elem(&ranks, &id);
}

static u32 rank_id(u32 node, u32 kind)
{
	return node * NR_RANKS + kind;
}

/*
 * These two are functions that the verifier looks at on their own: what the heaps' loops cost it
 * would otherwise be multiplied by the number of callers.
 */
__noinline int rank_push(u32 id, u64 entry, u64 key)
{
	struct rank *r = rank_at(id);

	if (!r)
		return 0;
	bpf_spin_lock(&r->lock);
	heap_push(&r->heap, entry, key);
	if (id == THROTTLED_RANK)
		release_at = r->heap.at[1].key;
	bpf_spin_unlock(&r->lock);
	return 0;
}

__noinline int rank_pop(u32 id, struct heap_entry *top __arg_nonnull)
{
	struct rank *r = rank_at(id);

	top->id = 0;
	if (!r)
		return 0;
	bpf_spin_lock(&r->lock);
	*top = heap_pop(&r->heap);
	if (id == THROTTLED_RANK)
		release_at = r->heap.nr ? r->heap.at[1].key : 0;
	bpf_spin_unlock(&r->lock);
	return 0;
}

/*
 * Of VMs that have had much the same, those come first that had no part of the window that ends.
 * Two equal ones would often have two windows each in turn, and wait for twice as long: what one is
 * charged when it is switched to and from differs from what it is when it goes on.
 */
static u64 key_of(const struct vm *vm, u32 node, u32 kind)
{
	const struct entity *e = &vm->on[node % MAX_NODES];
	const struct node_state *n = node_of(node);

	if (kind == RUNNABLE && n && e->window == n->window)
		return e->vtime + vm_charge(vm, node, WINDOW_NS / 4 * e->members);
	if (kind != RESERVED)
		return e->vtime;
	if (vm->starves)
		return 0;
	return vm->refilled_at + (vm->reservation ? budget_wait(vm->reserved, 0, vm->reservation)
						  : 0);
}

/*
 * @vm, which is @vm_id, as the heaps of nodes have it. If all its threads end and others begin, it
 * is put in anew; what the heaps have of the old record must not be taken for it, too.
 */
static u64 rank_entry(const struct vm *vm, u32 vm_id)
{
	return (u64)vm->life << 32 | vm_id;
}

/* Puts @vm_id back that rank_next() took out. */
__noinline int rank_return(u32 node, u32 kind, u32 vm_id)
{
	struct vm *vm = vm_of(vm_id);

	if (vm)
		rank_push(rank_id(node, kind), rank_entry(vm, vm_id), key_of(vm, node, kind));
	return 0;
}

static u32 *mark_of(struct entity *e, u32 kind)
{
	switch (kind) {
	case WAITING:
		return &e->in_waiting;
	case RESERVED:
		return &e->in_reserved;
	default:
		return &e->in_runnable;
	}
}

/* Puts @vm_id, for which something has just been counted, into a heap unless it is there. */
__noinline int rank_add(u32 node, u32 kind, u32 vm_id)
{
	struct vm *vm = vm_of(vm_id);

	if (!vm || node >= MAX_NODES)
		return 0;
	if (!__sync_val_compare_and_swap(mark_of(&vm->on[node], kind), 0, 1))
		rank_push(rank_id(node, kind), rank_entry(vm, vm_id), key_of(vm, node, kind));
	return 0;
}

/* A throttled VM has nothing to run; it is added again when it may go on. */
static u32 counted(const struct vm *vm, const struct entity *e, u32 kind)
{
	if (*(volatile u32 *)&vm->throttled)
		return 0;
	if (kind == RESERVED && !vm->reservation && !*(volatile u32 *)&vm->starves)
		return 0;
	return kind == WAITING ? *(volatile u32 *)&e->waiting : *(volatile u32 *)&e->runnable;
}

/* Something is runnable of @vm, which is @vm_id. */
static void rank_add_runnable(const struct vm *vm, u32 node, u32 vm_id)
{
	rank_add(node, RUNNABLE, vm_id);
	if (vm->reservation)
		rank_add(node, RESERVED, vm_id);
}

/* Takes the top out; true: @vm_id is a VM that has something to run, and with an exact key. */
__noinline int rank_take(u32 node, u32 kind, u32 *vm_id __arg_nonnull)
{
	struct heap_entry top = {};
	struct entity *e;
	struct vm *vm;
	u64 key;

	*vm_id = 0;
	if (node >= MAX_NODES)
		return true;
	rank_pop(rank_id(node, kind), &top);
	vm = vm_of(top.id);
	if (!vm || top.id != rank_entry(vm, top.id))
		return !top.id;
	e = &vm->on[node];
	key = key_of(vm, node, kind);
	if (key > top.key) {
		rank_push(rank_id(node, kind), top.id, key);
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
 * The first VM of the rank that has something to run on @node, out of its heap;
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
