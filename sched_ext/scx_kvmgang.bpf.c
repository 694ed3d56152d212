// SPDX-License-Identifier: GPL-2.0
/*
 * scx_kvmgang: the vCPUs of a VM run together, or not at all.
 *
 * The idea. A vCPU that holds a lock of its guest, or owes a sibling an answer, is preempted, and
 * the siblings spin for it until it runs again. On a contended host that is most of what they do.
 * So the time of a node is cut into windows of a few milliseconds (window.bpf.h). Each window
 * belongs to the VMs that are most entitled to it, with as many pCPUs as they have runnable vCPUs;
 * they all start when it begins and stop when it ends, which each pCPU's own timer sees to. pCPUs
 * that nobody claimed, or whose owner sleeps, run whoever waits, until the owner wakes up or the
 * window ends.
 *
 * Who is entitled. Each VM has a virtual time (fair.h) that all its vCPUs' run time goes into,
 * divided by its shares. Windows are given in its order, so that VMs of equal shares get equal time
 * whatever their number of vCPUs.
 *
 * Who gangs. VMs whose setting is relaxed or strict, and if it is auto those that do not sleep most
 * of the time (thread.bpf.h). The others, and the host's own tasks, are solo: they wait in one
 * queue per node, by virtual time, and take part in windows as if they were one more VM. A host
 * where nobody waits has no windows and no timers.
 *
 * What may be had at most and is had at least: limit.bpf.h. How long one may wait at most, at the
 * expense of others: target.bpf.h. With whom a core is shared: isolate.bpf.h.
 *
 * How far apart. A vCPU that is more than costop_us ahead of a sibling that waits gives its pCPU to
 * it, or to another VM, and is in co-stop until it is no more than costart_us ahead (pull.bpf.h).
 * Progress is run and sleep; that of one who slept ends at the foremost of its siblings. A pCPU
 * that nobody else wants runs a leader all the same.
 *
 * Where. Each VM has a home node (home.bpf.h), and each node windows of its own. A VM that is wider
 * than a node is in parts on several, which run at the same time (align.bpf.h).
 *
 * Who wakes up (wake.bpf.h) takes an idle pCPU, or one of its window's; else it runs at once for a
 * short time if it is behind the clock, as whoever sleeps most of the time is.
 *
 * Directed yields are honoured within a VM: the sibling takes the yielding vCPU's place.
 *
 * What cgroups say counts: cpu.max and cpu.weight of host tasks' (cgroup.bpf.h, park.bpf.h), and
 * those of a VM's vCPUs for the VM (vm_cgroup.bpf.h).
 *
 * Who knows what: state.bpf.h has the data, vms.bpf.h a VM's by its id, rank.bpf.h the order of
 * VMs, pull.bpf.h what a pCPU may run next, dispatch.bpf.h what it does run, report.bpf.h and
 * interface.h what the command is told. All tasks have a slice of 1 ns, so that each time a pCPU
 * reschedules it asks here; a tick that is no reason to ask renews it.
 *
 * Races. Most of what one pCPU writes another one may read while it changes. An error is contained:
 * who runs where, and for how long, is decided anew at the next window at the latest.
 */
#include "vmlinux.h"
#include <asm-generic/errno-base.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

u32 kvmgang_kfunc_abi(void) __ksym;
u32 kvmgang_task_vm(s32 tid) __ksym;
s32 kvmgang_task_vcpu(s32 tid) __ksym;
s32 kvmgang_task_memory(s32 tid) __ksym;
int kvmgang_resched_cpu(s32 cpu) __ksym;

#include "dispatch.bpf.h"
#include "wake.bpf.h"

char _license[] SEC("license") = "GPL";

#define PF_EXITING	0x00000004	/* include/linux/sched.h */

SEC("struct_ops/kvmgang_dispatch")
void BPF_PROG(kvmgang_dispatch, s32 cpu, struct task_struct *prev)
{
	struct asking a = { .cpu = cpu, .now = bpf_ktime_get_ns(), .prev = prev };
	bool cores = isolating();

	a.pc = pcpu_of(cpu);
	a.n = a.pc ? node_of(a.pc->node) : NULL;
	if (!a.n)
		return;
	if (cores) {
		forced_idle_ends(a.pc, a.now);
		a.pc->refused = 0;
	}
	dispatch(&a);
	if (cores)
		settle_core(&a);
	restart_clock(&a);
}

static void insert_here(struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE_NS, enq_flags);
}

