/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Isolation: while a vCPU of an isolated VM runs, the other hardware threads of its core run vCPUs
 * of the same VM or nobody. Each core has a word (core.h) that says whose it is: an isolated VM's,
 * or everybody's who is in none. A pCPU enters before a task is moved to its local queue or goes
 * on, and leaves when nobody is to run there next. So a local queue has nothing but what has
 * entered, and no task is inserted into one where it wakes up: it is queued, and the pCPU that it
 * is meant for is called. Kernel threads are nobody, may run anywhere, and need not enter. What is
 * of other scheduling classes is not asked.
 *
 * Whoever is refused goes idle, and is told when a thread of the core leaves. A pCPU that changes
 * from one owner to another goes idle, too, for a moment: until it has switched it runs the old
 * one's. In a window the first pCPU of a core that takes a slot claims the core for the slot's
 * owner, and whoever of another owner is on it has to go. So cores are given in the order of
 * entitlement, as pCPUs are, and each owner's turn comes. An election reckons with whole cores for
 * isolated VMs.
 *
 * As long as no VM is isolated the words are not kept, and say nothing when one is again: each time
 * is another epoch. Tasks that run already when it begins enter the next time that their pCPU asks;
 * an isolated vCPU waits until those beside it have.
 *
 * Without SMT no VM is isolated here, whatever its setting.
 */
#ifndef KVMGANG_ISOLATE_BPF_H
#define KVMGANG_ISOLATE_BPF_H

#include "core.h"
#include "report.bpf.h"
#include "vms.bpf.h"

s32 kvmgang_core_of(s32 cpu) __ksym;
int kvmgang_forced_idle(u32 vm_id, u64 ns) __ksym;

#define PF_KTHREAD	0x00200000	/* include/linux/sched.h */
#define MAX_RT_PRIO	100		/* include/linux/sched/prio.h */

/* In the place of a VM's id: all that belong to no isolated one. */
#define EVERYBODY	0xffffffffU

/* Attempts to change a word that other pCPUs change, too. */
#define MAX_ATTEMPTS	16

struct core {
	u64 word;		/* see core.h */
	u64 claim;		/* window << 32 | owner that the core is for in it */
	s32 cpu[CORE_THREADS];
	u32 nr;
};

/* By the number of the core's first pCPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct core);
} cores SEC(".maps");

/* Epoch << 32 | VMs that are isolated. */
__u64 isolation;

/* Hardware threads of the core that has most. */
__u32 core_threads = 1;

static bool isolating(void)
{
	return *(volatile u32 *)&isolation;
}

static struct core *core_at(u32 id)
{
	return bpf_map_lookup_elem(&cores, &id);
}

static struct core *core_of(const struct pcpu_state *pc)
{
	return core_at(pc->core);
}

/* The epoch begins when the last isolated VM of the one before has gone. */
static void count_isolated(bool more)
{
	u64 old, next;
	int i;

	bpf_for(i, 0, MAX_ATTEMPTS) {
		old = isolation;
		next = more ? old + 1 : (u32)old == 1 ? ((old >> 32) + 1) << 32 : old - 1;
		if (__sync_val_compare_and_swap(&isolation, old, next) == old)
			break;
	}
}

/* VM @vm is to be isolated from now on, or not to be. */
static void isolate(struct vm *vm, bool wanted)
{
	wanted = wanted && core_threads > 1;
	if (wanted != vm->isolated &&
	    __sync_val_compare_and_swap(&vm->isolated, !wanted, wanted) != wanted)
		count_isolated(wanted);
}

/* For whom @p enters; 0: it need not. */
static u32 owner_of(const struct task_struct *p, const struct thread *t)
{
	struct vm *vm = t ? vm_of(t->vm_id) : NULL;

	if (p->flags & PF_KTHREAD)
		return 0;
	return vm && vm->isolated ? t->vm_id : EVERYBODY;
}

/* For whom the members of a window's gang enter. */
__noinline u32 owner_of_gang(u32 side)
{
	struct vm *vm = vm_of(side);

	return vm && vm->isolated ? side : EVERYBODY;
}

/* For whom @p takes a core. Kernel threads are nobody, but have slots. */
static u32 claims_for(const struct task_struct *p, const struct thread *t)
{
	return owner_of(p, t) ?: EVERYBODY;
}

/*
 * For whom @tid of @side does. Among the solo tasks there are vCPUs of isolated VMs, too: they were
 * queued when their VM had no queue of its own yet, or was not isolated.
 */
