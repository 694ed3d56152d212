// SPDX-License-Identifier: GPL-2.0
/*
 * scx_kvmgang: gang scheduling of VMs.
 */
#include "vmlinux.h"
#include <asm-generic/errno-base.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

u32 kvmgang_kfunc_abi(void) __ksym;
u32 kvmgang_task_vm(s32 tid) __ksym;
int kvmgang_hold(s32 tid, u32 state) __ksym;
int kvmgang_release(s32 tid) __ksym;
int kvmgang_resched_cpu(s32 cpu) __ksym;
void kvmgang_resched_at(u64 at) __ksym;

#include "report.bpf.h"
#include "state.bpf.h"
#include "window.bpf.h"

char _license[] SEC("license") = "GPL";

#define PF_KTHREAD	0x00200000
#define PF_EXITING	0x00000004

/* Every look at the clock or at a queue is dispatch()'s: see kvmgang_resched_at(). */
#define SLICE_NS	1

/*
 * How long a task that woke up outside its VM's window may run at once: enough for an interrupt's
 * worth of work in a guest, little against the window that it disturbs.
 */
#define CREDIT_NS	500000ULL

/*
 * When to ask again if the window is over and nobody has elected the next one. While the scheduler
 * is being detached nobody ever does: dispatch() is not called any more but running() is, for each
 * task that the kernel rotates. So this has to leave a task the time to get something done: after
 * 1 us the next interrupt came before the first instruction, and detaching never ended.
 */
#define LATE_NS		100000ULL

/* pCPUs that are looked at for a victim. */
#define MAX_VICTIMS	64

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, MAX_VMS);
	__type(value, u64);
} new_queues SEC(".maps");

struct work {
	struct bpf_wq wq;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct work);
} works SEC(".maps");

__u64 nr_keeps, nr_misses, nr_wq;
int nr_wq_start = 77, nr_create = 77;

static bool runs(const struct task_struct *p)
{
	return p->scx.flags & SCX_TASK_QUEUED;
}

static bool may_run_on(const struct task_struct *p, s32 cpu)
{
	return bpf_cpumask_test_cpu(cpu, p->cpus_ptr) && !p->migration_disabled;
}

static bool is_bound_kthread(const struct task_struct *p)
{
	return p->flags & PF_KTHREAD && p->nr_cpus_allowed == 1;
}

static struct entity *entity_of(struct thread *t, struct vm **vm_p)
{
	struct node_state *n;
	struct vm *vm;

	*vm_p = NULL;
	if (t->vm_id) {
		vm = vm_of(t->vm_id);
		if (!vm)
			return NULL;
		*vm_p = vm;
		return &vm->on[t->node % MAX_NODES];
	}
	n = node_of(t->node);
	return n ? &n->host : NULL;
}

