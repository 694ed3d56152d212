/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Windows: for the next few milliseconds, which VMs have how many pCPUs of a node.
 *
 * When a window ends, the first pCPU to ask elects the next (elect.bpf.h). Then every pCPU claims a
 * slot for itself. What is not claimed is for backfill.
 */
#ifndef KVMGANG_WINDOW_BPF_H
#define KVMGANG_WINDOW_BPF_H

#include "policy.bpf.h"

/*
 * A window's length. A switch of all pCPUs costs a gang some 20 000 instructions, in the lab 160 us
 * and so 2.7 % of this; and a VM waits for its turn (overcommit - 1) windows, which guests feel as
 * jitter.
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

/* How far VMs are that are served: the clock, or where the first one is that waits. */
static u64 level_of(const struct node_state *n)
{
	return n->clock > n->level ? n->clock : n->level;
}

/*
 * What he may have come to at most whose LEAD_WINDOWS are @vns of virtual time: never to less than
 * the first VM that waits, or he would come before it however much he has had.
 */
static u64 vtime_ceiling(const struct node_state *n, u64 vns)
{
	u64 longest = stride_of(n) * MAX_WAIT_WINDOWS;
	u64 most = n->clock + (vns < longest ? vns : longest);

	return most > n->level ? most : n->level;
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

static void slot_return(struct gang *g)
{
	__sync_fetch_and_add(&g->slots, 1);
}

static struct gang *gang_at(struct node_state *n, u32 i)
{
	struct gangs *gangs = &n->gangs[n->window % 2];

	return i < gangs->nr && i < MAX_GANGS ? &gangs->gang[i] : NULL;
}

/* Of the window that is being made. */
static struct gangs *next_gangs(struct node_state *n)
{
	return &n->gangs[(n->window + 1) % 2];
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

/* The part of @vm_id in the present window of @node; NULL: it has none. */
static struct gang *gang_of(u32 node, u32 vm_id)
{
	struct node_state *n = node_of(node);
	int i = gang_index(node, vm_id);

	return n && i >= 0 ? gang_at(n, i) : NULL;
}

/* Takes a slot of @vm_id, if there is one left. */
__noinline int gang_enter(u32 node, u32 vm_id)
{
	struct gang *g = gang_of(node, vm_id);

	return g && slot_take(g);
}

/* Gives one back, so that a member which wakes can take it. */
__noinline int gang_leave(u32 node, u32 vm_id)
{
	struct gang *g = gang_of(node, vm_id);

	if (g)
		slot_return(g);
	return 0;
}

/*
 * The core of @cpu is for @owner in the present window of @node, by the part that @vm_id has of it,
 * unless it is for another one already.
 */
__noinline int core_claim(s32 cpu, u32 node, u32 vm_id, u32 owner)
{
	struct node_state *n = node_of(node);
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	struct gang *g = gang_of(node, vm_id);
	u64 old, mine;

	if (!n || !c || !g)
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
	g = gang_of(node, vm_id);
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
