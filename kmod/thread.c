// SPDX-License-Identifier: GPL-2.0
/*
 * vCPU threads: found at their first guest entry, followed from switch to switch, left at exit.
 *
 * The kvm_entry tracepoint fires before every guest entry. Its probe compares one per-CPU pointer's
 * target with the vCPU that is entered; that they differ is news, and happens once in the life of
 * most threads: the thread gets a preempt notifier of ours, and the vCPU a record. From then on
 * sched_in and sched_out fire for this thread, and for no thread that is no vCPU's.
 *
 * Times come from the scheduler: a preempted thread's last_queued is when it left its pCPU, and its
 * last_arrival is when it got one, both by the run queue's clock that run_delay is measured with.
 * A thread that falls asleep leaves when the next one arrives, or if that is the idle task when the
 * switch is seen here.
 *
 * A vCPU may be served by another thread later, and a thread may serve several vCPUs in turn.
 * kvmgang_vcpu::thread, under the vCPU's lock, says who serves it; kvmgang_thread::vcpu may be
 * stale and is checked against it. A vCPU that no thread serves is blocked.
 *
 * A notifier must be taken off its thread by the thread itself (sched_process_exit), or while no
 * thread can be walking its list: rmmod does it inside stop_machine(), where every other thread is
 * off its pCPU, and neither notifier call can be preempted.
 *
 * Not here: what the times add up to (account.h), who is to blame (displace.c).
 */
#include <linux/hashtable.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/stop_machine.h>
#include <linux/tracepoint.h>
#include <linux/version.h>

#include "memory.h"
#include "resched.h"
#include "thread.h"
#include "vcpu.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#ifndef CONFIG_PREEMPT_NOTIFIERS
#error "kvmgang needs a kernel with KVM: CONFIG_KVM selects CONFIG_PREEMPT_NOTIFIERS"
#endif
#ifndef CONFIG_SCHED_INFO
#error "kvmgang needs sched_info: CONFIG_SCHEDSTATS or CONFIG_TASK_DELAY_ACCT selects it"
#endif
#ifdef CONFIG_PREEMPT_RT
#error "kvmgang allocates in guest entry with preemption off, which PREEMPT_RT does not allow"
#endif

/* arch/x86/kvm/trace.h, which declares it, is not among the headers that distributions ship. */
extern struct tracepoint __tracepoint_kvm_entry;

/* As vcpu_hash in vcpu.c: a thread a vCPU. */
#define THREAD_HASH_BITS	12

static DEFINE_HASHTABLE(thread_hash, THREAD_HASH_BITS);
static DEFINE_RAW_SPINLOCK(thread_hash_lock);	/* to change it; innermost */

/* The vCPU thread that runs on this pCPU, NULL if none does. */
static DEFINE_PER_CPU(struct kvmgang_thread *, running_thread);

static struct kvmgang_thread *thread_of(const struct task_struct *p)
{
	struct kvmgang_thread *t;

	hash_for_each_possible_rcu(thread_hash, t, hash, (unsigned long)p)
		if (t->task == p)
			return t;
	return NULL;
}

/* That @p serves, as far as it says itself; NULL: none. */
static const struct kvmgang_vcpu *vcpu_of(const struct task_struct *p)
{
	const struct kvmgang_thread *t = thread_of(p);

	return t ? READ_ONCE(t->vcpu) : NULL;
}

u32 thread_vm(const struct task_struct *p)
{
	const struct kvmgang_vcpu *vcpu = vcpu_of(p);

	return vcpu ? vcpu->vm->id : 0;
}

int thread_index(const struct task_struct *p)
{
	const struct kvmgang_vcpu *vcpu = vcpu_of(p);

	return vcpu ? vcpu->index : -ENOENT;
}

