/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the cgroups of a VM's vCPUs say of the VM: its shares and its limit, which the module is
 * told, so that a user's own settings count before them; and whose budgets it draws from.
 *
 * A VM's cgroup is the lowest that all its vCPUs are below, as libvirt has them one by one below
 * the VM's or all in it, unless another VM's are there, too; and those above it that hold nothing
 * else, as the scope in which libvirt makes a cgroup "libvirt". Of these the weights, relative to
 * 100, make the shares, and the least cpu.max is the limit. Weight 100, which every cgroup has that
 * nobody gave one, says nothing: then the defaults count.
 *
 * cpu.max of cgroups below, of one vCPU or of several, would stop a vCPU while its siblings spin
 * for it. So what they allow together is a limit of the VM, in which each vCPU without one counts
 * for a pCPU.
 *
 * cpu.max of cgroups above, such as machine.slice, is for several VMs and host tasks together. The
 * VM draws from it, as do host tasks (cgroup.bpf.h), and is throttled while it is used up.
 *
 * Periods and bursts of the VM's own cgroups do not count: its limit is kept as in limit.bpf.h.
 * The VMM's other threads are the host's: what they use is charged to the VM's cgroup and not to
 * its limit, so neither is stopped for what the other uses.
 *
 * All this is looked at when something was set, or a vCPU came, went or moved, by a work item and
 * not where somebody is scheduled, since it takes a walk over the VMM's threads. That another VM
 * has left the cgroup is noticed when the next thing is set, of any cgroup.
 */
#ifndef KVMGANG_VM_CGROUP_BPF_H
#define KVMGANG_VM_CGROUP_BPF_H

#include "cgroup.bpf.h"
#include "limit.bpf.h"
#include "worker.bpf.h"

int kvmgang_set_cgroup(u32 vm_id, u32 key, u64 value) __ksym;

/* enum kvmgang_key, whose header vmlinux.h does not go with. */
enum { TOLD_SHARES = 0, TOLD_LIMIT = 5 };

#define TOLD_NOTHING	(~0ULL)

/* Of a limit, in milli-pCPU: KVMGANG_MILLI_PCPU_MAX. */
#define MAX_LIMIT	(1000ULL * MAX_CPUS)

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, MAX_VMS);
	__type(value, u64);		/* id of a VM << 32 | pid of its VMM */
} wanted_reviews SEC(".maps");

/*
 * The work item's own: which review it is at, the vCPUs that it came across, what their cgroups
 * leave to them, and the cgroup of one of them. Not variables of a function: the verifier would
 * count along with them.
 */
__u64 census, census_vcpus, census_sum, census_first;

/* Milli-pCPU that @c allows; 0: any. */
static u64 rate_of(const struct cgroup_state *c)
{
	return c->quota && c->period ? c->quota * 1000 / c->period ?: 1 : 0;
}

/* One more vCPU is in @id, and below all above. */
__noinline int census_add(u64 id)
{
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);

		if (!c)
			break;
		if (c->census != census)
			c->vcpus = 0;
		c->census = census;
		c->vcpus++;
		id = c->above;
	}
	return 0;
}

/* The lowest cgroup, from @id upwards, that holds @vcpus, which is all; 0: there is none. */
__noinline u64 census_common(u64 id, u32 vcpus)
{
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);

		if (!c)
			break;
		if (c->vcpus == vcpus)
			return id;
		id = c->above;
	}
	return 0;
}

/* Milli-pCPU that the cgroups from @id upwards, but below @common, leave to one vCPU in @id. */
__noinline u64 census_rate(u64 id, u64 common)
{
	u64 least = 1000;
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);
		u64 rate;

		if (!c || id == common)
			break;
		rate = rate_of(c);
		if (rate && c->vcpus && rate / c->vcpus < least)
			least = rate / c->vcpus;
		id = c->above;
	}
	return least;
}

/* Is cgroup @id only VM @vm_id's? Whoever else thought so finds out. */
__noinline int claim_cgroup(u64 id, u32 vm_id)
{
	u64 generation = cgroup_generation;
	struct cgroup_state *c = cgroup_of(id);
	struct vm *other;

	if (!c || !c->above)
		return false;
	if (c->claimed != generation || !vm_of(c->vm_id)) {
		c->claimed = generation;
		c->vm_id = vm_id;
		c->shared = 0;
	}
	if (c->vm_id == vm_id)
		return !c->shared;
	other = vm_of(c->vm_id);
	if (other && !c->shared)
		other->cgroup_seen = NEVER_SEEN;
	c->shared = 1;
	return false;
}

/* The cgroup above @id if that holds nothing else, and is not the root; else 0. */
__noinline u64 cgroup_around(u64 id)
{
	struct cgroup *cgrp = bpf_cgroup_from_id(id), *above;
	s32 descendants, level;

	if (!cgrp)
		return 0;
	descendants = cgrp->nr_descendants;
	level = cgrp->level;
	above = level > 1 ? bpf_cgroup_ancestor(cgrp, level - 1) : NULL;
	bpf_cgroup_release(cgrp);
	if (!above)
		return 0;
	id = above->nr_descendants == descendants + 1 ? above->kn->id : 0;
	bpf_cgroup_release(above);
	return id;
}