/* From vCPU threads and back: what has been counted for @t is taken away. */
static void count_runnable(struct thread *t)
{
	struct vm *vm;
	struct entity *e = entity_of(t, &vm);

	if (t->runnable || !e)
		return;
	t->runnable = true;
	__sync_fetch_and_add(&e->runnable, 1);
	if (vm)
		queue_add(t->node, RUNNABLE, t->vm_id);
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

static void count_waiting(struct thread *t, struct node_state *n)
{
	struct vm *vm;
	struct entity *e = entity_of(t, &vm);

	if (t->queued || !e)
		return;
	t->queued = true;
	__sync_fetch_and_add(&e->waiting, 1);
	__sync_fetch_and_add(&n->waiting, 1);
	if (vm)
		queue_add(t->node, WAITING, t->vm_id);
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
}

/* @p turned out to serve a vCPU of @vm_id. */
__noinline int thread_joins(struct thread *t __arg_nonnull, u32 vm_id)
{
	struct vm *vm = vm_of(vm_id);
	u64 dsq;

	if (!vm) {
		static const struct vm fresh = { .shares = FAIR_WEIGHT };
		struct node_state *n = node_of(t->node);

		bpf_map_update_elem(&vms, &vm_id, &fresh, BPF_NOEXIST);
		vm = vm_of(vm_id);
		if (!vm)
			return 0;
		vm->vtime = n ? n->clock : 0;
	}
	if (!vm->has_queue[t->node % MAX_NODES]) {
		struct work *work;
		u32 zero = 0;

		if (__sync_val_compare_and_swap(&vm->has_queue[t->node % MAX_NODES], 0, 1))
			return 0;
		dsq = vm_dsq(vm_id, t->node);
		bpf_map_push_elem(&new_queues, &dsq, BPF_ANY);
		work = bpf_map_lookup_elem(&works, &zero);
		if (work)
			nr_wq_start = bpf_wq_start(&work->wq, 0);
		return 0;
	}
	if (vm->has_queue[t->node % MAX_NODES] != 2)
		return 0;
	uncount_runnable(t);
	uncount_waiting(t);
	t->vm_id = vm_id;
	t->vtime = 0;
	__sync_fetch_and_add(&vm->threads, 1);
	return 0;
}

/* Sleepable, as creating queues is. */
static int make_queues(void *map, int *key, void *value)
{
	u64 dsq;
	int i;

	__sync_fetch_and_add(&nr_wq, 1);
	bpf_for(i, 0, MAX_VMS) {
		struct vm *vm;
		u32 node;

		if (bpf_map_pop_elem(&new_queues, &dsq))
			break;
		vm = vm_of((u32)(dsq >> 8));
		node = dsq & 0xff;
		if (vm && node < MAX_NODES && !(nr_create = scx_bpf_create_dsq(dsq, node)))
			vm->has_queue[node % MAX_NODES] = 2;
	}
	return 0;
}

static void recognise(struct task_struct *p, struct thread *t)
{
	u32 vm_id;

	if (t->vm_id || !p->preempt_notifiers.first)
		return;
	vm_id = kvmgang_task_vm(p->pid);
	if (vm_id)
		thread_joins(t, vm_id);
}

static u32 host_weight(const struct task_struct *p)
{
	return p->scx.weight ?: 1;
}

/* Charges @t up to @now. */
static void charge(struct task_struct *p, struct thread *t, u64 now)
{
	struct node_state *n = node_of(t->node);
	u64 ns;

	if (!t->started || !n)
		return;
	ns = now > t->started ? now - t->started : 0;
	t->started = now;
	if (t->vm_id) {
		struct vm *vm = vm_of(t->vm_id);

		t->vtime += ns;
		if (vm) {
			__sync_fetch_and_add(&vm->vtime, fair_charge(ns, vm->shares));
			if (!n->contended)
				clock_advance(n, vm->vtime);
		}
	} else {
		t->vtime += fair_charge(ns, host_weight(p));
		__sync_fetch_and_add(&n->host_vtime, fair_charge(ns, host_weight(p)));
	}
}

/* @p runs on or begins to run on this pCPU: when to ask again. */
static void pace(struct pcpu_state *pc, struct node_state *n, struct thread *t, u64 now)
{
	u64 at = n->contended ? n->window_end : 0;

	if (n->contended && at <= now)
		at = now + LATE_NS;
	if (t->credit && (!at || now + CREDIT_NS < at))
		at = now + CREDIT_NS;
	if (at == pc->resched_at)
		return;
	pc->resched_at = at;
	kvmgang_resched_at(at);
}

static void set_slice(struct task_struct *p, u64 slice)
{
	p->scx.slice = slice;
}

/* Moves a task of @dsq to this pCPU, one that ran here last if there is one. */
__noinline int pull(u64 dsq, s32 cpu)
{
	struct task_struct *p;
	s32 first = 0;

	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (!may_run_on(p, cpu))
			continue;
		if (scx_bpf_task_cpu(p) == cpu && scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0))
			return true;
		if (!first)
			first = p->pid;
	}
	if (!first)
		return false;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (!may_run_on(p, cpu))
			continue;
		if (scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0))
			return true;
	}
	return false;
}

__noinline int pull_tid(u64 dsq, s32 cpu, s32 tid)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, dsq, 0)
		if (p->pid == tid && may_run_on(p, cpu))
			return scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0);
	return false;
}

static bool pull_host(u32 node)
{
	return scx_bpf_dsq_move_to_local(host_dsq(node));
}

static bool pull_side(u32 side, u32 node, s32 cpu)
{
	if (side == HOST)
		return pull_host(node);
	return pull(vm_dsq(side, node), cpu);
}

/* Somebody who waits without a slot, in the order of virtual time. */
__noinline int backfill(u32 node, s32 cpu)
{
	struct node_state *n = node_of(node);
	u32 vm_id, returned = 0;
	struct vm *vm;
	bool found = false;
	int i;

	if (!n)
		return false;
	bpf_for(i, 0, 2) {
		vm_id = queue_next(node, WAITING);
		vm = vm_of(vm_id);
		if (!vm || n->host_vtime <= vm->vtime)
			found = n->host.waiting && pull_host(node);
		if (!found && vm)
			found = pull(vm_dsq(vm_id, node), cpu);
		if (returned)
			queue_return(node, WAITING, returned);
		returned = vm_id;
		if (found || !vm)
			break;
	}
	if (returned)
		queue_return(node, WAITING, returned);
	return found || pull_host(node);
}

