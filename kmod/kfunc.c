// SPDX-License-Identifier: GPL-2.0
/*
 * What a sched_ext scheduler may ask about vCPUs, and tell about those that it holds back. What the
 * kernel cannot tell apart, a vCPU that waits because pCPUs are busy and one that waits because the
 * scheduler wants it to, becomes ready, costop or throttled time by these.
 *
 * All may be called from any struct_ops program, with run queue locks held; none sleeps.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>

#include <linux/kvmgang.h>

#include "kfunc.h"
#include "thread.h"

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
 * @p: any task
 *
 * Return: the id of the VM whose vCPU @p serves, 0 if it serves none.
 */
__bpf_kfunc u32 kvmgang_task_vm(struct task_struct *p)
{
	return thread_vm(p);
}

/**
 * kvmgang_hold - from now on a runnable vCPU waits because the scheduler wants it to
 * @p: the vCPU's thread
 * @state: KVMGANG_COSTOP or KVMGANG_THROTTLED
 *
 * The hold ends with kvmgang_release(), or by itself when @p runs. A second hold replaces the
 * first.
 *
 * Return: 0; -EINVAL: another @state; -ENOENT: @p serves no vCPU.
 */
__bpf_kfunc int kvmgang_hold(struct task_struct *p, u32 state)
{
	if (state != KVMGANG_COSTOP && state != KVMGANG_THROTTLED)
		return -EINVAL;
	return thread_hold(p, state);
}

/**
 * kvmgang_release - a held vCPU may run; what it still waits is ready time
 * @p: the vCPU's thread; it need not be held
 *
 * Return: 0; -ENOENT: @p serves no vCPU.
 */
__bpf_kfunc int kvmgang_release(struct task_struct *p)
{
	return thread_hold(p, 0);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(kvmgang_kfunc_ids)
BTF_ID_FLAGS(func, kvmgang_kfunc_abi)
BTF_ID_FLAGS(func, kvmgang_task_vm, KF_RCU)
BTF_ID_FLAGS(func, kvmgang_hold, KF_RCU)
BTF_ID_FLAGS(func, kvmgang_release, KF_RCU)
BTF_KFUNCS_END(kvmgang_kfunc_ids)

static const struct btf_kfunc_id_set kfunc_set = {
	.owner = THIS_MODULE,
	.set = &kvmgang_kfunc_ids,
};

int kfunc_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS, &kfunc_set);
}
