/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Windows: for the next few milliseconds, which VMs have how many pCPUs of a node.
 *
 * When a window ends, the first pCPU to ask elects the next: VMs in the order of virtual time, each
 * with as many slots as it has runnable members, until the pCPUs are given away. The first one gets
 * what there is; later ones must fit whole. Then every pCPU claims a slot for itself. What is not
 * claimed is for backfill.
 *
 * The solo tasks of the node take part as if they were one more VM.
 */
#ifndef KVMGANG_WINDOW_BPF_H
#define KVMGANG_WINDOW_BPF_H

#include "policy.bpf.h"
#include "rank.bpf.h"
#include "report.bpf.h"

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

/*
 * Whoever had what nobody else could use is at most so many windows of all his vCPUs ahead of the
 * clock: nobody pays for long for what was free.
 */
#define LEAD_WINDOWS	4

/*
 * Nor does anybody wait for longer than 2 s, which is 333 windows, however few his shares and many
 * those of others: the kernel throws a scheduler out that lets a task wait for 30 s.
 */
#define MAX_WAIT_WINDOWS	333

/*
 * The stride is that of so many windows. Were it ever none, nobody could come to be ahead and the
 * clock would stand; this is what it is with a hundred VMs of the most shares.
 */
#define STRIDE_REACH	16
#define LEAST_STRIDE_NS	(WINDOW_NS / 10000)

/* VMs that do not fit and are passed over, before the rest of the pCPUs goes to backfill. */
#define MAX_MISFITS	8

/* VMs that get a part of one window by their reservations. */
#define MAX_RESERVED	16

/* In the place of a virtual time, of nobody. */
#define NOBODY	(~0ULL)

static void clock_advance(struct node_state *n, u64 vtime)
{
	if (n->clock < vtime)
		n->clock = vtime;
}

/*
 * A VM's @vtime, which was @old, is brought within bounds, unless it changes at that moment: at the
 * end of a window each pCPU charges what it ran, and none of that must be lost.
 */
static void vtime_bring(u64 *vtime, u64 old, u64 bounded)
{
	if (bounded != old)
		__sync_val_compare_and_swap(vtime, old, bounded);
}

static void vtime_raise(u64 *vtime, const struct node_state *n)
{
	u64 old = *vtime;

	vtime_bring(vtime, old, fair_floor(old, n->clock, LAG_NS));
}

static u64 stride_of(const struct node_state *n)
{
	return n->stride > LEAST_STRIDE_NS ? n->stride : LEAST_STRIDE_NS;
}

/* What he may have come to at most whose LEAD_WINDOWS are @vns of virtual time. */
static u64 vtime_ceiling(const struct node_state *n, u64 vns)
{
	u64 longest = stride_of(n) * MAX_WAIT_WINDOWS;

	return n->clock + (vns < longest ? vns : longest);
}

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
 * Nobody who waits came up in the election: those who have all that they can use took the pCPUs,
 * @first before all. If the clock stood still now they could not come to be ahead of who waits.
 */
static void clock_follow_first(struct node_state *n, u32 node, const struct gang *first)
{
	struct vm *vm = vm_of(first->vm_id);

	if (!n->clocked && vm && first->rank == RUNNABLE)
		clock_advance(n, vm->on[node % MAX_NODES].vtime);
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

	e->passed_over = left && !slots;
	if (nr >= MAX_GANGS)
		return 0;
	room = room_of(vm_id, slots);
	gangs->gang[nr].vm_id = vm_id;
	gangs->gang[nr].slots = slots;
	gangs->gang[nr].cores = room / (core_threads ?: 1);
	gangs->gang[nr].rank = rank;
	gangs->nr = nr + 1;
	return room < left ? room : left;
}

static bool gangs_have(const struct gangs *gangs, u32 vm_id)
{
	int i;

	bpf_for(i, 0, MAX_RESERVED)
		if (i < gangs->nr && gangs->gang[i].rank == RESERVED &&
		    gangs->gang[i].vm_id == vm_id)
			return true;
	return false;
}

/* The least virtual time of the solo tasks that wait. */
__noinline u64 solo_head(u32 node)
{
	struct task_struct *p = scx_bpf_dsq_peek(solo_dsq(node));

	if (!p)
		return NOBODY;
	return p->scx.dsq_vtime;
}

