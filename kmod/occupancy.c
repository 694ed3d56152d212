// SPDX-License-Identifier: GPL-2.0
/*
 * Who has which pCPU: the other half of a vCPU's ready time, and of its run time on an SMT core.
 *
 * Each pCPU has a slot that says who occupies it since when. Only vCPU threads report (arrive,
 * depart), since no other thread is hooked. What follows a departing vCPU is known by its first
 * task only; the slot keeps that task's kind until a vCPU comes back.
 *
 * The slots of a core share the lock of its first hardware thread, so that the time during which a
 * vCPU and a foreign task ran side by side is a difference of instants, not a sample. Between two
 * vCPUs it is exact. Beside a pCPU without a vCPU it is the time that this pCPU was not idle, by
 * the kernel's own tickless idle accounting (microseconds).
 *
 * Not here: which VM pays for it. vcpu.c turns occupancy into displacers.
 */
#include <linux/cleanup.h>
#include <linux/cpumask.h>
#include <linux/kernel_stat.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/topology.h>

#include "occupancy.h"

struct slot {
	raw_spinlock_t lock;	/* of the core, used in its first hardware thread's slot only */
	struct kvmgang_occupant who;
	struct kvmgang_occupant left;	/* the vCPU's VM that departed last */
	u64 since;		/* up to when @occupied and @shared are settled, ns */
	u64 shared;		/* ns beside a foreign task, not taken yet */
	u64 idle;		/* idle ns of this pCPU at @since; kept while a sibling needs it */
	struct kvmgang_occupied occupied;
} ____cacheline_aligned_in_smp;

static DEFINE_PER_CPU(struct slot, slots);

static inline struct slot *slot_of(int cpu)
{
	return per_cpu_ptr(&slots, cpu);
}

/*
 * When a hardware thread comes online its core's first thread may become another one, and for some
 * instructions two pCPUs use two locks. What can be lost is one interval of shared time.
 */
static inline raw_spinlock_t *core_lock(int cpu)
{
	return &slot_of(cpumask_first(topology_sibling_cpumask(cpu)))->lock;
}

static inline bool has_vcpu(const struct slot *slot)
{
	return slot->who.kind == KVMGANG_BY_VM;
}

/* Waiting for I/O is idle too, and is a figure of its own in the kernel. */
static u64 idle_ns(int cpu)
{
	return (get_cpu_idle_time_us(cpu, NULL) + get_cpu_iowait_time_us(cpu, NULL)) *
	       NSEC_PER_USEC;
}

/* How long in the last @ns the sibling @cpu ran what is foreign to VM @vm_id. */
static u64 foreign_ns(int cpu, u32 vm_id, u64 ns)
{
	const struct slot *sibling = slot_of(cpu);
	u64 idle;

	if (has_vcpu(sibling))
		return sibling->who.vm_id == vm_id ? 0 : ns;

	idle = idle_ns(cpu);
	idle = idle > sibling->idle ? idle - sibling->idle : 0;
	return ns > idle ? ns - idle : 0;
}

static void settle_shared(int cpu, u64 ns)
{
	struct slot *slot = slot_of(cpu);
	u64 foreign = 0;
	int sibling;

	if (!has_vcpu(slot))
		return;
	for_each_cpu(sibling, topology_sibling_cpumask(cpu))
		if (sibling != cpu)
			foreign = max(foreign, foreign_ns(sibling, slot->who.vm_id, ns));
	slot->shared += foreign;
}

/* Brings all slots of @cpu's core up to @now. Every change of an occupant is bracketed by this. */
static void settle_core(int cpu, u64 now)
{
	const struct cpumask *core = topology_sibling_cpumask(cpu);
	u64 ns;
	int i;

	/* Clocks of two pCPUs may differ by a little where the TSC is not synchronised. */
	if (now <= slot_of(cpu)->since)
		return;
	ns = now - slot_of(cpu)->since;
	if (cpumask_weight(core) > 1)
		for_each_cpu(i, core)
			settle_shared(i, ns);
	for_each_cpu(i, core) {
		struct slot *slot = slot_of(i);

		slot->occupied.ns[slot->who.kind] += ns;
		slot->since = now;
	}
}

/* Notes the idle time of pCPUs without a vCPU beside one that has one: foreign_ns() needs it. */
static void note_idle(int cpu)
{
	const struct cpumask *core = topology_sibling_cpumask(cpu);
	bool needed = false;
	int i;

	if (cpumask_weight(core) == 1)
		return;
	for_each_cpu(i, core)
		needed |= has_vcpu(slot_of(i));
	if (!needed)
		return;
	for_each_cpu(i, core)
		if (!has_vcpu(slot_of(i)))
			slot_of(i)->idle = idle_ns(i);
}

struct kvmgang_occupant occupancy_arrive(int cpu, u32 vm_id, u64 now)
{
	struct slot *slot = slot_of(cpu);
	struct kvmgang_occupant before;

	guard(raw_spinlock)(core_lock(cpu));
	settle_core(cpu, now);
	/* A vCPU here means that the one that left announced the one that arrives. */
	before = has_vcpu(slot) ? slot->left : slot->who;
	slot->who = (struct kvmgang_occupant){ .kind = KVMGANG_BY_VM, .vm_id = vm_id };
	slot->shared = 0;
	note_idle(cpu);
	return before;
}

void occupancy_depart(int cpu, struct kvmgang_occupant next, u64 now)
{
	struct slot *slot = slot_of(cpu);

	guard(raw_spinlock)(core_lock(cpu));
	settle_core(cpu, now);
	slot->left = slot->who;
	slot->who = next;
	note_idle(cpu);
}

u64 occupancy_take_shared(int cpu, u64 now)
{
	struct slot *slot = slot_of(cpu);
	u64 shared;

	/* Without SMT nothing is ever shared. */
	if (cpumask_weight(topology_sibling_cpumask(cpu)) == 1)
		return 0;
	guard(raw_spinlock)(core_lock(cpu));
	settle_core(cpu, now);
	shared = slot->shared;
	slot->shared = 0;
	note_idle(cpu);
	return shared;
}

struct kvmgang_occupied occupancy_read(int cpu, u64 now)
{
	guard(raw_spinlock)(core_lock(cpu));
	settle_core(cpu, now);
	note_idle(cpu);
	return slot_of(cpu)->occupied;
}

void occupancy_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		raw_spin_lock_init(&slot_of(cpu)->lock);
		slot_of(cpu)->who.kind = KVMGANG_BY_NOBODY;
	}
}
