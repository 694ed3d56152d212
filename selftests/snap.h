/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading /dev/kvmgang, and the rules that every row obeys at every read.
 *
 * The device is opened at first use; test_ioctl, which is about the device itself, uses none of
 * this. As in vmm.h, what a test cannot do without fails by die().
 */
#ifndef SELFTESTS_SNAP_H
#define SELFTESTS_SNAP_H

#include <linux/kvmgang.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm.h"

#define ALL_VMS		0

/* Zero-initialised; the buffers are kept and grow from read to read. Not for several threads. */
struct snap {
	struct kvmgang_snapshot head;
	struct kvmgang_vm_row *vms;
	struct kvmgang_vcpu_row *vcpus;
	uint32_t room_vms, room_vcpus;
};

/* For reading; the caller's to close. Tests that remove the module must hold none open. */
int kvmgang_open(void);
void kvmgang_info(struct kvmgang_info *info);

/* False: @vm_id is no VM. */
bool snap_read(struct snap *snap, uint32_t vm_id);
void snap_free(struct snap *snap);

/* NULL: not there. */
const struct kvmgang_vm_row *snap_vm(const struct snap *snap, uint32_t vm_id);
const struct kvmgang_vcpu_row *snap_vcpu(const struct snap *snap, uint32_t vm_id, uint32_t vcpu_id);

/* The id of the VM, or 0 as long as none of its vCPUs has a thread that the module knows. */
uint32_t vm_id_of(const struct vm *vm);

/* The same, waiting until there is one. */
uint32_t vm_id_wait(const struct vm *vm);

/* Does the module know this VM (now)? */
bool vm_exists(uint32_t vm_id);

/*
 * Waits until the module knows no VM. One may outlive its process by a moment: while threads came,
 * the kernel began to give the process a larger futex hash, for which it keeps the address space,
 * and thereby the vCPUs' mapped files, for an RCU grace period more.
 */
void await_no_vms(void);

/* One vCPU's row, checked by row_check(). */
struct kvmgang_vcpu_row row_read(uint32_t vm_id, uint32_t vcpu_id);

/* What happened between two reads of a row. @ns[] and the rest are differences of the counters. */
struct kvmgang_counters row_since(const struct kvmgang_vcpu_row *later,
				  const struct kvmgang_vcpu_row *earlier);

/* Reads the row, sleeps, reads it again: what happened, and how long it was. */
struct kvmgang_counters row_watch(uint32_t vm_id, uint32_t vcpu_id, int ms, uint64_t *elapsed_ns);

uint64_t state_sum(const struct kvmgang_counters *count);

/* ready + costop + throttled: what the scheduler calls run_delay. */
uint64_t waited(const struct kvmgang_counters *count);

/*
 * Expects of a row by itself, of two reads of it by one reader, and of a VM's and its vCPUs'. Two
 * snapshots need not have the same rows.
 */
void row_check(const struct kvmgang_vcpu_row *row);
void row_check_order(const struct kvmgang_vcpu_row *earlier, const struct kvmgang_vcpu_row *later);
void snap_check(const struct snap *snap);
void snap_check_order(const struct snap *earlier, const struct snap *later);

/*
 * A thread that takes snapshots of all VMs, one after the other, and expects all of the above of
 * each and of every row that was in the one before.
 */
struct reader {
	pthread_t thread;
	uint64_t reads;
	bool stop;
};

/* readers_stop() lets each have taken @min_reads first. */
void readers_start(struct reader *readers, int nr);
void readers_stop(struct reader *readers, int nr, uint64_t min_reads);

#endif /* SELFTESTS_SNAP_H */
