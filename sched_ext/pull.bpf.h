/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a pCPU that asks may run next, and moving it there. Only ops.dispatch() may do that.
 */
#ifndef KVMGANG_PULL_BPF_H
#define KVMGANG_PULL_BPF_H

#include "thread.bpf.h"

/*
 * Members that have come equally far, to within this, may be chosen by where they ran last; beyond
 * it the one that is behind comes first wherever it was.
 */
#define CLOSE_NS	WINDOW_NS

/* A vCPU may be ahead of its siblings by any time. */
#define ANY_LEAD	(~0ULL)

/* Solo tasks that have had less than one that runs, of which it is not asked where they may run. */
#define MANY_BEHIND	8

/* VMs that are asked for a member that may run on a pCPU, before this is given up. */
#define MAX_TRIED	4

/* Solo tasks that are looked at for one that isolation does not keep from a pCPU. */
#define MAX_SOLO	64

static bool may_run_on(const struct task_struct *p, s32 cpu)
{
	return bpf_cpumask_test_cpu(cpu, p->cpus_ptr) &&
	       (!p->migration_disabled || scx_bpf_task_cpu(p) == cpu);
}

__noinline int pull_tid(u64 dsq, s32 cpu, s32 tid)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, dsq, 0)
		if (p->pid == tid && may_run_on(p, cpu))
			return (!isolating() || core_enter(cpu, owner_of(p, thread_of(p)))) &&
			       scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0);
	return false;
}

/* @p waits because it is ahead of its siblings, and not because there is no pCPU. */
static void costop_begins(const struct task_struct *p, struct thread *t)
{
	if (t->held)
		return;
	hold(p, t, HELD_COSTOP);
	event(t->node, EVENT_COSTOP);
}

/*
 * Co-stop: @p is @lead ns ahead of the sibling that has come least far, of those that wait. Beyond
 * costop_us it is held until it is no more than costart_us ahead.
 */
static bool is_costopped(const struct task_struct *p, struct thread *t, const struct vm *vm,
			 u64 lead)
{
	if (lead > vm->costop_ns)
		costop_begins(p, t);
	else if (lead <= vm->costart_ns)
		release(p, t);
	return t->held;
}

/* How far @t is ahead of the sibling that has come least far, of those that wait; 0: none does. */
static u64 lead_of(const struct thread *t)
{
	struct task_struct *p = scx_bpf_dsq_peek(vm_dsq(t->side, t->node));

	return p && t->vtime > p->scx.dsq_vtime ? t->vtime - p->scx.dsq_vtime : 0;
}

/* Instead of a gang's place in the window: nobody is to be moved, or needs no slot. */
enum { LOOK = -2, NO_SLOT = -1 };

/* Instead of a tid: it is here already. */
#define MOVED	(-1)

/* Moves @p, to whom @it has come, to this pCPU, by a slot of the @part-th gang or by NO_SLOT. */
static s32 move_member(struct bpf_iter_scx_dsq *it, struct task_struct *p, u32 node, s32 part)
{
	struct node_state *n = node_of(node);
	struct gang *g = n && part != NO_SLOT ? gang_at(n, part) : NULL;

	if (part != NO_SLOT && (!g || !slot_take(g)))
		return 0;
	if (scx_bpf_dsq_move(it, p, SCX_DSQ_LOCAL, 0))
		return MOVED;
	if (g)
		slot_return(g);
	return 0;
}

/*
 * The member of VM @vm_id for @cpu, or 0; a throttled one has none: the one that has come least
 * far, but of those that are close to it rather one that ran here last; none that is too far ahead,
 * unless by no more than @lead ns. One that ran here, as most did, is MOVED, see move_member():
 * to come back for it would be as much again. With isolation that takes more than a move.
 */
