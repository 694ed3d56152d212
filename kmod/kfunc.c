// SPDX-License-Identifier: GPL-2.0
/*
 * What a sched_ext scheduler may ask about vCPUs and what their VMs are to get, and tell about
 * those that it holds back. What the kernel cannot tell apart, a vCPU that waits because pCPUs are
 * busy and one that waits because the scheduler wants it to, becomes ready, costop or throttled
 * time by these.
 *
 * A vCPU is named by the tid of its thread, p->pid as BPF sees it, and not by its task_struct: for
 * a pointer the verifier wants the module's BTF of task_struct to be the kernel's very own type,
 * and whether pahole finds that out depends on its version and on what else the module includes.
 *
 * All may be called from any struct_ops program, with run queue locks held; none sleeps.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/topology.h>

#include <linux/kvmgang.h>

#include "kfunc.h"
#include "policy.h"
#include "resched.h"
#include "thread.h"
#include "vcpu.h"

/* RCU read section. */
static struct task_struct *task_of(s32 tid)
{
	return pid_task(find_pid_ns(tid, &init_pid_ns), PIDTYPE_PID);
}

static int hold(s32 tid, u32 state)
{
	struct task_struct *p;

	guard(rcu)();
	p = task_of(tid);
	return p ? thread_hold(p, state) : -ENOENT;
}

__bpf_kfunc_start_defs();

/**
 * kvmgang_kfunc_abi - version of these kfuncs
 *
 * Return: KVMGANG_KFUNC_ABI of the module that is loaded.
 */
__bpf_kfunc u32 kvmgang_kfunc_abi(void)
{
	return KVMGANG_KFUNC_ABI;
}

/**
 * kvmgang_task_vm - whose vCPU is this?
 * @tid: any thread's, in the initial pid namespace
 *
 * Return: the id of the VM whose vCPU the thread serves, 0 if it serves none.
 */
__bpf_kfunc u32 kvmgang_task_vm(s32 tid)
{
	struct task_struct *p;

	guard(rcu)();
	p = task_of(tid);
	return p ? thread_vm(p) : 0;
}

/**
 * kvmgang_task_vcpu - which of its VM's vCPUs is this?
 * @tid: of the vCPU's thread, in the initial pid namespace
 *
 * Return: its place in the order in which KVM made them: 0, 1, ... without gaps; -ENOENT: the
 * thread serves no vCPU.
 */
__bpf_kfunc s32 kvmgang_task_vcpu(s32 tid)
{
	struct task_struct *p;

	guard(rcu)();
	p = task_of(tid);
	return p ? thread_index(p) : -ENOENT;
}

/**
 * kvmgang_task_memory - where is the memory of the VM whose vCPU this is?
 * @tid: of the vCPU's thread, in the initial pid namespace
 *
 * It is looked when the vCPU enters the guest the next time, and told the next time that it is
 * asked of any of the VM's. What that costs the vCPU, some ten microseconds, is for now and then.
 *
 * Return: the NUMA node that has at least three quarters of it; -1: none has, too little of it is
 * there yet, it was not looked yet, or the thread serves no vCPU.
 */
__bpf_kfunc s32 kvmgang_task_memory(s32 tid)
{
	struct task_struct *p;

	guard(rcu)();
	p = task_of(tid);
	return p ? thread_memory(p) : NUMA_NO_NODE;
}

/**
 * kvmgang_hold - from now on a runnable vCPU waits because the scheduler wants it to
 * @tid: of the vCPU's thread, in the initial pid namespace
 * @state: KVMGANG_COSTOP or KVMGANG_THROTTLED
 *
 * The hold ends with kvmgang_release(), or by itself when the vCPU runs. A second hold replaces the
 * first.
 *
 * Return: 0; -EINVAL: another @state; -ENOENT: the thread serves no vCPU.
 */
__bpf_kfunc int kvmgang_hold(s32 tid, u32 state)
{
	if (state != KVMGANG_COSTOP && state != KVMGANG_THROTTLED)
		return -EINVAL;
	return hold(tid, state);
}

/**
 * kvmgang_release - a held vCPU may run; what it still waits is ready time
 * @tid: of the vCPU's thread, which need not be held
 *
 * Return: 0; -ENOENT: the thread serves no vCPU.
 */
__bpf_kfunc int kvmgang_release(s32 tid)
{
	return hold(tid, 0);
}

/**
 * kvmgang_resched_cpu - has a pCPU ask its scheduler again as soon as possible
 * @cpu: an online pCPU, idle or not
 *
 * What the calling program has inserted into queues is there when it asks.
 *
 * Return: 0; -EINVAL: no such pCPU.
 */
__bpf_kfunc int kvmgang_resched_cpu(s32 cpu)
{
	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu))
		return -EINVAL;
	resched_cpu_soon(cpu);
	return 0;
}