/* To @cpu, now or, if it has to be asked first for isolation's sake, from the queue. */
static void send(struct task_struct *p, struct thread *t, s32 cpu, u64 enq_flags)
{
	if (!isolating() || p->flags & PF_KTHREAD)
		insert_here(p, enq_flags);
	else
		t->called = cpu + 1;
}

SEC("struct_ops/kvmgang_select_cpu")
s32 BPF_PROG(kvmgang_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct pcpu_state *pc = pcpu_of(prev_cpu);
	struct thread *t = thread_of(p);
	struct node_state *n;
	bool is_idle = false;
	s32 cpu;

	if (fault_strikes(p) || !t || !pc)
		return prev_cpu;
	take_side(p, t);
	if (is_throttled(t) || parked_for(t, bpf_ktime_get_ns()))
		return prev_cpu;
	if (!t->vm_id)
		change_node(t, pc->node);
	else if (t->node != pc->node && t->home_cpu)
		prev_cpu = t->home_cpu - 1;
	n = node_of(t->node);
	if (!n)
		return prev_cpu;
	/* Who is called displaces the waker at once, which is on its way to sleep. */
	if (isolating())
		wake_flags &= ~SCX_WAKE_SYNC;
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle && may_share(p, t, cpu)) {
		send(p, t, cpu, 0);
		return cpu;
	}
	/* It is still idle, and would not be found so. */
	if (is_idle)
		kvmgang_resched_cpu(cpu);
	prev_cpu = wake_target(p, prev_cpu, t->node);
	cpu = wake_into_slot(p, prev_cpu, t->node, t->side);
	if (cpu >= 0) {
		event(t->node, EVENT_MEMBER);
		outlast_window(t, n, cpu);
		send(p, t, cpu, SCX_ENQ_PREEMPT);
		return cpu;
	}
	cpu = wake_on_credit(p, t, n, prev_cpu);
	if (cpu >= 0) {
		send(p, t, cpu, SCX_ENQ_PREEMPT);
		return cpu;
	}
	return prev_cpu;
}

/* One of this pCPU's own: sooner or later whoever runs here waits for it. */
static bool is_bound_kthread(const struct task_struct *p)
{
	return p->flags & PF_KTHREAD && p->nr_cpus_allowed == 1;
}

/* An idle pCPU for @p; while VMs are isolated, one that lets it in, rather of a core that idles. */
static s32 pick_idle(struct task_struct *p, const struct thread *t, const struct node_state *n)
{
	s32 cpu;
	int i;

	if (!isolating())
		return scx_bpf_pick_idle_cpu_node(p->cpus_ptr, t->node, 0);
	cpu = scx_bpf_pick_idle_cpu_node(p->cpus_ptr, t->node, SCX_PICK_IDLE_CORE);
	if (cpu >= 0)
		return cpu;
	bpf_for(i, 0, MAX_VICTIMS) {
		struct pcpu_state *pc;

		cpu = cpu_at(n, i);
		if (cpu < 0)
			break;
		pc = pcpu_of(cpu);
		if (pc && !pc->side && may_run_on(p, cpu) && may_share(p, t, cpu) &&
		    scx_bpf_test_and_clear_cpu_idle(cpu))
			return cpu;
	}
	return -1;
}

/* While VMs are isolated: @cpu is to run @p, which waits, when it asks. */
static void call(s32 cpu, const struct task_struct *p, const struct thread *t)
{
	struct pcpu_state *pc = pcpu_of(cpu);

	if (!isolating() || !pc)
		return;
	pc->call_queue = t->side == SOLO ? solo_dsq(t->node) : vm_dsq(t->side, t->node);
	pc->call = p->pid;
}

/* To the queue that it belongs to; an idle pCPU, which would not look, is told. */
static void enqueue(struct task_struct *p, struct thread *t, struct node_state *n, u64 enq_flags)
{
	s32 cpu;

	count_waiting(t);
	if (t->side == SOLO)
		scx_bpf_dsq_insert_vtime(p, solo_dsq(t->node), SLICE_NS, standing(t, n), enq_flags);
	else
		scx_bpf_dsq_insert_vtime(p, vm_dsq(t->side, t->node), SLICE_NS, t->vtime,
					 enq_flags);
	if (is_throttled(t)) {
		t->called = 0;
		hold(p, t, HELD_THROTTLED);
		contend(t->node);
		return;
	}
	cpu = t->called ? (s32)t->called - 1 : pick_idle(p, t, n);
	t->called = 0;
	if (cpu >= 0) {
		call(cpu, p, t);
		kvmgang_resched_cpu(cpu);
	} else {
		contend(t->node);
	}
}

