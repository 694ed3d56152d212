/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Elections: whose the next window of a node is. VMs come up in the order of virtual time, each
 * with as many slots as it has runnable members, until the pCPUs are given away. The first one gets
 * whatever there is; later ones must fit whole, but what is left in the end goes to the first that
 * did not.
 *
 * The solo tasks of the node take part as if they were one more VM. What becomes of VMs that are
 * wider than a node is said in align.bpf.h.
 */
#ifndef KVMGANG_ELECT_BPF_H
#define KVMGANG_ELECT_BPF_H

#include "align.bpf.h"
#include "charge.bpf.h"
#include "rank.bpf.h"
#include "report.bpf.h"
#include "window.bpf.h"

/* VMs that do not fit and are passed over, before the rest of the pCPUs goes to backfill. */
#define MAX_MISFITS	8

/* VMs that get a part of one window by their reservations. */
#define MAX_RESERVED	16

/* In the place of the rank that a part of a window comes from. */
#define NO_RANK		NR_RANKS

/* Before an election: how far the clock went in the last window, if somebody waited in it. */
static void clock_measure(struct node_state *n)
{
	if (n->window_end)
		n->stride = fair_recent(n->stride, n->clock - n->clock_before, STRIDE_REACH);
	n->clock_before = n->clock;
}

/* Who has all that he can use holds nobody's clock back, however far behind he is. */
static void clock_follow(struct node_state *n, const struct entity *e, u64 vtime)
{
	if (n->clocked || !e->waiting)
		return;
	n->clocked = 1;
	clock_advance(n, vtime);
}

/*
 * The first VM that waits, @vm, has come up. Those before it may not use what they are entitled to,
 * as solo tasks do not that are bound to a pCPU which a real-time task has, and hold the clock. But
 * so far ahead of it that VMs come to its bounds it must not be: there nobody is ahead of anybody.
 */
static void clock_trail(struct node_state *n, const struct vm *vm, u32 node)
{
	u64 vtime = vm->on[node % MAX_NODES].vtime, lead = vm_lead(vm, node) / 2;

	n->vm_waits = 1;
	n->level = vtime;
	if (vtime > lead)
		clock_advance(n, vtime - lead);
}

/*
 * Nobody who waits came up in the election while there was something left: those who have all that
 * they can use took the pCPUs. If the clock stood still now they could not come to be ahead of who
 * waits.
 */
static void clock_follow_first(struct node_state *n, u32 node)
{
	struct vm *vm = vm_of(n->first_served);

	if (!n->clocked && vm)
		clock_advance(n, vm->on[node % MAX_NODES].vtime);
}

/* @g has @slots. Returns the pCPUs that these are of @left. */
static u32 gang_size(struct gang *g, u32 slots, u32 left)
{
	u32 room = room_of(g->vm_id, slots);

	g->slots = slots;
	g->cores = cores_of(room);
	return room < left ? room : left;
}

/*
 * Adds @e, which is @vm_id of @rank on this node, to the window that is being made. Returns the
 * pCPUs that it gets of @left: as many as it has runnable tasks or, unless it should be @whole,
 * what there is.
 */
static __always_inline u32 gangs_add(struct gangs *gangs, u32 vm_id, u32 rank, struct entity *e,
				     u32 left, bool whole)
{
	u32 runnable = e->runnable, room = room_of(vm_id, runnable);
	u32 slots = room <= left ? runnable : whole ? 0 : runnable < left ? runnable : left;
	u32 nr = gangs->nr;

	if (left)
		e->passed_over = !slots;
	if (nr >= MAX_GANGS)
		return 0;
	gangs->gang[nr].vm_id = vm_id;
	gangs->gang[nr].rank = rank;
	gangs->nr = nr + 1;
	return gang_size(&gangs->gang[nr], slots, left);
}

