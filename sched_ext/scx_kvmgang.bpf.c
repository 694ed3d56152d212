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

/* Members whose progress differs by less than this are alike. */
#define CLOSE_NS	WINDOW_NS

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

int exit_kind;
char exit_message[256];
__u64 nr_windows, nr_members, nr_backfills, nr_credits, nr_yields, nr_yields_honoured, nr_keeps, nr_misses, nr_wq;
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

/* What @t is counted in; *@vm is its VM if that gangs. */
static struct entity *entity_of(const struct thread *t, struct vm **vm)
{
	struct node_state *n;

	*vm = t->side != SOLO ? vm_of(t->side) : NULL;
	if (*vm)
		return &(*vm)->on[t->node % MAX_NODES];
	n = node_of(t->node);
	return n ? &n->solo : NULL;
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
		queue_add(t->node, RUNNABLE, t->side);
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
		queue_add(t->node, WAITING, t->side);
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
		static const struct vm fresh = { .shares = FAIR_WEIGHT, .burst = WINDOW_NS };
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

/* @t is on no queue: it is counted with its VM from now on, or with the solo tasks. */
static void take_side(struct thread *t)
{
	struct vm *vm = t->vm_id ? vm_of(t->vm_id) : NULL;
	u32 side = vm && !vm->solo && vm->threads > 1 ? t->vm_id : SOLO;
	bool runnable = t->runnable;

	if (side == t->side)
		return;
	uncount_runnable(t);
	t->side = side;
	if (runnable)
		count_runnable(t);
}

static u32 host_weight(const struct task_struct *p)
{
	return p->scx.weight ?: 1;
}

/*
 * A member that runs for a short time between sleeps does not wait for its siblings by spinning. The
 * mean is weighted by time, so that a vCPU which wakes up often for next to nothing does not hide
 * three that never sleep; it reaches back some 16 windows of run time.
 */
static void sample_burst(struct vm *vm, struct thread *t)
{
	if (!t->burst)
		return;
	vm->burst = fair_mean(vm->burst, t->burst, 16 * WINDOW_NS);
	t->burst = 0;
	if (vm->burst < WINDOW_NS / 3)
		vm->solo = 1;
	else if (vm->burst > 2 * WINDOW_NS / 3)
		vm->solo = 0;
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
		t->burst += ns;
		if (vm) {
			if (t->burst >= WINDOW_NS)
				sample_burst(vm, t);
			__sync_fetch_and_add(&vm->vtime, fair_charge(ns, vm->shares));
			if (!n->contended)
				clock_advance(n, vm->vtime);
		}
	} else {
		/* A host task is entitled to what one vCPU is, and not to what a VM is. */
		t->vtime += fair_charge(ns * (n->width ?: 1), host_weight(p));
		if (!n->contended)
			clock_advance(n, t->vtime);
	}
}

/* @p runs on or begins to run on this pCPU: when to ask again. */
static void pace(struct pcpu_state *pc, struct node_state *n, struct thread *t, u64 now)
{
	u64 at = n->contended ? n->window_end : 0;

	if (n->contended && at <= now)
		at = now + 1000;
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

__noinline int pull_tid(u64 dsq, s32 cpu, s32 tid)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, dsq, 0)
		if (p->pid == tid && may_run_on(p, cpu))
			return scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0);
	return false;
}

/*
 * Moves a member of a VM to this pCPU: the one that has come least far, but of those that are close
 * to it rather one that ran here last.
 */
__noinline int pull(u64 dsq, s32 cpu)
{
	struct task_struct *p;
	s32 best = 0;
	u64 least = 0;

	bpf_for_each(scx_dsq, p, dsq, 0) {
		if (best && p->scx.dsq_vtime > least + CLOSE_NS)
			break;
		if (!may_run_on(p, cpu))
			continue;
		if (scx_bpf_task_cpu(p) == cpu)
			return scx_bpf_dsq_move(&___it, p, SCX_DSQ_LOCAL, 0);
		if (!best) {
			best = p->pid;
			least = p->scx.dsq_vtime;
		}
	}
	return best ? pull_tid(dsq, cpu, best) : false;
}

static bool pull_solo(u32 node)
{
	return scx_bpf_dsq_move_to_local(solo_dsq(node));
}

static bool pull_side(u32 side, u32 node, s32 cpu)
{
	if (side == SOLO)
		return pull_solo(node);
	return pull(vm_dsq(side, node), cpu);
}