__noinline int steal(u32 node, s32 cpu)
{
	u32 i;

	bpf_for(i, 0, MAX_NODES) {
		struct node_state *n;

		if (i == node)
			continue;
		n = node_of(i);
		if (n && n->waiting && backfill(i, cpu))
			return true;
	}
	return false;
}

static u32 side_of(const struct thread *t)
{
	return t->vm_id ?: HOST;
}

/* Fills a slot of the window that nobody has taken. Returns whose, 0: there is none. */
__noinline u32 slot_fill(u32 node, s32 cpu)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n)
		return 0;
	bpf_for(i, 0, MAX_GANGS) {
		struct gang *g = gang_at(n, i);

		if (!g)
			break;
		if (!slot_take(g))
			continue;
		if (pull_side(g->vm_id, node, cpu))
			return g->vm_id;
		__sync_fetch_and_add(&g->slots, 1);
	}
	return 0;
}

static void keep(struct pcpu_state *pc, struct node_state *n, struct task_struct *prev, struct thread *t, u64 now)
{
	__sync_fetch_and_add(&nr_keeps, 1);
	if (!t->vm_id) {
		recognise(prev, t);
		count_runnable(t);
	}
	set_slice(prev, SLICE_NS);
	pace(pc, n, t, now);
}

SEC("struct_ops/kvmgang_dispatch")
void BPF_PROG(kvmgang_dispatch, s32 cpu, struct task_struct *prev)
{
	u64 now = bpf_ktime_get_ns();
	struct pcpu_state *pc = pcpu_of(cpu);
	struct node_state *n = pc ? node_of(pc->node) : NULL;
	struct thread *t = NULL;
	u32 owner, side = 0;

	if (!n)
		return;
	if (prev && runs(prev)) {
		t = thread_of(prev);
		if (t) {
			charge(prev, t, now);
			if (t->credit && now >= pc->credit_until)
				t->credit = false;
			side = side_of(t);
		}
	}
	if (pc->next && t && t->vm_id) {
		s32 next = pc->next;

		pc->next = 0;
		if (pull_tid(vm_dsq(t->vm_id, t->node), cpu, next))
			return;
	}
	if (!n->contended) {
		if (t) {
			keep(pc, n, prev, t, now);
			return;
		}
		if (n->waiting)
			contend(pc->node);
		else if (steal(pc->node, cpu))
			return;
	}
	window_renew(pc->node, now);
	if (!n->contended && t) {
		keep(pc, n, prev, t, now);
		return;
	}
	if (t && t->credit) {
		keep(pc, n, prev, t, now);
		return;
	}
	owner = claimant(pc, n);
	if (owner) {
		if (owner == side) {
			keep(pc, n, prev, t, now);
			return;
		}
		if (pull_side(owner, pc->node, cpu))
			return;
		pc->claim = 0;
		gang_leave(pc->node, owner);
	}
	if (side && gang_enter(pc->node, side)) {
		pc->claim = claim_of(n->window, side);
		event(pc->node, EVENT_MEMBER);
		keep(pc, n, prev, t, now);
		return;
	}
	owner = slot_fill(pc->node, cpu);
	if (owner) {
		pc->claim = claim_of(n->window, owner);
		event(pc->node, EVENT_MEMBER);
		return;
	}
	/* Backfill: who runs already goes on until the window ends. */
	if (t && pc->claim == claim_of(n->window, 0)) {
		keep(pc, n, prev, t, now);
		return;
	}
	pc->claim = claim_of(n->window, 0);
	if (backfill(pc->node, cpu)) {
		event(pc->node, EVENT_BACKFILL);
		return;
	}
	if (t) {
		keep(pc, n, prev, t, now);
		return;
	}
	steal(pc->node, cpu);
}

/* Is @cpu free for a task of @side that has a slot in this window? Claims it. */
static bool claim_for(s32 cpu, u32 node, struct node_state *n, u32 side)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	u64 old;

	if (!pc || pc->node != node)
		return false;
	old = pc->claim;
	if (claimant(pc, n) || pc->vm_id == side)
		return false;
	return __sync_val_compare_and_swap(&pc->claim, old, claim_of(n->window, side)) == old;
}