int thread_memory(const struct task_struct *p)
{
	struct kvmgang_thread *t = thread_of(p);
	const struct kvmgang_vcpu *vcpu = t ? READ_ONCE(t->vcpu) : NULL;

	if (!vcpu)
		return NUMA_NO_NODE;
	WRITE_ONCE(t->entered, NULL);
	return READ_ONCE(vcpu->vm->memory_node);
}

int thread_lookup(const struct task_struct *p, u32 *vm_id, u32 *vcpu_id)
{
	const struct kvmgang_vcpu *vcpu = vcpu_of(p);

	if (!vcpu)
		return -ENOENT;
	*vm_id = vcpu->vm->id;
	*vcpu_id = vcpu->id;
	return 0;
}

/* Where the last level is unknown, only a core's hardware threads share it, as in smpboot.c. */
static bool same_llc(int a, int b)
{
	if (cpumask_test_cpu(a, topology_sibling_cpumask(b)))
		return true;
#ifdef CONFIG_X86
	return per_cpu_llc_id(a) != BAD_APICID && per_cpu_llc_id(a) == per_cpu_llc_id(b);
#else
	return topology_physical_package_id(a) == topology_physical_package_id(b);
#endif
}

static void count_migration(struct kvmgang_vcpu *vcpu, int cpu)
{
	u64 *migrations = vcpu->account.count.migrations;

	if (cpu == vcpu->cpu)
		return;
	migrations[KVMGANG_MIGRATED_CPU]++;
	migrations[KVMGANG_MIGRATED_LLC] += !same_llc(cpu, vcpu->cpu);
	migrations[KVMGANG_MIGRATED_NODE] += cpu_to_node(cpu) != cpu_to_node(vcpu->cpu);
	vcpu->cpu = cpu;
}

/*
 * When the current thread got its pCPU. A thread that was preempted on its way to sleep was never
 * queued, so the scheduler did not stamp its arrival.
 */
static u64 arrival(const struct kvmgang_vcpu *vcpu, u64 now)
{
	u64 stamp = current->sched_info.last_arrival;

	return stamp > vcpu->departed ? stamp : now;
}

static void charge_ready(struct kvmgang_vcpu *vcpu, int cpu, struct kvmgang_occupant before,
			 struct kvmgang_occupied *occupied, u64 ready, u64 now)
{
	u64 *by = vcpu->account.count.displaced_ns;

	if (!vcpu->preempted) {
		displaced_woken(&vcpu->displaced, vcpu->vm->id, before, ready, by);
		return;
	}
	if (vcpu->cpu != cpu)
		*occupied = occupancy_read(vcpu->cpu, now);
	displaced_end(&vcpu->displaced, vcpu->vm->id, before, occupied, ready, by);
}

static void vcpu_arrive(struct kvmgang_vcpu *vcpu, int cpu)
{
	struct kvmgang_account *a = &vcpu->account;
	u64 now = local_clock();
	struct kvmgang_occupied occupied;
	struct kvmgang_occupant before;
	int left = vcpu->cpu;
	u64 ready;

	ready = account_arrive(a, arrival(vcpu, now), current->sched_info.run_delay,
			       vcpu_is_remote(vcpu, cpu));
	before = occupancy_arrive(cpu, vcpu->vm->id, now, &occupied);
	if (ready)
		charge_ready(vcpu, cpu, before, &occupied, ready, now);
	if (!vcpu->preempted)
		a->count.wakeups++;
	count_migration(vcpu, cpu);
	trace_vcpu_arrive(vcpu, left, ready, before);
}

/*
 * Is the guest idle? KVM's own notifier is on the thread's list while the vCPU is loaded, and only
 * then may the vCPU be looked at: another thread may destroy it at any other time.
 */
static bool is_halting(const struct kvmgang_vcpu *vcpu)
{
	const struct preempt_notifier *n;

	hlist_for_each_entry(n, &current->preempt_notifiers, link) {
		if (n != &vcpu->key->preempt_notifier)
			continue;
#ifdef CONFIG_X86
		/* A guest that halts until its page is read in waits for the host. */
		if (vcpu->key->arch.apf.halted)
			return false;
#endif
		return vcpu->key->stat.generic.blocking;
	}
	return false;
}