/* @g is @vm's part of the window. If that is wide the nodes of its other parts are to follow. */
static void count_elected(struct node_state *n, struct vm *vm, u32 node, const struct gang *g)
{
	vm->on[node % MAX_NODES].window = n->window + 1;
	align(vm, g->vm_id, n->electing_for);
	if (g->rank == RUNNABLE && !n->first_served)
		n->first_served = g->vm_id;
	n->elected++;
	n->members += vm_whole(vm, node, vm->on[node % MAX_NODES].runnable);
}

/* The same as gangs_add() for a VM, which is counted. */
static __always_inline u32 elect_vm(struct node_state *n, struct gangs *gangs, struct vm *vm,
				    u32 vm_id, u32 node, u32 rank, u32 left, bool whole)
{
	u32 room = gangs_add(gangs, vm_id, rank, &vm->on[node % MAX_NODES], left, whole);

	if (room)
		count_elected(n, vm, node, &gangs->gang[(gangs->nr - 1) % MAX_GANGS]);
	return room;
}

/* Has @vm_id got its part before those whose turn it is? */
static bool gangs_have(const struct gangs *gangs, u32 vm_id)
{
	int i;

	bpf_for(i, 0, MAX_RESERVED + MAX_ALIGNED) {
		if (i >= gangs->nr)
			break;
		if (gangs->gang[i].rank != RUNNABLE && gangs->gang[i].vm_id == vm_id)
			return true;
	}
	return false;
}

/* Which of the solo tasks that wait has had least? */
__noinline int look_at_solo_first(u32 node)
{
	struct task_struct *p = scx_bpf_dsq_peek(solo_dsq(node));
	struct thread *t = p ? thread_of(p) : NULL;
	struct node_state *n = node_of(node);
	struct vm *vm;

	if (!n)
		return 0;
	n->solo_first = p ? p->scx.dsq_vtime : NOBODY;
	n->solo_lead = 0;
	if (!p || !t)
		return 0;
	vm = vm_of(t->vm_id);
	n->solo_lead = host_lead(n, p, t);
	if (vm)
		n->solo_lead = vm_lead(vm, node);
	return 0;
}

/* How far the solo tasks of @node have come, those that run on its pCPUs and those that wait. */
__noinline int look_at_solo(u32 node)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return 0;
	look_at_solo_first(node);
	n->solo_vtime = n->solo_first;
	n->solo_behind = 0;
	bpf_for(i, 0, MAX_CPUS) {
		struct pcpu_state *pc = pcpu_at(n, i);

		if (!pc)
			break;
		if (pc->side != SOLO || pc->solo_vtime >= n->solo_first)
			continue;
		n->solo_behind++;
		if (pc->solo_vtime < n->solo_vtime)
			n->solo_vtime = pc->solo_vtime;
	}
	n->solo_vtime = fair_floor(n->solo_vtime, n->clock, LAG_NS);
	return 0;
}

/*
 * Where the clock should be for the solo tasks' sake, of which @left can run. Those that run and
 * are before all that wait may have all that they can use, each his pCPU; or they are before
 * somebody who waits for the same one, and are to stay that. So the clock is no farther behind who
 * waits than half of his lead.
 */
static u64 solo_clock(const struct node_state *n, u32 left)
{
	u64 lead = n->solo_lead / 2, trail = n->solo_first > lead ? n->solo_first - lead : 0;

	if (n->solo_first == NOBODY || n->solo_behind >= left || trail < n->solo_vtime)
		return n->solo_vtime;
	return trail;
}

/* Solo tasks get what there is of @left. */
static u32 elect_solo(struct node_state *n, struct gangs *gangs, u32 left)
{
	u64 vtime = solo_clock(n, left);

	n->solo_elected = 1;
	if (left && !n->first_served)
		n->first_served = SOLO;
	/* Who waits is counted before he is on the queue. */
	if (vtime != NOBODY)
		clock_follow(n, &n->unparked, vtime);
	return gangs_add(gangs, SOLO, RUNNABLE, &n->unparked, left, false);
}

/* The same, if it is their turn before @e, a VM, which comes up. */
static u32 elect_solo_before(struct node_state *n, struct gangs *gangs, const struct entity *e,
			     u32 left)
{
	if (n->solo_elected || !n->unparked.runnable || n->solo_vtime > e->vtime)
		return 0;
	return elect_solo(n, gangs, left);
}

