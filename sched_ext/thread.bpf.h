/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Threads: whose vCPU is this, does its VM gang, what is counted for it, and what does it owe.
 *
 * A thread is recognised as a vCPU's when its pCPU asks after its first guest entry; the module
 * sees to it that this is before the guest does anything. To gang, a VM needs a queue of its own on
 * the node, and to create one needs a context that may sleep; until there is one its vCPUs are solo
 * tasks there, as all host tasks are.
 */
#ifndef KVMGANG_THREAD_BPF_H
#define KVMGANG_THREAD_BPF_H

#include "charge.bpf.h"
#include "vm_cgroup.bpf.h"
#include "worker.bpf.h"

/*
 * Does a VM gang whose setting is auto? A vCPU that spins for its siblings does not sleep. Where
 * the mean run between two sleeps is short against a window, a gang's pCPUs would stand empty for
 * most of it, and siblings that wait for each other asleep lose little when they run apart. Between
 * the two bounds it stays as it is.
 *
 * The mean is one over time, not over runs: else a vCPU that wakes up often for next to nothing
 * would hide three that never sleep. It reaches back over some 16 windows of run time.
 */
#define SOLO_BURST_NS	(WINDOW_NS / 3)
#define GANG_BURST_NS	(2 * WINDOW_NS / 3)
#define BURST_REACH_NS	(16 * WINDOW_NS)

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, MAX_VMS);
	__type(value, u64);
} wanted_queues SEC(".maps");

/* What @t is counted in; *@vm is its VM if that gangs. */
static struct entity *entity_of(const struct thread *t, struct vm **vm)
{
	struct node_state *n;

	*vm = vm_of(t->side);
	if (*vm)
		return &(*vm)->on[t->node % MAX_NODES];
	n = node_of(t->node);
	return n ? &n->solo : NULL;
}

static void count_runnable(struct thread *t)
{
	struct vm *vm;
	struct entity *e = entity_of(t, &vm);

	if (t->runnable || !e)
		return;
	t->runnable = true;
	__sync_fetch_and_add(&e->runnable, 1);
	if (vm)
		rank_add_runnable(vm, t->node, t->side);
}

static void uncount_runnable(struct thread *t)
{
	struct vm *vm;
	struct entity *e = entity_of(t, &vm);

	if (!t->runnable || !e)
		return;
	t->runnable = false;
	__sync_fetch_and_sub(&e->runnable, 1);
}

static void count_waiting(struct thread *t)
{
	struct node_state *n = node_of(t->node);
	struct vm *vm;
	struct entity *e = entity_of(t, &vm);

	if (t->queued || !e || !n)
		return;
	t->queued = true;
	__sync_fetch_and_add(&e->waiting, 1);
	__sync_fetch_and_add(&n->waiting, 1);
	ready_begins(t);
	/* The rank is for backfill. */
	if (vm && !is_strict(vm))
		rank_add(t->node, WAITING, t->side);
}

static void uncount_waiting(struct thread *t)
{
	struct node_state *n = node_of(t->node);
	struct vm *vm;
	struct entity *e = entity_of(t, &vm);

	if (!t->queued || !e || !n)
		return;
	t->queued = false;
	__sync_fetch_and_sub(&e->waiting, 1);
	__sync_fetch_and_sub(&n->waiting, 1);
	ready_ends(t);
}

/* Nobody else makes one, but the last of @vm's threads may end meanwhile. */
static void make_queue(struct vm *vm, u64 dsq, u32 node)
{
	bool made = !scx_bpf_create_dsq(dsq, node);
	u32 *state = &vm->queue[node % MAX_NODES];

	if (__sync_val_compare_and_swap(state, QUEUE_WANTED, made ? HAS_QUEUE : NO_QUEUE) !=
	    QUEUE_WANTED && made)
		scx_bpf_destroy_dsq(dsq);
}

/* Creating a queue may sleep. */
static int make_queues(void *map, int *key, void *value)
{
	u64 dsq;
	int i;

	bpf_for(i, 0, MAX_VMS) {
		struct vm *vm;
		u32 node;

		if (bpf_map_pop_elem(&wanted_queues, &dsq))
			break;
		vm = vm_of((u32)(dsq >> 8));
		node = dsq & 0xff;
		if (vm && node < MAX_NODES)
			make_queue(vm, dsq, node);
	}
	return 0;
}

static void want_queue(struct vm *vm, u32 vm_id, u32 node)
{
	u64 dsq = vm_dsq(vm_id, node);

	if (__sync_val_compare_and_swap(&vm->queue[node % MAX_NODES], NO_QUEUE, QUEUE_WANTED))
		return;
	bpf_map_push_elem(&wanted_queues, &dsq, BPF_ANY);
	worker_start(QUEUE_WORKER);
}

static bool has_queue(struct vm *vm, u32 vm_id, u32 node)
{
	if (vm->queue[node % MAX_NODES] == HAS_QUEUE)
		return true;
	want_queue(vm, vm_id, node);
	return false;
}