static struct kvmgang_occupant occupant_of(const struct task_struct *p)
{
	struct kvmgang_occupant who = { .vm_id = thread_vm(p) };

	if (who.vm_id)
		who.kind = KVMGANG_BY_VM;
	else if (is_idle_task(p))
		who.kind = KVMGANG_BY_NOBODY;
	else if (p->flags & PF_KTHREAD && p->nr_cpus_allowed == 1)
		who.kind = KVMGANG_BY_KTHREAD;
	else
		who.kind = KVMGANG_BY_HOST;
	return who;
}

/*
 * When the current thread, which falls asleep, left its pCPU to @next: when @next got it, or the
 * two would both be running for as long as the switch takes. That stamp is missing when @next was
 * not queued: the idle task, or one that was preempted on its way to sleep.
 */
static u64 departure(const struct task_struct *next, u64 now)
{
	u64 stamp = next->sched_info.last_arrival;

	if (is_idle_task(next) || stamp <= current->sched_info.last_arrival)
		return now;
	return stamp;
}

static void vcpu_depart(struct kvmgang_vcpu *vcpu, const struct task_struct *next,
			struct kvmgang_occupant who)
{
	struct kvmgang_account *a = &vcpu->account;
	u64 queued = current->sched_info.last_queued;
	u64 now = local_clock();
	struct kvmgang_occupied occupied;
	u32 rest = KVMGANG_RUN;

	vcpu->preempted = queued;
	if (!queued)
		rest = is_halting(vcpu) ? KVMGANG_HALTED : KVMGANG_BLOCKED;
	vcpu->departed = queued ?: departure(next, now);
	account_depart(a, vcpu->departed, rest);
	a->count.switches++;
	a->count.preemptions += vcpu->preempted;
	account_shared(a, occupancy_depart(vcpu->cpu, who, now, &occupied));
	if (vcpu->preempted)
		displaced_begin(&vcpu->displaced, who, &occupied);
	trace_vcpu_depart(vcpu, next, who);
}

static void on_sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct kvmgang_thread *t = container_of(notifier, struct kvmgang_thread, notifier);
	struct kvmgang_vcpu *vcpu = READ_ONCE(t->vcpu);

	__this_cpu_write(running_thread, t);
	if (!vcpu)
		return;
	guard(raw_spinlock_irqsave)(&vcpu->lock);
	if (vcpu->thread == t)
		vcpu_arrive(vcpu, cpu);
}

static void on_sched_out(struct preempt_notifier *notifier, struct task_struct *next)
{
	struct kvmgang_thread *t = container_of(notifier, struct kvmgang_thread, notifier);
	struct kvmgang_vcpu *vcpu = READ_ONCE(t->vcpu);

	__this_cpu_write(running_thread, NULL);
	if (!vcpu)
		return;
	guard(raw_spinlock)(&vcpu->lock);
	if (vcpu->thread == t)
		vcpu_depart(vcpu, next, occupant_of(next));
}

static struct preempt_ops notifier_ops = {
	.sched_in = on_sched_in,
	.sched_out = on_sched_out,
};

static struct kvmgang_thread *thread_add(void)
{
	struct kvmgang_thread *t = kzalloc(sizeof(*t), GFP_ATOMIC | __GFP_NOWARN);

	if (!t)
		return NULL;
	t->task = current;
	t->pid = get_pid(task_pid(current));
	preempt_notifier_init(&t->notifier, &notifier_ops);
	preempt_notifier_register(&t->notifier);
	scoped_guard(raw_spinlock, &thread_hash_lock)
		hash_add_rcu(thread_hash, &t->hash, (unsigned long)current);
	__this_cpu_write(running_thread, t);
	return t;
}