/*
 * The next candidate of an election on @node, and the solo tasks if it is their turn before it.
 * Returns the slots that they got, or -1: there is none.
 *
 * A VM that does not fit is passed over once. Then it takes what there is, or one with a single
 * vCPU and a low virtual time could keep it from running for good.
 */
__noinline int elect_one(u32 node, u32 left, int first)
{
	struct node_state *n = node_of(node);
	struct gangs *gangs;
	int verdict = MAY_LEAD;
	u32 vm_id, slots;
	struct entity *e;
	struct vm *vm;
	bool whole;

	if (!n || node >= MAX_NODES)
		return -1;
	gangs = next_gangs(n);
	vm_id = rank_next(node, RUNNABLE);
	vm = vm_of(vm_id);
	if (!vm)
		return -1;
	e = &vm->on[node];
	vtime_raise(&e->vtime, n);
	slots = elect_solo_before(n, gangs, e, left);
	left -= slots;
	if (vm->parts > 1)
		verdict = may_lead(vm_id, node);
	/* One that must not lead would have the clock stand for as long as that is so. */
	if (verdict != IS_AHEAD) {
		if (left || !n->first_served)
			clock_follow(n, e, e->vtime);
		if (e->waiting && !n->vm_waits)
			clock_trail(n, vm, node);
	}
	whole = !first && (is_strict(vm) || !e->passed_over);
	if (gangs_have(gangs, vm_id) || verdict != MAY_LEAD)
		left = 0;
	return slots + elect_vm(n, gangs, vm, vm_id, node, RUNNABLE, left, whole);
}

/*
 * Nobody fits into what is @left: the first that did not takes it after all. Else members of many
 * gangs would have it as backfill, and spin for siblings that wait: as when a VM of one vCPU has a
 * slot, which it needs for a moment only, and all others have as many as there are pCPUs. Wide VMs
 * do not, which may be ahead of their parts elsewhere, nor those that run whole or not at all.
 */
__noinline int elect_misfit(u32 node, u32 left)
{
	struct node_state *n = node_of(node);
	struct gangs *gangs;
	int i;

	if (!n || node >= MAX_NODES)
		return 0;
	gangs = next_gangs(n);
	bpf_for(i, 0, MAX_GANGS) {
		struct gang *g;
		struct vm *vm;
		u32 slots;

		if (i >= gangs->nr || i >= MAX_GANGS)
			break;
		g = &gangs->gang[i];
		vm = vm_of(g->vm_id);
		slots = vm ? vm->on[node].runnable : 0;
		if (!slots || g->slots || is_strict(vm) || vm->parts > 1 ||
		    gangs_have(gangs, g->vm_id))
			continue;
		if (slots > left)
			slots = left;
		gang_size(g, slots, left);
		count_elected(n, vm, node, g);
		break;
	}
	return 0;
}

/*
 * VMs that have not had what is reserved for them come first, each with what it can use, and those
 * one of whose vCPUs starves. Returns the slots that they got of @left.
 */
__noinline int elect_reserved(u32 node, u32 left, u64 now)
{
	struct node_state *n = node_of(node);
	u32 vm_id, all = left;
	struct gangs *gangs;
	struct vm *vm;
	int i;

	if (!n || node >= MAX_NODES)
		return 0;
	gangs = next_gangs(n);
	bpf_for(i, 0, MAX_RESERVED) {
		vm_id = rank_next(node, RESERVED);
		vm = vm_of(vm_id);
		if (!vm)
			break;
		if (!left || key_of(vm, node, RESERVED) > now) {
			rank_return(node, RESERVED, vm_id);
			break;
		}
		left -= elect_vm(n, gangs, vm, vm_id, node, RESERVED, left, false);
		vm->starves = 0;
	}
	return all - left;
}

/*
 * Then wide VMs that have a part of another node's window which ends when this one does. Returns
 * the slots that they got of @left.
 */
