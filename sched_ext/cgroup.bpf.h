/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cpu.max and cpu.weight of cgroups, as the kernel's own scheduler would have them.
 *
 * cpu.max. A cgroup with a limit has a budget (quota.h), and a host task draws from the budgets of
 * all cgroups above it. When one of them is used up the task waits aside until there is something
 * again (park.bpf.h). The pCPUs that draw from a budget at a time share it when they reckon how
 * long it will last; each charges what it ran at each tick at the latest. What counts is
 * the run time that the kernel accounts for, as in cpu.stat: the way from task to task, too.
 *
 * cpu.weight. A host task's weight is that of its nice level times those of the cgroups above it,
 * each relative to 100. The kernel's own scheduler divides a cgroup's weight among its tasks; here
 * each task has it whole, so that a cgroup of many gets as many times as much.
 *
 * vCPUs: see vm_cgroup.bpf.h.
 *
 * A cgroup is known by its id, as the task that a pCPU runs is charged where the kernel lets no
 * program ask for a cgroup. Hence a hash and no cgroup storage. Who is above whom never changes. A
 * task keeps what follows for it from its place, until the generation says that anything changed.
 *
 * Not here: what is below a cgroup that has no cpu controller, which the kernel takes for that
 * cgroup; cpu.idle; cpu.stat, whose nr_throttled stands still.
 */
#ifndef KVMGANG_CGROUP_BPF_H
#define KVMGANG_CGROUP_BPF_H

#include "fair.h"
#include "policy.bpf.h"
#include "quota.h"

/* As many as the kernel has memory cgroups at most. */
#define MAX_CGROUPS	65536

/* Levels that count, from the task upwards; libvirt and systemd come to about six. */
#define MAX_LEVELS	32

#define NO_QUOTA	(~0ULL)		/* RUNTIME_INF of the kernel, in us */

/* For how long a task runs at least that is let go, be it because it has waited for very long. */
#define LEAST_RUN_NS	100000ULL

/* A weight, in terms of 100, is 1 to 10000 wherever one is. */
#define MAX_WEIGHT	10000

struct cgroup_state {
	u64 above;		/* id of the cgroup above; 0: this is the root */
	u32 weight;
	u64 quota, period, burst;	/* ns; quota 0: no limit */
	s64 budget;
	u64 refilled_at;	/* when the present period began */
	u64 promised;		/* ns to those that were let go in it */
	u32 running;		/* tasks on pCPUs that draw from it */
	/* See vm_cgroup.bpf.h. */
	u64 census;		/* the review that counted these: */
	u32 vcpus;		/* the VM's, here and below */
	u32 vm_id;		/* whose vCPUs all those below are, unless ... */
	u32 shared;		/* ... another VM has some, too, ... */
	u64 claimed;		/* ... as of this generation */
	u32 own;		/* this or the one below has been a VM's own */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CGROUPS);
	__type(key, u64);
	__type(value, struct cgroup_state);
} cgroups SEC(".maps");

/* Grows when something is set. */
__u64 cgroup_generation = 1;

#define NEVER_SEEN	(~0ULL)

static struct cgroup_state *cgroup_of(u64 id)
{
	return bpf_map_lookup_elem(&cgroups, &id);
}

/* The id of the cgroup above @cgrp, which is not the root. */
static u64 cgroup_above(struct cgroup *cgrp)
{
	struct cgroup *above = bpf_cgroup_ancestor(cgrp, cgrp->level - 1);
	u64 id = 0;

	if (!above)
		return 0;
	id = above->kn->id;
	bpf_cgroup_release(above);
	return id;
}

static void cgroup_changed(void)
{
	__sync_fetch_and_add(&cgroup_generation, 1);
}

/* Whoever has used a budget up begins anew with a new limit, as under the kernel's scheduler. */
static void cgroup_limit(struct cgroup_state *c, u64 period_us, u64 quota_us, u64 burst_us)
{
	c->quota = 0;
	c->period = period_us * NSEC_PER_USEC;
	c->burst = burst_us * NSEC_PER_USEC;
	c->promised = 0;
	c->refilled_at = bpf_ktime_get_ns();
	if (quota_us == NO_QUOTA || !c->period)
		return;
	c->budget = quota_us * NSEC_PER_USEC;
	c->quota = c->budget;
}

/* @ns more, or less, of a budget that others draw from at the time, none of which must be lost. */
static void cgroup_change(struct cgroup_state *c, u64 quota, s64 ns)
{
	s64 budget = __sync_fetch_and_add(&c->budget, ns) + ns;
	s64 bounded = quota_bounded(budget, quota, c->burst);

	if (bounded != budget)
		__sync_val_compare_and_swap(&c->budget, budget, bounded);
}

static void cgroup_refill(struct cgroup_state *c, u64 quota, u64 now)
{
	u64 before = c->refilled_at, periods = quota_periods(before, now, c->period);

	if (!periods || __sync_val_compare_and_swap(&c->refilled_at, before,
						    before + periods * c->period) != before)
		return;
	c->promised = 0;
	cgroup_change(c, quota, quota_earned(periods, quota));
}

