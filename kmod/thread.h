/* SPDX-License-Identifier: GPL-2.0 */
/* vCPU threads, and the hooks that follow them: see thread.c. */
#ifndef KVMGANG_THREAD_H
#define KVMGANG_THREAD_H

#include <linux/types.h>

struct task_struct;

/* At insmod and rmmod; may sleep. Afterwards no hook of the module is left anywhere. */
int thread_init(void);
void thread_exit(void);

/* The VM whose vCPU @p serves, 0 if it serves none. RCU read section. */
u32 thread_vm(const struct task_struct *p);

/*
 * The place of the vCPU that @p serves among those of its VM, in the order in which KVM made them:
 * 0, 1, ... without gaps, as ids may have. -ENOENT: @p serves none. RCU read section.
 */
int thread_index(const struct task_struct *p);

/*
 * Where most of the memory is of the VM whose vCPU @p serves, when it was looked last, or
 * NUMA_NO_NODE; it is looked again when @p enters the guest the next time. RCU read section; run
 * queue locks may be held.
 */
int thread_memory(const struct task_struct *p);

/* The thread @p serves which vCPU? -ENOENT if none. RCU read section. */
int thread_lookup(const struct task_struct *p, u32 *vm_id, u32 *vcpu_id);

/*
 * From now on the runnable vCPU that @p serves waits because of @state, KVMGANG_COSTOP or
 * KVMGANG_THROTTLED; 0: because of busy pCPUs only. It runs again: the hold is over by itself.
 * -ENOENT: @p serves no vCPU. RCU read section; run queue locks may be held.
 */
int thread_hold(struct task_struct *p, u32 state);

/* The current thread asked KVM for a directed yield, or got it. Preemption off. */
void thread_count_yield(bool honoured);

/* Is the current thread one of ours? Preemption off. */
bool thread_is_vcpu(void);

#endif /* KVMGANG_THREAD_H */
