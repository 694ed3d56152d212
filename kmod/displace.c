// SPDX-License-Identifier: GPL-2.0
/*
 * Who displaced a ready vCPU.
 *
 * A preempted vCPU compares how its pCPU's time was spent when it left and when it came back
 * (occupancy.c): that says how much of the episode went to vCPUs, host threads and bound kernel
 * threads, however many of them took turns. Which VMs those vCPUs belonged to is known for the
 * first (it took the pCPU) and the last (it gave it back); each is charged half. With two
 * competitors that is exact in the long run, with more it names the right ones in about the right
 * order.
 *
 * A vCPU that slept has no "when it left": its wait began at a wake-up that nobody hooks. The
 * episode goes to whoever had the pCPU before it.
 *
 * Episodes are charged when they end; a wait in progress has no displacer yet.
 */
#include <linux/array_size.h>
#include <linux/minmax.h>

#include "displace.h"

/*
 * An idle pCPU takes a woken vCPU within the exit latency of its deepest idle state, well below
 * this. If a wait was longer the pCPU was not idle, whatever it did after the last vCPU left.
 */
#define IDLE_EXIT_NS	1000000ULL

/* Charges @ns to VM @vm_id by name. The smallest entry makes room: only heavy hitters matter. */
static void charge_vm(struct kvmgang_displaced *d, u32 vm_id, u64 ns)
{
	struct kvmgang_top_displacer *least = d->top;
	unsigned int i;

	for (i = 0; i < KVMGANG_TOP_DISPLACERS; i++) {
		if (d->top[i].vm_id == vm_id) {
			d->top[i].ns += ns;
			return;
		}
		if (d->top[i].ns < least->ns)
			least = &d->top[i];
	}
	least->vm_id = vm_id;
	least->ns = ns;
}

static void charge_vcpu(struct kvmgang_displaced *d, u32 own, u32 vm_id, u64 ns, u64 *by)
{
	if (vm_id == own) {
		by[KVMGANG_BY_SIBLING] += ns;
		return;
	}
	by[KVMGANG_BY_VM] += ns;
	if (ns)
		charge_vm(d, vm_id, ns);
}

/* @ns was spent by vCPUs; @first and @last are the VMs that are known, 0 where none is. */
static void charge_both(struct kvmgang_displaced *d, u32 own, u32 first, u32 last, u64 ns, u64 *by)
{
	if (!first)
		first = last;
	if (!last)
		last = first;
	if (!first) {
		by[KVMGANG_BY_NOBODY] += ns;
		return;
	}
	charge_vcpu(d, own, first, ns / 2, by);
	charge_vcpu(d, own, last, ns - ns / 2, by);
}

void displaced_begin(struct kvmgang_displaced *d, struct kvmgang_occupant next,
		     const struct kvmgang_occupied *occupied)
{
	d->base = *occupied;
	d->taker = next.vm_id;
}

void displaced_end(struct kvmgang_displaced *d, u32 own, struct kvmgang_occupant before,
		   const struct kvmgang_occupied *occupied, u64 ns, u64 *by)
{
	static const u32 kinds[] = { KVMGANG_BY_VM, KVMGANG_BY_HOST, KVMGANG_BY_KTHREAD };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		u64 part = min(ns, occupied->ns[kinds[i]] - d->base.ns[kinds[i]]);

		ns -= part;
		if (kinds[i] == KVMGANG_BY_VM)
			charge_both(d, own, d->taker, before.vm_id, part, by);
		else
			by[kinds[i]] += part;
	}
	by[KVMGANG_BY_NOBODY] += ns;
}

void displaced_woken(struct kvmgang_displaced *d, u32 own, struct kvmgang_occupant before, u64 ns,
		     u64 *by)
{
	if (before.kind == KVMGANG_BY_VM)
		charge_vcpu(d, own, before.vm_id, ns, by);
	else if (before.kind == KVMGANG_BY_NOBODY && ns > IDLE_EXIT_NS)
		by[KVMGANG_BY_HOST] += ns;
	else
		by[before.kind] += ns;
}
