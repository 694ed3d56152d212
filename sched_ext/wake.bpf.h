/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a task that wakes up goes when no pCPU is idle: into the window, if its VM has a slot there
 * that nobody has taken, or for a short time on credit, or to the queue. One who has credit may go
 * on for that time in any case: windows end when they do, and who wakes up just before would wait
 * for the whole of the next one.
 *
 * Whoever is displaced by a slot's owner runs as backfill and knew it. On credit anybody is
 * displaced who is not on credit himself; the VM pays for it in virtual time, as for all that it
 * runs.
 */
#ifndef KVMGANG_WAKE_BPF_H
#define KVMGANG_WAKE_BPF_H

#include "pull.bpf.h"

/*
 * How long a task may run on credit: enough for an interrupt's worth of work in a guest, little
 * against the window that it disturbs.
 */
#define CREDIT_NS	500000ULL

/*
 * A host task may for longer, as what it does not get done then it does in a slot of the next
 * window: siblings spin for the one that it displaces either way, and the task waits. At the end of
 * it one that is worth a vCPU of four has come from LAG_NS behind the clock up to that.
 */
#define HOST_CREDIT_NS	(LAG_NS / 4)

/*
 * Who is this far behind the clock has credit: those who sleep for most of the time. Who always
 * runs is near to it, and waits for his window. A VM that is sensitive to latency has credit as
 * soon as it is behind at all, and for as long as a window.
 */
#define CREDIT_LAG_NS	(LAG_NS / 2)

/* pCPUs that are looked at for a victim. */
#define MAX_VICTIMS	64

/*
 * The pCPU that @p, for which none is idle, may take: @cpu, or if that runs none of our tasks, one
 * of @node that does. A real-time task may have it for long, and has whoever is sent there wait.
 */
__noinline int wake_target(struct task_struct *p __arg_trusted, s32 cpu, u32 node)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	struct node_state *n = node_of(node);
	int i;

	if (!n || (pc && pc->side))
		return cpu;
	bpf_for(i, 0, MAX_VICTIMS) {
		s32 other = cpu_at(n, i);

		if (other < 0)
			break;
		pc = pcpu_of(other);
		if (pc && pc->side && may_run_on(p, other))
			return other;
	}
	return cpu;
}

/*
 * Claims @cpu for @side if it is for nobody in this window and does not run one of the same side,
 * and its core for @owner.
 */
static bool claim_cpu(s32 cpu, u32 node, const struct node_state *n, u32 side, u32 owner)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	u64 old;

	if (!pc || pc->node != node)
		return false;
	old = pc->claim;
	if (claimant(pc, n) || !pc->side || pc->side == side)
		return false;
	if (isolating() && !core_claim(cpu, node, side, owner))
		return false;
	return __sync_val_compare_and_swap(&pc->claim, old, claim_of(n->window, side)) == old;
}

/* The pCPU that @p, of @side, takes because it has a slot in the window; -1: it has none. */
__noinline int wake_into_slot(struct task_struct *p __arg_trusted, s32 prev_cpu, u32 node, u32 side)
{
	u32 owner = isolating() ? claims_for(p, thread_of(p)) : EVERYBODY;
	struct node_state *n = node_of(node);
	int i;

	if (!n || !n->contended || !gang_enter(node, side))
		return -1;
	if (claim_cpu(prev_cpu, node, n, side, owner))
		return prev_cpu;
	bpf_for(i, 0, MAX_VICTIMS) {
		s32 cpu = cpu_at(n, i);

		if (cpu < 0)
			break;
		if (may_run_on(p, cpu) && claim_cpu(cpu, node, n, side, owner))
			return cpu;
	}
	gang_leave(node, side);
	return -1;
}

/* Does isolation not keep @p from @cpu? */
static bool may_share(const struct task_struct *p, const struct thread *t, s32 cpu)
{
	return !isolating() || core_open(cpu, owner_of(p, t));
}

/*
 * The clock goes on in an election only, by what the window before was worth. For host tasks, which
 * the kernel's own scheduler would not keep waiting, it goes on evenly meanwhile: who often wants a
 * little has had more than his lag by the end of a window, but no more than his part of it.
 */
static u64 clock_now(const struct node_state *n)
{
	u64 now = bpf_ktime_get_ns(), left = n->window_end > now ? n->window_end - now : 0;

	if (!n->contended || left >= WINDOW_NS)
		return n->clock;
	return n->clock + n->stride * (WINDOW_NS - left) / WINDOW_NS;
}

/* For how long @t may run on credit; 0: it has none. */
static u64 credit_of(struct thread *t, const struct node_state *n)
{
	struct vm *vm = vm_of(t->vm_id);
	bool sensitive = vm && vm->sensitive;

	if (vm && (is_strict(vm) || vm->throttled))
		return 0;
	if (standing(t, n) + (sensitive ? 0 : CREDIT_LAG_NS) >= (vm ? n->clock : clock_now(n)))
		return 0;
	if (!vm)
		return HOST_CREDIT_NS;
	return sensitive ? WINDOW_NS : CREDIT_NS;
}

/* One at a time runs on @cpu on credit. */
static bool credit_take(s32 cpu, u32 node, u64 now, u64 length)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	u64 old;

	if (!pc || pc->node != node || !pc->side)
		return false;
	old = pc->credit_until;
	if (now < old)
		return false;
	return __sync_val_compare_and_swap(&pc->credit_until, old, now + length) == old;
}

/* Where @p runs on credit: on @cpu, or else another pCPU of @node; -1: each has somebody. */
__noinline s32 credit_cpu(struct task_struct *p __arg_trusted, s32 cpu, u32 node, u64 length)
{
	struct node_state *n = node_of(node);
	struct thread *t = thread_of(p);
	u64 now = bpf_ktime_get_ns();
	int i;

	if (!n)
		return -1;
	if (may_share(p, t, cpu) && credit_take(cpu, node, now, length))
		return cpu;
	bpf_for(i, 0, MAX_VICTIMS) {
		cpu = cpu_at(n, i);
		if (cpu < 0)
			break;
		if (may_run_on(p, cpu) && may_share(p, t, cpu) &&
		    credit_take(cpu, node, now, length))
			return cpu;
	}
	return -1;
}

/* Has @p run on credit on @cpu or another pCPU: which? -1: on none. */
static s32 wake_on_credit(struct task_struct *p, struct thread *t, const struct node_state *n,
			  s32 cpu)
{
	u64 length = credit_of(t, n);

	cpu = length ? credit_cpu(p, cpu, t->node, length) : -1;
	if (cpu < 0)
		return -1;
	event(t->node, EVENT_CREDIT);
	t->credit = true;
	return cpu;
}

/*
 * @t has got a slot on @cpu. The window may be about to end, or over, and in the next one there may
 * be none: if @t would have run for longer on credit, then it does so.
 */
static void outlast_window(struct thread *t, const struct node_state *n, s32 cpu)
{
	u64 now = bpf_ktime_get_ns(), length = credit_of(t, n);

	if (length && now + length > n->window_end && credit_take(cpu, t->node, now, length))
		t->credit = true;
}

#endif /* KVMGANG_WAKE_BPF_H */
