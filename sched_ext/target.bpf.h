/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ready targets: VMs that have one are kept ready for no more than that, by throttling those of
 * their node that have none. Ten times a second it is looked how long the vCPUs waited, and from
 * that follows what all those others may use together (target.h). Those with the most shares get
 * what they want of it, then those with less; whoever gets less than he wants has a limit, his
 * squeeze, which is kept as any other is (limit.bpf.h): all vCPUs of a VM stop together. Nobody is
 * left with less than a turn a second or than is reserved for him.
 *
 * When VMs with targets want more than there is for all of them, to throttle others would help
 * nobody: it is told that the targets cannot be kept, and all compete as if there were none.
 *
 * Host tasks are not throttled, nor what VMs of other nodes do here.
 *
 * To look at all VMs takes longer than a pCPU that asks what to run may be kept waiting. A worker
 * does it, which the first one to ask wakes up when a period is over.
 */
#ifndef KVMGANG_TARGET_BPF_H
#define KVMGANG_TARGET_BPF_H

#include "limit.bpf.h"
#include "target.h"
#include "worker.bpf.h"

/* Whoever is throttled gets this at least, by which his turns come once a second. */
#define LEAST_RATE	10

/* So many periods in a row must say so before targets are given up, and before they count again. */
#define GIVE_UP_PERIODS	3
#define RESUME_PERIODS	10

/* And so many before it is told that they are missed: for a few a host task may have the pCPUs. */
#define MISSED_PERIODS	10

/* Different numbers of shares that are told apart; whoever has still less gets the least. */
#define MAX_SHARES	16

/* When the period is over. */
__u64 target_due;

/* A node in a period. Rates are milli-pCPU. The worker's own, as is what follows. */
struct looking {
	u32 node;
	u32 nr_cpus;
	u64 ns;			/* how long the period was */
	s64 above;		/* of those that waited too long: for how much together; permille */
	s64 below;		/* else of the one that is nearest to it */
	u64 aim;		/* what all should wait together; permille */
	u64 allowed;		/* and may */
	u64 want;		/* VMs with targets */
	u64 used, least;	/* others: what they did use, and what they must have */
	u64 total;		/* all who run here, ... */
	u64 beside;		/* ... and those who are none of these VMs */
	/* While what others may use is being given away: */
	u64 left;
	u32 below_shares;	/* those that have so many or more have theirs */
	u32 shares;		/* the most of the rest, ... */
	u64 wanted;		/* ... and what those want who have so many */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_NODES);
	__type(key, u32);
	__type(value, struct looking);
} lookings SEC(".maps");

/* The VMs that have no target. To walk through this is far quicker than through the map of all. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_VMS);
	__type(key, u32);
	__type(value, u32);
} others SEC(".maps");

__u32 nr_others;

static struct looking *looking_at(u32 node)
{
	return bpf_map_lookup_elem(&lookings, &node);
}

static u64 period_rate(const struct looking *l, u64 ns)
{
	return ns * 1000 / (l->ns ?: 1);
}

static u32 vm_width(const struct looking *l, const struct vm *vm)
{
	return vm->threads < l->nr_cpus ? vm->threads : l->nr_cpus;
}

static u64 vm_least(const struct vm *vm)
{
	return vm->reservation > LEAST_RATE ? vm->reservation : LEAST_RATE;
}

static void look_at_target(struct looking *l, struct vm *vm, u64 rate)
{
	u64 width = vm_width(l, vm), most = 1000ULL * vm->threads, worst, want;
	s64 excess;

	worst = period_rate(l, __sync_lock_test_and_set(&vm->ready_worst, 0));
	want = rate + period_rate(l, __sync_lock_test_and_set(&vm->ready, 0));
	vm->ready_period++;
	vm->squeeze = 0;
	/* Waits that ended in this period, but may have begun before it. */
	if (worst > 1000)
		worst = 1000;
	excess = (s64)(width * worst) - (s64)(width * target_aim(vm->target));
	if (excess > 0)
		l->above += excess;
	else if (!l->aim || l->below < excess)
		l->below = excess;
	l->aim += width * target_aim(vm->target);
	l->allowed += width * vm->target;
	l->want += want < most ? want : most;
}

