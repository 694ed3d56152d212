// SPDX-License-Identifier: GPL-2.0
/*
 * ready + costop + throttled is the thread's run_delay, as the scheduler itself counts it and as
 * the guest's steal time takes it: to the nanosecond for a thread that runs, and within what the
 * read lag allows for one that waits.
 */
#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"
#include "witness.h"

/* Three times as many vCPUs as pCPUs; the test's own thread has the first pCPU for itself. */
#define CROWD			3
#define SECONDS			effort(3, 10)
#define MIN_SAMPLES		20	/* of each vCPU */

/* A sample is good if its thread keeps the pCPU; a kernel that checks itself takes 3 ms for one. */
#define SLICE_NS		(20 * NSEC_PER_MSEC)

static struct vm *start_crowd(struct witness *witnesses, int nr_vcpus)
{
	struct vm *vm = vm_new(nr_vcpus);
	uint32_t vm_id;
	int i;

	pin_thread(0, nth_cpu(0));
	for (i = 0; i < nr_vcpus; i++) {
		vcpu_pin(&vm->vcpus[i], nth_cpu(1 + i / CROWD));
		witness_prepare(&witnesses[i], &vm->vcpus[i]);
	}
	vm_start(vm, guest_io, WITNESS_LOOPS);
	vm_id = vm_id_wait(vm);
	for (i = 0; i < nr_vcpus; i++) {
		set_slice(vm->vcpus[i].tid, SLICE_NS);
		witness_begin(&witnesses[i], vm_id);
	}
	return vm;
}

static void test_inside(void)
{
	struct witness witnesses[2 * CROWD] = {};
	struct vm *vm;
	int i;

	if (nr_cpus() < 3)
		tap_skip("needs 3 CPUs");
	vm = start_crowd(witnesses, 2 * CROWD);
	sleep_ms(SECONDS * 1000);
	for (i = 0; i < 2 * CROWD; i++)
		await(witness_samples(&witnesses[i]) >= MIN_SAMPLES);
	vm_stop(vm);
	for (i = 0; i < 2 * CROWD; i++)
		tap_note("vCPU %d: %lu samples, %lu discarded, %lu ns waited", i,
			 witnesses[i].samples, witnesses[i].discarded, witnesses[i].waited_ns);
}

/*
 * Seen from outside, what a vCPU has waited lies between what the scheduler had booked when we
 * came, less what the read lag hides, and what it has booked once the wait that was then under way,
 * if any, has ended.
 */
static bool read_from_outside(const struct witness *witness, const struct vcpu *vcpu,
			      uint64_t read_lag_ns)
{
	struct schedstat before, after, later;
	struct kvmgang_vcpu_row row;
	uint64_t booked_ns;

	before = schedstat_read(vcpu->tid);
	row = row_read(witness->vm_id, vcpu->id);
	after = schedstat_read(vcpu->tid);
	do {
		sleep_ms(3);
		later = schedstat_read(vcpu->tid);
	} while (later.arrivals == after.arrivals);

	/* By the scheduler's account, which began before the module's. */
	booked_ns = waited(&row.count) + witness->before_birth_ns;
	EXPECT(booked_ns + read_lag_ns, >=, before.run_delay_ns);
	EXPECT(booked_ns, <=, later.run_delay_ns);
	return row.state == KVMGANG_READY;
}

static void test_outside(void)
{
	struct witness witnesses[CROWD] = {};
	struct kvmgang_info info;
	int waiting = 0, i;
	struct vm *vm;

	if (nr_cpus() < 2)
		tap_skip("needs 2 CPUs");
	kvmgang_info(&info);
	vm = start_crowd(witnesses, CROWD);
	for (i = 0; i < CROWD; i++)
		await(witness_samples(&witnesses[i]) > 0);
	for (i = 0; i < 100; i++)
		waiting += read_from_outside(&witnesses[i % CROWD], &vm->vcpus[i % CROWD],
					     info.out_read_lag_ns);
	/* Two of three wait at any time. */
	EXPECT(waiting, >, 20);
	tap_note("%d of 100 reads found the vCPU waiting", waiting);
}

/*
 * A wait that goes on is visible while it goes on. The hog is real-time and the kernel lets such
 * run for 950 ms a second, so that 200 ms need no change of its limits.
 */
static void test_long_wait(void)
{
	struct kvmgang_vcpu_row first, last;
	struct kvmgang_counters during;
	struct hog hog;
	uint32_t vm_id;
	struct vm *vm;

	if (nr_cpus() < 2)
		tap_skip("needs 2 CPUs");
	pin_thread(0, nth_cpu(0));
	vm = vm_new(1);
	vm_pin(vm, nth_cpu(1));
	vm_start(vm, guest_spin, 0);
	vm_id = vm_id_wait(vm);

	hog_start(&hog, nth_cpu(1), true);
	await(row_read(vm_id, 0).state == KVMGANG_READY);
	/* The counters of one that waits are as of the read lag ago: let it wait for longer. */
	sleep_ms(5);
	first = row_read(vm_id, 0);
	sleep_ms(200);
	last = row_read(vm_id, 0);
	hog_stop(&hog);

	row_check_order(&first, &last);
	during = row_since(&last, &first);
	EXPECT(last.state, ==, KVMGANG_READY);
	EXPECT(last.now_ns - first.now_ns, >=, 190 * NSEC_PER_MSEC);
	EXPECT(during.state_ns[KVMGANG_READY], ==, last.now_ns - first.now_ns);
	EXPECT(during.switches, ==, 0);
	vm_wait_progress(vm);
}

TAP_MAIN(
	{ "ready is run_delay to the nanosecond for a vCPU that runs", test_inside },
	{ "ready brackets run_delay for a vCPU that waits", test_outside },
	{ "a long wait is ready time before it has ended", test_long_wait },
)