/*
 * One that exits or may not move runs at once, where it is; but if VMs are isolated it has to
 * enter, as others do. What runs until now may not move while a BPF program runs on top of it.
 */
static bool is_urgent(struct task_struct *p)
{
	u32 disabled = p == bpf_get_current_task_btf() ? 1 : 0;

	return (p->flags & PF_EXITING || p->migration_disabled > disabled) &&
	       (!isolating() || p->flags & PF_KTHREAD);
}

SEC("struct_ops/kvmgang_enqueue")
void BPF_PROG(kvmgang_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct thread *t = is_bound_kthread(p) || is_urgent(p) ? NULL : thread_of(p);
	struct node_state *n = NULL;

	if (fault_strikes(p))
		return;
	if (t) {
		take_side(p, t);
		n = node_of(t->node);
	}
	if (n && park(p, t, n, enq_flags))
		return;
	if (!n) {
		if (enq_flags & SCX_ENQ_WAKEUP)
			enq_flags |= SCX_ENQ_PREEMPT;
		insert_here(p, enq_flags);
		return;
	}
	/* select_cpu() is not called for a task that has no choice. */
	if (enq_flags & SCX_ENQ_WAKEUP && p->nr_cpus_allowed == 1 &&
	    wake_on_credit(p, t, n, scx_bpf_task_cpu(p)) >= 0) {
		send(p, t, scx_bpf_task_cpu(p), enq_flags | SCX_ENQ_PREEMPT);
		if (!t->called)
			return;
	}
	enqueue(p, t, n, enq_flags);
}

SEC("struct_ops/kvmgang_dequeue")
void BPF_PROG(kvmgang_dequeue, struct task_struct *p, u64 deq_flags)
{
	struct thread *t = thread_of(p);

	if (t)
		uncount_waiting(t);
}

/*
 * A host task waits on the node where it wakes up; a vCPU on that of its VM. A vCPU that slept has
 * come as far as if it had run, but no farther than the foremost of its siblings: it is no leader.
 */
SEC("struct_ops/kvmgang_runnable")
void BPF_PROG(kvmgang_runnable, struct task_struct *p, u64 enq_flags)
{
	struct pcpu_state *pc = pcpu_of(scx_bpf_task_cpu(p));
	struct thread *t = thread_of(p);
	struct vm *vm;

	if (!t || !pc || t->runnable)
		return;
	vm = vm_of(t->vm_id);
	if (!vm) {
		change_node(t, pc->node);
	} else if (t->slept) {
		u64 now = bpf_ktime_get_ns();

		t->vtime = fair_ceiling(t->vtime + now - t->slept, front_of(vm, t->node, now));
	}
	t->slept = 0;
	count_runnable(t);
}

/*
 * While VMs are isolated: @p, which entered when it was chosen, runs; or it has never asked, or has
 * been taken off and put on again by a change of its properties. Not again and again: see LATE_NS.
 */
static void core_runs(const struct task_struct *p, const struct thread *t, u64 now)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct pcpu_state *pc = pcpu_of(cpu);
	u32 owner = owner_of(p, t);

	if (!pc)
		return;
	forced_idle_ends(pc, now);
	if (!owner) {
		core_leave_unless_next(cpu, false);
	} else if (!core_enter(cpu, owner) && now > pc->evicted_at + LATE_NS) {
		pc->evicted_at = now;
		kvmgang_resched_cpu(cpu);
	}
}

/* Nor is it to come back by itself when a task of another class has been here. */
static void core_stops(struct task_struct *p)
{
	set_slice(p, 0);
	core_leave_unless_next(scx_bpf_task_cpu(p), !(p->flags & PF_KTHREAD));
}

/*
 * Another pCPU may be here that changes the properties of @p, as it goes on where it is. When that
 * one asks again has not changed; only it could tell its timer.
 */
SEC("struct_ops/kvmgang_running")
void BPF_PROG(kvmgang_running, struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct pcpu_state *pc = pcpu_of(cpu);
	struct node_state *n = pc ? node_of(pc->node) : NULL;
	struct thread *t = thread_of(p);
	u64 now = bpf_ktime_get_ns();
	struct vm *vm;

	if (!t || !n)
		return;
	if (isolating())
		core_runs(p, t, now);
	uncount_waiting(t);
	t->started = now;
	vm = vm_of(t->vm_id);
	if (vm)
		front_bring(vm, t, now);
	t->held = 0;
	t->parked = 0;
	cgroup_begin(p, t);
	if (pc->node == t->node)
		t->home_cpu = cpu + 1;
	charge_begin(pc, t->side, t->node, now);
	pc->next = 0;
	if (cpu == bpf_get_smp_processor_id())
		pace(pc, p, t, now);
}

