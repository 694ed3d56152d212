/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Windows: for the next few milliseconds, which VMs have how many pCPUs of a node.
 *
 * When a window ends, the first pCPU to ask elects the next: VMs in the order of virtual time, each
 * with as many slots as it has runnable members, until the pCPUs are given away. The first one gets
 * what there is; later ones must fit whole. Then every pCPU claims a slot for itself. What is not
 * claimed is for backfill.
 *
 * The host's tasks on the node take part as one more VM.
 */
#ifndef KVMGANG_WINDOW_BPF_H
#define KVMGANG_WINDOW_BPF_H

#include "report.bpf.h"
#include "state.bpf.h"

/*
 * A window's length. A switch of all pCPUs costs a gang some 100 us, so 2 % of this; and a VM waits
 * for its turn (overcommit - 1) windows, which guests feel as jitter.
 */
#define WINDOW_NS	6000000ULL

/*
 * Whoever slept is at most this far behind the clock, in virtual ns of weight 100: enough to be
 * served before those who always run, too little to hold them up for more than a window.
 */
#define LAG_NS		WINDOW_NS

/* VMs that do not fit and are passed over, before the rest of the pCPUs goes to backfill. */
#define MAX_MISFITS	8

static struct queue *queue_of(u32 node, u32 kind)
{
	u32 id = node * NR_QUEUES + kind;

	return bpf_map_lookup_elem(&queues, &id);
}

static void queue_push(struct queue *q, u32 vm_id, u64 vtime)
{
	bpf_spin_lock(&q->lock);
	heap_push(&q->heap, vm_id, vtime);
	bpf_spin_unlock(&q->lock);
}

/* Puts @vm_id back that queue_next() took out. */
__noinline int queue_return(u32 node, u32 kind, u32 vm_id)
{
	struct queue *q = queue_of(node, kind);
	struct vm *vm = vm_of(vm_id);

	if (q && vm)
		queue_push(q, vm_id, vm->vtime);
	return 0;
}

static u32 *mark_of(struct entity *e, u32 kind)
{
	return kind == WAITING ? &e->in_waiting : &e->in_runnable;
}

/* Puts @vm_id, for which something has just been counted, into a heap unless it is there. */
__noinline int queue_add(u32 node, u32 kind, u32 vm_id)
{
	struct queue *q = queue_of(node, kind);
	struct vm *vm = vm_of(vm_id);

	if (!q || !vm || node >= MAX_NODES)
		return 0;
	if (!__sync_val_compare_and_swap(mark_of(&vm->on[node], kind), 0, 1))
		queue_push(q, vm_id, vm->vtime);
	return 0;
}

static u32 counted(const struct entity *e, u32 kind)
{
	return kind == WAITING ? *(volatile u32 *)&e->waiting : *(volatile u32 *)&e->runnable;
}

/* Takes the top out; true: @vm_id is a VM that has something to run, and with an exact key. */
__noinline int queue_take(u32 node, u32 kind, u32 *vm_id __arg_nonnull)
{
	struct queue *q = queue_of(node, kind);
	struct heap_entry top;
	struct entity *e;
	struct vm *vm;

	*vm_id = 0;
	if (!q || node >= MAX_NODES)
		return true;
	bpf_spin_lock(&q->lock);
	top = heap_pop(&q->heap);
	bpf_spin_unlock(&q->lock);
	vm = top.id ? vm_of(top.id) : NULL;
	if (!vm)
		return !top.id;
	if (vm->vtime > top.key) {
		queue_push(q, top.id, vm->vtime);
		return false;
	}
	*vm_id = top.id;
	e = &vm->on[node];
	if (counted(e, kind))
		return true;
	/* Whoever counts looks for the mark after that; here it is the other way round. */
	__sync_lock_test_and_set(mark_of(e, kind), 0);
	if (counted(e, kind))
		queue_add(node, kind, top.id);
	return false;
}

/*
 * The VM with the least virtual time that has waiting or runnable tasks on @node, out of its heap;
 * the caller returns it. 0: there is none.
 */
__noinline u32 queue_next(u32 node, u32 kind)
{
	u32 vm_id;
	int i;

	bpf_for(i, 0, 2 * MAX_GANGS)
		if (queue_take(node, kind, &vm_id))
			return vm_id;
	return 0;
}

static void clock_advance(struct node_state *n, u64 vtime)
{
	if (n->clock < vtime)
		n->clock = vtime;
}

/* Adds to the gangs of the window that is being made; returns the slots given of @left. */
static u32 gangs_add(struct gangs *gangs, u32 vm_id, struct entity *e, u32 left, bool whole)
{
	u32 slots = e->runnable <= left ? e->runnable : whole ? 0 : left;
	u32 nr = gangs->nr;

	e->passed_over = !slots;

	if (nr >= MAX_GANGS)
		return 0;
	gangs->gang[nr].vm_id = vm_id;
	gangs->gang[nr].slots = slots;
	gangs->nr = nr + 1;
	return slots;
}

