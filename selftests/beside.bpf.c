// SPDX-License-Identifier: GPL-2.0
/*
 * Who runs beside whom: for how long a hardware thread ran a task that must not run beside what
 * another thread of its core ran, by the switches that the kernel traces.
 *
 * It knows what userspace has told it, which tid is a vCPU of which VM, which VMs are isolated, and
 * which pCPUs are a core, and nothing of any scheduler. Two stays on two threads of a core overlap
 * once, and whichever ends first counts that. Idle and other kernel threads, and what is above the
 * fair classes, are nobody, beside whom everybody may run.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MAX_CPUS	64
#define MAX_THREADS	8		/* of a core, numbered one after the other */
#define MAX_RT_PRIO	100		/* include/linux/sched/prio.h */
#define PF_KTHREAD	0x00200000	/* include/linux/sched.h */

#define NOBODY		0
#define HOST		0xffffffffU	/* no vCPU; else a VM's id */

char _license[] SEC("license") = "GPL";

/* From userspace, which has no name for u64 and the like. */
__u32 core[MAX_CPUS];
__u64 begin;			/* nothing before counts */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} vm_of_tid SEC(".maps");

/* Threads that are one as soon as they enter the guest. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} newcomers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} isolated SEC(".maps");

/* To userspace. */
__u64 foreign_ns, longest_ns;
__u64 isolated_ns;		/* run of isolated VMs; of it ... */
__u64 together_ns;		/* ... with a sibling beside, which counts once for the two */
__u64 nr_switches;
__u32 last_cpu, last_here, last_beside;

struct stay {
	u64 since;		/* 0: from before the first switch here */
	u32 who;
};

struct core_stays {
	struct bpf_spin_lock lock;
	struct stay on[MAX_CPUS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct core_stays);
} cores SEC(".maps");

static u32 who_is(const struct task_struct *p)
{
	u32 tid = p->pid, *vm;

	if (p->flags & PF_KTHREAD || p->prio < MAX_RT_PRIO)
		return NOBODY;
	vm = bpf_map_lookup_elem(&vm_of_tid, &tid);
	return vm ? *vm : HOST;
}

static bool is_isolated(u32 who)
{
	return bpf_map_lookup_elem(&isolated, &who);
}

static bool may_not_meet(u32 a, u32 b)
{
	return a != b && a != NOBODY && b != NOBODY && (is_isolated(a) || is_isolated(b));
}

static u64 later(u64 a, u64 b)
{
	return a > b ? a : b;
}

static void count(u32 cpu, u32 here, u32 beside, u64 ns)
{
	__sync_fetch_and_add(&foreign_ns, ns);
	if (longest_ns < ns)
		longest_ns = ns;
	last_cpu = cpu;
	last_here = here;
	last_beside = beside;
}

/* What was here from @ended's beginning up to @now was so long beside what is on @other. */
static void compare(u32 cpu, const struct stay *ended, const struct stay *other, u64 now)
{
	u64 since = later(later(ended->since, other->since), begin);

	if (!other->since || since >= now)
		return;
	if (may_not_meet(ended->who, other->who))
		count(cpu, ended->who, other->who, now - since);
	else if (ended->who == other->who && is_isolated(ended->who))
		__sync_fetch_and_add(&together_ns, now - since);
}

/* Here it was @prev from before the first switch, if nobody else is known; now it is @next. */
static int change(const struct task_struct *prev, const struct task_struct *next)
{
	u32 cpu = bpf_get_smp_processor_id(), id, i;
	struct stay ended, other[MAX_THREADS] = {}, fresh = { .who = who_is(next) };
	struct core_stays *stays;

	if (cpu >= MAX_CPUS || !begin)
		return 0;
	id = core[cpu];
	stays = bpf_map_lookup_elem(&cores, &id);
	if (!stays)
		return 0;
	fresh.since = bpf_ktime_get_ns();
	bpf_spin_lock(&stays->lock);
	ended = stays->on[cpu];
	stays->on[cpu] = fresh;
	for (i = 0; i < MAX_THREADS; i++) {
		u32 sibling = id + i;

		if (sibling < MAX_CPUS && sibling != cpu)
			other[i] = stays->on[sibling];
	}
	bpf_spin_unlock(&stays->lock);
	if (!ended.since)
		ended.who = who_is(prev);
	for (i = 0; i < MAX_THREADS; i++)
		compare(cpu, &ended, &other[i], fresh.since);
	if (is_isolated(ended.who) && fresh.since > later(ended.since, begin))
		__sync_fetch_and_add(&isolated_ns, fresh.since - later(ended.since, begin));
	__sync_fetch_and_add(&nr_switches, 1);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return change(prev, next);
}

/* KVM's struct is not among the kernel's types, and not needed. */
SEC("tp_btf/kvm_entry")
int BPF_PROG(on_entry, void *vcpu, bool force_immediate_exit)
{
	struct task_struct *p = bpf_get_current_task_btf();
	u32 tid = p->pid, *known = bpf_map_lookup_elem(&newcomers, &tid), vm;

	if (!known)
		return 0;
	vm = *known;
	bpf_map_update_elem(&vm_of_tid, &tid, &vm, BPF_ANY);
	bpf_map_delete_elem(&newcomers, &tid);
	return change(p, p);
}