__noinline u32 claim_owner(u32 side, s32 tid)
{
	struct task_struct *p = side == SOLO && tid ? bpf_task_from_pid(tid) : NULL;
	u32 owner;

	if (!p)
		return owner_of_gang(side);
	owner = claims_for(p, thread_of(p));
	bpf_task_release(p);
	return owner;
}

/*
 * From here on loops are in functions that the verifier looks at on their own; inside of each other
 * they would be too much for it.
 */

/* Does @cpu run a task that ought to have entered? */
__noinline int runs_somebody(s32 cpu)
{
	struct task_struct *curr = scx_bpf_cpu_curr(cpu);

	return curr && !(curr->flags & PF_KTHREAD) && curr->prio >= MAX_RT_PRIO;
}

/* The threads of core @id that were leaving by @word, and have done so. */
__noinline u32 gone(u32 id, u64 word)
{
	struct core *c = core_at(id);
	u32 mask = 0;
	int i;

	if (!c)
		return 0;
	bpf_for(i, 0, CORE_THREADS)
		if (core_leaving(word) >> i & 1 && !runs_somebody(c->cpu[i % CORE_THREADS]))
			mask |= 1U << i;
	return mask;
}

/*
 * Those of core @id, but for @thread, that have not entered by @word and run somebody, or are about
 * to: from before this epoch. They are asked to.
 */
__noinline u32 strangers(u32 id, u64 word, u32 thread)
{
	struct core *c = core_at(id);
	u32 nr = 0;
	int i;

	if (!c)
		return 0;
	bpf_for(i, 0, CORE_THREADS) {
		s32 cpu = c->cpu[i % CORE_THREADS];

		if (i >= c->nr || i == thread || core_in(word) >> i & 1)
			continue;
		if (!runs_somebody(cpu) && !scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu))
			continue;
		kvmgang_resched_cpu(cpu);
		nr++;
	}
	return nr;
}

/* For whom the core of @pc is in the present window; 0: for whoever comes. */
static u32 core_claimant(const struct pcpu_state *pc, const struct core *c)
{
	struct node_state *n = node_of(pc->node);
	u64 claim = *(volatile u64 *)&c->claim;

	return n && n->contended && claim >> 32 == (u32)n->window ? (u32)claim : 0;
}

/* Other threads of core @id than @thread ask again: those that were refused, and all of @mask. */
__noinline int tell(u32 id, u32 thread, u32 mask)
{
	struct core *c = core_at(id);
	int i;

	if (!c)
		return 0;
	bpf_for(i, 0, CORE_THREADS) {
		s32 cpu = c->cpu[i % CORE_THREADS];
		struct pcpu_state *pc = pcpu_of(cpu);

		if (!pc || i >= c->nr || i == thread)
			continue;
		if (mask >> i & 1 || *(volatile u32 *)&pc->refused)
			kvmgang_resched_cpu(cpu);
	}
	return 0;
}

/*
 * @pc may not enter for @owner because of @other. If the core is claimed for @owner, who is on it
 * is told to go; if they are just going, that takes a moment only.
 */
static bool refuse(struct pcpu_state *pc, const struct core *c, s32 cpu, u64 word, u32 owner,
		   u32 other)
{
	u32 in = core_in(word) & ~(1U << pc->thread);
	u32 stay = in & ~core_leaving(word);

	pc->denied = true;
	pc->forced_by = other && other != EVERYBODY ? other : owner;
	if (core_claimant(pc, c) == owner && stay)
		tell(pc->core, pc->thread, stay);
	else if (in && !stay)
		kvmgang_resched_cpu(cpu);
	return false;
}

/* One attempt to enter; -1: the word has changed meanwhile. */
__noinline int core_try(s32 cpu, u32 owner)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	u64 old, word, next;
	u32 claimant;

	if (!c)
		return true;
	claimant = core_claimant(pc, c);
	old = *(volatile u64 *)&c->word;
	word = core_word(old, isolation >> 32);
	if (claimant && claimant != owner)
		return refuse(pc, c, cpu, word, owner, claimant);
	next = core_entered(word, pc->thread, owner);
	if (next == old)
		return true;
	if (!next) {
		word = core_without(word, gone(pc->core, word));
		next = core_entered(word, pc->thread, owner);
	}
	/* Who is taken off runs until the switch: those beside must not know the next owner yet. */
	if (next && !core_is_for(word, pc->thread, owner) && runs_somebody(cpu)) {
		kvmgang_resched_cpu(cpu);
		return refuse(pc, c, cpu, word, owner, core_owner(word));
	}
	if (!next || (owner != EVERYBODY && strangers(pc->core, word, pc->thread)))
		return refuse(pc, c, cpu, word, owner, core_owner(word));
	return __sync_val_compare_and_swap(&c->word, old, next) == old ? true : -1;
}