__noinline int elect_aligned(u32 node, u32 left)
{
	struct node_state *n = node_of(node);
	u32 vm_id, all = left;
	struct gangs *gangs;
	struct vm *vm;
	int i;

	if (!n || node >= MAX_NODES)
		return 0;
	gangs = next_gangs(n);
	bpf_for(i, 0, MAX_ALIGNED) {
		vm_id = aligned_at(i, n->electing_for);
		if (!vm_id)
			break;
		/* It may have gone since. */
		vm = vm_of(vm_id);
		if (!vm || !left || vm->throttled || !vm->on[node].runnable ||
		    gangs_have(gangs, vm_id))
			continue;
		left -= elect_solo_before(n, gangs, &vm->on[node], left);
		left -= elect_vm(n, gangs, vm, vm_id, node, NO_RANK, left, false);
	}
	return all - left;
}

/* If VMs wait but none has a part, the width is still that of these. */
static void width_measure(struct node_state *n, const struct gangs *gangs)
{
	if (n->elected)
		n->width = (n->members + n->elected - 1) / n->elected;
	else if (gangs->nr <= n->solo_elected)
		n->width = 1;
}

/*
 * Nobody seems to wait; only then, as without the mark other pCPUs take what they run for the least
 * there is. Whoever begins to wait is counted, then looks for the mark; here it is the other way.
 */
static void contention_ends(struct node_state *n, u32 node)
{
	__sync_lock_test_and_set(&n->contended, 0);
	if (unparked(n, node, *(volatile u64 *)&n->waiting))
		n->contended = 1;
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
	gangs = next_gangs(n);
	gangs->nr = 0;
	left = n->nr_cpus;
	n->unparked.runnable = unparked(n, node, n->solo.runnable);
	n->unparked.waiting = unparked(n, node, n->solo.waiting);
	n->solo_elected = 0;
	n->clocked = 0;
	n->vm_waits = 0;
	n->first_served = 0;
	n->elected = 0;
	n->members = 0;
	n->electing_for = fair_window_end(now, WINDOW_NS);
	charge_node(node, now);
	clock_measure(n);
	left -= elect_reserved(node, left, now);
	look_at_solo(node);
	left -= elect_aligned(node, left);
	bpf_for(i, 0, MAX_GANGS - 1) {
		int slots;

		/* When nothing is left the first VM that waits comes up yet, for the clock. */
		if ((!left && n->vm_waits) || misfits > MAX_MISFITS)
			break;
		slots = elect_one(node, left, left == n->nr_cpus);
		if (slots < 0)
			break;
		misfits += !slots;
		left -= slots;
	}
	if (!n->solo_elected && left && n->unparked.runnable)
		left -= elect_solo(n, gangs, left);
	if (left && misfits)
		elect_misfit(node, left);
	clock_follow_first(n, node);
	if (!n->vm_waits)
		n->level = 0;
	bpf_for(i, 0, MAX_GANGS) {
		if (i >= gangs->nr || i >= MAX_GANGS)
			break;
		if (gangs->gang[i].rank != NO_RANK)
			rank_return(node, gangs->gang[i].rank, gangs->gang[i].vm_id);
	}
	width_measure(n, gangs);
	event(node, EVENT_WINDOW);
	if (!unparked(n, node, *(volatile u64 *)&n->waiting))
		contention_ends(n, node);
	n->window_end = n->contended ? n->electing_for : 0;
	__sync_fetch_and_add(&n->window, 1);
	return 0;
}

/*
 * Sees to it that the window of @node is one that has not ended. A pCPU that comes while another
 * one elects waits for it, with interrupts off, for the few microseconds that this takes; if it
 * takes longer it goes on with the old window and does no harm.
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
		bool in_turn = align_begin();

		if (n->window == window)
			elect(node, now);
		if (in_turn)
			align_end();
		__sync_lock_test_and_set(&n->electing, 0);
		return 0;
	}
	bpf_for(i, 0, 10000)
		if (*(volatile u64 *)&n->window != window)
			break;
	return 0;
}

#endif /* KVMGANG_ELECT_BPF_H */
