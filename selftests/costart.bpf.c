// SPDX-License-Identifier: GPL-2.0
/*
 * How far apart the vCPUs of a VM start: from the first guest entry of one of them to the first of
 * the last one, in windows in which each of them got a pCPU. By the tracepoints of the kernel and
 * of KVM; it knows what userspace has told it, which tid is which vCPU of which VM, and nothing of
 * the scheduler but that windows end at multiples of their length. If meanwhile any host task came
 * or went, the last vCPU may have waited for that, and the start counts as disturbed.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "costart.h"

char _license[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct member);
} members SEC(".maps");

/* From userspace: ns, and no start counts before. */
__u64 window_ns, begin;

/* To userspace. */
__u64 starts[NR_BUCKETS];	/* by ns, in steps of BUCKET_NS; the last has all longer ones */
__u64 longest_ns;
__u64 disturbed, longest_disturbed_ns;

struct start {
	struct bpf_spin_lock lock;
	u64 window;
	u64 first;		/* ns */
	u64 there;		/* bit n: the VM's n-th vCPU */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_VMS);
	__type(key, u32);
	__type(value, struct start);
} vms SEC(".maps");

/* When a host task came or went. */
static u64 host_at;

static struct member *member_of(u32 tid)
{
	return bpf_map_lookup_elem(&members, &tid);
}

static void count(u64 first, u64 ns)
{
	const u64 most = (NR_BUCKETS - 1) * BUCKET_NS;

	if (host_at >= first) {
		__sync_fetch_and_add(&disturbed, 1);
		if (longest_disturbed_ns < ns)
			longest_disturbed_ns = ns;
		return;
	}
	if (longest_ns < ns)
		longest_ns = ns;
	/* In this order, by which the verifier knows what the place can be. */
	if (ns > most)
		ns = most;
	__sync_fetch_and_add(&starts[ns / BUCKET_NS], 1);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct member *member = member_of(next->pid);

	if (member)
		member->arrives = 1;
	if ((next->pid && !member) || (prev->pid && !member_of(prev->pid)))
		host_at = bpf_ktime_get_ns();
	return 0;
}

/* KVM's struct is not among the kernel's types, and not needed. */
SEC("tp_btf/kvm_entry")
int BPF_PROG(on_entry, void *vcpu, bool force_immediate_exit)
{
	struct member *member = member_of((u32)bpf_get_current_pid_tgid());
	u64 now = bpf_ktime_get_ns(), first = 0;
	struct start *start;
	u32 vm;

	if (!member || !member->arrives || !begin || now < begin)
		return 0;
	member->arrives = 0;
	vm = member->vm;
	start = bpf_map_lookup_elem(&vms, &vm);
	if (!start)
		return 0;
	bpf_spin_lock(&start->lock);
	if (start->window != now / window_ns) {
		start->window = now / window_ns;
		start->first = now;
		start->there = 0;
	}
	if (!(start->there >> member->nr % 64 & 1)) {
		start->there |= 1ULL << member->nr % 64;
		if (start->there == member->all)
			first = start->first;
	}
	bpf_spin_unlock(&start->lock);
	/* Who took the lock first may have read the clock last. */
	if (first)
		count(first, now > first ? now - first : 0);
	return 0;
}
