// SPDX-License-Identifier: GPL-2.0
/*
 * Who has which pCPU: the other half of a vCPU's ready time, and of its run time on an SMT core.
 *
 * Each pCPU has a slot that says who occupies it since when. Only vCPU threads report (arrive,
 * depart), since no other thread is hooked. What follows a departing vCPU is known by its first
 * task only; the slot keeps that task's kind until a vCPU comes back.
 *
 * The slots of a core form a ring and share the lock of one of them, so that the time during which
 * a vCPU and a foreign task ran side by side is a difference of instants, not a sample. Between two
 * vCPUs it is exact. Beside a pCPU without a vCPU it is the time that this pCPU was not idle, by
 * the kernel's own tickless idle accounting (microseconds).
 *
 * Not here: which VM pays for it. vcpu.c turns occupancy into displacers.
 */
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/kernel_stat.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/tick.h>
#include <linux/topology.h>

#include "occupancy.h"

struct pcpu_slot {
	raw_spinlock_t lock;	/* of the core, if @core is this slot; protects all below */
	struct pcpu_slot *core;	/* whose lock it is; set before a task runs here, never changed */
	struct pcpu_slot *next;	/* hardware thread of the core; a ring, this slot if it is alone */
	int cpu;
	struct kvmgang_occupant who;
	struct kvmgang_occupant left;	/* the vCPU's VM that departed last */
	u64 since;		/* up to when @occupied and @shared are settled, ns */
	u64 shared;		/* ns beside a foreign task, not taken yet */
	u64 idle;		/* idle ns of this pCPU at @since; kept while a sibling needs it */
	struct kvmgang_occupied occupied;
} ____cacheline_aligned_in_smp;

static DEFINE_PER_CPU(struct pcpu_slot, pcpu_slots);

static inline bool has_vcpu(const struct pcpu_slot *slot)
{
	return slot->who.kind == KVMGANG_BY_VM;
}

static inline bool is_alone(const struct pcpu_slot *slot)
{
	return slot->next == slot;
}

/* Waiting for I/O is idle too, and is a figure of its own in the kernel. */
static u64 idle_ns(int cpu)
{
	return (get_cpu_idle_time_us(cpu, NULL) + get_cpu_iowait_time_us(cpu, NULL)) *
	       NSEC_PER_USEC;
}

/* How long in the last @ns @sibling ran what is foreign to VM @vm_id. */
static u64 foreign_ns(const struct pcpu_slot *sibling, u32 vm_id, u64 ns)
{
	u64 idle;

	if (has_vcpu(sibling))
		return sibling->who.vm_id == vm_id ? 0 : ns;
	if (!cpu_online(sibling->cpu))
		return 0;

	idle = idle_ns(sibling->cpu);
	idle = idle > sibling->idle ? idle - sibling->idle : 0;
	return ns > idle ? ns - idle : 0;
}

static void settle_shared(struct pcpu_slot *slot, u64 ns)
{
	const struct pcpu_slot *sibling;
	u64 foreign = 0;

	if (!has_vcpu(slot))
		return;
	for (sibling = slot->next; sibling != slot; sibling = sibling->next)
		foreign = max(foreign, foreign_ns(sibling, slot->who.vm_id, ns));
	slot->shared += foreign;
}

/* Notes the idle time of pCPUs without a vCPU beside one that has one: foreign_ns() needs it. */
static void note_idle(struct pcpu_slot *core)
{
	struct pcpu_slot *slot = core;
	bool needed = false;

	do {
		needed |= has_vcpu(slot);
	} while ((slot = slot->next) != core);
	if (!needed)
		return;
	do {
		if (!has_vcpu(slot))
			slot->idle = idle_ns(slot->cpu);
	} while ((slot = slot->next) != core);
}

static inline void settle_slot(struct pcpu_slot *slot, u64 ns, u64 now)
{
	slot->occupied.ns[slot->who.kind] += ns;
	slot->since = now;
}

