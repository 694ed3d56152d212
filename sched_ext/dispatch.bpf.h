/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pCPU asks: whom does it run now, and when does it ask again?
 *
 * Here is the order in which what may run is considered. Each of the steps is elsewhere: charging
 * in thread.bpf.h, windows in window.bpf.h, whose the next one is in elect.bpf.h, who is taken from
 * which queue in pull.bpf.h, with whom a core is shared in isolate.bpf.h. So is who runs at once
 * because it wakes up, in wake.bpf.h.
 */
#ifndef KVMGANG_DISPATCH_BPF_H
#define KVMGANG_DISPATCH_BPF_H

#include "elect.bpf.h"
#include "isolate.bpf.h"
#include "park.bpf.h"
#include "pull.bpf.h"
#include "target.bpf.h"

void kvmgang_resched_at(u64 at) __ksym;

/*
 * v6.18. Of 7.2, Debian has a kernel whose BTF keeps programs from calling it (see kmod/resched.c);
 * there the slice is written to, which later kernels will not let us.
 */
bool scx_bpf_task_set_slice___callable(struct task_struct *p, u64 slice) __ksym __weak;

/*
 * When to ask again if the window is over and nobody has elected the next one. While the scheduler
 * is being detached nobody ever does: dispatch() is not called any more but running() is, for each
 * task that the kernel rotates. So this has to leave a task the time to get something done: after
 * 1 us the next interrupt came before the first instruction, and detaching never ended.
 */
#define LATE_NS		100000ULL

/*
 * How long a vCPU runs off its home before it is asked whether there is room at home again: most of
 * what sends it away is a kthread's work of less than that.
 */
#define AWAY_NS		1000000ULL

/* For how long nobody need know that somebody runs whose pCPU nobody else wants. */
#define UNCHARGED_NS	(4 * WINDOW_NS)

/* A VM whose vCPUs have become unequal beyond MOST_SKEW_NS comes first as often as this. */
#define MEAL_PERIOD_NS	1000000000ULL

/* A pCPU that asks what to run. */
struct asking {
	s32 cpu;
	u64 now;
	struct pcpu_state *pc;
	struct node_state *n;
	struct task_struct *prev;
	struct thread *t;	/* of @prev if that can go on, else NULL */
	bool leads;		/* @prev is too far ahead: only if nobody else wants the pCPU */
	bool kept;		/* @prev goes on */
};

/* When @t, which runs from @now on, will be too far ahead of a sibling that waits; 0: none does. */
static u64 costop_at(const struct thread *t, u64 now)
{
	struct vm *vm = vm_of(t->side);
	u64 lead;

	if (!vm || !vm->on[t->node % MAX_NODES].waiting)
		return 0;
	lead = lead_of(t);
	return now + LATE_NS + (lead < vm->costop_ns ? vm->costop_ns - lead : 0);
}

/* Of two times, of which 0 is never. */
static u64 earlier(u64 a, u64 b)
{
	return a && (!b || a < b) ? a : b;
}

static void ask_at(struct pcpu_state *pc, u64 at)
{
	if (at == pc->resched_at)
		return;
	pc->resched_at = at;
	kvmgang_resched_at(at);
}

/* @p runs on this pCPU from @now on: when to ask again. */
__noinline int pace(struct pcpu_state *pc __arg_nonnull, struct task_struct *p __arg_trusted,
		    struct thread *t __arg_nonnull, u64 now)
{
	struct node_state *n = node_of(pc->node);
	u64 at;

	if (!n)
		return 0;
	at = n->contended ? n->window_end : 0;
	pc->solo_vtime = solo_prospect(p, t, pc->node, now);
	if (n->contended && at <= now)
		at = now + LATE_NS;
	if (t->vm_id && t->node != pc->node)
		at = earlier(at, now + AWAY_NS);
	if (t->credit)
		at = earlier(at, pc->credit_until);
	if (n->contended)
		at = earlier(at, costop_at(t, now));
	at = earlier(at, budget_ends(t, now));
	at = earlier(at, parked_ask_at(n, pc->node, now));
	if (t->limited)
		at = earlier(at, cgroup_ends(t->limited, now));
	ask_at(pc, at);
	return 0;
}