/* Takes the current thread @t off the vCPU that it served. */
static void leave(struct kvmgang_thread *t, u64 now)
{
	struct kvmgang_vcpu *vcpu = READ_ONCE(t->vcpu);

	if (!vcpu)
		return;
	guard(raw_spinlock)(&vcpu->lock);
	if (vcpu->thread == t)
		vcpu_unbind(vcpu, now);
}

/* Puts the current thread @t on @vcpu, which it is entering. */
static void serve(struct kvmgang_thread *t, struct kvmgang_vcpu *vcpu, u64 now)
{
	int cpu = smp_processor_id();
	struct kvmgang_occupied occupied;
	struct kvmgang_occupant before;
	u64 ready;

	guard(raw_spinlock)(&vcpu->lock);
	if (vcpu->thread)
		vcpu_unbind(vcpu, now);
	/* What this thread waited before is its own affair; what the one before it did is not. */
	vcpu->account.waited = current->sched_info.run_delay;
	ready = account_arrive(&vcpu->account, now, vcpu->account.waited,
			       vcpu_is_remote(vcpu, cpu));
	before = occupancy_arrive(cpu, vcpu->vm->id, now, &occupied);
	if (ready)
		charge_ready(vcpu, cpu, before, &occupied, ready, now);
	count_migration(vcpu, cpu);
	vcpu->thread = t;
	t->vcpu = vcpu;
	WRITE_ONCE(t->entered, vcpu->key);
	trace_vcpu_bind(vcpu);
}

/* Does the current thread, @t, serve @vcpu already? Then its next entries are no news. */
static bool goes_on(struct kvmgang_thread *t, struct kvmgang_vcpu *vcpu)
{
	guard(raw_spinlock)(&vcpu->lock);
	if (!t || vcpu->thread != t)
		return false;
	WRITE_ONCE(t->entered, vcpu->key);
	return true;
}

/*
 * The current thread enters @key for the first time, or again after other things happened to it; or
 * it is asked where the VM's memory is. The scheduler chose a new one as one of the host's own, and
 * for a VM's vCPU it may have other plans: it is asked again, by an interrupt that is taken before
 * the guest's first instruction.
 */
static noinline void discover(struct kvm_vcpu *key)
{
	struct kvmgang_thread *t = thread_of(current);
	struct kvmgang_vcpu *vcpu = vcpu_get(key);
	u64 now = local_clock();

	if (!vcpu)
		return;
	if (goes_on(t, vcpu)) {
		WRITE_ONCE(vcpu->vm->memory_node, memory_node(key->kvm));
		return;
	}
	if (!t)
		t = thread_add();
	if (!t) {
		vcpu_count_refused();
		return;
	}
	leave(t, now);
	serve(t, vcpu, now);
	resched_cpu_soon(smp_processor_id());
}

/* Interrupts are off: KVM is past its last check before the guest. */
static void on_kvm_entry(void *data, struct kvm_vcpu *key, bool force_immediate_exit)
{
	const struct kvmgang_thread *t = __this_cpu_read(running_thread);

	if (likely(t && READ_ONCE(t->entered) == key))
		return;
	discover(key);
}

