// SPDX-License-Identifier: GPL-2.0
/* A vCPU thread that checks its own account, see witness.h. */
#include "host.h"
#include "tap.h"
#include "witness.h"

/* The row and the scheduler's figure of one moment; false if the thread waited in between. */
static bool sample(struct witness *witness, uint32_t vcpu_id, uint64_t *run_delay_ns)
{
	const struct kvmgang_vcpu_row *row;
	struct schedstat before, after;

	before = schedstat_read(0);
	REQUIRE(snap_read(&witness->snap, witness->vm_id), ==, true);
	after = schedstat_read(0);
	row = snap_vcpu(&witness->snap, witness->vm_id, vcpu_id);
	REQUIRE(!!row, ==, true);
	row_check(row);
	if (before.arrivals != after.arrivals || before.run_delay_ns != after.run_delay_ns)
		return false;
	EXPECT(row->state, ==, KVMGANG_RUN);
	*run_delay_ns = before.run_delay_ns;
	witness->waited_ns = waited(&row->count);
	return true;
}

static void bear_witness(struct vcpu *vcpu)
{
	struct witness *witness = vcpu->data;
	uint64_t run_delay_ns;

	if (!__atomic_load_n(&witness->vm_id, __ATOMIC_ACQUIRE))
		return;
	if (!sample(witness, vcpu->id, &run_delay_ns)) {
		witness->discarded++;
		return;
	}
	if (!witness->samples)
		witness->before_birth_ns = run_delay_ns - witness->waited_ns;
	EXPECT(witness->before_birth_ns + witness->waited_ns, ==, run_delay_ns);
	__atomic_fetch_add(&witness->samples, 1, __ATOMIC_RELEASE);
}

void witness_prepare(struct witness *witness, struct vcpu *vcpu)
{
	vcpu->data = witness;
	vcpu->left = bear_witness;
}

void witness_begin(struct witness *witness, uint32_t vm_id)
{
	__atomic_store_n(&witness->vm_id, vm_id, __ATOMIC_RELEASE);
}

uint64_t witness_samples(const struct witness *witness)
{
	return __atomic_load_n(&witness->samples, __ATOMIC_ACQUIRE);
}
