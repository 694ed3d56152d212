/* SPDX-License-Identifier: GPL-2.0 */
/* Who displaced a ready vCPU: see displace.c. */
#ifndef KVMGANG_DISPLACE_H
#define KVMGANG_DISPLACE_H

#include "occupancy.h"

/* What a vCPU remembers about those who had its pCPU. Serialised by the vCPU's lock. */
struct kvmgang_displaced {
	struct kvmgang_occupied base;	/* of the pCPU it left, when it left */
	u32 taker;			/* VM that took the pCPU, 0: none did */
	struct kvmgang_top_displacer top[KVMGANG_TOP_DISPLACERS];
};

/* A vCPU was preempted by @next on a pCPU whose time had been @occupied so. */
void displaced_begin(struct kvmgang_displaced *d, struct kvmgang_occupant next,
		     const struct kvmgang_occupied *occupied);

/*
 * A preempted vCPU of VM @own is back after a ready episode of @ns; the time of the pCPU that it
 * had left has now been @occupied so, and @before had the pCPU that it got. Adds to @by, indexed by
 * KVMGANG_BY_*, exactly @ns in sum.
 */
void displaced_end(struct kvmgang_displaced *d, u32 own, struct kvmgang_occupant before,
		   const struct kvmgang_occupied *occupied, u64 ns, u64 *by);

/* The same for a vCPU that slept and waited @ns after its wake-up: @before is all that is known. */
void displaced_woken(struct kvmgang_displaced *d, u32 own, struct kvmgang_occupant before, u64 ns,
		     u64 *by);

#endif /* KVMGANG_DISPLACE_H */