/* One more thread of @vm, unless the last one is just going. */
static bool vm_hold(struct vm *vm)
{
	u32 threads;
	int i;

	bpf_for(i, 0, MAX_ATTEMPTS) {
		threads = *(volatile u32 *)&vm->threads;
		if (!threads)
			break;
		if (__sync_val_compare_and_swap(&vm->threads, threads, threads + 1) == threads)
			return true;
	}
	return false;
}

/* The record of @vm_id with one more thread, which is on @node. NULL: ask again. */
static struct vm *vm_get(u32 vm_id, u32 node)
{
	static const struct vm fresh = { .burst = WINDOW_NS, .threads = 1 };
	struct vm *vm = vm_of(vm_id);
	struct node_state *n;

	if (vm)
		return vm_hold(vm) ? vm : NULL;
	vm = vm_add(vm_id, &fresh);
	if (!vm)
		return NULL;
	policy_read(vm_id);
	vm->front_at = bpf_ktime_get_ns();
	node = home_first(vm->known_home, node);
	n = node_of(node);
	if (n)
		vm->on[node % MAX_NODES].vtime = n->clock;
	vm->part[0] = node;
	vm->parts = 1;
	return vm;
}

/*
 * How far the foremost vCPU of @vm has come by @now. It was charged last when its pCPU asked or it
 * began to wait or sleep; if no vCPU waits on @node, it has gone on since.
 */
static u64 front_of(const struct vm *vm, u32 node, u64 now)
{
	const struct node_state *n = node_of(node);
	u64 front = *(volatile u64 *)&vm->front;
	u64 at = *(volatile u64 *)&vm->front_at;

	if (!n || n->contended || vm->on[node % MAX_NODES].waiting || at > now)
		return front;
	return front + now - at;
}

/*
 * @t has come so far by @now. The time is written first: who reads the two while they change takes
 * the front for less far than it is.
 */
static void front_bring(struct vm *vm, const struct thread *t, u64 now)
{
	if (t->vtime < vm->front)
		return;
	*(volatile u64 *)&vm->front_at = now;
	*(volatile u64 *)&vm->front = t->vtime;
}

/*
 * @t turned out to serve the @vcpu-th of @vm_id. The wider VM may want another home. False: ask
 * again, another thread of the VM is just the first that comes, or the last that goes.
 */
__noinline int thread_joins(struct thread *t __arg_nonnull, u32 vm_id, u32 vcpu)
{
	struct vm *vm = vm_get(vm_id, t->node);

	if (!vm)
		return false;
	t->vm_id = vm_id;
	t->vcpu = vcpu;
	t->vtime = front_of(vm, t->node, bpf_ktime_get_ns());
	__sync_fetch_and_add(&vm->on[t->node % MAX_NODES].members, 1);
	vm->home_looked_at = 0;
	vm->cgroup_seen = NEVER_SEEN;
	return true;
}

/* The module puts a preempt notifier on vCPU threads, and to look for one costs nothing. */
static void recognise(struct task_struct *p, struct thread *t)
{
	u32 vm_id;
	s32 vcpu;

	if (t->vm_id || !p->preempt_notifiers.first)
		return;
	vm_id = kvmgang_task_vm(p->pid);
	vcpu = kvmgang_task_vcpu(p->pid);
	if (vm_id && vcpu >= 0 && !thread_joins(t, vm_id, vcpu))
		kvmgang_resched_cpu(scx_bpf_task_cpu(p));
}

/* Where @p is to wait: on @node unless its affinity has changed to elsewhere. */
static u32 node_for(struct task_struct *p, u32 node)
{
	struct node_state *n = node_of(node);
	struct pcpu_state *pc = pcpu_of(scx_bpf_task_cpu(p));

	return pc && n && !may_run_at(p, n) ? pc->node : node;
}

/* A host task's virtual time is by the clock of its node; a vCPU's is its progress. */
static void change_node(struct thread *t, u32 node)
{
	struct node_state *from = node_of(t->node), *to = node_of(node);
	struct vm *vm;

	if (node == t->node || !from || !to)
		return;
	vm = vm_of(t->vm_id);
	if (vm) {
		__sync_fetch_and_sub(&vm->on[t->node % MAX_NODES].members, 1);
		__sync_fetch_and_add(&vm->on[node % MAX_NODES].members, 1);
	} else {
		t->vtime = fair_translate(t->vtime, from->clock, to->clock, LAG_NS);
	}
	t->node = node;
}

/*
 * @p is on no queue: from now on it is counted with its VM if that gangs, or with the solo tasks,
 * and a vCPU on its home.
 *
 * The verifier looks at this on its own, as it does at charge() and pace(): otherwise it would for
 * each of the ways through dispatch() that lead here.
 */
