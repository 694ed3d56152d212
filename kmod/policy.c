// SPDX-License-Identifier: GPL-2.0
/*
 * What each VM is to get. The module decides nothing by it: it keeps what users set and what the
 * scheduler told, and answers what results. It outlives every scheduler, and no VM.
 *
 * A value is, in this order, what the user set of the VM, what its cgroup says, the default that
 * the user set, or what is built in. Nothing is copied at birth, so a changed default is seen by
 * all VMs that have nothing better at once.
 *
 * What a cgroup says is the scheduler's to tell (kvmgang_set_cgroup()). The module could call the
 * read_u64() of the cgroup's file cpu.weight, but not be told of changes; and which one of the
 * cgroups above a vCPU's thread is the VM's depends on who made them: the threads may be levels
 * below the one that was given the weight. Without a sched_ext scheduler nobody asks for shares.
 *
 * Users change one thing at a time (change_mutex), and while one does, no VM goes (vms_rwsem).
 * Whoever reads may hold run queue locks, so what was decided is written under publish_lock and a
 * sequence count, which make the change of several values one.
 *
 * Not here: which values are allowed (policy_keys.h) and how many reservations (admission.h), the
 * doors (chardev.c, policy_sysfs.c, kfunc.c).
 */
#include <linux/capability.h>
#include <linux/cpumask.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/seqlock.h>

#include "admission.h"
#include "kfunc.h"
#include "policy.h"
#include "trace.h"
#include "vcpu.h"

static DEFINE_MUTEX(change_mutex);
static DEFINE_RAW_SPINLOCK(publish_lock);
static seqcount_raw_spinlock_t published = SEQCNT_RAW_SPINLOCK_ZERO(published, &publish_lock);

static struct policy_settings defaults;	/* publish_lock and published */
static atomic64_t generation = ATOMIC64_INIT(1);

u64 policy_generation(void)
{
	return atomic64_read_acquire(&generation);
}

/* Nodes that can be home: bit n: node n. */
static u64 usable_nodes(void)
{
	u64 nodes = 0;
	int node;

	for_each_online_node(node)
		if (node < 64 && (node_state(node, N_MEMORY) || node_state(node, N_CPU)))
			nodes |= BIT_ULL(node);
	return nodes;
}

/* @vm NULL: the defaults. */
static u64 resolve(const struct kvmgang_vm *vm, u32 key, u32 *origin)
{
	if (!vm)
		return policy_value(&defaults, NULL, NULL, key, origin);
	return policy_value(&vm->settings.own, &vm->settings.cgroup, &defaults, key, origin);
}

/* Caller holds publish_lock. */
static void update_home(struct kvmgang_vm *vm)
{
	u32 origin;
	u64 nodes = resolve(vm, KVMGANG_KEY_HOME_NODES, &origin);

	vm_set_home(vm, nodes ?: vm->settings.auto_home);
}

/* Of a new VM: who changes the default later finds it on the list, who did before counts here. */
void policy_update_home(struct kvmgang_vm *vm)
{
	guard(raw_spinlock_irqsave)(&publish_lock);
	update_home(vm);
}

static void publish(struct policy_settings *to, const struct policy_settings *from)
{
	guard(raw_spinlock_irqsave)(&publish_lock);
	write_seqcount_begin(&published);
	*to = *from;
	write_seqcount_end(&published);
}

/* Caller holds vms_rwsem. */
static void update_homes(void)
{
	struct kvmgang_vm *vm;

	list_for_each_entry_rcu(vm, &vms, link, lockdep_is_held(&vms_rwsem)) {
		policy_update_home(vm);
		cond_resched();
	}
}

static void trace_change(const struct kvmgang_vm *vm, u64 keys)
{
	u32 key, origin;
	u64 value;

	for (key = 0; key < KVMGANG_NR_KEYS; key++) {
		if (!(keys & policy_bit(key)))
			continue;
		value = resolve(vm, key, &origin);
		trace_policy_change(vm ? vm->id : 0, key, value, origin);
	}
}

/*
 * Those of @keys that would contradict others among @fresh defaults, or because of them among what
 * a VM gets. A VM whose cgroup has done that to it does not stand in the way. Holds vms_rwsem.
 */
