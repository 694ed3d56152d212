/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Limits: what all vCPUs of a VM together may use. They draw from one budget (budget.h). When that
 * is used up the VM is throttled: its vCPUs stop within LATE_NS of each other, since each pCPU's
 * timer was set by what was left for all, and none of them runs before there is a turn for all.
 * So no vCPU is stopped alone while siblings spin for it. A turn is earned after two seconds at the
 * latest, however low the limit: far below the kernel's 30 s for a task that waits and the 20 s
 * after which a guest reports a soft lockup.
 *
 * A throttled VM falls out of the ranks, takes part in no window, and its vCPUs are left where they
 * are queued. VMs that are throttled are in a rank of their own, by the time when they may go on.
 *
 * A reservation is the other way round: a VM that has not used what it earns by it comes first in
 * the next window, whatever its virtual time; see elect_reserved().
 *
 * Budgets change by atomic operations, their bounds are kept without: at worst a few us are lost.
 * VMM threads draw from no budget.
 */
#ifndef KVMGANG_LIMIT_BPF_H
#define KVMGANG_LIMIT_BPF_H

#include "budget.h"
#include "hold.bpf.h"
#include "home.bpf.h"
#include "rank.bpf.h"

/*
 * For how long all vCPUs of a VM run together at least. It is the error of a limit, too: 2 ms of
 * four vCPUs is half a percent of one and a half pCPUs' second.
 */
#define TURN_NS		(WINDOW_NS / 3)

/* Budgets of VMs that do not run are brought up to date as often as this at most. */
#define REFILL_NS	10000ULL

/*
 * How often it is looked whether a throttled VM may go on: what it earns may change meanwhile.
 */
#define RECHECK_NS	100000000ULL

/* Throttled VMs that are looked at when the first one may go on. */
#define MAX_RELEASED	16

/* What @vm may have, by its own limit and for the sake of others; 0: all. */
static u32 limit_of(const struct vm *vm)
{
	if (!vm->limit || !vm->squeeze)
		return vm->limit | vm->squeeze;
	return vm->limit < vm->squeeze ? vm->limit : vm->squeeze;
}

/* How long until @vm, which is throttled, has earned a turn. */
static u64 turn_wait(const struct vm *vm)
{
	u32 limit = limit_of(vm);
	s64 burst = budget_burst(vm->threads, TURN_NS, limit);

	return limit ? budget_wait(vm->budget, burst, limit) : 0;
}

static u64 recheck_at(const struct vm *vm, u64 now)
{
	u64 wait = turn_wait(vm);

	return now + (wait < RECHECK_NS ? wait : RECHECK_NS);
}

static struct vm *limited_vm(const struct thread *t)
{
	return vm_of(t->side);
}

static bool is_throttled(const struct thread *t)
{
	struct vm *vm = limited_vm(t);

	return vm && vm->throttled;
}

/* All that wait of VM @vm_id on @node are throttled from now on, or not any more. */
__noinline int mark_waiting(u32 vm_id, u32 node, bool throttled)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, vm_dsq(vm_id, node), 0) {
		struct thread *t = thread_of(p);

		if (t && throttled)
			hold(p, t, HELD_THROTTLED);
		else if (t)
			release(p, t);
	}
	return 0;
}

/* VM @vm_id is throttled. If the window of @node was its alone, it is time for the next one. */
__noinline int throttle_on(u32 vm_id, u32 node, u64 now)
{
	struct node_state *n = node_of(node);

	if (n && n->elected == 1 && gang_of(node, vm_id))
		window_cut(n, now);
	return mark_waiting(vm_id, node, true);
}

/* One pCPU throttles; the others that run the VM find out when they ask. */
__noinline int throttle_until(u32 vm_id, u64 now, u64 until)
{
	struct vm *vm = vm_of(vm_id);
	u32 node;

	if (!vm || __sync_val_compare_and_swap(&vm->throttled, 0, 1))
		return 0;
	event(vm->part[0], EVENT_THROTTLE);
	bpf_for(node, 0, MAX_NODES)
		if (vm->queue[node % MAX_NODES] == HAS_QUEUE)
			throttle_on(vm_id, node, now);
	rank_push(THROTTLED_RANK, vm_id, until);
	return 0;
}

static void throttle(struct vm *vm, u32 vm_id, u64 now)
{
	s64 burst = budget_burst(vm->threads, TURN_NS, limit_of(vm));

	if (vm->throttled)
		return;
	vm->squeezed = 1;
	/* Whoever overdrew it, as when the limit was lowered, does not pay for long. */
	if (vm->budget < -burst)
		vm->budget = -burst;
	throttle_until(vm_id, now, recheck_at(vm, now));
}

