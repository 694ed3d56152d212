// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 1 at its hardest: the states of every row add up to its age, at every read, and nothing
 * ever goes backwards, while VMs come and go, vCPU threads come and go, and pCPUs are overcommitted
 * 3:1. What the states should be is not looked at here; that is test_states'.
 */
#include "host.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

#define NR_READERS	4
#define MIN_READS	100		/* of each reader */
#define MIN_ROUNDS	10		/* of VMs, and of threads, replaced */

static bool enough(const uint64_t *counter, uint64_t minimum)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED) >= minimum;
}

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void count_one(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* On the second and third pCPU; the readers and what creates VMs have the others. */
static int crowded_cpu(int n)
{
	return nth_cpu((1 + n % 2) % nr_cpus());
}

static void *create_and_destroy(void *rounds)
{
	while (!stopped()) {
		struct vm *vm = vm_new(2);

		vm_pin(vm, crowded_cpu(0));
		vm_start(vm, guest_spin, 0);
		vm_free(vm);
		count_one(rounds);
	}
	return NULL;
}

static void *replace_threads(void *rounds)
{
	struct vm *vm = vm_new(2);

	vm_pin(vm, crowded_cpu(1));
	vm_start(vm, guest_spin, 0);
	while (!stopped()) {
		vm_stop(vm);
		vm_continue(vm);
		vm_wait_progress(vm);
		count_one(rounds);
	}
	vm_free(vm);
	return NULL;
}

static void sleep_a_little(struct vcpu *vcpu)
{
	(void)vcpu;
	usleep(300);
}

/* Six vCPUs on two pCPUs: these spin, these sleep in the guest, these sleep in the VMM. */
static void start_crowd(void)
{
	struct vm *spin = vm_new(2), *halt = vm_new(2), *io = vm_new(2);
	int i;

	for (i = 0; i < 2; i++) {
		vcpu_pin(&spin->vcpus[i], crowded_cpu(i));
		vcpu_pin(&halt->vcpus[i], crowded_cpu(i));
		vcpu_pin(&io->vcpus[i], crowded_cpu(i));
		io->vcpus[i].left = sleep_a_little;
	}
	vm_start(spin, guest_spin, 0);
	vm_start(halt, guest_halt, 1 * NSEC_PER_MSEC);
	vm_start(io, guest_io, 1000);
}

static void test_churn(void)
{
	uint64_t vm_rounds = 0, thread_rounds = 0;
	struct reader readers[NR_READERS];
	pthread_t creator, replacer;

	start_crowd();
	readers_start(readers, NR_READERS);
	pthread_create(&creator, NULL, create_and_destroy, &vm_rounds);
	pthread_create(&replacer, NULL, replace_threads, &thread_rounds);

	await(enough(&vm_rounds, MIN_ROUNDS));
	await(enough(&thread_rounds, MIN_ROUNDS));
	readers_stop(readers, NR_READERS, MIN_READS);

	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(creator, NULL);
	pthread_join(replacer, NULL);
	tap_note("%lu VMs and %lu sets of threads replaced", vm_rounds, thread_rounds);
}

/* The rows of a VM whose vCPUs wander between all pCPUs, unpinned and more than these are. */
static void test_wandering(void)
{
	struct vm *vm = vm_new(2 * nr_cpus());
	struct snap snaps[2] = {};
	uint32_t vm_id;
	int i;

	vm_start(vm, guest_lock, 100);
	vm_id = vm_id_wait(vm);
	for (i = 0; i < MIN_READS; i++) {
		REQUIRE(snap_read(&snaps[i % 2], vm_id), ==, true);
		snap_check(&snaps[i % 2]);
		snap_check_order(&snaps[(i + 1) % 2], &snaps[i % 2]);
		sleep_ms(1);
	}
	EXPECT(snaps[0].head.nr_vcpus, ==, vm->nr_vcpus);
}

TAP_MAIN(
	{ "states add up and nothing goes backwards under churn", test_churn },
	{ "states add up while vCPUs wander between pCPUs", test_wandering },
)
