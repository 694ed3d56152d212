/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the user, or a VM's cgroup, wants of a VM: a copy of the module's settings, made anew when
 * any of them has changed. Whoever looks at a thread has its VM's copy brought up to date. But who
 * waits is looked at when he has run again, and what he must not run beside is to be known before:
 * so at a tick that finds a change a worker does it for all.
 */
#ifndef KVMGANG_POLICY_BPF_H
#define KVMGANG_POLICY_BPF_H

#include "isolate.bpf.h"
#include "kmod/kfunc.h"
#include "ready.bpf.h"
#include "worker.bpf.h"

u64 kvmgang_policy_generation(void) __ksym;
int kvmgang_vm_policy(u32 vm_id, struct kvmgang_vm_policy *out, u32 out__sz) __ksym;

/* enum kvmgang_gang, whose header cannot be had beside vmlinux.h. */
enum { GANG_OFF, GANG_RELAXED, GANG_STRICT, GANG_AUTO };

/* enum kvmgang_latency. */
enum { LATENCY_NORMAL, LATENCY_SENSITIVE };

/* enum kvmgang_isolation. */
enum { ISOLATION_NONE, ISOLATION_CORE };

#define NSEC_PER_USEC	1000ULL

/*
 * Without any co-stop a vCPU that shares its pCPU with others might wait for good while its VM, by
 * the siblings, gets all that it is entitled to. So what is not to be held back is, but late.
 */
#define MOST_SKEW_NS	(1000000 * NSEC_PER_USEC)

/* Two pCPUs may read the same change; one of them counts it. */
static void target_set(struct vm *vm, u32 target)
{
	u32 old = __sync_lock_test_and_set(&vm->target, target);

	if (!old && target)
		__sync_fetch_and_add(&targets, 1);
	else if (old && !target)
		__sync_fetch_and_sub(&targets, 1);
}

/* Changes while it is read are seen next time: the generation is older than what is read. */
__noinline int policy_read(u32 vm_id)
{
	struct kvmgang_vm_policy policy = {};
	u64 generation = kvmgang_policy_generation();
	struct vm *vm = vm_of(vm_id);
	u32 told = vm ? *(volatile u32 *)&vm->told : 0;

	if (!vm || kvmgang_vm_policy(vm_id, &policy, sizeof(policy)))
		return 0;
	vm->shares = policy.shares;
	vm->gang = policy.gang;
	vm->costop_ns = policy.costop_us * NSEC_PER_USEC;
	vm->costart_ns = policy.costart_us * NSEC_PER_USEC;
	vm->limit = policy.limit;
	vm->reservation = policy.reservation;
	target_set(vm, policy.ready_target);
	vm->sensitive = policy.latency == LATENCY_SENSITIVE;
	if (vm->sensitive) {
		vm->costop_ns = MOST_SKEW_NS;
		vm->costart_ns = MOST_SKEW_NS;
	}
	isolate(vm, policy.isolation == ISOLATION_CORE);
	if (vm->wanted_nodes != policy.home_nodes)
		vm->home_looked_at = 0;
	vm->wanted_nodes = policy.home_nodes;
	vm->known_home = policy.home;
	vm->generation = generation;
	vm->told_seen = told;
	return 0;
}

static void policy_refresh(const struct vm *vm, u32 vm_id)
{
	if (vm->generation != kvmgang_policy_generation() || vm->told_seen != vm->told)
		policy_read(vm_id);
}

static long refresh_one(struct bpf_map *map, u32 *key, struct vm *vm, u64 *left)
{
	if (!vm_is_alive(vm))
		return 0;
	policy_refresh(vm, vm->id);
	return vm_is_last(left);
}

static int refresh_policies(void *map, int *key, void *value)
{
	u64 left = nr_vms();

	bpf_for_each_map_elem(&vms, refresh_one, &left, 0);
	bpf_for_each_map_elem(&displaced_vms, refresh_one, &left, 0);
	return 0;
}

/* For which generation that was done, or is being done. */
__u64 policies_seen;

static void policies_look(void)
{
	u64 seen = policies_seen, generation = kvmgang_policy_generation();

	if (generation != seen &&
	    __sync_val_compare_and_swap(&policies_seen, seen, generation) == seen)
		worker_start(POLICY_WORKER);
}

/*
 * One of a single vCPU does like any other: as a solo task it would share in what all those get.
 * And one that has a limit, or cgroups above it do, since among the solo tasks it could not be held
 * back; and one that is isolated, since it is given whole cores.
 */
static bool vm_gangs(const struct vm *vm)
{
	if (vm->limit || vm->squeeze || vm->limited || vm->isolated)
		return true;
	return vm->gang == GANG_AUTO ? !vm->sleepy : vm->gang != GANG_OFF;
}

/* Its vCPUs run in its windows only, unless nobody else wants the pCPUs. */
static bool is_strict(const struct vm *vm)
{
	return vm->gang == GANG_STRICT;
}

#endif /* KVMGANG_POLICY_BPF_H */
