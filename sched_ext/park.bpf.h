/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Host tasks that may not run now because a cgroup above them has used its cpu.max up; see
 * cgroup.bpf.h. Each node has a queue of them, in the order of the times at which they may go on.
 * They are in nobody's way: they are counted as waiting like others, since counts are changed where
 * the task is locked and it is not when it goes on; but who wants to know how many wait for a pCPU
 * takes off as many as there are on that queue.
 *
 * They go on when a pCPU of the node asks after their time, to the queue of solo tasks. Each pCPU
 * that runs a task asks at the first of these times, as do those that have gone idle since, and the
 * one that is told when somebody is parked.
 *
 * Nobody waits here for longer than MOST_PARKED_NS whatever the limits, be there a thousand for a
 * quota of a millisecond: then he runs, for LEAST_RUN_NS, which the budget owes. The kernel would
 * throw the scheduler out after 30 s.
 *
 * A task is parked wherever it is in the kernel, and may hold what others wait for meanwhile.
 */
#ifndef KVMGANG_PARK_BPF_H
#define KVMGANG_PARK_BPF_H

#include "thread.bpf.h"

#define MOST_PARKED_NS	4000000000ULL

/* Tasks that are looked at when the first one may go on. */
#define MAX_UNPARKED	64

__noinline u64 parked_first(u32 node)
{
	struct task_struct *p = scx_bpf_dsq_peek(parked_dsq(node));

	if (!p)
		return 0;
	return p->scx.dsq_vtime;
}

/* When the first of those that are parked on @node may go on; 0: none is. */
static u64 parked_until(const struct node_state *n, u32 node)
{
	return n->parks ? parked_first(node) : 0;
}

/*
 * When to ask for them. If that is overdue not at once: a kthread that is bound to this pCPU runs
 * before anybody asks, and has to get something done.
 */
static u64 parked_ask_at(const struct node_state *n, u32 node, u64 now)
{
	u64 until = parked_until(n, node);

	return until && until <= now ? now + LEAST_RUN_NS : until;
}

/* May host task @t not run before a time? 0: it may at once. */
static u64 parked_for(const struct thread *t, u64 now)
{
	if (!t->limited || t->vm_id || (t->parked && now >= t->parked + MOST_PARKED_NS))
		return 0;
	return cgroup_next(t->limited, now);
}

static u64 until_at_most(const struct thread *t, u64 until)
{
	return fair_ceiling(until, t->parked + MOST_PARKED_NS);
}

/* Parks @p, which is to be queued, if it may not run. A pCPU is told, so that it asks in time. */
static bool park(struct task_struct *p, struct thread *t, struct node_state *n, u64 enq_flags)
{
	u64 now = bpf_ktime_get_ns(), until = parked_for(t, now);
	s32 cpu;

	if (!until)
		return false;
	if (!t->parked)
		t->parked = now;
	n->parks = 1;
	count_waiting(t);
	scx_bpf_dsq_insert_vtime(p, parked_dsq(t->node), SLICE_NS, until_at_most(t, until),
				 enq_flags);
	cpu = scx_bpf_pick_idle_cpu_node(p->cpus_ptr, t->node, SCX_PICK_IDLE_IN_NODE);
	kvmgang_resched_cpu(cpu >= 0 ? cpu : scx_bpf_task_cpu(p));
	return true;
}

/* When @t, whose time seems to have come, may go on; 0: now. */
static u64 unparked_at(const struct thread *t, u64 now)
{
	u64 until = parked_for(t, now);

	if (!until && t->limited && now < t->parked + MOST_PARKED_NS)
		until = cgroup_promise(t->limited);
	if (!until)
		return 0;
	until = until_at_most(t, until);
	return until > now ? until : now + LEAST_RUN_NS;
}

enum { NOBODY_DUE, NOT_YET, GOES_ON };

/* The first one that is parked on @node, if it is time: it goes on, or must wait for longer. */
__noinline int unpark_first(u32 node, u64 now)
{
	struct node_state *n = node_of(node);
	struct task_struct *p;

	if (!n)
		return NOBODY_DUE;
	bpf_for_each(scx_dsq, p, parked_dsq(node), 0) {
		struct thread *t = thread_of(p);
		u64 until, dsq = parked_dsq(node);

		if (!t || p->scx.dsq_vtime > now)
			break;
		until = unparked_at(t, now);
		if (!until)
			dsq = solo_dsq(node);
		scx_bpf_dsq_move_set_vtime(&___it, until ?: standing(t, n));
		if (!scx_bpf_dsq_move_vtime(&___it, p, dsq, 0))
			break;
		return until ? NOT_YET : GOES_ON;
	}
	return NOBODY_DUE;
}

/* Lets those of @node go on that may. Do any? */
__noinline int unpark(u32 node, u64 now)
{
	bool any = false;
	int i;

	bpf_for(i, 0, MAX_UNPARKED) {
		int outcome = unpark_first(node, now);

		if (outcome == NOBODY_DUE)
			break;
		if (outcome == GOES_ON)
			any = true;
	}
	return any;
}

#endif /* KVMGANG_PARK_BPF_H */