__noinline int take_side(struct task_struct *p __arg_trusted, struct thread *t __arg_nonnull)
{
	u32 side = SOLO, node;
	bool runnable = t->runnable;
	struct vm *vm;

	recognise(p, t);
	vm = vm_of(t->vm_id);
	if (vm) {
		vm_cgroup_refresh(p, t, vm);
		policy_refresh(vm, t->vm_id);
	} else {
		cgroup_refresh(t);
	}
	node = node_for(p, vm ? home_of(vm, t) : t->node);
	if (vm && vm_gangs(vm) && has_queue(vm, t->vm_id, node))
		side = t->vm_id;
	if (side == t->side && node == t->node) {
		/* It may have a reservation since. */
		if (side != SOLO && runnable)
			rank_add_runnable(vm, node, side);
		return 0;
	}
	uncount_runnable(t);
	t->side = side;
	change_node(t, node);
	if (runnable)
		count_runnable(t);
	return 0;
}

/* Two vCPUs may be at it at a time; then one sample is lost. */
static void sample_burst(struct vm *vm, struct thread *t)
{
	if (!t->burst)
		return;
	vm->burst = fair_mean(vm->burst, t->burst, BURST_REACH_NS);
	t->burst = 0;
	if (vm->burst < SOLO_BURST_NS)
		vm->sleepy = 1;
	else if (vm->burst > GANG_BURST_NS)
		vm->sleepy = 0;
}

/* @t ran for @ns, of which @due are to be charged to its VM. */
static void charge_vcpu(struct node_state *n, struct vm *vm, struct thread *t, u64 ns, u64 due)
{
	t->vtime += ns;
	front_bring(vm, t, t->started);
	t->burst += ns;
	if (t->burst >= WINDOW_NS)
		sample_burst(vm, t);
	charge_vm(n, vm, t->node, due);
}

static void charge_host(struct node_state *n, const struct task_struct *p, struct thread *t, u64 ns)
{
	t->vtime += host_vtime(n, p, t, ns);
	if (!n->contended)
		clock_advance(n, t->vtime);
	else
		t->vtime = fair_ceiling(t->vtime, vtime_ceiling(n, host_lead(n, p, t)));
}

/* Where @t stands in virtual time, brought near to the clock if it was away. */
static u64 standing(struct thread *t, const struct node_state *n)
{
	struct vm *vm = vm_of(t->vm_id);
	u64 *vtime = vm ? &vm->on[t->node % MAX_NODES].vtime : &t->vtime;

	vtime_raise(vtime, n);
	return *vtime;
}

/* Charges @p, which is on a pCPU, up to @now. */
__noinline int charge(struct task_struct *p __arg_trusted, struct thread *t __arg_nonnull, u64 now)
{
	struct pcpu_state *pc = pcpu_of(scx_bpf_task_cpu(p));
	struct node_state *n = node_of(t->node);
	struct vm *vm = vm_of(t->vm_id);
	u64 ns = now > t->started ? now - t->started : 0, due;

	if (!t->started || !n || !pc)
		return 0;
	t->started = now;
	due = charge_due(pc, now);
	ran_for(n, vm, t->node, ns);
	if (vm)
		draw(vm, t->vm_id, ns, now);
	if (vm && !vm->throttled)
		home_review(p, vm, t->vm_id, now);
	if (vm)
		charge_vcpu(n, vm, t, ns, due);
	else
		charge_host(n, p, t, ns);
	if (t->limited)
		cgroup_draw(t->limited, cgroup_ran(p, t), now);
	if (t->limited && vm)
		vm_cgroup_check(t, now);
	return 0;
}

/*
 * Where @p, a solo task that runs on a pCPU of @node from @now on, will stand when the window ends.
 * NOBODY's, when it does not belong to the node: then it has another clock.
 */
static u64 solo_prospect(const struct task_struct *p, struct thread *t, u32 node, u64 now)
{
	struct node_state *n = t->side == SOLO && t->node == node ? node_of(node) : NULL;
	u64 left, more;
	struct vm *vm;

	if (!n)
		return NOBODY;
	vm = vm_of(t->vm_id);
	left = n->window_end > now ? n->window_end - now : 0;
	/* Not one or the other: of both clang makes one load, which the verifier does not have. */
	more = host_vtime(n, p, t, left);
	if (vm)
		more = vm_charge(vm, node, left);
	return standing(t, n) + more;
}

/* The thread ends; its VM's last one takes the VM with it. */
static void thread_leaves(const struct thread *t)
{
	struct vm *vm = vm_of(t->vm_id);
	u32 vm_id = t->vm_id, node;

	if (!vm)
		return;
	vm->cgroup_seen = NEVER_SEEN;
	__sync_fetch_and_sub(&vm->on[t->node % MAX_NODES].members, 1);
	if (__sync_sub_and_fetch(&vm->threads, 1)) {
		vm->home_looked_at = 0;
		return;
	}
	home_leave(vm, vm_id);
	target_set(vm, 0);
	isolate(vm, false);
	bpf_for(node, 0, MAX_NODES)
		if (__sync_lock_test_and_set(&vm->queue[node % MAX_NODES], NO_QUEUE) == HAS_QUEUE)
			scx_bpf_destroy_dsq(vm_dsq(vm_id, node));
	vm_remove(vm_id);
}

#endif /* KVMGANG_THREAD_BPF_H */
