// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest scheduler that can hold a vCPU back: a global FIFO, beside which the vCPUs of one VM
 * are parked while userspace wants that.
 *
 * It is a fixture of test_hold and no policy: no fairness, no locality, and whoever is parked stays
 * until the word changes, or until the watchdog ends the scheduler. Userspace changes @hold_state
 * while the scheduler runs; that it is seen some microseconds later does no harm.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "../kmod/kfunc.h"

#define SHARED_DSQ	0
#define PARKED_DSQ	1

/* Shorter than the default, so that a vCPU that spins can soon be parked. */
#define SLICE_NS	5000000ULL

/* enum kvmgang_state, whose header cannot be had beside vmlinux.h. */
#define KVMGANG_READY	1
#define KVMGANG_COSTOP	2

u32 kvmgang_kfunc_abi(void) __ksym;
u32 kvmgang_task_vm(s32 tid) __ksym;
int kvmgang_hold(s32 tid, u32 state) __ksym;
int kvmgang_release(s32 tid) __ksym;
u64 kvmgang_policy_generation(void) __ksym;
int kvmgang_vm_policy(u32 vm_id, struct kvmgang_vm_policy *out, u32 out__sz) __ksym;
int kvmgang_set_home(u32 vm_id, u64 nodes) __ksym;
int kvmgang_set_cgroup(u32 vm_id, u32 key, u64 value) __ksym;

/* v6.13 renamed these three: the kernel that runs has the ones or the others. */
void scx_bpf_dsq_insert___v613(struct task_struct *p, u64 dsq, u64 slice, u64 flags) __ksym __weak;
void scx_bpf_dispatch___v612(struct task_struct *p, u64 dsq, u64 slice, u64 flags) __ksym __weak;
bool scx_bpf_dsq_move___v613(struct bpf_iter_scx_dsq *it, struct task_struct *p, u64 dsq,
			     u64 flags) __ksym __weak;
bool scx_bpf_dispatch_from_dsq___v612(struct bpf_iter_scx_dsq *it, struct task_struct *p, u64 dsq,
				      u64 flags) __ksym __weak;
bool scx_bpf_dsq_move_to_local___v613(u64 dsq) __ksym __weak;
bool scx_bpf_consume___v612(u64 dsq) __ksym __weak;

static void insert(struct task_struct *p, u64 dsq, u64 slice, u64 flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_insert___v613))
		scx_bpf_dsq_insert___v613(p, dsq, slice, flags);
	else
		scx_bpf_dispatch___v612(p, dsq, slice, flags);
}

static void move(struct bpf_iter_scx_dsq *it, struct task_struct *p, u64 dsq)
{
	if (bpf_ksym_exists(scx_bpf_dsq_move___v613))
		scx_bpf_dsq_move___v613(it, p, dsq, 0);
	else
		scx_bpf_dispatch_from_dsq___v612(it, p, dsq, 0);
}

static void move_to_local(u64 dsq)
{
	if (bpf_ksym_exists(scx_bpf_dsq_move_to_local___v613))
		scx_bpf_dsq_move_to_local___v613(dsq);
	else
		scx_bpf_consume___v612(dsq);
}

char _license[] SEC("license") = "GPL";

/* From userspace, whose header of these has no u32. */
__u32 held_vm;
__u32 hold_state;		/* 0: nobody is held */

/*
 * What is told of a VM when @tell is set, which happens once. Userspace has no name for u64.
 */
__u32 asked_vm;
__u32 tell;
__u64 told_nodes;
__u32 told_key;
__u64 told_value;

/* To userspace. */
int set_home_result, set_cgroup_result;
__u32 nr_told;
__u64 policy_generation;
/* A struct in the skeleton would be one that the test cannot know. */
struct {
	__u64 generation, home_nodes, home;
	__u32 shares, gang, costop_us, costart_us, limit, reservation, latency, ready_target;
	__u32 isolation;
} policy;
int policy_result;
int policy_of_bad_size;
__u32 nr_asked;
__u32 kfunc_abi;
__u64 nr_hold_errors;		/* of calls that ought to have worked */
int hold_of_no_vcpu;		/* what calls that ought to fail returned last */
int hold_of_bad_state;
int release_of_no_vcpu;
int exit_kind;
char exit_message[256];

static bool is_held(struct task_struct *p)
{
	return hold_state && kvmgang_task_vm(p->pid) == held_vm;
}

