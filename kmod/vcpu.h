/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMs, vCPUs and vCPU threads that the module knows, and what may be asked of them.
 *
 * Lock order, outermost first:
 *
 *	change_mutex		policy.c; sleeps
 *	vms_rwsem		the list of VMs and their lists of vCPUs against removal; sleeps
 *	registry_lock (raw)	additions to those lists and to the hash tables, birth and death
 *	rq->lock		the scheduler's; held around sched_out and the kfuncs
 *	publish_lock (raw)	policy.c; settings, home nodes
 *	kvmgang_vcpu::lock (raw) one vCPU's account and its thread
 *	core lock (raw)		occupancy.c
 *
 * Whoever holds a raw lock has interrupts off.
 */
#ifndef KVMGANG_VCPU_H
#define KVMGANG_VCPU_H

#include <linux/list.h>
#include <linux/pid.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/topology.h>

#include "account.h"
#include "displace.h"
#include "policy.h"

struct kobject;
struct kvm;
struct kvm_vcpu;
struct kvmgang_vm;

/*
 * Limits, so that a runaway VMM cannot eat the host's memory: 4 times the vCPUs and VMs of the
 * largest host that the design names (16384 vCPUs, 4096 VMs).
 */
#define KVMGANG_MAX_VMS		16384
#define KVMGANG_MAX_VCPUS	65536

/*
 * Accounts are read as of this long ago. The scheduler may have stamped a switch or a wake-up
 * before the read and get to it after: what was read up to the present, as run, sleep or wait,
 * would overlap what the stamp says. 1 ms is far above any time that a run queue's lock is held
 * between the two; should a hypervisor below stretch it beyond, the account is ahead of the clock
 * by the difference until the vCPU has run for that long.
 */
#define KVMGANG_READ_LAG_NS	1000000ULL

/*
 * One that runs and is to be preempted is read as of this long ago: the run queue's clock is not
 * stamped again for the switch (rq_clock_skip_update()), however long the kernel takes to get to
 * it. On a kernel with lockdep and KASAN that were up to 1.4 ms; of more the same becomes as above.
 */
#define KVMGANG_LEAVE_LAG_NS	(10 * KVMGANG_READ_LAG_NS)

/* A thread that has entered a guest, see thread.c. Lives from its first guest entry to its exit. */
struct kvmgang_thread {
	struct preempt_notifier notifier;
	struct kvm_vcpu *entered;	/* last; NULL: another took it over, or thread_memory() */
	struct kvmgang_vcpu *vcpu;	/* @entered's record; check kvmgang_vcpu::thread */
	struct task_struct *task;	/* valid while the notifier is registered */
	struct pid *pid;
	struct hlist_node hash;		/* by @task; RCU */
	struct rcu_head rcu;
};

/* A vCPU. Lives from the first guest entry that the module sees to the destruction of its VM. */
struct kvmgang_vcpu {
	raw_spinlock_t lock;		/* protects the members down to @preempted */
	struct kvmgang_thread *thread;	/* serves the vCPU; NULL: none does */
	struct kvmgang_account account;
	struct kvmgang_displaced displaced;
	u64 departed;			/* when it left its pCPU, ns, by the scheduler's stamp */
	int cpu;			/* that it runs on or ran on last */
	bool preempted;			/* left its pCPU while runnable */

	struct kvmgang_vm *vm;
	struct kvm_vcpu *key;		/* identity only, never followed outside KVM_RUN */
	u32 id;
	u32 index;			/* among those of its VM, as KVM made them: 0, 1, ... */
	struct hlist_node hash;		/* by @key; RCU; registry_lock */
	struct list_head link;		/* in kvmgang_vm::vcpus */
	struct kobject *dir;		/* in sysfs; the worker's */
	struct rcu_head rcu;
};

struct kvmgang_vm {
	u32 id;
	u32 nr_vcpus;			/* registry_lock */
	bool dead;			/* registry_lock; KVM destroyed it, removal is under way */
	struct kvm *key;		/* identity only, never followed */
	struct pid *pid;		/* of the VMM */
	u64 home_nodes;			/* bit n: node n; vm_set_home() */
	int memory_node;		/* or NUMA_NO_NODE; thread_memory() */
	struct kvmgang_vm_settings settings;	/* policy.c */
	u64 born;			/* ns */
	atomic64_t forced_idle;		/* ns; vcpu_forced_idle() */
	struct list_head vcpus;		/* only grows; registry_lock to add */
	struct list_head link;		/* in vms; vms_rwsem for writing to remove */
	struct list_head changed;	/* in changed_vms; registry_lock */
	struct hlist_node hash;		/* by @key; RCU; registry_lock */
	struct hlist_node id_hash;	/* by @id; RCU; registry_lock */
	struct kobject *dir;		/* in sysfs; the worker's */
	struct kobject *vcpus_dir;
	struct kobject *policy_dir;
	struct rcu_head rcu;
};

extern struct rw_semaphore vms_rwsem;
extern struct list_head vms;		/* of struct kvmgang_vm; dead ones are to be skipped */

/* Once each, at insmod and rmmod; may sleep. At vcpu_exit() nothing may call in any more. */
int vcpu_init(void);
void vcpu_exit(void);

/* Current counts; any context. */
u32 vcpu_nr_vms(void);
u32 vcpu_nr_vcpus(void);
u64 vcpu_nr_refused(void);

/* A pCPU was idle for @ns because VM @vm_id, which may be gone, is isolated. Any context. */
void vcpu_forced_idle(u32 vm_id, u64 ns);
u64 vcpu_host_forced_idle(void);

/* A vCPU cannot be accounted at this entry. */
void vcpu_count_refused(void);

/*
 * The living VM with @id, NULL if there is none. RCU read section; it remains as long as vms_rwsem
 * was held before, too.
 */
struct kvmgang_vm *vm_by_id(u32 id);

/* From now on @vm is at home on @nodes, its running vCPUs too. Caller serialises; any context. */
void vm_set_home(struct kvmgang_vm *vm, u64 nodes);

/* Is @cpu off the home nodes of @vcpu's VM? */
static inline bool vcpu_is_remote(const struct kvmgang_vcpu *vcpu, int cpu)
{
	int node = cpu_to_node(cpu);

	return node >= 64 || !(READ_ONCE(vcpu->vm->home_nodes) & BIT_ULL(node));
}

/*
 * The record of @vcpu, in KVM_RUN on this thread; made if there is none. NULL without memory or
 * beyond a maximum. Interrupts off; does not sleep.
 */
struct kvmgang_vcpu *vcpu_get(struct kvm_vcpu *key);

/* KVM destroys @kvm: what is known of it and of its vCPUs goes. Any context. */
void vcpu_destroy_vm(const struct kvm *kvm);

/* Fills @row with a complete account of @vcpu. Caller holds vms_rwsem or a reference. */
void vcpu_read(struct kvmgang_vcpu *vcpu, struct kvmgang_vcpu_row *row);

/*
 * Brings the account of @vcpu up to @now: for reads KVMGANG_READ_LAG_NS ago, the present where it
 * is sure that no switch and no wake-up is under way. Caller holds its lock.
 */
void vcpu_settle(struct kvmgang_vcpu *vcpu, u64 now);

/* From now on no thread serves @vcpu. Caller holds its lock. */
void vcpu_unbind(struct kvmgang_vcpu *vcpu, u64 now);

#endif /* KVMGANG_VCPU_H */