__noinline s32 member_for(u32 vm_id, u32 node, s32 cpu, u64 lead, s32 part)
{
	u64 slowest = ~0ULL, least = 0;
	struct vm *vm = vm_of(vm_id);
	struct task_struct *p;
	s32 best = 0;

	if (!vm || vm->throttled || !vm->on[node % MAX_NODES].waiting)
		return 0;
	bpf_for_each(scx_dsq, p, vm_dsq(vm_id, node), 0) {
		struct thread *t = thread_of(p);
		u64 ahead;

		if (slowest > p->scx.dsq_vtime)
			slowest = p->scx.dsq_vtime;
		if (best && p->scx.dsq_vtime > least + CLOSE_NS)
			break;
		if (!t || !may_run_on(p, cpu))
			continue;
		ahead = p->scx.dsq_vtime - slowest;
		if (ahead > lead && is_costopped(p, t, vm, ahead))
			break;
		if (scx_bpf_task_cpu(p) == cpu)
			return part == LOOK || isolating() ? p->pid :
							     move_member(&___it, p, node, part);
		if (!best) {
			best = p->pid;
			least = p->scx.dsq_vtime;
		}
	}
	return best;
}

static bool pull_member(u32 vm_id, u32 node, s32 cpu, u64 lead)
{
	s32 tid = member_for(vm_id, node, cpu, lead, NO_SLOT);

	return tid == MOVED || (tid && pull_tid(vm_dsq(vm_id, node), cpu, tid));
}

/*
 * The first solo task that may run on @cpu, or 0. One that would be refused because of isolation
 * only if all that are looked at would be.
 */
__noinline s32 solo_for(u32 node, s32 cpu)
{
	struct bpf_iter_scx_dsq queue __attribute__((cleanup(bpf_iter_scx_dsq_destroy)));
	struct task_struct *p;
	s32 first = 0;
	int i;

	bpf_iter_scx_dsq_new(&queue, solo_dsq(node), 0);
	/* The verifier goes through the queue once; with a counter of ours it would each time. */
	bpf_for(i, 0, MAX_SOLO) {
		p = bpf_iter_scx_dsq_next(&queue);
		if (!p)
			break;
		if (!may_run_on(p, cpu))
			continue;
		if (core_open(cpu, owner_of(p, thread_of(p))))
			return p->pid;
		if (!first)
			first = p->pid;
	}
	return first;
}

__noinline int pull_solo(u32 node, s32 cpu)
{
	s32 tid;

	if (!isolating())
		return scx_bpf_dsq_move_to_local(solo_dsq(node));
	tid = solo_for(node, cpu);
	return tid && pull_tid(solo_dsq(node), cpu, tid);
}

/*
 * pCPUs of @node that are yet to ask in this window, where @p may run, and that have a solo task
 * farther ahead than @vtime.
 */
__noinline u32 solo_farther(struct task_struct *p __arg_trusted, u32 node, u64 vtime)
{
	struct node_state *n = node_of(node);
	u32 nr = 0;
	int i;

	if (!n)
		return 0;
	bpf_for(i, 0, MAX_CPUS) {
		s32 cpu = cpu_at(n, i);
		struct pcpu_state *pc;

		if (cpu < 0)
			break;
		pc = pcpu_of(cpu);
		if (pc && pc->side == SOLO && pc->solo_vtime > vtime && !claimant(pc, n) &&
		    may_run_on(p, cpu))
			nr++;
	}
	return nr;
}

/*
 * Must the solo task with @vtime that runs on @cpu make room for one that has had less? Not if as
 * many others as wait are to do so first. If each did for the same one it would run on one pCPU,
 * and on the others whoever is next and has had more: those that made room are on no queue yet.
 */
__noinline int solo_must_leave(u32 node, s32 cpu, u64 vtime)
{
	struct task_struct *p;
	u32 behind = 0;

	bpf_for_each(scx_dsq, p, solo_dsq(node), 0) {
		if (p->scx.dsq_vtime >= vtime)
			break;
		if (!may_run_on(p, cpu))
			continue;
		if (behind >= MANY_BEHIND || behind >= solo_farther(p, node, vtime))
			return true;
		behind++;
	}
	return false;
}

/* Of @vm, more wait on @node than there are @slots for. */
static bool is_short(const struct vm *vm, u32 node, s32 slots)
{
	return (s32)vm->on[node % MAX_NODES].waiting > slots;
}

/*
 * By how much a member of VM @vm_id may be ahead that is to have one of @slots. If there is one for
 * each that waits, a leader does not get farther ahead by having his; were he held, another VM's
 * vCPU would have his pCPU and be a leader when its window comes, and two VMs would keep each other
 * from ever running together. But some may not run on the pCPUs that are left.
 */