/* The first cgroup that has a limit, from @id upwards; 0: none has. */
__noinline u64 cgroup_limited(u64 id)
{
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);

		if (!c)
			break;
		if (c->quota)
			return id;
		id = c->above;
	}
	return 0;
}

/* What a weight is worth at @id, in terms of 100. */
__noinline u32 cgroup_weight(u64 id)
{
	u64 weight = FAIR_WEIGHT * FAIR_WEIGHT;		/* one FAIR_WEIGHT for the fraction */
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);

		if (!c)
			break;
		weight = weight * c->weight / FAIR_WEIGHT ?: 1;
		if (weight > MAX_WEIGHT * FAIR_WEIGHT)
			weight = MAX_WEIGHT * FAIR_WEIGHT;
		id = c->above;
	}
	return weight / FAIR_WEIGHT ?: 1;
}

/* A task that draws from @id and all above ran for @ns more by @now. */
__noinline int cgroup_draw(u64 id, u64 ns, u64 now)
{
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);
		u64 quota = c ? c->quota : 0;

		if (!c)
			break;
		if (quota) {
			cgroup_refill(c, quota, now);
			cgroup_change(c, quota, -(s64)ns);
		}
		id = c->above;
	}
	return 0;
}

/* When who draws from @id and all above may go on; 0: at once. */
__noinline u64 cgroup_next(u64 id, u64 now)
{
	u64 next = 0;
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);
		u64 quota = c ? c->quota : 0, at;

		if (!c)
			break;
		if (quota)
			cgroup_refill(c, quota, now);
		if (quota && c->budget <= 0) {
			at = quota_next(c->budget, quota, c->period, c->refilled_at);
			if (at > next)
				next = at;
		}
		id = c->above;
	}
	return next;
}

/* When the first of the budgets from @id upwards will be used up as they are being used. */
__noinline u64 cgroup_ends(u64 id, u64 now)
{
	u64 least = NO_QUOTA;
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);
		u64 ns;

		if (!c)
			break;
		if (c->quota) {
			ns = quota_lasts(c->budget, c->running, LEAST_RUN_NS);
			if (ns < least)
				least = ns;
		}
		id = c->above;
	}
	return least == NO_QUOTA ? 0 : now + least;
}

/* @nr more tasks on pCPUs draw from @id and all above. */
__noinline int cgroup_count(u64 id, int nr)
{
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);

		if (!c)
			break;
		__sync_fetch_and_add(&c->running, nr);
		id = c->above;
	}
	return 0;
}

/*
 * A task that draws from @id is let go. Not 0: what there is has been promised to others, who were
 * before it, and it should ask again then. Else each of a thousand would use the budget of ten.
 */
__noinline u64 cgroup_promise(u64 id)
{
	int i;

	bpf_for(i, 0, MAX_LEVELS) {
		struct cgroup_state *c = cgroup_of(id);

		if (!c)
			break;
		if (c->quota &&
		    (s64)__sync_fetch_and_add(&c->promised, LEAST_RUN_NS) >= c->budget)
			return c->refilled_at + c->period;
		id = c->above;
	}
	return 0;
}

/* Where @t is counts for it from the next time that it is looked at. */
static void cgroup_enter(struct thread *t, u64 id)
{
	t->cgroup = id;
	t->cgroup_seen = NEVER_SEEN;
}

static void cgroup_refresh(struct thread *t)
{
	u64 generation = *(volatile u64 *)&cgroup_generation;

	if (t->cgroup_seen == generation)
		return;
	t->cgroup_seen = generation;
	t->limited = cgroup_limited(t->cgroup);
	t->weight = cgroup_weight(t->cgroup);
}

/* Of a host task. */
static u32 weight_of(const struct task_struct *p, const struct thread *t)
{
	u64 weight = (u64)p->scx.weight * (t->weight ?: FAIR_WEIGHT) / FAIR_WEIGHT;

	return weight < MAX_WEIGHT ? weight ?: 1 : MAX_WEIGHT;
}

/* What the kernel accounts for of @p, which runs or just did, since this was asked. */
static u64 cgroup_ran(const struct task_struct *p, struct thread *t)
{
	u64 before = t->accounted;

	t->accounted = p->se.sum_exec_runtime;
	return t->accounted - before;
}

/* @p begins to run. */
static void cgroup_begin(const struct task_struct *p, struct thread *t)
{
	t->accounted = p->se.sum_exec_runtime;
	if (!t->limited)
		return;
	t->drawing = t->limited;
	cgroup_count(t->drawing, 1);
}

static void cgroup_end(struct thread *t)
{
	if (!t->drawing)
		return;
	cgroup_count(t->drawing, -1);
	t->drawing = 0;
}

#endif /* KVMGANG_CGROUP_BPF_H */