static void misuse_kfuncs(struct task_struct *p)
{
	if (kvmgang_task_vm(p->pid)) {
		hold_of_bad_state = kvmgang_hold(p->pid, KVMGANG_READY);
	} else {
		hold_of_no_vcpu = kvmgang_hold(p->pid, KVMGANG_COSTOP);
		release_of_no_vcpu = kvmgang_release(p->pid);
	}
}

static void ask_and_tell(void)
{
	struct kvmgang_vm_policy got = {};

	if (!asked_vm)
		return;
	if (tell && __sync_val_compare_and_swap(&tell, 1, 0)) {
		set_home_result = kvmgang_set_home(asked_vm, told_nodes);
		set_cgroup_result = kvmgang_set_cgroup(asked_vm, told_key, told_value);
		__sync_fetch_and_add(&nr_told, 1);
	}
	policy_generation = kvmgang_policy_generation();
	policy_of_bad_size = kvmgang_vm_policy(asked_vm, &got, sizeof(got) - 8);
	policy_result = kvmgang_vm_policy(asked_vm, &got, sizeof(got));
	policy.generation = got.generation;
	policy.home_nodes = got.home_nodes;
	policy.home = got.home;
	policy.shares = got.shares;
	policy.gang = got.gang;
	policy.costop_us = got.costop_us;
	policy.costart_us = got.costart_us;
	policy.limit = got.limit;
	policy.reservation = got.reservation;
	policy.latency = got.latency;
	policy.ready_target = got.ready_target;
	policy.isolation = got.isolation;
	__sync_fetch_and_add(&nr_asked, 1);
}

SEC("struct_ops/hold_select_cpu")
s32 BPF_PROG(hold_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool is_idle = false;
	s32 cpu;

	if (is_held(p))
		return prev_cpu;
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle)
		insert(p, SCX_DSQ_LOCAL, SLICE_NS, 0);
	return cpu;
}

SEC("struct_ops/hold_enqueue")
void BPF_PROG(hold_enqueue, struct task_struct *p, u64 enq_flags)
{
	misuse_kfuncs(p);
	ask_and_tell();
	if (is_held(p)) {
		if (kvmgang_hold(p->pid, hold_state))
			__sync_fetch_and_add(&nr_hold_errors, 1);
		insert(p, PARKED_DSQ, SLICE_NS, enq_flags);
	} else if (enq_flags & SCX_ENQ_LAST) {
		/* There is no other task for this CPU, so it would not come to look for one. */
		insert(p, SCX_DSQ_LOCAL, SLICE_NS, enq_flags);
	} else {
		insert(p, SHARED_DSQ, SLICE_NS, enq_flags);
	}
}

/*
 * Dispatch is allowed to move tasks, and some CPU calls it all the time. An idle CPU is not told:
 *
 * - Debian's 7.2.12 has a scx_bpf_kick_cpu() that no program can call; its BTF lacks the variant
 *   with the implicit argument.
 * - To insert into its local DSQ would wake it, but with a run queue clock as old as its sleep
 *   (7.2: local_dsq_post_enq() calls wakeup_preempt(), which skips the clock's update), and then
 *   run_delay lacks that time.
 *
 * The test's thread visits that CPU instead, which makes it call dispatch itself.
 */
static void release_parked(void)
{
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, PARKED_DSQ, 0) {
		if (kvmgang_release(p->pid))
			__sync_fetch_and_add(&nr_hold_errors, 1);
		move(&___it, p, SHARED_DSQ);
	}
}

SEC("struct_ops/hold_dispatch")
void BPF_PROG(hold_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!hold_state)
		release_parked();
	move_to_local(SHARED_DSQ);
}

SEC("struct_ops.s/hold_init")
s32 BPF_PROG(hold_init)
{
	s32 err;

	kfunc_abi = kvmgang_kfunc_abi();
	err = scx_bpf_create_dsq(SHARED_DSQ, -1);
	return err ?: scx_bpf_create_dsq(PARKED_DSQ, -1);
}

SEC("struct_ops/hold_exit")
void BPF_PROG(hold_exit, struct scx_exit_info *info)
{
	bpf_probe_read_kernel_str(exit_message, sizeof(exit_message), info->msg);
	exit_kind = info->kind;
}

SEC(".struct_ops.link")
struct sched_ext_ops hold_ops = {
	.select_cpu	= (void *)hold_select_cpu,
	.enqueue	= (void *)hold_enqueue,
	.dispatch	= (void *)hold_dispatch,
	.init		= (void *)hold_init,
	.exit		= (void *)hold_exit,
	/* Also tasks that are alone on their CPU pass through enqueue when their slice ends. */
	.flags		= SCX_OPS_ENQ_LAST,
	.name		= "hold",
};