/* Who has something left of his slice goes on without asking. */
SEC("struct_ops/kvmgang_tick")
void BPF_PROG(kvmgang_tick, struct task_struct *p)
{
	struct pcpu_state *pc = pcpu_of(bpf_get_smp_processor_id());
	struct node_state *n = pc ? node_of(pc->node) : NULL;
	struct thread *t = thread_of(p);

	policies_look();
	if (t && n && !tick_matters(pc, n, t, bpf_ktime_get_ns()))
		set_slice(p, SLICE_NS);
}

SEC("struct_ops/kvmgang_stopping")
void BPF_PROG(kvmgang_stopping, struct task_struct *p, bool runnable)
{
	struct pcpu_state *pc = pcpu_of(scx_bpf_task_cpu(p));
	struct thread *t = thread_of(p);

	if (!t || !pc)
		return;
	if (isolating())
		core_stops(p);
	charge(p, t, bpf_ktime_get_ns());
	cgroup_end(t);
	t->started = 0;
	if (t->credit)
		pc->credit_until = 0;
	t->credit = false;
	pc->side = 0;
}

SEC("struct_ops/kvmgang_quiescent")
void BPF_PROG(kvmgang_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct thread *t = thread_of(p);
	struct vm *vm;

	if (!t)
		return;
	uncount_waiting(t);
	uncount_runnable(t);
	vm = vm_of(t->vm_id);
	if (!vm || !(deq_flags & SCX_DEQ_SLEEP))
		return;
	t->slept = bpf_ktime_get_ns();
	sample_burst(vm, t);
}

/* KVM calls it with @to for a vCPU that spins for it. What is wanted is done in give_way(). */
SEC("struct_ops/kvmgang_yield")
bool BPF_PROG(kvmgang_yield, struct task_struct *from, struct task_struct *to)
{
	struct pcpu_state *pc = pcpu_of(bpf_get_smp_processor_id());
	struct thread *f, *t;

	if (!to || !pc)
		return false;
	f = thread_of(from);
	t = thread_of(to);
	event(pc->node, EVENT_YIELD);
	if (!f || !t || f->side == SOLO || f->side != t->side || f->node != t->node || !t->queued)
		return false;
	pc->next = to->pid;
	event(pc->node, EVENT_YIELD_HONOURED);
	return true;
}