/* How far the solo tasks of @node have come, those that run on its pCPUs and those that wait. */
__noinline int look_at_solo(u32 node)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return 0;
	n->solo_first = solo_head(node);
	n->solo_vtime = n->solo_first;
	n->solo_behind = 0;
	bpf_for(i, 0, MAX_CPUS) {
		s32 cpu = cpu_at(n, i);
		struct pcpu_state *pc;

		if (cpu < 0)
			break;
		pc = pcpu_of(cpu);
		if (!pc || pc->side != SOLO || pc->solo_vtime >= n->solo_first)
			continue;
		n->solo_behind++;
		if (pc->solo_vtime < n->solo_vtime)
			n->solo_vtime = pc->solo_vtime;
	}
	n->solo_vtime = fair_floor(n->solo_vtime, n->clock, LAG_NS);
	return 0;
}

/*
 * Solo tasks get what there is of @left. The clock follows the first of them if pCPUs are too few
 * for those that are before all that wait, and else these have all that they can use.
 */
static u32 elect_solo(struct node_state *n, struct gangs *gangs, u32 left)
{
	u64 vtime = n->solo_behind < left ? n->solo_first : n->solo_vtime;

	n->solo_elected = 1;
	/* Who waits is counted before he is on the queue. */
	if (vtime != NOBODY)
		clock_follow(n, &n->unparked, vtime);
	return gangs_add(gangs, SOLO, RUNNABLE, &n->unparked, left, false);
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
	u32 vm_id, members, slots = 0;
	struct entity *e;
	struct vm *vm;
	bool whole;

	if (!n || node >= MAX_NODES)
		return -1;
	gangs = &n->gangs[(n->window + 1) % 2];
	vm_id = rank_next(node, RUNNABLE);
	vm = vm_of(vm_id);
	if (!vm)
		return -1;
	e = &vm->on[node];
	vtime_raise(&e->vtime, n);
	if (!n->solo_elected && n->unparked.runnable && n->solo_vtime <= e->vtime) {
		slots = elect_solo(n, gangs, left);
		left -= slots;
	}
	clock_follow(n, e, e->vtime);
	whole = !first && (is_strict(vm) || !e->passed_over);
	/* By its reservation it has its part already. */
	if (gangs_have(gangs, vm_id))
		left = 0;
	members = gangs_add(gangs, vm_id, RUNNABLE, e, left, whole);
	n->elected += members > 0;
	n->members += members;
	return slots + members;
}

/*
 * VMs that have not had what is reserved for them come first, each with what it can use, and those
 * one of whose vCPUs starves. Returns the slots that they got of @left.
 */