/* What @vm may use if it is not held: a little more than it did, or if it was held, all it can. */
static void look_at_other(struct looking *l, struct vm *vm, u64 rate)
{
	u64 least = vm_least(vm);

	l->used += rate;
	l->least += least;
	vm->wants = rate + rate / 8;
	if (vm->throttled || vm->squeezed)
		vm->wants = 1000 * vm_width(l, vm);
	if (vm->wants < least)
		vm->wants = least;
	vm->squeezed = 0;
}

static long look_at_vm(struct bpf_map *map, u32 *key, struct vm *vm, u64 *left)
{
	struct looking *l = looking_at(vm->part[0]);
	u64 rate;

	if (!l || !vm_is_alive(vm))
		return 0;
	rate = period_rate(l, __sync_lock_test_and_set(&vm->ran, 0));
	if (vm->target) {
		look_at_target(l, vm, rate);
		return vm_is_last(left);
	}
	look_at_other(l, vm, rate);
	if (!bpf_map_update_elem(&others, &nr_others, &vm->id, BPF_ANY))
		nr_others++;
	return vm_is_last(left);
}

/* The @i-th of all that have no target, if @l's node is its home. */
static struct vm *other_at(const struct looking *l, u32 i)
{
	u32 *vm_id = bpf_map_lookup_elem(&others, &i);
	struct vm *vm = vm_id ? vm_of(*vm_id) : NULL;

	return vm && vm->part[0] == l->node && !vm->target ? vm : NULL;
}

/* The most shares that are fewer than those of who has his part. */
__noinline int find_level(u32 node)
{
	struct looking *l = looking_at(node);
	int i;

	if (!l)
		return 0;
	l->shares = 0;
	bpf_for(i, 0, nr_others) {
		struct vm *vm = other_at(l, i);

		if (!vm || vm->shares >= l->below_shares || vm->shares < l->shares)
			continue;
		if (vm->shares > l->shares)
			l->wanted = 0;
		l->shares = vm->shares;
		l->wanted += vm->wants;
	}
	return 0;
}

/* One that mostly sleeps and gets what it wants need have no limit, for which it would gang. */
__noinline int give_level(u32 node)
{
	struct looking *l = looking_at(node);
	int i;

	if (!l)
		return 0;
	bpf_for(i, 0, nr_others) {
		struct vm *vm = other_at(l, i);
		u64 rate, least;

		if (!vm || vm->shares != l->shares)
			continue;
		least = vm_least(vm);
		rate = target_part(l->left, vm->wants, l->wanted);
		if (rate < least)
			rate = least;
		vm->squeeze = rate < vm->wants || !vm->sleepy ? rate : 0;
	}
	return 0;
}

/* To those who have nothing yet; to all without a limit if @all. */
__noinline int give_rest(u32 node, bool all)
{
	struct looking *l = looking_at(node);
	int i;

	if (!l)
		return 0;
	bpf_for(i, 0, nr_others) {
		struct vm *vm = other_at(l, i);

		if (vm && all)
			vm->squeeze = 0;
		else if (vm && vm->shares < l->below_shares)
			vm->squeeze = vm_least(vm);
	}
	return 0;
}

/* Gives @allowance away. */
static void squeeze(struct looking *l, u64 allowance)
{
	int i;

	l->left = allowance;
	l->below_shares = ~0U;
	bpf_for(i, 0, MAX_SHARES) {
		find_level(l->node);
		if (!l->shares || !l->left)
			break;
		give_level(l->node);
		l->left -= l->wanted < l->left ? l->wanted : l->left;
		l->below_shares = l->shares;
	}
	give_rest(l->node, false);
}

static void unsqueeze(struct node_state *n, const struct looking *l)
{
	if (n->squeezes)
		give_rest(l->node, true);
	n->squeezes = 0;
}

