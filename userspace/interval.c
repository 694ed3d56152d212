// SPDX-License-Identifier: GPL-2.0
/*
 * Counters of two snapshots become what happened between them. The counters never go backwards, so
 * a difference is one subtraction for each; the work is to subtract only what belongs together.
 *
 * A vCPU is the same in both if its VM, its id and its birth are the same. One that was born in
 * between counts from its birth; one that is gone counts no more. What a VM did is what its vCPUs
 * did, over the sum of their times: shares of it are per vCPU and cannot pass 100 %.
 *
 * This file reads no device, no clock and no /proc: test/test_interval.c runs it as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "interval.h"

#define NR_COUNTERS (sizeof(struct kvmgang_counters) / sizeof(__u64))

static int order(__u32 a, __u32 b)
{
	return (a > b) - (a < b);
}

static int vm_order(const void *a, const void *b)
{
	const struct kvmgang_vm_row *x = a, *y = b;

	return order(x->vm_id, y->vm_id);
}

static int vcpu_order(const void *a, const void *b)
{
	const struct kvmgang_vcpu_row *x = a, *y = b;
	int vms = order(x->vm_id, y->vm_id);

	return vms ? vms : order(x->vcpu_id, y->vcpu_id);
}

/* The module groups vCPUs by VM and promises no more; what follows relies on ascending order. */
void snapshot_sort(struct snapshot *snapshot)
{
	if (snapshot->nr_vms)
		qsort(snapshot->vms, snapshot->nr_vms, sizeof(*snapshot->vms), vm_order);
	if (snapshot->nr_vcpus)
		qsort(snapshot->vcpus, snapshot->nr_vcpus, sizeof(*snapshot->vcpus), vcpu_order);
}

static void counters_add(struct kvmgang_counters *sum, const struct kvmgang_counters *counters)
{
	__u64 *to = (__u64 *)sum;
	const __u64 *from = (const __u64 *)counters;

	for (size_t i = 0; i < NR_COUNTERS; i++)
		to[i] += from[i];
}

static void counters_subtract(struct kvmgang_counters *from,
			      const struct kvmgang_counters *counters)
{
	__u64 *left = (__u64 *)from;
	const __u64 *less = (const __u64 *)counters;

	for (size_t i = 0; i < NR_COUNTERS; i++)
		left[i] -= less[i];
}

void interval_of_vcpu(const struct snapshot *before, const struct kvmgang_vcpu_row *vcpu,
		      struct kvmgang_counters *did)
{
	const struct kvmgang_vcpu_row *old = NULL;

	*did = vcpu->count;
	if (before->nr_vcpus)
		old = bsearch(vcpu, before->vcpus, before->nr_vcpus, sizeof(*vcpu), vcpu_order);
	if (old && old->born_ns == vcpu->born_ns)
		counters_subtract(did, &old->count);
}

/* Fills in one element of @vms for each VM of @now, in the order of @now. */
void interval_of_vms(const struct snapshot *before, const struct snapshot *now,
		     struct vm_interval *vms)
{
	const struct kvmgang_vcpu_row *vcpu = now->vcpus;
	const struct kvmgang_vcpu_row *end = vcpu + now->nr_vcpus;

	for (__u32 i = 0; i < now->nr_vms; i++) {
		struct vm_interval *vm = &vms[i];

		*vm = (struct vm_interval){ .vm = &now->vms[i], .vcpus = vcpu };
		for (; vcpu < end && vcpu->vm_id == vm->vm->vm_id; vcpu++) {
			struct kvmgang_counters did;

			interval_of_vcpu(before, vcpu, &did);
			counters_add(&vm->did, &did);
			vm->nr_vcpus++;
		}
	}
}

/* The vCPU time that the counters tell about: a vCPU is always in exactly one state. */
__u64 counters_time_ns(const struct kvmgang_counters *counters)
{
	__u64 sum = 0;

	for (int state = 0; state < KVMGANG_NR_STATES; state++)
		sum += counters->state_ns[state];
	return sum;
}

__u64 counters_episodes(const struct kvmgang_counters *counters)
{
	__u64 sum = 0;

	for (int bucket = 0; bucket < KVMGANG_READY_BUCKETS; bucket++)
		sum += counters->ready_hist[bucket];
	return sum;
}

/*
 * The length that @permille of the ready episodes did not reach: the upper bound of the bucket in
 * which the episode of that rank lies, so never an understatement, and less than twice the truth.
 * The last bucket has no upper bound and answers with its lower one. 0: there was no episode.
 */
__u64 counters_ready_ns(const struct kvmgang_counters *counters, unsigned int permille)
{
	__u64 rank = (counters_episodes(counters) * permille + 999) / 1000;
	__u64 seen = 0;

	if (!rank)
		return 0;
	for (int bucket = 0; bucket < KVMGANG_READY_BUCKETS - 1; bucket++) {
		seen += counters->ready_hist[bucket];
		if (seen >= rank)
			return 1ULL << (bucket + KVMGANG_READY_SHIFT);
	}
	return 1ULL << (KVMGANG_READY_BUCKETS - 2 + KVMGANG_READY_SHIFT);
}

double counters_percent(const struct kvmgang_counters *counters, __u64 part_ns)
{
	__u64 time_ns = counters_time_ns(counters);

	return time_ns ? 100.0 * (double)part_ns / (double)time_ns : 0.0;
}