static void thread_free(struct rcu_head *rcu)
{
	struct kvmgang_thread *t = container_of(rcu, struct kvmgang_thread, rcu);

	put_pid(t->pid);
	kfree(t);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
static void on_process_exit(void *data, struct task_struct *p, bool group_dead)
#else	/* whether it was the last thread of its process is told since 6.16 */
static void on_process_exit(void *data, struct task_struct *p)
#endif
{
	struct kvmgang_thread *t;

	guard(irqsave)();
	t = thread_of(current);
	if (!t)
		return;
	preempt_notifier_unregister(&t->notifier);
	__this_cpu_write(running_thread, NULL);
	leave(t, local_clock());
	scoped_guard(raw_spinlock, &thread_hash_lock)
		hash_del_rcu(&t->hash);
	call_rcu(&t->rcu, thread_free);
}

int thread_hold(struct task_struct *p, u32 state)
{
	struct kvmgang_thread *t = thread_of(p);
	struct kvmgang_vcpu *vcpu = t ? READ_ONCE(t->vcpu) : NULL;

	if (!vcpu)
		return -ENOENT;
	guard(raw_spinlock_irqsave)(&vcpu->lock);
	if (vcpu->thread != t)
		return -ENOENT;
	account_hold(&vcpu->account, local_clock(), state, READ_ONCE(p->sched_info.last_queued));
	trace_vcpu_hold(vcpu, state);
	return 0;
}

bool thread_is_vcpu(void)
{
	const struct kvmgang_thread *t = __this_cpu_read(running_thread);

	return t && t->vcpu;
}

void thread_count_yield(bool honoured)
{
	struct kvmgang_thread *t = __this_cpu_read(running_thread);
	struct kvmgang_vcpu *vcpu = t ? READ_ONCE(t->vcpu) : NULL;

	if (!vcpu)
		return;
	guard(raw_spinlock_irqsave)(&vcpu->lock);
	if (honoured)
		vcpu->account.count.yields_honoured++;
	else
		vcpu->account.count.yields_asked++;
}

static struct tracepoint *entry_tracepoint, *exit_tracepoint;

static void find_exit_tracepoint(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "sched_process_exit"))
		exit_tracepoint = tp;
}

/* By name, so that a kernel without KVM gets a message instead of an unknown symbol. */
static int find_tracepoints(void)
{
	for_each_kernel_tracepoint(find_exit_tracepoint, NULL);
	if (!exit_tracepoint) {
		pr_err("this kernel has no sched_process_exit tracepoint\n");
		return -ENODEV;
	}
	entry_tracepoint = symbol_get(__tracepoint_kvm_entry);
	if (!entry_tracepoint) {
		pr_err("KVM is not there: load kvm_amd or kvm_intel first\n");
		return -ENODEV;
	}
	return 0;
}

int thread_init(void)
{
	int err = find_tracepoints();

	if (err)
		return err;
	err = tracepoint_probe_register(exit_tracepoint, on_process_exit, NULL);
	if (err)
		goto put_entry;
	err = tracepoint_probe_register(entry_tracepoint, on_kvm_entry, NULL);
	if (err)
		goto drop_exit;
	return 0;

drop_exit:
	tracepoint_probe_unregister(exit_tracepoint, on_process_exit, NULL);
	tracepoint_synchronize_unregister();
put_entry:
	symbol_put(__tracepoint_kvm_entry);
	return err;
}

/* Every thread but the stoppers is off its pCPU. After this none of them knows of us. */
static int forget_threads(void *forgotten)
{
	struct kvmgang_thread *t;
	struct hlist_node *next;
	int bucket;

	hash_for_each_safe(thread_hash, bucket, next, t, hash) {
		preempt_notifier_unregister(&t->notifier);
		leave(t, local_clock());
		hash_del(&t->hash);
		hlist_add_head(&t->hash, forgotten);
	}
	return 0;
}

/* First no new thread, then no thread; until then exits must be watched. */
void thread_exit(void)
{
	HLIST_HEAD(forgotten);
	struct kvmgang_thread *t;
	struct hlist_node *next;

	tracepoint_probe_unregister(entry_tracepoint, on_kvm_entry, NULL);
	tracepoint_synchronize_unregister();
	stop_machine(forget_threads, &forgotten, NULL);
	tracepoint_probe_unregister(exit_tracepoint, on_process_exit, NULL);
	tracepoint_synchronize_unregister();
	symbol_put(__tracepoint_kvm_entry);
	hlist_for_each_entry_safe(t, next, &forgotten, hash)
		call_rcu(&t->rcu, thread_free);
	rcu_barrier();
}