/* Can the targets be kept? What has been so for a while counts, not what @l has it just now. */
static bool target_judge(struct node_state *n, struct target_report *report,
			 const struct looking *l)
{
	bool was_feasible = report->state != TARGET_UNMET;
	u64 all = 1000ULL * l->nr_cpus;
	u64 taken = l->least + l->beside;
	bool feasible;

	report->want = l->want;
	report->capacity = all > taken ? all - taken : 0;
	feasible = target_is_feasible(l->want, l->allowed, report->capacity);
	if (feasible == was_feasible)
		n->target_doubts = 0;
	else
		n->target_doubts++;
	if (n->target_doubts < (feasible ? RESUME_PERIODS : GIVE_UP_PERIODS))
		return was_feasible;
	n->target_doubts = 0;
	return feasible;
}

/* What the others may use from now on; the targets can be kept. */
static enum target_state target_control(struct node_state *n, struct looking *l)
{
	u64 all = 1000ULL * l->nr_cpus, idle = l->total < all ? all - l->total : 0;
	s64 excess = l->above ?: l->below;

	if (!n->squeezes) {
		if (!l->above)
			return TARGET_KEPT;
		n->squeezes = 1;
		n->allowance = l->used;
	}
	n->allowance = target_step(n->allowance, excess, l->aim, idle);
	if (n->allowance >= all) {
		unsqueeze(n, l);
		return TARGET_KEPT;
	}
	if (n->allowance < l->least)
		n->allowance = l->least;
	squeeze(l, n->allowance);
	if (l->above && n->allowance == l->least)
		n->target_misses++;
	else
		n->target_misses = 0;
	return n->target_misses < MISSED_PERIODS ? TARGET_KEPT : TARGET_LEAST;
}

static void look_begins(struct looking *l, u32 node, struct node_state *n, u64 now)
{
	*l = (struct looking){
		.node = node,
		.nr_cpus = n->nr_cpus,
		.ns = now - n->looked_at,
	};
	n->looked_at = now;
}

static void look_ends(struct looking *l, struct node_state *n, struct target_report *report)
{
	enum target_state state = TARGET_NONE;

	l->total = period_rate(l, __sync_lock_test_and_set(&n->ran, 0));
	l->beside = period_rate(l, __sync_lock_test_and_set(&n->ran_beside, 0));
	if (l->allowed)
		state = target_judge(n, report, l) ? target_control(n, l) : TARGET_UNMET;
	if (state == TARGET_NONE || state == TARGET_UNMET)
		unsqueeze(n, l);
	report->state = state;
}

/* Looks at a node before all VMs are looked at, and after. */
__noinline int look_at_node(u32 node, bool before)
{
	struct target_report *report = bpf_map_lookup_elem(&kvmgang_targets, &node);
	struct looking *l = looking_at(node);
	struct node_state *n = node_of(node);

	if (!n || !l || !report || !n->nr_cpus)
		return 0;
	if (before)
		look_begins(l, node, n, bpf_ktime_get_ns());
	else
		look_ends(l, n, report);
	return 0;
}

static int target_work(void *map, int *key, void *value)
{
	u64 left = nr_vms();
	u32 node;

	nr_others = 0;
	bpf_for(node, 0, MAX_NODES)
		look_at_node(node, true);
	bpf_for_each_map_elem(&vms, look_at_vm, &left, 0);
	bpf_for_each_map_elem(&displaced_vms, look_at_vm, &left, 0);
	bpf_for(node, 0, MAX_NODES)
		look_at_node(node, false);
	return 0;
}

/* Has the targets looked at if a period is over. */
static void target_ask(u64 now)
{
	u64 due = target_due;

	if (now >= due &&
	    __sync_val_compare_and_swap(&target_due, due, now + TARGET_PERIOD_NS) == due)
		worker_start(TARGET_WORKER);
}

#endif /* KVMGANG_TARGET_BPF_H */