/**
 * kvmgang_resched_at - has this pCPU ask its scheduler again at an exact time
 * @at: ns of bpf_ktime_get_ns(); 0: not by time
 *
 * One time for each pCPU: a later call replaces it. The task that runs then must have no slice left
 * for ops.dispatch() to be called.
 */
__bpf_kfunc void kvmgang_resched_at(u64 at)
{
	resched_this_cpu_at(at);
}

/**
 * kvmgang_core_of - which core is this pCPU a hardware thread of?
 * @cpu: any pCPU
 *
 * Return: the first pCPU of the core; -EINVAL: no such pCPU.
 */
__bpf_kfunc s32 kvmgang_core_of(s32 cpu)
{
	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_possible(cpu))
		return -EINVAL;
	/* Of one that is offline the mask may be empty. */
	return min_t(u32, cpumask_first(topology_sibling_cpumask(cpu)), cpu);
}

/**
 * kvmgang_forced_idle - a pCPU has been idle though somebody waited whom it could have run
 * @vm_id: the VM because of whose isolation that was; it may have gone since
 * @ns: for how long
 *
 * Accounted to the VM and to the host.
 *
 * Return: 0.
 */
__bpf_kfunc int kvmgang_forced_idle(u32 vm_id, u64 ns)
{
	vcpu_forced_idle(vm_id, ns);
	return 0;
}

/**
 * kvmgang_policy_generation - has a user changed anything?
 *
 * Return: a number, never 0, that grows with every change of a VM's settings or the defaults by a
 * user. What the scheduler itself tells does not count.
 */
__bpf_kfunc u64 kvmgang_policy_generation(void)
{
	return policy_generation();
}

/**
 * kvmgang_vm_policy - what a VM is to get
 * @vm_id: the VM
 * @out: filled in
 * @out__sz: sizeof(struct kvmgang_vm_policy)
 *
 * Takes no lock and does not depend on the number of VMs.
 *
 * Return: 0; -EINVAL: another @out__sz; -ENOENT: no such VM (any more).
 */
__bpf_kfunc int kvmgang_vm_policy(u32 vm_id, struct kvmgang_vm_policy *out, u32 out__sz)
{
	if (out__sz != sizeof(*out))
		return -EINVAL;
	return policy_for_scheduler(vm_id, out);
}

/**
 * kvmgang_set_home - the scheduler's choice of home nodes
 * @vm_id: the VM
 * @nodes: bit n: node n, which must have CPUs or memory; at least one
 *
 * It counts while the VM's home_nodes are auto, and is remembered while they are not. The choice
 * outlives the scheduler. Looks at every vCPU of the VM: not for every switch.
 *
 * Return: 0; -ERANGE: other @nodes; -ENOENT: no such VM.
 */
__bpf_kfunc int kvmgang_set_home(u32 vm_id, u64 nodes)
{
	return policy_tell_home(vm_id, nodes);
}

/**
 * kvmgang_set_cgroup - what a VM's cgroup says about it
 * @vm_id: the VM
 * @key: KVMGANG_KEY_SHARES, for cpu.weight; KVMGANG_KEY_LIMIT, for cpu.max
 * @value: in the key's range; U64_MAX: the cgroup says nothing
 *
 * It counts for a VM of which the user has not set @key, and outlives the scheduler. Which cgroup
 * is the VM's, of those that its threads are in and their ancestors, the scheduler knows. A limit
 * that comes this way may be below what the user has reserved for the VM.
 *
 * Return: 0; -EINVAL: another @key; -ERANGE: another @value; -ENOENT: no such VM.
 */
__bpf_kfunc int kvmgang_set_cgroup(u32 vm_id, u32 key, u64 value)
{
	return policy_tell_cgroup(vm_id, key, value);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(kvmgang_kfunc_ids)
BTF_ID_FLAGS(func, kvmgang_kfunc_abi)
BTF_ID_FLAGS(func, kvmgang_task_vm)
BTF_ID_FLAGS(func, kvmgang_task_vcpu)
BTF_ID_FLAGS(func, kvmgang_task_memory)
BTF_ID_FLAGS(func, kvmgang_hold)
BTF_ID_FLAGS(func, kvmgang_release)
BTF_ID_FLAGS(func, kvmgang_resched_cpu)
BTF_ID_FLAGS(func, kvmgang_resched_at)
BTF_ID_FLAGS(func, kvmgang_core_of)
BTF_ID_FLAGS(func, kvmgang_forced_idle)
BTF_ID_FLAGS(func, kvmgang_policy_generation)
BTF_ID_FLAGS(func, kvmgang_vm_policy)
BTF_ID_FLAGS(func, kvmgang_set_home)
BTF_ID_FLAGS(func, kvmgang_set_cgroup)
BTF_KFUNCS_END(kvmgang_kfunc_ids)

static const struct btf_kfunc_id_set kfunc_set = {
	.owner = THIS_MODULE,
	.set = &kvmgang_kfunc_ids,
};

int kfunc_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS, &kfunc_set);
}