static u64 free_lead(u32 vm_id, u32 node, s32 slots)
{
	const struct vm *vm = vm_of(vm_id);

	return vm && !is_short(vm, node, slots) ? vm->costop_ns + WINDOW_NS : 0;
}

/* A member of @side for the slot that @cpu has. */
static bool pull_side(u32 side, u32 node, s32 cpu)
{
	const struct gang *g;

	if (side == SOLO)
		return pull_solo(node, cpu);
	g = gang_of(node, side);
	return pull_member(side, node, cpu, free_lead(side, node, (g ? g->slots : 0) + 1));
}

/*
 * Somebody is meant for @cpu, @tid in queue @dsq. Whom it runs, if it is @busy, is displaced on
 * credit or by a slot only.
 */
__noinline int pull_called(u64 dsq, s32 cpu, s32 tid, u32 slot_of, bool busy)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, dsq, 0) {
		struct thread *t;

		if (p->pid != tid)
			continue;
		t = thread_of(p);
		if (!t || (busy && !t->credit && t->side != slot_of))
			break;
		if (may_run_on(p, cpu) && core_enter(cpu, owner_of(p, t)))
			return scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0);
		t->credit = false;
		break;
	}
	return false;
}

/* Was the last one whom @cpu tried to pull refused? */
static bool is_denied(s32 cpu)
{
	struct pcpu_state *pc = pcpu_of(cpu);

	return isolating() && pc && pc->denied;
}

/* Takes a slot of @g for @tid on @cpu, and has its core for it. */
static bool slot_claim(struct gang *g, u32 node, s32 cpu, s32 tid)
{
	if (!slot_take(g))
		return false;
	if (!isolating() || core_claim(cpu, node, g->vm_id, claim_owner(g->vm_id, tid)))
		return true;
	slot_return(g);
	return false;
}

/*
 * Nobody of @vm_id, which has slots left, may run on @cpu. If one may beside it, their core is for
 * him, before less entitled ones come to have it: he might have no other.
 */
__noinline int claim_for_sibling(u32 vm_id, u32 node, s32 cpu)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	int i;

	if (!c || core_claimant(pc, c))
		return 0;
	bpf_for(i, 0, CORE_THREADS) {
		s32 other = c->cpu[i % CORE_THREADS], tid;

		if (i >= c->nr)
			break;
		if (i == pc->thread)
			continue;
		tid = vm_id == SOLO ? solo_for(node, other) :
				     member_for(vm_id, node, other, 0, LOOK);
		if (!tid)
			continue;
		if (core_claim(cpu, node, vm_id, claim_owner(vm_id, tid)))
			kvmgang_resched_cpu(other);
		break;
	}
	return 0;
}

/* By a slot of @g, moves @tid to @cpu; 0: the first solo task, of which nobody looks who it is. */
static bool pull_by_slot(struct gang *g, u32 node, s32 cpu, s32 tid)
{
	u64 dsq = g->vm_id == SOLO ? solo_dsq(node) : vm_dsq(g->vm_id, node);

	if (!slot_claim(g, node, cpu, tid))
		return false;
	if (tid ? pull_tid(dsq, cpu, tid) : pull_solo(node, cpu))
		return true;
	/* Who is on the core is just going. */
	if (is_denied(cpu))
		return true;
	slot_return(g);
	return false;
}

/*
 * Takes a slot of @g, the @part-th, for a task that waits. Not before it is known that one may run
 * here: or others would find the slot taken in the meantime, and pass a VM over that is more
 * entitled than theirs.
 */
static bool pull_into(struct gang *g, s32 part, u32 node, s32 cpu)
{
	s32 tid = 0;

	if (g->vm_id != SOLO)
		tid = member_for(g->vm_id, node, cpu, free_lead(g->vm_id, node, g->slots), part);
	else if (isolating())
		tid = solo_for(node, cpu);
	else
		return scx_bpf_dsq_nr_queued(solo_dsq(node)) && pull_by_slot(g, node, cpu, 0);
	if (tid == MOVED)
		return true;
	if (!tid && isolating() && g->slots > 0)
		claim_for_sibling(g->vm_id, node, cpu);
	return tid && pull_by_slot(g, node, cpu, tid);
}

