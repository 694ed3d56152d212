// SPDX-License-Identifier: GPL-2.0
/*
 * The records of VMs and vCPUs: how they are born, found, read and removed.
 *
 * A vCPU's record is made at its first guest entry that the module sees (thread.c), in the middle
 * of KVM_RUN, where nothing may sleep. It goes when KVM destroys the VM. KVM has no hook for that,
 * so there is a kprobe on kvm_arch_destroy_vm(), which every architecture has and no fast path
 * calls. Without it a VMM that closes one VM and opens another could be given the old one's
 * addresses, and the new VM the old one's account. The alternative, a reference, would keep the
 * guest's memory and devices alive.
 *
 * What may sleep, the sysfs directories and the end of a record, is left to one work item.
 *
 * Not here: when a vCPU runs or waits. thread.c follows the threads, account.h does the arithmetic.
 */
#include <linux/hashtable.h>
#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "sysfs.h"
#include "trace.h"
#include "vcpu.h"

/* 4096 buckets: four vCPUs each on the largest host that the design names. */
#define VCPU_HASH_BITS	12
#define VM_HASH_BITS	10

DECLARE_RWSEM(vms_rwsem);
LIST_HEAD(vms);

static DEFINE_RAW_SPINLOCK(registry_lock);
static DEFINE_HASHTABLE(vcpu_hash, VCPU_HASH_BITS);
static DEFINE_HASHTABLE(vm_hash, VM_HASH_BITS);
static DEFINE_HASHTABLE(vm_ids, VM_HASH_BITS);
static LIST_HEAD(changed_vms);		/* registry_lock */
static u32 last_vm_id;			/* registry_lock */
static u32 nr_vms, nr_vcpus;		/* registry_lock to change, living ones */
static atomic64_t nr_refused;
static atomic64_t forced_idle;		/* ns, of VMs that are gone, too */

static void reconcile(struct work_struct *work);
static DECLARE_WORK(reconcile_work, reconcile);

u32 vcpu_nr_vms(void)
{
	return READ_ONCE(nr_vms);
}

u32 vcpu_nr_vcpus(void)
{
	return READ_ONCE(nr_vcpus);
}

void vcpu_count_refused(void)
{
	atomic64_inc(&nr_refused);
}

u64 vcpu_nr_refused(void)
{
	return atomic64_read(&nr_refused);
}

void vcpu_forced_idle(u32 vm_id, u64 ns)
{
	struct kvmgang_vm *vm;

	atomic64_add(ns, &forced_idle);
	guard(rcu)();
	vm = vm_by_id(vm_id);
	if (vm)
		atomic64_add(ns, &vm->forced_idle);
}

u64 vcpu_host_forced_idle(void)
{
	return atomic64_read(&forced_idle);
}

static struct kvmgang_vm *vm_find(const struct kvm *kvm)
{
	struct kvmgang_vm *vm;

	hash_for_each_possible_rcu(vm_hash, vm, hash, (unsigned long)kvm)
		if (vm->key == kvm)
			return vm;
	return NULL;
}

struct kvmgang_vm *vm_by_id(u32 id)
{
	struct kvmgang_vm *vm;

	hash_for_each_possible_rcu(vm_ids, vm, id_hash, id)
		if (vm->id == id)
			return vm;
	return NULL;
}

static struct kvmgang_vcpu *vcpu_find(const struct kvm_vcpu *key)
{
	struct kvmgang_vcpu *vcpu;

	hash_for_each_possible_rcu(vcpu_hash, vcpu, hash, (unsigned long)key)
		if (vcpu->key == key)
			return vcpu;
	return NULL;
}

/* Has the worker look at @vm. Caller holds registry_lock. */
static void vm_changed(struct kvmgang_vm *vm)
{
	if (list_empty(&vm->changed))
		list_add_tail(&vm->changed, &changed_vms);
}

/*
 * A guess at where the VM's memory is: first touch puts it where its first vCPU ran first unless a
 * policy says otherwise. Nodes from 64 on are never home.
 */
static u64 first_home(void)
{
	int node = numa_node_id();

	return node < 64 ? BIT_ULL(node) : 0;
}