/* What is found out of a VM. */
struct verdict {
	u64 weight;		/* in terms of 100 */
	u64 limit;		/* milli-pCPU; 0: none */
	u64 above;		/* id of the first cgroup that is not the VM's own */
};

/* Its own cgroups, from @id upwards. */
__noinline int look_at_own(u64 id, u32 vm_id, struct verdict *v __arg_nonnull)
{
	int i;

	v->above = id;
	if (!claim_cgroup(id, vm_id))
		return 0;
	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);
		u64 rate = c ? rate_of(c) : 0;

		if (!c)
			break;
		v->weight = v->weight * c->weight / FAIR_WEIGHT ?: 1;
		if (v->weight > MAX_WEIGHT)
			v->weight = MAX_WEIGHT;
		if (rate && (!v->limit || rate < v->limit))
			v->limit = rate;
		v->above = c->above;
		c->own = 1;
		id = cgroup_around(id);
	}
	return 0;
}

static void tell_settings(struct vm *vm, u32 vm_id, const struct verdict *v)
{
	u64 limit = v->limit && v->limit <= MAX_LIMIT ? v->limit : TOLD_NOTHING;

	kvmgang_set_cgroup(vm_id, TOLD_SHARES,
			   v->weight != FAIR_WEIGHT ? v->weight : TOLD_NOTHING);
	kvmgang_set_cgroup(vm_id, TOLD_LIMIT, limit);
	vm->limited = cgroup_limited(v->above);
	/* The module's generation does not tell of what it was told. */
	__sync_fetch_and_add(&vm->told, 1);
}

/* Of VM @vm_id, whose vCPUs are threads of process @pid. */
__noinline int review_vm(u32 vm_id, s32 pid)
{
	struct verdict v = { .weight = FAIR_WEIGHT };
	struct task_struct *vmm = bpf_task_from_pid(pid), *p;
	struct vm *vm = vm_of(vm_id);
	u64 common;

	if (!vmm)
		return 0;
	census++;
	census_vcpus = 0;
	census_sum = 0;
	bpf_rcu_read_lock();
	bpf_for_each(task, p, vmm, BPF_TASK_ITER_PROC_THREADS) {
		struct thread *t = thread_of(p);

		if (!t || t->vm_id != vm_id)
			continue;
		census_first = t->cgroup;
		census_vcpus++;
		census_add(t->cgroup);
	}
	common = census_common(census_first, census_vcpus);
	bpf_for_each(task, p, vmm, BPF_TASK_ITER_PROC_THREADS) {
		struct thread *t = thread_of(p);

		if (t && t->vm_id == vm_id)
			census_sum += census_rate(t->cgroup, common);
	}
	bpf_rcu_read_unlock();
	bpf_task_release(vmm);
	if (!vm || !census_vcpus)
		return 0;
	if (census_sum < 1000 * census_vcpus)
		v.limit = census_sum ?: 1;
	look_at_own(common, vm_id, &v);
	tell_settings(vm, vm_id, &v);
	return 0;
}

/* Has cgroup @id, which now has one more below it, held nothing but a VM? */
static bool cgroup_is_own(u64 id)
{
	struct cgroup_state *c = cgroup_of(id);

	return c && c->own;
}

/* Runs where it may sleep, and never twice at a time. */
static int review_cgroups(void *map, int *key, void *value)
{
	u64 wanted;
	int i;

	bpf_for(i, 0, MAX_VMS) {
		if (bpf_map_pop_elem(&wanted_reviews, &wanted))
			break;
		review_vm(wanted >> 32, (u32)wanted);
	}
	return 0;
}

/* Has the cgroups of @vm, which is that of vCPU @t, looked at if there is something new. */
static void vm_cgroup_refresh(const struct task_struct *p, struct thread *t, struct vm *vm)
{
	u64 generation = *(volatile u64 *)&cgroup_generation;
	u64 wanted = (u64)t->vm_id << 32 | (u32)p->tgid;

	t->limited = vm->limited;
	if (vm->cgroup_seen == generation)
		return;
	if (bpf_map_push_elem(&wanted_reviews, &wanted, BPF_ANY))
		return;
	vm->cgroup_seen = generation;
	worker_start(REVIEW_WORKER);
}

/* Has a budget above @vm been used up? Then all of it stops. */
static void vm_cgroup_check(const struct thread *t, u64 now)
{
	u64 until = t->limited && t->side != SOLO ? cgroup_next(t->limited, now) : 0;

	if (until)
		throttle_until(t->side, now, until);
}

#endif /* KVMGANG_VM_CGROUP_BPF_H */