static void settle_siblings(struct pcpu_slot *slot, u64 ns, u64 now)
{
	struct pcpu_slot *sibling;

	settle_shared(slot, ns);
	for (sibling = slot->next; sibling != slot; sibling = sibling->next)
		settle_shared(sibling, ns);
	for (sibling = slot->next; sibling != slot; sibling = sibling->next)
		settle_slot(sibling, ns, now);
}

/* Brings all of @slot's core up to @now. Every change of an occupant comes after this. */
static inline void settle(struct pcpu_slot *slot, u64 now)
{
	u64 ns;

	/* Clocks of two pCPUs may differ by a little where the TSC is not synchronised. */
	if (unlikely(now <= slot->since))
		return;
	ns = now - slot->since;
	if (!is_alone(slot))
		settle_siblings(slot, ns, now);
	settle_slot(slot, ns, now);
}

struct kvmgang_occupant occupancy_arrive(int cpu, u32 vm_id, u64 now,
					 struct kvmgang_occupied *occupied)
{
	struct pcpu_slot *slot = per_cpu_ptr(&pcpu_slots, cpu);
	struct kvmgang_occupant before;

	guard(raw_spinlock)(&slot->core->lock);
	settle(slot, now);
	*occupied = slot->occupied;
	/* A vCPU here means that the one that left announced the one that arrives. */
	before = has_vcpu(slot) ? slot->left : slot->who;
	slot->who = (struct kvmgang_occupant){ .kind = KVMGANG_BY_VM, .vm_id = vm_id };
	slot->shared = 0;
	if (!is_alone(slot))
		note_idle(slot);
	return before;
}

u64 occupancy_depart(int cpu, struct kvmgang_occupant next, u64 now,
		     struct kvmgang_occupied *occupied)
{
	struct pcpu_slot *slot = per_cpu_ptr(&pcpu_slots, cpu);

	guard(raw_spinlock)(&slot->core->lock);
	settle(slot, now);
	*occupied = slot->occupied;
	slot->left = slot->who;
	slot->who = next;
	if (!is_alone(slot))
		note_idle(slot);
	return slot->shared;
}

u64 occupancy_take_shared(int cpu, u64 now)
{
	struct pcpu_slot *slot = per_cpu_ptr(&pcpu_slots, cpu);
	u64 shared;

	if (is_alone(slot))
		return 0;
	guard(raw_spinlock)(&slot->core->lock);
	settle(slot, now);
	shared = slot->shared;
	slot->shared = 0;
	note_idle(slot);
	return shared;
}

struct kvmgang_occupied occupancy_read(int cpu, u64 now)
{
	struct pcpu_slot *slot = per_cpu_ptr(&pcpu_slots, cpu);

	guard(raw_spinlock)(&slot->core->lock);
	settle(slot, now);
	if (!is_alone(slot))
		note_idle(slot);
	return slot->occupied;
}

/* A pCPU joins the ring of a sibling that was there before it, and stays when it goes offline. */
static int join_core(unsigned int cpu)
{
	struct pcpu_slot *slot = per_cpu_ptr(&pcpu_slots, cpu), *core;
	unsigned int sibling = cpumask_any_but(topology_sibling_cpumask(cpu), cpu);

	if (!is_alone(slot) || sibling >= nr_cpu_ids)
		return 0;
	core = per_cpu_ptr(&pcpu_slots, sibling)->core;
	guard(raw_spinlock_irqsave)(&core->lock);
	slot->core = core;
	slot->since = core->since;
	slot->next = core->next;
	core->next = slot;
	return 0;
}

static enum cpuhp_state online_state;

int occupancy_init(void)
{
	int cpu, state;

	for_each_possible_cpu(cpu) {
		struct pcpu_slot *slot = per_cpu_ptr(&pcpu_slots, cpu);

		raw_spin_lock_init(&slot->lock);
		slot->core = slot;
		slot->next = slot;
		slot->cpu = cpu;
		slot->who.kind = KVMGANG_BY_NOBODY;
	}
	state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "kvmgang:online", join_core, NULL);
	if (state < 0)
		return state;
	online_state = state;
	return 0;
}

void occupancy_exit(void)
{
	cpuhp_remove_state_nocalls(online_state);
}