static struct kvmgang_vm *vm_alloc(struct kvm *key)
{
	struct kvmgang_vm *vm = kzalloc(sizeof(*vm), GFP_ATOMIC | __GFP_NOWARN);

	if (!vm)
		return NULL;
	vm->key = key;
	vm->pid = get_pid(task_tgid(current));
	vm->home_nodes = first_home();
	vm->settings.auto_home = vm->home_nodes;
	vm->memory_node = NUMA_NO_NODE;
	vm->born = local_clock();
	INIT_LIST_HEAD(&vm->vcpus);
	INIT_LIST_HEAD(&vm->changed);
	return vm;
}

static void vm_free(struct kvmgang_vm *vm)
{
	put_pid(vm->pid);
	kfree_rcu(vm, rcu);
}

/*
 * Adds @vm unless a sibling vCPU was quicker: then that one's record is returned and @vm is the
 * caller's to free. NULL beyond the maximum.
 */
static struct kvmgang_vm *vm_add(struct kvmgang_vm *vm)
{
	struct kvmgang_vm *known = vm_find(vm->key);

	if (known)
		return known;
	if (nr_vms == KVMGANG_MAX_VMS)
		return NULL;
	WRITE_ONCE(nr_vms, nr_vms + 1);
	vm->id = ++last_vm_id;
	list_add_tail_rcu(&vm->link, &vms);
	hash_add_rcu(vm_hash, &vm->hash, (unsigned long)vm->key);
	hash_add_rcu(vm_ids, &vm->id_hash, vm->id);
	policy_update_home(vm);
	return vm;
}

static struct kvmgang_vm *vm_get(struct kvm *key)
{
	struct kvmgang_vm *vm = vm_find(key), *fresh;

	if (vm)
		return vm;
	fresh = vm_alloc(key);
	if (!fresh)
		return NULL;
	scoped_guard(raw_spinlock, &registry_lock)
		vm = vm_add(fresh);
	if (vm != fresh)
		vm_free(fresh);
	return vm;
}

static struct kvmgang_vcpu *vcpu_alloc(struct kvmgang_vm *vm, struct kvm_vcpu *key)
{
	struct kvmgang_vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_ATOMIC | __GFP_NOWARN);

	if (!vcpu)
		return NULL;
	raw_spin_lock_init(&vcpu->lock);
	vcpu->vm = vm;
	vcpu->key = key;
	vcpu->id = key->vcpu_id;
	vcpu->index = key->vcpu_idx;
	vcpu->cpu = smp_processor_id();
	account_born(&vcpu->account, local_clock());
	return vcpu;
}

/* Adds @vcpu, which only its own thread does (kvm_vcpu::mutex). False beyond the maximum. */
static bool vcpu_add(struct kvmgang_vcpu *vcpu)
{
	guard(raw_spinlock)(&registry_lock);
	if (nr_vcpus == KVMGANG_MAX_VCPUS)
		return false;
	WRITE_ONCE(nr_vcpus, nr_vcpus + 1);
	vcpu->vm->nr_vcpus++;
	list_add_tail_rcu(&vcpu->link, &vcpu->vm->vcpus);
	hash_add_rcu(vcpu_hash, &vcpu->hash, (unsigned long)vcpu->key);
	vm_changed(vcpu->vm);
	return true;
}

struct kvmgang_vcpu *vcpu_get(struct kvm_vcpu *key)
{
	struct kvmgang_vcpu *vcpu = vcpu_find(key);
	struct kvmgang_vm *vm;

	if (vcpu)
		return vcpu;
	vm = vm_get(key->kvm);
	if (!vm)
		goto refuse;
	vcpu = vcpu_alloc(vm, key);
	if (!vcpu)
		goto refuse;
	if (!vcpu_add(vcpu)) {
		kfree(vcpu);
		goto refuse;
	}
	schedule_work(&reconcile_work);
	return vcpu;

refuse:
	vcpu_count_refused();
	return NULL;
}

/* Not while it is being woken up: the run queue's clock may be stamped already. */
static bool is_asleep(const struct task_struct *p)
{
	unsigned int state = READ_ONCE(p->__state);

	return state != TASK_RUNNING && state != TASK_WAKING;
}

