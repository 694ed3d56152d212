/* SPDX-License-Identifier: GPL-2.0 */
/* What happened between two snapshots, and what one says about counters. */
#ifndef KVMGANG_INTERVAL_H
#define KVMGANG_INTERVAL_H

#include <linux/kvmgang.h>

#include "device.h"

/* A VM of the later snapshot, its vCPUs there, and what these did since the earlier one. */
struct vm_interval {
	const struct kvmgang_vm_row *vm;
	const struct kvmgang_vcpu_row *vcpus;
	__u32 nr_vcpus;
	struct kvmgang_counters did;
};

void snapshot_sort(struct snapshot *snapshot);
void interval_of_vcpu(const struct snapshot *before, const struct kvmgang_vcpu_row *vcpu,
		      struct kvmgang_counters *did);
void interval_of_vms(const struct snapshot *before, const struct snapshot *now,
		     struct vm_interval *vms);

__u64 counters_time_ns(const struct kvmgang_counters *counters);
__u64 counters_episodes(const struct kvmgang_counters *counters);
__u64 counters_ready_ns(const struct kvmgang_counters *counters, unsigned int permille);
double counters_percent(const struct kvmgang_counters *counters, __u64 part_ns);

#endif /* KVMGANG_INTERVAL_H */
