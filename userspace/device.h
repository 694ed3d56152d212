/* SPDX-License-Identifier: GPL-2.0 */
/* The module's device: opening it, copies of what it counts, and settings. */
#ifndef KVMGANG_DEVICE_H
#define KVMGANG_DEVICE_H

#include <stdbool.h>

#include <linux/kvmgang.h>

/* All VMs and vCPUs at one time, in ascending order of vm_id and of (vm_id, vcpu_id). */
struct snapshot {
	struct kvmgang_vm_row *vms;
	struct kvmgang_vcpu_row *vcpus;
	__u32 nr_vms;
	__u32 nr_vcpus;
	__u32 room_vms;		/* rows that the buffers hold, kept from one snapshot to the next */
	__u32 room_vcpus;
	__u64 taken_ns;		/* the module's clock when the last row had been read */
};

int device_open(void);
int device_open_to_change(void);
void device_info(int fd, struct kvmgang_info *info);
void device_snapshot(int fd, struct snapshot *snapshot);
bool device_get_policy(int fd, __u32 vm_id, struct kvmgang_policy *policy);
int device_set_policy(int fd, struct kvmgang_policy *policy);
void snapshot_free(struct snapshot *snapshot);

#endif /* KVMGANG_DEVICE_H */