SEC("struct_ops.s/kvmgang_init_task")
s32 BPF_PROG(kvmgang_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct thread *t = bpf_task_storage_get(&threads, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -ENOMEM;
	t->side = SOLO;
	cgroup_enter(t, args->cgroup->kn->id);
	return 0;
}

SEC("struct_ops/kvmgang_exit_task")
void BPF_PROG(kvmgang_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct thread *t = thread_of(p);

	if (t)
		thread_leaves(t);
}

SEC("struct_ops.s/kvmgang_cgroup_init")
s32 BPF_PROG(kvmgang_cgroup_init, struct cgroup *cgrp, struct scx_cgroup_init_args *args)
{
	static const struct cgroup_state fresh;
	u64 id = cgrp->kn->id;
	struct cgroup_state *c;
	s32 err;

	err = bpf_map_update_elem(&cgroups, &id, &fresh, BPF_ANY);
	c = cgroup_of(id);
	if (err || !c)
		return err ?: -ENOMEM;
	if (cgrp->level > 0)
		c->above = cgroup_above(cgrp);
	c->weight = args->weight;
	cgroup_limit(c, args->bw_period_us, args->bw_quota_us, args->bw_burst_us);
	if (c->quota || c->weight != FAIR_WEIGHT || cgroup_is_own(c->above))
		cgroup_changed();
	return 0;
}

SEC("struct_ops.s/kvmgang_cgroup_exit")
void BPF_PROG(kvmgang_cgroup_exit, struct cgroup *cgrp)
{
	u64 id = cgrp->kn->id;

	bpf_map_delete_elem(&cgroups, &id);
}

/* @p is on no queue and no pCPU. */
SEC("struct_ops/kvmgang_cgroup_move")
void BPF_PROG(kvmgang_cgroup_move, struct task_struct *p, struct cgroup *from, struct cgroup *to)
{
	struct thread *t = thread_of(p);
	struct vm *vm = t ? vm_of(t->vm_id) : NULL;

	if (t)
		cgroup_enter(t, to->kn->id);
	if (vm)
		vm->cgroup_seen = NEVER_SEEN;
}

SEC("struct_ops/kvmgang_cgroup_set_weight")
void BPF_PROG(kvmgang_cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
	struct cgroup_state *c = cgroup_of(cgrp->kn->id);

	if (!c)
		return;
	c->weight = weight;
	cgroup_changed();
}

SEC("struct_ops/kvmgang_cgroup_set_bandwidth")
void BPF_PROG(kvmgang_cgroup_set_bandwidth, struct cgroup *cgrp, u64 period_us, u64 quota_us,
	      u64 burst_us)
{
	struct cgroup_state *c = cgroup_of(cgrp->kn->id);

	if (!c)
		return;
	cgroup_limit(c, period_us, quota_us, burst_us);
	cgroup_changed();
}

/* One pCPU more in the mask of @n. */
static int mask_add(struct node_state *n, u32 cpu)
{
	struct bpf_cpumask *mask = bpf_kptr_xchg(&n->mask, NULL);

	if (!mask)
		mask = bpf_cpumask_create();
	if (!mask)
		return -ENOMEM;
	bpf_cpumask_set_cpu(cpu, mask);
	mask = bpf_kptr_xchg(&n->mask, mask);
	if (mask)
		bpf_cpumask_release(mask);
	return 0;
}

static int learn_cpus(void)
{
	u32 nr = scx_bpf_nr_cpu_ids();
	u32 cpu;

	bpf_for(cpu, 0, MAX_CPUS + 1) {
		struct pcpu_state *pc = pcpu_of(cpu);
		struct node_state *n;
		u32 node;

		if (cpu >= nr)
			return 0;
		node = scx_bpf_cpu_node(cpu);
		n = node_of(node);
		if (!pc || !n || n->nr_cpus >= MAX_CPUS)
			break;
		pc->node = node;
		n->stride = WINDOW_NS;
		n->cpu[n->nr_cpus] = cpu;
		n->nr_cpus++;
		if (mask_add(n, cpu))
			return -ENOMEM;
		if (learn_core(pc, cpu))
			return -E2BIG;
	}
	sched_error("more than %d pCPUs or %d nodes", MAX_CPUS, MAX_NODES);
	return -E2BIG;
}

SEC("struct_ops.s/kvmgang_init")
s32 BPF_PROG(kvmgang_init)
{
	s32 err;
	u32 node;

	err = check_kfunc_abi() ?: learn_cpus();
	if (err)
		return err;
	bpf_for(node, 0, MAX_NODES) {
		struct node_state *n = node_of(node);

		if (n && n->nr_cpus)
			err = scx_bpf_create_dsq(solo_dsq(node), node) ?:
			      scx_bpf_create_dsq(parked_dsq(node), node);
		if (err)
			return err;
	}
	return worker_init(QUEUE_WORKER, make_queues) ?:
	       worker_init(REVIEW_WORKER, review_cgroups) ?:
	       worker_init(TARGET_WORKER, target_work) ?:
	       worker_init(POLICY_WORKER, refresh_policies);
}

SEC("struct_ops/kvmgang_exit")
void BPF_PROG(kvmgang_exit, struct scx_exit_info *info)
{
	report_exit(info);
}

SEC(".struct_ops.link")
struct sched_ext_ops kvmgang_ops = {
	.select_cpu	= (void *)kvmgang_select_cpu,
	.enqueue	= (void *)kvmgang_enqueue,
	.dequeue	= (void *)kvmgang_dequeue,
	.dispatch	= (void *)kvmgang_dispatch,
	.runnable	= (void *)kvmgang_runnable,
	.running	= (void *)kvmgang_running,
	.tick		= (void *)kvmgang_tick,
	.stopping	= (void *)kvmgang_stopping,
	.quiescent	= (void *)kvmgang_quiescent,
	.yield		= (void *)kvmgang_yield,
	.init_task	= (void *)kvmgang_init_task,
	.exit_task	= (void *)kvmgang_exit_task,
	.cgroup_init	= (void *)kvmgang_cgroup_init,
	.cgroup_exit	= (void *)kvmgang_cgroup_exit,
	.cgroup_move	= (void *)kvmgang_cgroup_move,
	.cgroup_set_weight = (void *)kvmgang_cgroup_set_weight,
	.cgroup_set_bandwidth = (void *)kvmgang_cgroup_set_bandwidth,
	.init		= (void *)kvmgang_init,
	.exit		= (void *)kvmgang_exit,
	.flags		= SCX_OPS_BUILTIN_IDLE_PER_NODE | SCX_OPS_ENQ_LAST |
			  SCX_OPS_ENQ_EXITING | SCX_OPS_ENQ_MIGRATION_DISABLED,
	.name		= SCHED_NAME,
};
