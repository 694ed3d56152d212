/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A vCPU thread that, whenever its guest leaves KVM_RUN, compares its own row with what the
 * scheduler says of it: the two must not differ by a nanosecond from what they differed at first.
 */
#ifndef SELFTESTS_WITNESS_H
#define SELFTESTS_WITNESS_H

#include <stdint.h>

#include "snap.h"
#include "vmm.h"

/* For guest_io(): it leaves several times in a time slice, but spends most of it in the guest. */
#define WITNESS_LOOPS		100000

struct witness {
	uint32_t vm_id;			/* 0: the module need not know it yet */
	struct snap snap;
	uint64_t before_birth_ns;	/* run_delay when the vCPU's account began */
	uint64_t waited_ns;		/* since then, in the last sample */
	uint64_t samples;
	uint64_t discarded;		/* preempted while sampling */
};

/* Makes the thread of @vcpu, which has none yet, @witness; it begins by witness_begin(). */
void witness_prepare(struct witness *witness, struct vcpu *vcpu);
void witness_begin(struct witness *witness, uint32_t vm_id);

/* How many were compared so far. */
uint64_t witness_samples(const struct witness *witness);

#endif /* SELFTESTS_WITNESS_H */