/*
 * Fills a slot of the window that nobody has taken, those of the most entitled first. Who runs
 * here, @tid of @own, comes before others of its side, but not before others: on a pCPU that
 * several are bound to it would stay for as long as its VM has any slot. Returns whose it is, 0:
 * there is none; if that is @own, nobody was pulled.
 */
__noinline u32 pull_for_slot(u32 node, s32 cpu, u32 own, s32 tid)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return 0;
	bpf_for(i, 0, MAX_GANGS) {
		struct gang *g = gang_at(n, i);

		if (!g)
			break;
		if (g->vm_id == own ? slot_claim(g, node, cpu, tid) :
					  pull_into(g, i, node, cpu))
			return g->vm_id;
	}
	return 0;
}

/*
 * Does @vm come before VM @next, the most entitled of those that wait? If it has a part of this
 * window, @elected, it may have had a window more. It has fewer pCPUs than members then, as when a
 * host task had one when the window began and now sleeps; one more of its members makes the gang
 * whole, where one of @next would spin for its siblings.
 */
static bool comes_before(const struct vm *vm, bool elected, u32 next, u32 node)
{
	const struct vm *other = vm_of(next);
	u64 most;

	if (!vm || !other)
		return false;
	most = other->on[node % MAX_NODES].vtime;
	if (elected)
		most += vm_charge(vm, node, WINDOW_NS);
	return vm->on[node % MAX_NODES].vtime <= most;
}

/* Takes a member of a VM that has a part of the window and comes before @next. */
__noinline int complete_gang(u32 node, s32 cpu, u32 next)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return false;
	bpf_for(i, 0, MAX_GANGS) {
		struct gang *g = gang_at(n, i);
		const struct vm *vm;

		if (!g)
			break;
		vm = vm_of(g->vm_id);
		if (vm && is_short(vm, node, 0) && comes_before(vm, true, next, node) &&
		    pull_member(g->vm_id, node, cpu, 0))
			return true;
	}
	return false;
}

enum { NOBODY_WAITS, PULLED, KEEP };

/*
 * Somebody who waits without a slot: a solo task, or a member of a VM whose window it is, or of one
 * of the most entitled. Not @bounded, it may be a leader, before the pCPU has nothing to do. KEEP:
 * who runs there now, of VM @own if that is one, is to go on.
 */
__noinline int backfill(u32 node, s32 cpu, bool bounded, u32 own)
{
	const struct vm *vm = vm_of(own);
	bool elected = vm && gang_of(node, own);
	struct node_state *n = node_of(node);
	u32 tried[MAX_TRIED] = {};
	int i, nr = 0, found = NOBODY_WAITS;

	if (!n)
		return NOBODY_WAITS;
	if (n->solo.waiting && pull_solo(node, cpu))
		return PULLED;
	bpf_for(i, 0, MAX_TRIED) {
		tried[i] = rank_next(node, WAITING);
		if (!tried[i])
			break;
		nr = i + 1;
		if (comes_before(vm, elected, tried[i], node))
			found = KEEP;
		else if (!i && bounded && complete_gang(node, cpu, tried[i]))
			found = PULLED;
		else if (pull_member(tried[i], node, cpu, bounded ? 0 : ANY_LEAD))
			found = PULLED;
		if (found != NOBODY_WAITS)
			break;
	}
	bpf_for(i, 0, MAX_TRIED)
		if (i < nr)
			rank_return(node, WAITING, tried[i]);
	return found == NOBODY_WAITS && pull_solo(node, cpu) ? PULLED : found;
}

/* Somebody who waits on another node, as nobody does on @node. */
__noinline int steal(u32 node, s32 cpu)
{
	u32 i;

	bpf_for(i, 0, MAX_NODES) {
		struct node_state *n;

		if (i == node)
			continue;
		n = node_of(i);
		if (n && unparked(n, i, n->waiting) && backfill(i, cpu, true, 0))
			return true;
	}
	return false;
}

#endif /* KVMGANG_PULL_BPF_H */