/* Somebody who waits without a slot: a solo task, or a member of the VM that is most entitled. */
__noinline int backfill(u32 node, s32 cpu)
{
	struct node_state *n = node_of(node);
	u32 vm_id;

	if (!n)
		return false;
	if (n->solo.waiting && pull_solo(node))
		return true;
	vm_id = queue_next(node, WAITING);
	if (!vm_id)
		return pull_solo(node);
	queue_return(node, WAITING, vm_id);
	return pull(vm_dsq(vm_id, node), cpu);
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
	if (!t->vm_id)
		recognise(prev, t);
	take_side(t);
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
			side = t->side;
		}
	}
	if (pc->next && t && t->side != SOLO) {
		s32 next = pc->next;

		pc->next = 0;
		if (pull_tid(vm_dsq(t->side, t->node), cpu, next))
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
		keep(pc, n, prev, t, now);
		return;
	}
	owner = slot_fill(pc->node, cpu);
	if (owner) {
		pc->claim = claim_of(n->window, owner);
		__sync_fetch_and_add(&nr_members, 1);
		return;
	}
	/* Backfill: who runs already goes on until the window ends. */
	if (t && pc->claim == claim_of(n->window, 0)) {
		keep(pc, n, prev, t, now);
		return;
	}
	pc->claim = claim_of(n->window, 0);
	if (backfill(pc->node, cpu)) {
		__sync_fetch_and_add(&nr_backfills, 1);
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

/* Where @t stands in virtual time, brought near to the clock if it was away. */
static u64 standing(struct thread *t, struct node_state *n)
{
	struct vm *vm = t->vm_id ? vm_of(t->vm_id) : NULL;
	u64 *vtime = vm ? &vm->vtime : &t->vtime;

	*vtime = fair_floor(*vtime, n->clock, LAG_NS);
	return *vtime;
}

static bool has_credit(struct thread *t, struct node_state *n)
{
	return standing(t, n) + LAG_NS / 2 < n->clock;
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
	take_side(t);
	cpu = take_slot(p, prev_cpu, pc->node, t->side);
	if (cpu >= 0) {
		insert_here(p, SCX_ENQ_PREEMPT);
		return cpu;
	}
	if (has_credit(t, n) && take_on_credit(prev_cpu, now)) {
		__sync_fetch_and_add(&nr_credits, 1);
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

	if (is_bound_kthread(p) || !t) {
		insert_here(p, enq_flags & SCX_ENQ_WAKEUP ? enq_flags | SCX_ENQ_PREEMPT : enq_flags);
		return;
	}
	recognise(p, t);
	take_side(t);
	n = node_of(t->node);
	if (!n) {
		insert_here(p, enq_flags);
		return;
	}
	if (!t->vm_id && p->nr_cpus_allowed == 1 && enq_flags & SCX_ENQ_WAKEUP) {
		if (has_credit(t, n) && take_on_credit(scx_bpf_task_cpu(p), bpf_ktime_get_ns())) {
			t->credit = true;
			insert_here(p, enq_flags | SCX_ENQ_PREEMPT);
			return;
		}
	}
	count_waiting(t, n);
	if (t->side == SOLO)
		scx_bpf_dsq_insert_vtime(p, solo_dsq(t->node), SLICE_NS, standing(t, n), enq_flags);
	else
		scx_bpf_dsq_insert_vtime(p, vm_dsq(t->side, t->node), SLICE_NS, t->vtime, enq_flags);
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
	if (t->side == SOLO)
		n->solo_vtime = standing(t, n);
	pc->vm_id = t->side;
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
	if (deq_flags & SCX_DEQ_SLEEP) {
		struct vm *vm = t->vm_id ? vm_of(t->vm_id) : NULL;

		t->slept = bpf_ktime_get_ns();
		if (vm)
			sample_burst(vm, t);
	}
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
	__sync_fetch_and_add(&nr_yields, 1);
	if (!f || !t || f->side == SOLO || f->side != t->side || f->node != t->node || !t->queued)
		return false;
	pc->next = to->pid;
	__sync_fetch_and_add(&nr_yields_honoured, 1);
	return true;
}

SEC("struct_ops.s/kvmgang_init_task")
s32 BPF_PROG(kvmgang_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct thread *t = bpf_task_storage_get(&threads, p, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -ENOMEM;
	t->side = SOLO;
	return 0;
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

	err = learn_cpus();
	if (err)
		return err;
	bpf_for(node, 0, MAX_NODES) {
		struct node_state *n = node_of(node);

		if (n && n->nr_cpus) {
			err = scx_bpf_create_dsq(solo_dsq(node), node);
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
	bpf_probe_read_kernel_str(exit_message, sizeof(exit_message), info->msg);
	exit_kind = info->kind;
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
	.name		= "kvmgang",
};