/* The pCPU that @p, of @side, takes because it has a slot in the window; -1: it has none. */
__noinline int take_slot(struct task_struct *p __arg_trusted, s32 prev_cpu, u32 node, u32 side)
{
	struct node_state *n = node_of(node);
	int i;

	if (!n || !n->contended || !gang_enter(node, side))
		return -1;
	if (claim_for(prev_cpu, node, n, side))
		return prev_cpu;
	bpf_for(i, 0, MAX_VICTIMS) {
		s32 cpu;

		if (i >= n->nr_cpus || i >= MAX_CPUS)
			break;
		cpu = n->cpu[i];
		if (may_run_on(p, cpu) && claim_for(cpu, node, n, side))
			return cpu;
	}
	gang_leave(node, side);
	return -1;
}

static bool take_on_credit(s32 cpu, u64 now)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	u64 old;

	if (!pc)
		return false;
	old = pc->credit_until;
	if (now < old)
		return false;
	return __sync_val_compare_and_swap(&pc->credit_until, old, now + CREDIT_NS) == old;
}

static bool has_credit(struct thread *t, struct node_state *n)
{
	struct vm *vm;

	if (!t->vm_id) {
		t->vtime = fair_floor(t->vtime, n->host_vtime, LAG_NS);
		return t->vtime <= n->host_vtime;
	}
	vm = vm_of(t->vm_id);
	if (!vm)
		return false;
	vm->vtime = fair_floor(vm->vtime, n->clock, LAG_NS);
	return vm->vtime < n->clock;
}

static void insert_here(struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE_NS, enq_flags);
}

SEC("struct_ops/kvmgang_select_cpu")
s32 BPF_PROG(kvmgang_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	u64 now = bpf_ktime_get_ns();
	struct thread *t = thread_of(p);
	bool is_idle = false;
	struct pcpu_state *pc;
	struct node_state *n;
	s32 cpu;

	if (fault_strikes(p))
		return prev_cpu;
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle) {
		insert_here(p, 0);
		return cpu;
	}
	pc = pcpu_of(prev_cpu);
	n = pc ? node_of(pc->node) : NULL;
	if (!t || !n)
		return prev_cpu;
	recognise(p, t);
	cpu = take_slot(p, prev_cpu, pc->node, side_of(t));
	if (cpu >= 0) {
		event(pc->node, EVENT_MEMBER);
		insert_here(p, SCX_ENQ_PREEMPT);
		return cpu;
	}
	if (has_credit(t, n) && take_on_credit(prev_cpu, now)) {
		event(pc->node, EVENT_CREDIT);
		t->credit = true;
		insert_here(p, SCX_ENQ_PREEMPT);
	}
	return prev_cpu;
}

SEC("struct_ops/kvmgang_enqueue")
void BPF_PROG(kvmgang_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct thread *t = thread_of(p);
	struct node_state *n;
	s32 cpu;

	if (fault_strikes(p))
		return;
	if (is_bound_kthread(p) || !t) {
		insert_here(p, enq_flags & SCX_ENQ_WAKEUP ? enq_flags | SCX_ENQ_PREEMPT : enq_flags);
		return;
	}
	recognise(p, t);
	count_runnable(t);
	n = node_of(t->node);
	if (!n) {
		insert_here(p, enq_flags);
		return;
	}
	if (!t->vm_id && p->nr_cpus_allowed == 1 && enq_flags & SCX_ENQ_WAKEUP) {
		if (has_credit(t, n) && take_on_credit(scx_bpf_task_cpu(p), bpf_ktime_get_ns())) {
			event(t->node, EVENT_CREDIT);
			t->credit = true;
			insert_here(p, enq_flags | SCX_ENQ_PREEMPT);
			return;
		}
	}
	count_waiting(t, n);
	if (t->vm_id)
		scx_bpf_dsq_insert_vtime(p, vm_dsq(t->vm_id, t->node), SLICE_NS, t->vtime, enq_flags);
	else
		scx_bpf_dsq_insert_vtime(p, host_dsq(t->node), SLICE_NS, t->vtime, enq_flags);
	cpu = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
	if (cpu >= 0)
		kvmgang_resched_cpu(cpu);
	else
		contend(t->node);
}

SEC("struct_ops/kvmgang_dequeue")
void BPF_PROG(kvmgang_dequeue, struct task_struct *p, u64 deq_flags)
{
	struct thread *t = thread_of(p);

	if (t)
		uncount_waiting(t);
}

/*
 * The node of a host task is that of the pCPU where it wakes up; a vCPU's is its home.
 */
SEC("struct_ops/kvmgang_runnable")
void BPF_PROG(kvmgang_runnable, struct task_struct *p, u64 enq_flags)
{
	struct thread *t = thread_of(p);
	struct pcpu_state *pc;

	if (!t || t->runnable)
		return;
	if (!t->vm_id) {
		pc = pcpu_of(scx_bpf_task_cpu(p));
		if (pc)
			t->node = pc->node;
	}
	if (t->slept)
		t->vtime += t->vm_id ? bpf_ktime_get_ns() - t->slept : 0;
	t->slept = 0;
	count_runnable(t);
}