/*
 * A thread off its pCPU, seen from outside. last_queued and run_delay change together but not at
 * once, so they are read twice; in the few instructions between, and while a wake-up is under way,
 * nothing is settled: the thread's arrival will do it.
 *
 * A thread that sleeps but was not taken off its run queue yet (sched_delayed) may be moved to
 * another, by 6.12 whenever that balances load, and then counts as queued from there on. The vCPU's
 * sleep is then ready time, as it is run_delay and the guest's steal time.
 */
static void settle_off_cpu(struct kvmgang_vcpu *vcpu, u64 now)
{
	struct kvmgang_account *a = &vcpu->account;
	const struct task_struct *p = vcpu->thread->task;
	const struct sched_info *info = &p->sched_info;
	u64 queued = READ_ONCE(info->last_queued);
	u64 run_delay = READ_ONCE(info->run_delay);
	bool asleep;

	smp_rmb(); /* order the first reads before the second */
	asleep = is_asleep(p);
	if (queued != READ_ONCE(info->last_queued) || run_delay != READ_ONCE(info->run_delay))
		return;

	if (queued) {
		if (now > queued && now > a->cursor)
			account_wait(a, now, run_delay + now - queued);
	} else if (asleep && run_delay == a->waited) {
		account_fill(a, a->rest, now);
	}
}

/* Is the vCPU, which runs, about to lose its pCPU? See KVMGANG_LEAVE_LAG_NS. */
static bool is_leaving(const struct kvmgang_vcpu *vcpu)
{
	return vcpu->thread && test_tsk_need_resched(vcpu->thread->task);
}

/* What it shares with others is taken the next time: of that the past is not known. */
static void settle_leaving(struct kvmgang_vcpu *vcpu, u64 now)
{
	account_fill(&vcpu->account, KVMGANG_RUN,
		     now - (KVMGANG_LEAVE_LAG_NS - KVMGANG_READ_LAG_NS));
}

void vcpu_settle(struct kvmgang_vcpu *vcpu, u64 now)
{
	struct kvmgang_account *a = &vcpu->account;

	if (a->running && is_leaving(vcpu)) {
		settle_leaving(vcpu, now);
	} else if (a->running) {
		account_fill(a, KVMGANG_RUN, now);
		account_shared(a, occupancy_take_shared(vcpu->cpu, now));
	} else if (vcpu->thread) {
		settle_off_cpu(vcpu, now);
	} else {
		account_fill(a, KVMGANG_BLOCKED, now);
	}
}

void vcpu_unbind(struct kvmgang_vcpu *vcpu, u64 now)
{
	static const struct kvmgang_occupant host = { .kind = KVMGANG_BY_HOST };
	struct kvmgang_occupied unused;

	vcpu_settle(vcpu, now);
	if (vcpu->account.running) {
		account_depart(&vcpu->account, now, KVMGANG_BLOCKED);
		/* The thread goes on, as a host thread like any other. */
		occupancy_depart(vcpu->cpu, host, now, &unused);
	}
	vcpu->account.rest = KVMGANG_BLOCKED;
	account_end_hold(&vcpu->account);
	WRITE_ONCE(vcpu->thread->entered, NULL);
	vcpu->thread->vcpu = NULL;
	vcpu->thread = NULL;
}

void vm_set_home(struct kvmgang_vm *vm, u64 nodes)
{
	struct kvmgang_vcpu *vcpu;

	if (vm->home_nodes == nodes)
		return;
	WRITE_ONCE(vm->home_nodes, nodes);
	trace_vm_home(vm);
	/* One that runs may do so for a long time, and is remote, or not, from this moment on. */
	list_for_each_entry_rcu(vcpu, &vm->vcpus, link, true) {
		guard(raw_spinlock_irqsave)(&vcpu->lock);
		if (!vcpu->account.running)
			continue;
		vcpu_settle(vcpu, local_clock() - KVMGANG_READ_LAG_NS);
		vcpu->account.remote = vcpu_is_remote(vcpu, vcpu->cpu);
	}
}