__noinline int throttle_end(u32 vm_id)
{
	struct vm *vm = vm_of(vm_id);
	u32 node;

	if (!vm)
		return 0;
	/* Who is counted from here on is ranked by who counts. */
	__sync_lock_test_and_set(&vm->throttled, 0);
	bpf_for(node, 0, MAX_NODES) {
		struct entity *e = &vm->on[node % MAX_NODES];

		if (vm->queue[node % MAX_NODES] != HAS_QUEUE)
			continue;
		mark_waiting(vm_id, node, false);
		if (e->runnable)
			rank_add_runnable(vm, node, vm_id);
		if (e->waiting && !is_strict(vm))
			rank_add(node, WAITING, vm_id);
	}
	return 0;
}

static bool release_is_due(u64 now)
{
	u64 at = *(volatile u64 *)&release_at;

	return at && now >= at;
}

static void refill(struct vm *vm, u64 now)
{
	u64 before = vm->refilled_at, ns = now > before ? now - before : 0;
	u32 limit = limit_of(vm);
	s64 most;

	if (ns < REFILL_NS || __sync_val_compare_and_swap(&vm->refilled_at, before, now) != before)
		return;
	most = budget_burst(vm->threads, TURN_NS, limit) + budget_earned(2 * WINDOW_NS, limit);
	__sync_fetch_and_add(&vm->budget, budget_earned(ns, limit));
	if (vm->budget > most)
		vm->budget = most;
	most = budget_earned(2 * WINDOW_NS, vm->reservation);
	__sync_fetch_and_add(&vm->reserved, budget_earned(ns, vm->reservation));
	if (vm->reserved > most)
		vm->reserved = most;
}

/* Lets VM @vm_id go on if it has earned a turn by now, as it may earn more or less since. */
__noinline int release_one(u32 vm_id, u64 now)
{
	struct vm *vm = vm_of(vm_id);

	if (!vm)
		return false;
	refill(vm, now);
	if (turn_wait(vm) > REFILL_NS) {
		rank_push(THROTTLED_RANK, vm_id, recheck_at(vm, now));
		return false;
	}
	throttle_end(vm_id);
	return true;
}

/*
 * Lets those VMs go on that may, but between windows only: in the midst of one they would get its
 * leftover pCPUs, one now and one then. A window in which no VM has a part ends for them.
 */
__noinline int release_due(u32 node, u64 now)
{
	struct node_state *n = node_of(node);
	bool released = false;
	int i;

	if (!n || (n->elected && now < n->window_end))
		return 0;
	bpf_for(i, 0, MAX_RELEASED) {
		struct heap_entry top = {};

		if (!release_is_due(now))
			break;
		rank_pop(THROTTLED_RANK, &top);
		if (!top.id)
			break;
		if (top.key > now) {
			rank_push(THROTTLED_RANK, top.id, top.key);
			break;
		}
		if (release_one(top.id, now))
			released = true;
	}
	if (!released)
		return 0;
	window_cut(n, now);
	wake_idle(n);
	return 0;
}

/* VM @vm_id ran for @ns up to @now. */
static void draw(struct vm *vm, u32 vm_id, u64 ns, u64 now)
{
	s64 deepest = -(s64)budget_earned(BUDGET_SECOND, vm->reservation);

	if (!limit_of(vm) && !vm->reservation)
		return;
	refill(vm, now);
	__sync_fetch_and_sub(&vm->budget, ns);
	__sync_fetch_and_sub(&vm->reserved, ns);
	/* What it gets beyond its reservation does not count against it for more than a second. */
	if (vm->reserved < deepest)
		vm->reserved = deepest;
	if (limit_of(vm) && vm->budget <= 0)
		throttle(vm, vm_id, now);
}

/*
 * vCPUs of VM @vm_id that use its budget. Those that have not begun yet will in a moment; if not,
 * there is something left then.
 */
__noinline u32 drawing(u32 vm_id)
{
	struct vm *vm = vm_of(vm_id);
	u32 nr = 0, node;

	if (!vm)
		return 0;
	bpf_for(node, 0, MAX_NODES) {
		struct node_state *n = node_of(node);
		u32 runnable = vm->on[node % MAX_NODES].runnable;

		if (n && runnable)
			nr += runnable < n->nr_cpus ? runnable : n->nr_cpus;
	}
	return nr;
}

/* When to look at the budget of @t's VM again, as it is being used; 0: never. */
static u64 budget_ends(const struct thread *t, u64 now)
{
	struct vm *vm = limited_vm(t);
	u64 ns;

	if (!vm || !limit_of(vm))
		return 0;
	ns = budget_lasts(vm->budget, drawing(t->vm_id), limit_of(vm));
	return ns ? now + ns : 0;
}

#endif /* KVMGANG_LIMIT_BPF_H */