__noinline int elect_reserved(u32 node, u32 left, u64 now)
{
	struct node_state *n = node_of(node);
	u32 vm_id, slots, all = left;
	struct gangs *gangs;
	struct vm *vm;
	int i;

	if (!n || node >= MAX_NODES)
		return 0;
	gangs = &n->gangs[(n->window + 1) % 2];
	bpf_for(i, 0, MAX_RESERVED) {
		vm_id = rank_next(node, RESERVED);
		vm = vm_of(vm_id);
		if (!vm)
			break;
		if (!left || key_of(vm, node, RESERVED) > now) {
			rank_return(node, RESERVED, vm_id);
			break;
		}
		slots = gangs_add(gangs, vm_id, RESERVED, &vm->on[node], left, false);
		vm->starves = 0;
		left -= slots;
		n->elected += slots > 0;
		n->members += slots;
	}
	return all - left;
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
	gangs = &n->gangs[(n->window + 1) % 2];
	gangs->nr = 0;
	left = n->nr_cpus;
	n->unparked.runnable = unparked(n, node, n->solo.runnable);
	n->unparked.waiting = unparked(n, node, n->solo.waiting);
	n->solo_elected = 0;
	n->clocked = 0;
	n->elected = 0;
	n->members = 0;
	clock_measure(n);
	left -= elect_reserved(node, left, now);
	look_at_solo(node);
	bpf_for(i, 0, MAX_GANGS - 1) {
		int slots;

		if (!left || misfits > MAX_MISFITS)
			break;
		slots = elect_one(node, left, left == n->nr_cpus);
		if (slots < 0)
			break;
		misfits += !slots;
		left -= slots;
	}
	if (!n->solo_elected && left && n->unparked.runnable)
		elect_solo(n, gangs, left);
	if (gangs->nr)
		clock_follow_first(n, node, &gangs->gang[0]);
	bpf_for(i, 0, MAX_GANGS) {
		if (i >= gangs->nr || i >= MAX_GANGS)
			break;
		rank_return(node, gangs->gang[i].rank, gangs->gang[i].vm_id);
	}
	n->width = n->elected ? (n->members + n->elected - 1) / n->elected : 1;
	event(node, EVENT_WINDOW);
	if (!unparked(n, node, *(volatile u64 *)&n->waiting))
		contention_ends(n, node);
	n->window_end = n->contended ? fair_window_end(now, WINDOW_NS) : 0;
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

/* The window of @n has lost its purpose. */
static void window_cut(struct node_state *n, u64 now)
{
	if (n->window_end > now)
		n->window_end = now;
}

/* Who runs nothing asks again at once. */
static void wake_idle(const struct node_state *n)
{
	int i;

	bpf_for(i, 0, MAX_CPUS) {
		s32 cpu = cpu_at(n, i);
		struct pcpu_state *pc;

		if (cpu < 0)
			break;
		pc = pcpu_of(cpu);
		if (pc && !pc->side)
			kvmgang_resched_cpu(cpu);
	}
}

static u64 claim_of(u64 window, u32 vm_id)
{
	return window << 32 | vm_id;
}

/* The VM that @pc is for in the present window, SOLO, or 0. */
static u32 claimant(const struct pcpu_state *pc, const struct node_state *n)
{
	u64 claim = pc->claim;

	return claim >> 32 == (u32)n->window ? (u32)claim : 0;
}

static bool take_one(s32 *left)
{
	if (*(volatile s32 *)left <= 0)
		return false;
	if (__sync_fetch_and_sub(left, 1) > 0)
		return true;
	__sync_fetch_and_add(left, 1);
	return false;
}

static bool slot_take(struct gang *g)
{
	return take_one(&g->slots);
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

/*
 * The core of @cpu is for the owner of @vm_id's members in the present window of @node, unless it
 * is for another one already.
 */
__noinline int core_claim(s32 cpu, u32 node, u32 vm_id)
{
	struct node_state *n = node_of(node);
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	u32 owner = owner_of_gang(vm_id);
	int i = gang_index(node, vm_id);
	struct gang *g = n && i >= 0 ? gang_at(n, i) : NULL;
	u64 old, mine;

	if (!c || !g)
		return false;
	old = *(volatile u64 *)&c->claim;
	mine = claim_of(n->window, owner);
	if (old == mine)
		return true;
	if (old >> 32 == (u32)n->window && (u32)old)
		return false;
	if (owner != EVERYBODY && !take_one(&g->cores))
		return false;
	if (__sync_val_compare_and_swap(&c->claim, old, mine) == old)
		return true;
	if (owner != EVERYBODY)
		__sync_fetch_and_add(&g->cores, 1);
	return *(volatile u64 *)&c->claim == mine;
}

/* @cpu has no use for its slot of @vm_id. If it was the core's last, the core is for anybody. */
__noinline int core_unclaim(s32 cpu, u32 node, u32 vm_id)
{
	struct node_state *n = node_of(node);
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	u32 owner = owner_of_gang(vm_id);
	struct gang *g;
	u64 mine;
	int i;

	if (!c || !n)
		return 0;
	mine = claim_of(n->window, owner);
	bpf_for(i, 0, CORE_THREADS) {
		struct pcpu_state *other = pcpu_of(c->cpu[i % CORE_THREADS]);
		u32 side = other && i < c->nr && i != pc->thread ? claimant(other, n) : 0;

		if (side && owner_of_gang(side) == owner)
			return 0;
	}
	if (__sync_val_compare_and_swap(&c->claim, mine, claim_of(n->window, 0)) != mine)
		return 0;
	i = gang_index(node, vm_id);
	g = i >= 0 ? gang_at(n, i) : NULL;
	if (g && owner != EVERYBODY)
		__sync_fetch_and_add(&g->cores, 1);
	tell(pc->core, pc->thread, 0);
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
		s32 cpu = cpu_at(n, i);

		if (cpu < 0)
			break;
		kvmgang_resched_cpu(cpu);
	}
	return 0;
}

#endif /* KVMGANG_WINDOW_BPF_H */