SEC("struct_ops/kvmgang_running")
void BPF_PROG(kvmgang_running, struct task_struct *p)
{
	u64 now = bpf_ktime_get_ns();
	struct thread *t = thread_of(p);
	struct pcpu_state *pc = pcpu_of(bpf_get_smp_processor_id());
	struct node_state *n = pc ? node_of(pc->node) : NULL;

	if (!t || !n)
		return;
	uncount_waiting(t);
	t->started = now;
	pc->vm_id = side_of(t);
	pc->next = 0;
	pace(pc, n, t, now);
}

SEC("struct_ops/kvmgang_stopping")
void BPF_PROG(kvmgang_stopping, struct task_struct *p, bool runnable)
{
	struct thread *t = thread_of(p);
	struct pcpu_state *pc = pcpu_of(bpf_get_smp_processor_id());

	if (!t || !pc)
		return;
	charge(p, t, bpf_ktime_get_ns());
	t->started = 0;
	if (t->credit)
		pc->credit_until = 0;
	t->credit = false;
	pc->vm_id = 0;
}

SEC("struct_ops/kvmgang_quiescent")
void BPF_PROG(kvmgang_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct thread *t = thread_of(p);

	if (!t)
		return;
	uncount_waiting(t);
	uncount_runnable(t);
	if (deq_flags & SCX_DEQ_SLEEP)
		t->slept = bpf_ktime_get_ns();
}

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
	if (!f || !t || !f->vm_id || f->vm_id != t->vm_id || f->node != t->node || !t->queued)
		return false;
	pc->next = to->pid;
	event(pc->node, EVENT_YIELD_HONOURED);
	return true;
}

SEC("struct_ops.s/kvmgang_init_task")
s32 BPF_PROG(kvmgang_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	return bpf_task_storage_get(&threads, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE) ? 0 : -ENOMEM;
}

SEC("struct_ops/kvmgang_exit_task")
void BPF_PROG(kvmgang_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct thread *t = thread_of(p);
	u32 vm_id, node;
	struct vm *vm;

	if (!t || !t->vm_id)
		return;
	vm_id = t->vm_id;
	vm = vm_of(vm_id);
	if (!vm || __sync_sub_and_fetch(&vm->threads, 1))
		return;
	bpf_for(node, 0, MAX_NODES) {
		if (vm->has_queue[node % MAX_NODES])
			scx_bpf_destroy_dsq(vm_dsq(vm_id, node));
	}
	bpf_map_delete_elem(&vms, &vm_id);
}

static int learn_cpus(void)
{
	u32 nr = scx_bpf_nr_cpu_ids();
	u32 cpu;

	bpf_for(cpu, 0, MAX_CPUS) {
		struct pcpu_state *pc = pcpu_of(cpu);
		struct node_state *n;
		u32 node;

		if (cpu >= nr)
			break;
		node = scx_bpf_cpu_node(cpu);
		n = node_of(node);
		if (!pc || !n || n->nr_cpus >= MAX_CPUS)
			return -E2BIG;
		pc->node = node;
		n->cpu[n->nr_cpus] = cpu;
		n->nr_cpus++;
	}
	return 0;
}

SEC("struct_ops.s/kvmgang_init")
s32 BPF_PROG(kvmgang_init)
{
	struct work *work;
	u32 zero = 0, node;
	s32 err;

	err = check_kfunc_abi() ?: learn_cpus();
	if (err)
		return err;
	bpf_for(node, 0, MAX_NODES) {
		struct node_state *n = node_of(node);

		if (n && n->nr_cpus) {
			err = scx_bpf_create_dsq(host_dsq(node), node);
			if (err)
				return err;
		}
	}
	work = bpf_map_lookup_elem(&works, &zero);
	if (!work)
		return -ENOENT;
	err = bpf_wq_init(&work->wq, &works, 0);
	return err ?: bpf_wq_set_callback(&work->wq, make_queues, 0);
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
	.stopping	= (void *)kvmgang_stopping,
	.quiescent	= (void *)kvmgang_quiescent,
	.yield		= (void *)kvmgang_yield,
	.init_task	= (void *)kvmgang_init_task,
	.exit_task	= (void *)kvmgang_exit_task,
	.init		= (void *)kvmgang_init,
	.exit		= (void *)kvmgang_exit,
	.name		= SCHED_NAME,
};