void vcpu_read(struct kvmgang_vcpu *vcpu, struct kvmgang_vcpu_row *row)
{
	const struct kvmgang_thread *thread;

	memset(row, 0, sizeof(*row));
	row->vm_id = vcpu->vm->id;
	row->vcpu_id = vcpu->id;

	guard(raw_spinlock_irqsave)(&vcpu->lock);
	thread = vcpu->thread;
	vcpu_settle(vcpu, local_clock() - KVMGANG_READ_LAG_NS);
	if (thread)
		row->tid = pid_vnr(thread->pid);
	row->state = account_state(&vcpu->account,
				   thread && READ_ONCE(thread->task->sched_info.last_queued));
	row->cpu = vcpu->cpu;
	row->node = cpu_to_node(vcpu->cpu);
	row->born_ns = vcpu->account.born;
	row->now_ns = vcpu->account.cursor;
	row->count = vcpu->account.count;
	memcpy(row->top, vcpu->displaced.top, sizeof(row->top));
}

static void vcpu_kill(struct kvmgang_vcpu *vcpu)
{
	guard(raw_spinlock)(&vcpu->lock);
	if (vcpu->thread)
		vcpu_unbind(vcpu, local_clock());
	hash_del_rcu(&vcpu->hash);
}

static void vm_kill(struct kvmgang_vm *vm)
{
	struct kvmgang_vcpu *vcpu;

	vm->dead = true;
	hash_del_rcu(&vm->hash);
	hash_del_rcu(&vm->id_hash);
	list_for_each_entry(vcpu, &vm->vcpus, link)
		vcpu_kill(vcpu);
	WRITE_ONCE(nr_vms, nr_vms - 1);
	WRITE_ONCE(nr_vcpus, nr_vcpus - vm->nr_vcpus);
	vm_changed(vm);
}

void vcpu_destroy_vm(const struct kvm *kvm)
{
	scoped_guard(raw_spinlock_irqsave, &registry_lock) {
		struct kvmgang_vm *vm = vm_find(kvm);

		if (!vm)
			return;
		vm_kill(vm);
	}
	schedule_work(&reconcile_work);
}

static int on_destroy_vm(struct kprobe *probe, struct pt_regs *regs)
{
	vcpu_destroy_vm((void *)regs_get_kernel_argument(regs, 0));
	return 0;
}

static struct kprobe destroy_probe = {
	.symbol_name = "kvm_arch_destroy_vm",
	.pre_handler = on_destroy_vm,
};

/*
 * Whether it is @dead is told as of the same instant: one that dies right afterwards is on the list
 * again, and removing it now would leave it there.
 */
static struct kvmgang_vm *next_changed(bool *dead)
{
	struct kvmgang_vm *vm;

	guard(raw_spinlock_irq)(&registry_lock);
	vm = list_first_entry_or_null(&changed_vms, struct kvmgang_vm, changed);
	if (!vm)
		return NULL;
	list_del_init(&vm->changed);
	*dead = vm->dead;
	return vm;
}

static void vm_remove(struct kvmgang_vm *vm)
{
	struct kvmgang_vcpu *vcpu, *next;

	sysfs_remove_vm(vm);
	scoped_guard(rwsem_write, &vms_rwsem)
		scoped_guard(raw_spinlock_irq, &registry_lock)
			list_del_rcu(&vm->link);
	list_for_each_entry_safe(vcpu, next, &vm->vcpus, link)
		kfree_rcu(vcpu, rcu);
	vm_free(vm);
}

/*
 * Catches up with births and deaths. Only this removes a VM, and a living VM's list of vCPUs only
 * grows, so the lists can be walked here without a lock.
 */
static void reconcile(struct work_struct *work)
{
	struct kvmgang_vm *vm;
	bool dead;

	while ((vm = next_changed(&dead))) {
		if (dead)
			vm_remove(vm);
		else
			sysfs_add_vm(vm);
	}
}

int vcpu_init(void)
{
	int err = register_kprobe(&destroy_probe);

	if (err)
		pr_err("cannot watch VMs end: kprobe on %s: error %d\n",
		       destroy_probe.symbol_name, err);
	return err;
}

void vcpu_exit(void)
{
	struct kvmgang_vm *vm;

	unregister_kprobe(&destroy_probe);
	scoped_guard(raw_spinlock_irq, &registry_lock)
		list_for_each_entry(vm, &vms, link)
			if (!vm->dead)
				vm_kill(vm);
	schedule_work(&reconcile_work);
	flush_work(&reconcile_work);
}