static u64 check_defaults(const struct policy_settings *fresh, u64 keys, u32 *bad_vm)
{
	u64 bad = keys & policy_contradictions(fresh, NULL, NULL);
	const struct kvmgang_vm_settings *has;
	struct kvmgang_vm *vm;

	if (bad)
		return bad;
	list_for_each_entry_rcu(vm, &vms, link, lockdep_is_held(&vms_rwsem)) {
		if (READ_ONCE(vm->dead))
			continue;
		has = &vm->settings;
		bad = keys & policy_contradictions(&has->own, &has->cgroup, fresh) &
		      ~policy_contradictions(&has->own, &has->cgroup, &defaults);
		if (bad) {
			*bad_vm = vm->id;
			return bad;
		}
		cond_resched();
	}
	return 0;
}

/* @nodes 0: of the host. */
static u64 milli_pcpus(u64 nodes)
{
	u64 pcpus = 0;
	int cpu, node;

	for_each_online_cpu(cpu) {
		node = cpu_to_node(cpu);
		pcpus += !nodes || (node < 64 && nodes & BIT_ULL(node));
	}
	return 1000 * pcpus;
}

/* Caller holds vms_rwsem. @changed, or with NULL the defaults, are to become @fresh. */
static void fill_pool(struct admission_pool *pool, const struct kvmgang_vm *changed,
		      const struct policy_settings *fresh)
{
	struct admission_claim before, after;
	const struct kvmgang_vm_settings *has;
	struct kvmgang_vm *vm;

	list_for_each_entry_rcu(vm, &vms, link, lockdep_is_held(&vms_rwsem)) {
		if (READ_ONCE(vm->dead))
			continue;
		has = &vm->settings;
		before = admission_claim(&has->own, &has->cgroup, &defaults);
		after = before;
		if (!changed)
			after = admission_claim(&has->own, &has->cgroup, fresh);
		else if (vm == changed)
			after = admission_claim(fresh, &has->cgroup, &defaults);
		admission_add(pool, &before, &after);
		cond_resched();
	}
}

/* Is there room for what would be reserved? Caller and arguments as of fill_pool(). */
static int admit(const struct kvmgang_vm *changed, const struct policy_settings *fresh, u64 keys,
		 struct policy_request *request)
{
	u64 matters = policy_bit(KVMGANG_KEY_RESERVATION) | policy_bit(KVMGANG_KEY_HOME_NODES);
	struct admission_pool pool = {};
	u64 capacity;

	if (!(keys & matters))
		return 0;
	do {
		pool = (struct admission_pool){ .nodes = pool.next };
		fill_pool(&pool, changed, fresh);
		capacity = milli_pcpus(pool.nodes);
		if (admission_refused(&pool, capacity)) {
			/* Of the host a VM takes the same wherever its home is. */
			if (!pool.nodes)
				matters = policy_bit(KVMGANG_KEY_RESERVATION);
			request->bad = keys & matters;
			request->full.nodes = pool.nodes;
			request->full.capacity = capacity;
			request->full.reserved = pool.after;
			return -ENOSPC;
		}
	} while (pool.next);
	return 0;
}

/* Caller holds change_mutex and vms_rwsem. @vm NULL: the defaults. */
static int change(struct kvmgang_vm *vm, struct policy_request *request)
{
	u64 keys = request->set.given | request->reset;
	struct policy_settings *to = vm ? &vm->settings.own : &defaults;
	struct policy_settings fresh = *to;
	int err;

	policy_apply(&fresh, &request->set, request->reset);
	/* Of two that contradict each other one may not have been asked for. */
	if (vm)
		request->bad = keys & policy_contradictions(&fresh, &vm->settings.cgroup,
							    &defaults);
	else
		request->bad = check_defaults(&fresh, keys, &request->bad_vm);
	if (request->bad)
		return -EINVAL;
	err = admit(vm, &fresh, keys, request);
	if (err)
		return err;
	publish(to, &fresh);
	if (keys & policy_bit(KVMGANG_KEY_HOME_NODES)) {
		if (vm)
			policy_update_home(vm);
		else
			update_homes();
	}
	/* Whoever sees this number sees the values. */
	atomic64_inc_return(&generation);
	trace_change(vm, keys);
	return 0;
}

