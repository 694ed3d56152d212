// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 5: the module may come and go at any time while guests run, and the kernel has nothing
 * to complain about. It may not go while somebody has the device open.
 */
#include <errno.h>

#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define ROUNDS	effort(5, 50)

static void check_guests(struct vm *const vms[], int nr)
{
	struct snap snap = {};
	int i;

	for (i = 0; i < nr; i++)
		vm_id_wait(vms[i]);
	snap_read(&snap, ALL_VMS);
	snap_check(&snap);
	snap_free(&snap);
}

static void test_rounds(void)
{
	int kmsg = kmsg_open(), i, round;
	struct vm *vms[3];

	for (i = 0; i < 3; i++)
		vms[i] = vm_new(2);
	/* The first is pinned to one pCPU: at any time, one of its vCPUs waits. */
	vm_pin(vms[0], nth_cpu(nr_cpus() - 1));
	vm_start(vms[0], guest_spin, 0);
	vm_start(vms[1], guest_halt, 2 * NSEC_PER_MSEC);
	vm_start(vms[2], guest_ping, 0);

	for (round = 0; round < ROUNDS; round++) {
		REQUIRE(module_unload(), ==, 0);
		REQUIRE(module_load(), ==, 0);
		check_guests(vms, 3);
	}
	for (i = 0; i < 3; i++)
		vm_wait_progress(vms[i]);
	EXPECT(kmsg_bad(kmsg), ==, 0);
}

/* Removal and discovery at full speed: nobody waits until anything has settled. */
static void test_no_pause(void)
{
	int kmsg = kmsg_open(), round;
	struct vm *vm = vm_new(2);

	vm_start(vm, guest_ping, 0);
	for (round = 0; round < ROUNDS / 2; round++) {
		REQUIRE(module_unload(), ==, 0);
		REQUIRE(module_load(), ==, 0);
	}
	vm_wait_progress(vm);
	EXPECT(kmsg_bad(kmsg), ==, 0);
}

static void test_in_use(void)
{
	int device = kvmgang_open();

	EXPECT(module_unload(), ==, EAGAIN);
	EXPECT(module_loaded(), ==, true);
	close(device);
	EXPECT(module_unload(), ==, 0);
	EXPECT(module_loaded(), ==, false);
	REQUIRE(module_load(), ==, 0);
}

/* Threads and VMs that the module knew end when it is gone. */
static void test_guests_outlive(void)
{
	int kmsg = kmsg_open();
	struct vm *vm = vm_new(2);

	vm_start(vm, guest_spin, 0);
	vm_id_wait(vm);
	REQUIRE(module_unload(), ==, 0);
	vm_wait_progress(vm);
	vm_free(vm);
	REQUIRE(module_load(), ==, 0);
	EXPECT(kmsg_bad(kmsg), ==, 0);
}

TAP_MAIN(
	{ "the module comes and goes under running guests", test_rounds },
	{ "the module comes and goes without a pause", test_no_pause },
	{ "the module stays while its device is open", test_in_use },
	{ "guests end after the module was removed", test_guests_outlive },
)