/* May @cpu run somebody of @owner from now on? */
__noinline int core_enter(s32 cpu, u32 owner)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	int i, entered = false;

	if (!pc || !owner)
		return true;
	pc->denied = false;
	/* Whoever leaves looks for the mark after that; here it is the other way round. */
	__sync_lock_test_and_set(&pc->refused, 1);
	bpf_for(i, 0, MAX_ATTEMPTS) {
		entered = core_try(cpu, owner);
		if (entered >= 0)
			break;
	}
	if (entered > 0)
		pc->refused = 0;
	return entered > 0;
}

/* Nobody is to run on @cpu next. If somebody has been there until now, those beside it are told. */
__noinline int core_leave(s32 cpu, bool stops)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	u64 old, next;
	int i;

	if (!c)
		return 0;
	bpf_for(i, 0, MAX_ATTEMPTS) {
		old = *(volatile u64 *)&c->word;
		next = core_word(old, isolation >> 32) == old ? core_left(old, pc->thread) : old;
		if (next == old)
			break;
		if (__sync_val_compare_and_swap(&c->word, old, next) == old) {
			stops = true;
			break;
		}
	}
	if (stops)
		tell(pc->core, pc->thread, 0);
	return 0;
}

/* Leaves unless somebody has been moved here to run next. */
static void core_leave_unless_next(s32 cpu, bool stops)
{
	if (!scx_bpf_dsq_nr_queued(SCX_DSQ_LOCAL_ON | cpu))
		core_leave(cpu, stops);
}

/* Would @cpu most probably be let in for @owner? */
__noinline int core_open(s32 cpu, u32 owner)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	u32 claimant;
	u64 word;

	if (!c || !owner)
		return !!c;
	claimant = core_claimant(pc, c);
	word = core_word(c->word, isolation >> 32);
	word = core_without(word, core_leaving(word));
	return (!claimant || claimant == owner) && core_entered(word, pc->thread, owner);
}

/* Does @cpu share its core with somebody? */
static bool core_is_shared(s32 cpu)
{
	struct pcpu_state *pc = pcpu_of(cpu);
	struct core *c = pc ? core_of(pc) : NULL;
	u64 word;

	if (!c)
		return false;
	word = core_word(c->word, isolation >> 32);
	return core_in(word) & ~core_leaving(word) & ~(1U << pc->thread);
}

/* As many cores as have @nr hardware threads. */
static u32 cores_of(u32 nr)
{
	u32 threads = core_threads ?: 1;

	return (nr + threads - 1) / threads;
}

/* pCPUs that nobody else can use when @nr members of @side run: whole cores. */
__noinline u32 room_of(u32 side, u32 nr)
{
	if (!isolating() || owner_of_gang(side) == EVERYBODY)
		return nr;
	return cores_of(nr) * core_threads;
}

/* From now on @pc stands idle because of isolation. */
static void forced_idle_begins(struct pcpu_state *pc, u64 now)
{
	pc->forced_since = now;
}

static void forced_idle_ends(struct pcpu_state *pc, u64 now)
{
	if (!pc->forced_since)
		return;
	kvmgang_forced_idle(pc->forced_by, now - pc->forced_since);
	pc->forced_since = 0;
}

/* Which core @cpu is of, and which of its threads; before anything is scheduled. */
static int learn_core(struct pcpu_state *pc, s32 cpu)
{
	struct core *c;

	pc->core = kvmgang_core_of(cpu);
	c = core_of(pc);
	if (!c || c->nr >= CORE_THREADS) {
		sched_error("more than %d hardware threads in a core", CORE_THREADS);
		return -E2BIG;
	}
	pc->thread = c->nr;
	c->cpu[c->nr % CORE_THREADS] = cpu;
	c->nr++;
	if (core_threads < c->nr)
		core_threads = c->nr;
	return 0;
}

#endif /* KVMGANG_ISOLATE_BPF_H */