int policy_change(struct policy_request *request)
{
	const struct policy_settings *set = &request->set;
	struct kvmgang_vm *vm = NULL;

	if (!capable(CAP_SYS_NICE))
		return -EPERM;
	request->bad = ((set->given | request->reset) & ~policy_known()) |
		       (set->given & request->reset);
	if (request->bad)
		return -EINVAL;
	request->bad = policy_refused(set, usable_nodes());
	if (request->bad)
		return -ERANGE;

	guard(mutex)(&change_mutex);
	guard(rwsem_read)(&vms_rwsem);
	if (request->vm_id) {
		scoped_guard(rcu)
			vm = vm_by_id(request->vm_id);
		if (!vm)
			return -ENOENT;
	}
	return change(vm, request);
}

static void read_settings(const struct kvmgang_vm *vm, struct policy_view *view)
{
	unsigned int seq;
	u32 key;

	view->generation = policy_generation();
	do {
		seq = read_seqcount_begin(&published);
		for (key = 0; key < KVMGANG_NR_KEYS; key++)
			view->value[key] = resolve(vm, key, &view->origin[key]);
	} while (read_seqcount_retry(&published, seq));
}

int policy_read(u32 vm_id, struct policy_view *view)
{
	const struct kvmgang_vm *vm;

	guard(rcu)();
	vm = vm_id ? vm_by_id(vm_id) : NULL;
	if (vm_id && !vm)
		return -ENOENT;
	read_settings(vm, view);
	return 0;
}

int policy_for_scheduler(u32 vm_id, struct kvmgang_vm_policy *out)
{
	const struct kvmgang_vm *vm;
	struct policy_view view;

	guard(rcu)();
	vm = vm_by_id(vm_id);
	if (!vm)
		return -ENOENT;
	read_settings(vm, &view);
	out->generation = view.generation;
	out->home_nodes = view.value[KVMGANG_KEY_HOME_NODES];
	out->home = READ_ONCE(vm->home_nodes);
	out->shares = view.value[KVMGANG_KEY_SHARES];
	out->gang = view.value[KVMGANG_KEY_GANG];
	out->costop_us = view.value[KVMGANG_KEY_COSTOP_US];
	out->costart_us = view.value[KVMGANG_KEY_COSTART_US];
	out->limit = view.value[KVMGANG_KEY_LIMIT];
	out->reservation = view.value[KVMGANG_KEY_RESERVATION];
	out->latency = view.value[KVMGANG_KEY_LATENCY];
	out->ready_target = view.value[KVMGANG_KEY_READY_TARGET];
	out->isolation = view.value[KVMGANG_KEY_ISOLATION];
	return 0;
}

int policy_tell_home(u32 vm_id, u64 nodes)
{
	struct kvmgang_vm *vm;

	if (!nodes || !policy_allows(KVMGANG_KEY_HOME_NODES, nodes, usable_nodes()))
		return -ERANGE;
	guard(rcu)();
	vm = vm_by_id(vm_id);
	if (!vm)
		return -ENOENT;
	guard(raw_spinlock_irqsave)(&publish_lock);
	vm->settings.auto_home = nodes;
	update_home(vm);
	return 0;
}

int policy_tell_cgroup(u32 vm_id, u32 key, u64 value)
{
	struct kvmgang_vm *vm;

	if (key >= KVMGANG_NR_KEYS || !policy_keys[key].of_cgroup)
		return -EINVAL;
	if (value != U64_MAX && !policy_allows(key, value, 0))
		return -ERANGE;
	guard(rcu)();
	vm = vm_by_id(vm_id);
	if (!vm)
		return -ENOENT;
	guard(raw_spinlock_irqsave)(&publish_lock);
	write_seqcount_begin(&published);
	if (value == U64_MAX) {
		vm->settings.cgroup.given &= ~policy_bit(key);
	} else {
		vm->settings.cgroup.value[key] = value;
		vm->settings.cgroup.given |= policy_bit(key);
	}
	write_seqcount_end(&published);
	return 0;
}
