/* SPDX-License-Identifier: GPL-2.0 */
/* Who has which pCPU: see occupancy.c. */
#ifndef KVMGANG_OCCUPANCY_H
#define KVMGANG_OCCUPANCY_H

#include <linux/types.h>
#include <linux/kvmgang.h>

/* The occupant of a pCPU: a KVMGANG_BY_* kind and, for KVMGANG_BY_VM, the VM. */
struct kvmgang_occupant {
	u32 kind;
	u32 vm_id;
};

/* Time that each kind has had one pCPU, ns; KVMGANG_BY_SIBLING is counted as KVMGANG_BY_VM. */
struct kvmgang_occupied {
	u64 ns[KVMGANG_NR_DISPLACERS];
};

/* At insmod and rmmod; may sleep. */
int occupancy_init(void);
void occupancy_exit(void);

/*
 * All of these: @now is local_clock() in ns; any context with interrupts off; they take the lock of
 * @cpu's core, which is the innermost of the module. @occupied is filled with how the pCPU's time
 * has been spent up to @now.
 */

/* VM @vm_id begins to run on @cpu, this pCPU. Returns who had it before. */
struct kvmgang_occupant occupancy_arrive(int cpu, u32 vm_id, u64 now,
					 struct kvmgang_occupied *occupied);

/*
 * The vCPU on @cpu, this pCPU, gives way to @next. Returns for how long it shared its core with
 * foreign tasks since it arrived or since the last call of occupancy_take_shared(), ns.
 */
u64 occupancy_depart(int cpu, struct kvmgang_occupant next, u64 now,
		     struct kvmgang_occupied *occupied);

/* The same figure for a vCPU that stays on @cpu. */
u64 occupancy_take_shared(int cpu, u64 now);

/* How the time of any @cpu has been spent up to @now. */
struct kvmgang_occupied occupancy_read(int cpu, u64 now);

#endif /* KVMGANG_OCCUPANCY_H */
