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

/* Three times as many vCPUs as pCPUs; the test's own thread has the first pCPU for itself. */
#define CROWD			3
#define LOOPS_PER_EXIT		100000	/* of guest_io: a fraction of a time slice */
#define SECONDS			effort(3, 10)
#define MIN_SAMPLES		20	/* of each vCPU */

/* What a vCPU's thread sees of itself between two KVM_RUNs. */
struct witness {
	uint32_t vm_id;			/* 0: not yet known to the test */
	struct snap snap;
	bool based;
	uint64_t base_delay_ns, base_waited_ns;
	uint64_t samples;		/* beyond the base */
	uint64_t waited_ns;		/* in the last of them */
	uint64_t discarded;		/* preempted while sampling */
};

/* The row and the scheduler's figure of one moment; false if the thread waited in between. */
static bool sample(struct vcpu *vcpu, uint64_t *delay_ns, uint64_t *waited_ns)
{
	struct witness *witness = vcpu->data;
	const struct kvmgang_vcpu_row *row;
	struct schedstat before, after;

	before = schedstat_read(0);
	REQUIRE(snap_read(&witness->snap, witness->vm_id), ==, true);
	after = schedstat_read(0);
	row = snap_vcpu(&witness->snap, witness->vm_id, vcpu->id);
	REQUIRE(row != NULL, ==, true);
	row_check(row);
	*delay_ns = before.run_delay_ns;
	*waited_ns = waited(&row->count);
	if (before.arrivals != after.arrivals || before.run_delay_ns != after.run_delay_ns)
		return false;
	EXPECT(row->state, ==, KVMGANG_RUN);
	return true;
}

static void bear_witness(struct vcpu *vcpu)
{
	struct witness *witness = vcpu->data;
	uint64_t delay_ns, waited_ns;

	if (!__atomic_load_n(&witness->vm_id, __ATOMIC_ACQUIRE))
		return;
	if (!sample(vcpu, &delay_ns, &waited_ns)) {
		witness->discarded++;
		return;
	}
	if (!witness->based) {
		witness->base_delay_ns = delay_ns;
		witness->base_waited_ns = waited_ns;
		__atomic_store_n(&witness->based, true, __ATOMIC_RELEASE);
		return;
	}
	witness->waited_ns = waited_ns - witness->base_waited_ns;
	EXPECT(witness->waited_ns, ==, delay_ns - witness->base_delay_ns);
	__atomic_fetch_add(&witness->samples, 1, __ATOMIC_RELAXED);
}

static struct vm *start_crowd(struct witness *witnesses, int nr_vcpus)
{
	struct vm *vm = vm_new(nr_vcpus);
	uint32_t vm_id;
	int i;

	pin_thread(0, nth_cpu(0));
	for (i = 0; i < nr_vcpus; i++) {
		vcpu_pin(&vm->vcpus[i], nth_cpu(1 + i / CROWD));
		vm->vcpus[i].left = bear_witness;
		vm->vcpus[i].data = &witnesses[i];
	}
	vm_start(vm, guest_io, LOOPS_PER_EXIT);
	vm_id = vm_id_wait(vm);
	for (i = 0; i < nr_vcpus; i++)
		__atomic_store_n(&witnesses[i].vm_id, vm_id, __ATOMIC_RELEASE);
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
		await(__atomic_load_n(&witnesses[i].samples, __ATOMIC_RELAXED) >= MIN_SAMPLES);
	vm_stop(vm);
	for (i = 0; i < 2 * CROWD; i++)
		tap_note("vCPU %d: %lu samples, %lu ns waited; %lu samples discarded", i,
			 witnesses[i].samples, witnesses[i].waited_ns, witnesses[i].discarded);
}

/*
 * Seen from outside, what a vCPU has waited lies between what the scheduler had booked when we
 * came, less what the read lag hides, and what it has booked once the wait that was then under way,
 * if any, has ended.
 */
static void test_outside(void)
{
	struct witness witnesses[CROWD] = {};
	struct kvmgang_vcpu_row row;
	struct schedstat before, after;
	struct kvmgang_info info;
	uint64_t booked_ns, waited_ns;
	int waiting = 0, i;
	struct vcpu *vcpu;
	struct vm *vm;

	if (nr_cpus() < 2)
		tap_skip("needs 2 CPUs");
	kvmgang_info(&info);
	vm = start_crowd(witnesses, CROWD);
	for (i = 0; i < CROWD; i++)
		await(__atomic_load_n(&witnesses[i].based, __ATOMIC_ACQUIRE));

	for (i = 0; i < 100; i++) {
		struct witness *witness = &witnesses[i % CROWD];

		vcpu = &vm->vcpus[i % CROWD];
		before = schedstat_read(vcpu->tid);
		row = row_read(witness->vm_id, vcpu->id);
		after = schedstat_read(vcpu->tid);
		waiting += row.state == KVMGANG_READY;
		waited_ns = waited(&row.count) - witness->base_waited_ns;

		booked_ns = before.run_delay_ns - witness->base_delay_ns;
		EXPECT(waited_ns + info.out_read_lag_ns, >=, booked_ns);
		await(schedstat_read(vcpu->tid).arrivals > after.arrivals);
		booked_ns = schedstat_read(vcpu->tid).run_delay_ns - witness->base_delay_ns;
		EXPECT(waited_ns, <=, booked_ns);
	}
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