/*
 * A tick comes, and would have this pCPU ask as the slice is over. It need not if its timer will,
 * or if nobody waits and what @t has run for since it was charged makes no difference yet. But when
 * the timer was set a sibling may not have waited yet; of a limit, others use up as much as they
 * happen to; isolation and targets look at what runs; and who has been sent here comes next.
 */
static bool tick_matters(const struct pcpu_state *pc, const struct node_state *n,
			 const struct thread *t, u64 now)
{
	const struct vm *vm = limited_vm(t);

	if (vm && (vm->on[t->node % MAX_NODES].waiting || limit_of(vm)))
		return true;
	if (t->limited || isolating() || any_targets() || n->squeezes ||
	    scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL) > 0)
		return true;
	if (n->contended)
		return pc->resched_at <= now;
	return n->waiting || now > t->started + UNCHARGED_NS;
}

static void set_slice(struct task_struct *p, u64 slice)
{
	if (bpf_ksym_exists(scx_bpf_task_set_slice___callable))
		scx_bpf_task_set_slice___callable(p, slice);
	else
		p->scx.slice = slice;
}

/* What ran until now is counted where it belongs by now. Does isolation not keep it from here? */
static bool may_stay(struct asking *a)
{
	take_side(a->prev, a->t);
	return !isolating() || core_enter(a->cpu, owner_of(a->prev, a->t));
}

/* To have tried to take somebody else, in vain, may have given the core away. */
static void keep(struct asking *a)
{
	a->leads = false;
	a->kept = may_stay(a);
	if (!a->kept)
		return;
	/* Its home or its side may be another one since it began. */
	if (a->pc->side != a->t->side || a->pc->side_node != a->t->node)
		charge_begin(a->pc, a->t->side, a->t->node, a->now);
	set_slice(a->prev, SLICE_NS);
	pace(a->pc, a->prev, a->t, a->now);
}

/* What ran until now is charged before anybody is compared with anybody. */
static void look(struct asking *a)
{
	if (!a->prev || !(a->prev->scx.flags & SCX_TASK_QUEUED))
		return;
	a->t = thread_of(a->prev);
	if (!a->t)
		return;
	charge(a->prev, a->t, a->now);
	if (a->t->credit && a->now >= a->pc->credit_until)
		a->t->credit = false;
	if (is_throttled(a->t)) {
		hold(a->prev, a->t, HELD_THROTTLED);
		a->t = NULL;
	} else if (parked_for(a->t, a->now)) {
		a->t = NULL;
	}
}

/* While VMs are isolated: may what ran until now go on beside what runs on this core? */
static void check_core(struct asking *a)
{
	if (isolating() && a->t && !may_stay(a))
		a->t = NULL;
}

/* While VMs are isolated: somebody who has been queued is meant for this pCPU. */
static bool take_call(struct asking *a)
{
	s32 tid = a->pc->call;

	if (!isolating() || !tid)
		return false;
	a->pc->call = 0;
	return pull_called(a->pc->call_queue, a->cpu, tid, claimant(a->pc, a->n), a->t);
}

/* The vCPU here gives its place to a sibling. */
static bool give_way(struct asking *a)
{
	s32 next = a->pc->next;

	if (!next || !a->t || a->t->side == SOLO)
		return false;
	a->pc->next = 0;
	return pull_tid(vm_dsq(a->t->side, a->t->node), a->cpu, next);
}

/*
 * A sibling of @t waits for very long. On pCPUs nobody else wants, others of its VM have had so
 * much that the VM is always behind whoever wants the only one that this sibling may run on.
 */
static void feed(const struct thread *t, struct vm *vm, u64 now)
{
	if (now < vm->fed_at + MEAL_PERIOD_NS)
		return;
	vm->fed_at = now;
	vm->starves = 1;
	rank_add(t->node, RESERVED, t->side);
}

/* Is the vCPU here too far ahead of a sibling? If that one may run here it does. */
static bool costop(struct asking *a)
{
	struct vm *vm = a->t ? vm_of(a->t->side) : NULL;
	u64 lead;

	if (!vm || !vm->on[a->t->node % MAX_NODES].waiting)
		return false;
	lead = lead_of(a->t);
	if (lead <= vm->costop_ns)
		return false;
	if (lead > MOST_SKEW_NS)
		feed(a->t, vm, a->now);
	a->leads = true;
	return pull_member(a->t->side, a->t->node, a->cpu, 0);
}

