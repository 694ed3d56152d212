// SPDX-License-Identifier: GPL-2.0
/*
 * Many VMs: all of them are in one snapshot, and each vCPU costs no more memory than promised. How
 * long a snapshot takes is measured in bench/.
 */
#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define NR_VMS			64
#define NR_VCPUS		8
#define MAX_VCPU_BYTES		1024

static void test_scale(void)
{
	static struct vm *vms[NR_VMS];
	const struct kvmgang_vm_row *row;
	struct kvmgang_info info;
	struct snap snap = {};
	int i;

	for (i = 0; i < NR_VMS; i++) {
		vms[i] = vm_new(NR_VCPUS);
		vm_start(vms[i], guest_halt, 0);
	}
	kvmgang_info(&info);
	EXPECT(info.out_nr_vms, ==, NR_VMS);
	EXPECT(info.out_nr_vcpus, ==, NR_VMS * NR_VCPUS);
	EXPECT(info.out_refused, ==, 0);
	EXPECT(info.out_vcpu_bytes, <=, MAX_VCPU_BYTES);
	tap_note("%u bytes per vCPU", info.out_vcpu_bytes);

	snap_read(&snap, ALL_VMS);
	snap_check(&snap);
	EXPECT(snap.head.nr_vms, ==, NR_VMS);
	EXPECT(snap.head.nr_vcpus, ==, NR_VMS * NR_VCPUS);
	for (i = 0; i < NR_VMS; i++) {
		row = snap_vm(&snap, vm_id_wait(vms[i]));
		REQUIRE(!!row, ==, true);
		EXPECT(row->nr_vcpus, ==, NR_VCPUS);
	}
	for (i = 0; i < NR_VMS; i++)
		vm_free(vms[i]);
	await((kvmgang_info(&info), info.out_nr_vms == 0));
	EXPECT(info.out_nr_vcpus, ==, 0);
}

TAP_MAIN({ "64 VMs with 8 vCPUs each", test_scale })