/* The next candidate of an election on @node; the slots that it got, or -1: there is none. */
__noinline int elect_one(u32 node, u32 left, int first)
{
	struct node_state *n = node_of(node);
	struct gangs *gangs;
	u32 vm_id, slots = 0;
	struct entity *e;
	struct vm *vm;

	if (!n || node >= MAX_NODES)
		return -1;
	gangs = &n->gangs[(n->window + 1) % 2];
	vm_id = queue_next(node, RUNNABLE);
	vm = vm_of(vm_id);
	if (!vm)
		return -1;
	vm->vtime = fair_floor(vm->vtime, n->clock, LAG_NS);
	if (!n->host_elected && n->host.runnable && n->host_vtime <= vm->vtime) {
		n->host_elected = 1;
		if (first)
			clock_advance(n, n->host_vtime);
		slots = gangs_add(gangs, HOST, &n->host, left, false);
		left -= slots;
	} else if (first) {
		clock_advance(n, vm->vtime);
	}
	e = &vm->on[node];
	return slots + gangs_add(gangs, vm_id, e, left, !first && !e->passed_over);
}

/* The next window of @node; only one pCPU at a time is here. */
__noinline int elect(u32 node, u64 now)
{
	struct node_state *n = node_of(node);
	struct gangs *gangs;
	u32 left, misfits = 0;
	int i;

	if (!n)
		return 0;
	gangs = &n->gangs[(n->window + 1) % 2];
	gangs->nr = 0;
	left = n->nr_cpus;
	n->host_elected = 0;
	n->host_vtime = fair_floor(n->host_vtime, n->clock, LAG_NS);
	bpf_for(i, 0, MAX_GANGS - 1) {
		int slots;

		if (!left || misfits > MAX_MISFITS)
			break;
		slots = elect_one(node, left, !i);
		if (slots < 0)
			break;
		misfits += !slots;
		left -= slots;
	}
	if (!n->host_elected && left)
		gangs_add(gangs, HOST, &n->host, left, false);
	bpf_for(i, 0, MAX_GANGS) {
		if (i >= gangs->nr || i >= MAX_GANGS)
			break;
		queue_return(node, RUNNABLE, gangs->gang[i].vm_id);
	}
	event(node, EVENT_WINDOW);
	n->contended = n->waiting > 0;
	n->window_end = n->contended ? fair_window_end(now, WINDOW_NS) : 0;
	__sync_fetch_and_add(&n->window, 1);
	return 0;
}

/*
 * Sees to it that the window of @node is one that has not ended. A pCPU that comes while another one
 * elects waits for it, with interrupts off, for the few microseconds that this takes; if it takes
 * longer it goes on with the old window and does no harm.
 */
__noinline int window_renew(u32 node, u64 now)
{
	struct node_state *n = node_of(node);
	u64 window;
	int i;

	if (!n || !n->contended || now < n->window_end)
		return 0;
	window = n->window;
	if (!__sync_val_compare_and_swap(&n->electing, 0, 1)) {
		if (n->window == window)
			elect(node, now);
		__sync_lock_test_and_set(&n->electing, 0);
		return 0;
	}
	bpf_for(i, 0, 10000)
		if (*(volatile u64 *)&n->window != window)
			break;
	return 0;
}

static u64 claim_of(u64 window, u32 vm_id)
{
	return window << 32 | vm_id;
}

/* The VM that @pc is for in the present window, HOST, or 0. */
static u32 claimant(const struct pcpu_state *pc, const struct node_state *n)
{
	u64 claim = pc->claim;

	return claim >> 32 == (u32)n->window ? (u32)claim : 0;
}

static bool slot_take(struct gang *g)
{
	if (*(volatile s32 *)&g->slots <= 0)
		return false;
	if (__sync_fetch_and_sub(&g->slots, 1) > 0)
		return true;
	__sync_fetch_and_add(&g->slots, 1);
	return false;
}

static struct gang *gang_at(struct node_state *n, u32 i)
{
	struct gangs *gangs = &n->gangs[n->window % 2];

	return i < gangs->nr && i < MAX_GANGS ? &gangs->gang[i] : NULL;
}

/* Where in the present window @vm_id is; -1: nowhere. */
__noinline int gang_index(u32 node, u32 vm_id)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return -1;
	bpf_for(i, 0, MAX_GANGS) {
		struct gang *g = gang_at(n, i);

		if (!g)
			break;
		if (g->vm_id == vm_id)
			return i;
	}
	return -1;
}

/* Takes a slot of @vm_id, if there is one left. */
__noinline int gang_enter(u32 node, u32 vm_id)
{
	struct node_state *n = node_of(node);
	int i = gang_index(node, vm_id);
	struct gang *g = n && i >= 0 ? gang_at(n, i) : NULL;

	return g && slot_take(g);
}

/* Gives one back, so that a member which wakes can take it. */
__noinline int gang_leave(u32 node, u32 vm_id)
{
	struct node_state *n = node_of(node);
	int i = gang_index(node, vm_id);
	struct gang *g = n && i >= 0 ? gang_at(n, i) : NULL;

	if (g)
		__sync_fetch_and_add(&g->slots, 1);
	return 0;
}

/* Somebody waits on @node: from now on, and at once, its pCPUs are shared by windows. */
__noinline int contend(u32 node)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n || n->contended || __sync_val_compare_and_swap(&n->contended, 0, 1))
		return 0;
	bpf_for(i, 0, MAX_CPUS) {
		if (i >= n->nr_cpus || i >= MAX_CPUS)
			break;
		kvmgang_resched_cpu(n->cpu[i]);
	}
	return 0;
}

#endif /* KVMGANG_WINDOW_BPF_H */