/* A pCPU of @node, where @p, which runs, may, that runs what belongs @here; -1: there is none. */
__noinline s32 find_astray(struct task_struct *p __arg_trusted, u32 node, u32 here)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return -1;
	bpf_for(i, 0, MAX_CPUS) {
		s32 cpu = cpu_at(n, i);
		struct pcpu_state *pc;

		if (cpu < 0)
			break;
		pc = pcpu_of(cpu);
		if (pc && pc->side && pc->side_node == here &&
		    bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			return cpu;
	}
	return -1;
}

/* Is there an idle pCPU at home, of the kind of @flags, for what runs here? enqueue() sends it. */
static bool is_called(struct asking *a, u64 flags)
{
	s32 cpu = scx_bpf_pick_idle_cpu_node(a->prev->cpus_ptr, a->t->node,
					     SCX_PICK_IDLE_IN_NODE | flags);

	a->t->called = cpu + 1;
	return cpu >= 0;
}

/* A vCPU that runs off its home goes there when a pCPU has nothing to do. */
static bool is_called_home(struct asking *a)
{
	return a->t->vm_id && a->t->node != a->pc->node && is_called(a, 0);
}

/*
 * Nor does it wait for that where one at home runs what belongs here: the two change places. Where
 * each has a pCPU none would ever be idle.
 */
static bool is_exchanged(struct asking *a)
{
	s32 cpu;

	if (!a->t->vm_id || a->t->node == a->pc->node)
		return false;
	cpu = find_astray(a->prev, a->t->node, a->pc->node);
	a->t->called = cpu + 1;
	return cpu >= 0;
}

/*
 * An isolated vCPU that shares its core with a sibling goes to one that idles, as if called home.
 */
static bool is_called_apart(struct asking *a)
{
	return isolating() && a->t->side != SOLO && owner_of_gang(a->t->side) != EVERYBODY &&
	       core_is_shared(a->cpu) && is_called(a, SCX_PICK_IDLE_CORE);
}

/*
 * Nobody waits on this node, or whoever begins to will say so: see contend(). Only who has been
 * left to an idle pCPU that then found something else says nothing; at the next tick he is seen.
 */
static void dispatch_uncontended(struct asking *a)
{
	if (unparked(a->n, a->pc->node, a->n->waiting))
		contend(a->pc->node);
	else if (a->t && (is_called_home(a) || is_exchanged(a) || is_called_apart(a)))
		return;
	else if (a->t)
		keep(a);
	else if (!steal(a->pc->node, a->cpu) && a->n->parks && !pull_solo(a->pc->node, a->cpu))
		ask_at(a->pc, parked_ask_at(a->n, a->pc->node, a->now));
}

static void claim(struct asking *a, u32 side)
{
	a->pc->claim = claim_of(a->n->window, side);
	event(a->pc->node, EVENT_MEMBER);
}

/* Goes on with the slot that this pCPU has. False: it has none any more. */
static bool dispatch_claimed(struct asking *a)
{
	u32 side = claimant(a->pc, a->n);

	if (!side)
		return false;
	if (a->t && a->t->side == side && !a->leads) {
		keep(a);
		return true;
	}
	a->pc->denied = false;
	if (pull_side(side, a->pc->node, a->cpu) || is_denied(a->cpu))
		return true;
	a->pc->claim = 0;
	gang_leave(a->pc->node, side);
	if (isolating())
		core_unclaim(a->cpu, a->pc->node, side);
	return false;
}

/* The side of who runs here, if he may go on and belongs here; 0: he may not. */
static u32 side_here(const struct asking *a)
{
	return a->t && !a->leads && a->t->node == a->pc->node ? a->t->side : 0;
}

/*
 * Whose slot who runs here may go on with: a VM is fair to its vCPUs by co-stop, but of the solo
 * tasks the one that has had least comes first. 0: none.
 */
static u32 own_side(struct asking *a)
{
	u32 side = side_here(a);

	if (side == SOLO && a->n->solo.waiting &&
	    solo_must_leave(a->pc->node, a->cpu, standing(a->t, a->n)))
		return 0;
	return side;
}

/* Takes a slot, if there is one for who runs here or waits. */
static bool dispatch_slot(struct asking *a)
{
	u32 own = own_side(a);
	u32 side = pull_for_slot(a->pc->node, a->cpu, own, own ? a->prev->pid : 0);

	if (!side)
		return false;
	claim(a, side);
	if (side == own)
		keep(a);
	return true;
}

/*
 * Without a slot: who runs here as backfill goes on until the window ends. A pCPU that has nothing
 * to do asks again then: who is queued while it goes idle does not see that it will be, and a node
 * where all have become idle must find out that it is not contended any more.
 */
static void dispatch_backfill(struct asking *a)
{
	u64 unclaimed = claim_of(a->n->window, 0);
	int found;

	if (a->t && is_called_home(a))
		return;
	if (a->t && !a->leads && a->pc->claim == unclaimed) {
		keep(a);
		return;
	}
	a->pc->claim = unclaimed;
	found = backfill(a->pc->node, a->cpu, true, side_here(a));
	if (found == PULLED)
		event(a->pc->node, EVENT_BACKFILL);
	else if (a->t)
		keep(a);
	else if (!steal(a->pc->node, a->cpu) && !backfill(a->pc->node, a->cpu, false, 0))
		ask_at(a->pc, earlier(parked_ask_at(a->n, a->pc->node, a->now),
				      a->n->elected ? a->n->window_end :
						      earlier(a->n->window_end, release_at)));
}

/*
 * Those of @node go on that are parked and may. True: @cpu has nothing to run, and now one of them.
 */
__noinline int go_on_parked(u32 node, s32 cpu, u64 now, bool idle)
{
	struct node_state *n = node_of(node);
	bool pulled;

	if (!n || !unpark(node, now))
		return false;
	pulled = idle && !n->contended && pull_solo(node, cpu);
	if (n->contended)
		wake_idle(n);
	else if (unparked(n, node, n->waiting))
		contend(node);
	return pulled;
}

/* Those go on whose cgroups have something left again. True: one of them does so here. */
static bool dispatch_parked(struct asking *a)
{
	u64 until = parked_until(a->n, a->pc->node);

	return until && until <= a->now && go_on_parked(a->pc->node, a->cpu, a->now, !a->t);
}

static void dispatch(struct asking *a)
{
	look(a);
	if (give_way(a) || take_call(a) || dispatch_parked(a))
		return;
	if (!a->n->contended) {
		check_core(a);
		dispatch_uncontended(a);
		if (!a->n->contended)
			return;
	}
	if (any_targets() || a->n->squeezes)
		target_ask(a->now);
	if (release_is_due(a->now))
		release_due(a->pc->node, a->now);
	window_renew(a->pc->node, a->now);
	check_core(a);
	if (a->t && (a->t->credit || !a->n->contended))
		keep(a);
	else if (!costop(a) && !dispatch_claimed(a) && !dispatch_slot(a))
		dispatch_backfill(a);
	if (a->leads && a->t)
		costop_begins(a->prev, a->t);
}

/* Nobody has been found for this pCPU; if it had to refuse somebody, that is why. */
static void settle_core(struct asking *a)
{
	if (a->kept || scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | a->cpu))
		return;
	core_leave(a->cpu, false);
	if (!a->pc->refused)
		return;
	forced_idle_begins(a->pc, a->now);
	if (a->n->contended)
		ask_at(a->pc, a->n->window_end > a->now ? a->n->window_end : a->now + LATE_NS);
}

/*
 * An idle pCPU that takes a task from a queue has the clock of its run queue stand still when it
 * reschedules the next time: wakeup_preempt() in kernel/sched/core.c believes that to be at once.
 * It would be when the window ends; of the slice nothing would seem to be used up, and the task
 * would go on until the tick. So it reschedules at once, which does nothing else.
 */
static void restart_clock(const struct asking *a)
{
	if (!a->prev && scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL) > 0)
		kvmgang_resched_cpu(a->cpu);
}

#endif /* KVMGANG_DISPATCH_BPF_H */
