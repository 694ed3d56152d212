// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 2: settings change while VMs run, are born and die, and while others change them. They
 * count at once and together, for every VM, until the module goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "host.h"
#include "policy.h"
#include "snap.h"
#include "tap.h"
#include "vmm.h"

static __u64 home_of(uint32_t vm_id)
{
	struct snap snap = {};
	__u64 home;

	REQUIRE(snap_read(&snap, vm_id), ==, true);
	home = snap.vms[0].home_nodes;
	snap_free(&snap);
	return home;
}

/* The vCPU spins alone on its pCPU: it need not leave it to be remote, or no more. */
static void expect_remote(uint32_t vm_id, bool remote)
{
	struct kvmgang_counters did;
	uint64_t elapsed;

	did = row_watch(vm_id, 0, 20, &elapsed);
	EXPECT(did.state_ns[KVMGANG_RUN], >, 0);
	EXPECT(did.run_remote_ns, ==, remote ? did.state_ns[KVMGANG_RUN] : 0);
}

static void test_home(void)
{
	int cpu = nth_cpu(nr_cpus() - 1), here = node_of(cpu), there = node_of(nth_cpu(0));
	struct vm *vm = vm_new(1), *later;
	uint32_t vm_id;

	if (here == there)
		tap_skip("needs two NUMA nodes");
	policy_begin();
	pin_thread(0, nth_cpu(0));
	vm_pin(vm, cpu);
	vm_start(vm, guest_spin, 0);
	vm_id = vm_id_wait(vm);
	EXPECT(home_of(vm_id), ==, BIT(here));
	expect_remote(vm_id, false);

	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_HOME_NODES, BIT(there)), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(there));
	expect_remote(vm_id, true);
	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_HOME_NODES, BIT(here) | BIT(there)), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(here) | BIT(there));
	expect_remote(vm_id, false);

	/* By default, for old and new VMs; auto is a setting like any other. */
	EXPECT(policy_reset(vm_id, ALL_KEYS), ==, 0);
	EXPECT(policy_set_one(DEFAULTS, KVMGANG_KEY_HOME_NODES, BIT(there)), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(there));
	expect_remote(vm_id, true);
	later = vm_new(1);
	vm_pin(later, cpu);
	vm_start(later, guest_halt, 0);
	EXPECT(home_of(vm_id_wait(later)), ==, BIT(there));
	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_HOME_NODES, 0), ==, 0);
	EXPECT(home_of(vm_id), ==, BIT(here));
	expect_remote(vm_id, false);
	EXPECT(policy_reset(DEFAULTS, ALL_KEYS), ==, 0);
	EXPECT(home_of(vm_id_wait(later)), ==, BIT(here));
}

/* Threads that go on until told to stop, and what they have met. */
struct racer {
	pthread_t thread;
	uint32_t vm_id;			/* that the thread is to look at; changes */
	int error;			/* the first that must not be */
	unsigned long rounds;
	bool stop;
};

/* It has been round once: of the second one it is known that it has begun. */
static void racer_start(struct racer *racer, void *(*run)(void *racer))
{
	if (pthread_create(&racer->thread, NULL, run, racer))
		die("pthread_create");
	await(__atomic_load_n(&racer->rounds, __ATOMIC_RELAXED) > 1);
}

static void racer_stop(struct racer *racer)
{
	__atomic_store_n(&racer->stop, true, __ATOMIC_RELAXED);
	pthread_join(racer->thread, NULL);
	EXPECT(racer->rounds, >, 0);
	EXPECT(racer->error, ==, 0);
}

static bool racer_goes_on(struct racer *racer)
{
	__atomic_fetch_add(&racer->rounds, 1, __ATOMIC_RELAXED);
	return !__atomic_load_n(&racer->stop, __ATOMIC_RELAXED);
}

static void *set_pairs(void *arg)
{
	struct racer *racer = arg;
	bool high = false;

	while (racer_goes_on(racer)) {
		high = !high;
		racer->error = racer->error ?: policy_set_skew(racer->vm_id, high ? 900000 : 300,
							       high ? 900000 : 300);
	}
	return NULL;
}

static void test_all_at_once(void)
{
	uint32_t vm_id = policy_begin_with_guest();
	struct racer by_default = { .vm_id = DEFAULTS }, by_vm = { .vm_id = vm_id };
	struct kvmgang_policy policy;
	int round, low = 0, high = 0;

	racer_start(&by_default, set_pairs);
	for (round = 0; round < effort(2000, 20000); round++) {
		/* First the VM has what the defaults have, then its own. */
		if (round == effort(1000, 10000))
			racer_start(&by_vm, set_pairs);
		policy = policy_get(vm_id);
		EXPECT(policy.setting[KVMGANG_KEY_COSTOP_US].value, ==,
		       policy.setting[KVMGANG_KEY_COSTART_US].value);
		if (policy.setting[KVMGANG_KEY_COSTOP_US].value == 300)
			low++;
		else
			high++;
	}
	tap_note("%d reads of one, %d of the other pair", low, high);
	EXPECT(low, >, 0);
	EXPECT(high, >, 0);
	racer_stop(&by_default);
	racer_stop(&by_vm);
}

static void *set_by_ioctl(void *arg)
{
	struct racer *racer = arg;
	int error;

	while (racer_goes_on(racer)) {
		uint32_t vm_id = __atomic_load_n(&racer->vm_id, __ATOMIC_RELAXED);

		error = policy_set_skew(vm_id, 5000, 4000);
		if (error && error != ENOENT)
			racer->error = racer->error ?: error;
		error = policy_set_one(DEFAULTS, KVMGANG_KEY_HOME_NODES, racer->rounds & 1);
		racer->error = racer->error ?: error;
	}
	return NULL;
}

static void *set_by_file(void *arg)
{
	struct racer *racer = arg;
	int error;

	while (racer_goes_on(racer)) {
		error = policy_write(__atomic_load_n(&racer->vm_id, __ATOMIC_RELAXED), "home_nodes",
				     racer->rounds & 1 ? "0" : "default");
		if (error && error != ENOENT && error != ENODEV)
			racer->error = racer->error ?: error;
	}
	return NULL;
}

/* VMs die under the hands of those who set something of them. */
static void test_races(void)
{
	struct racer by_ioctl = { .vm_id = 1 }, by_file = { .vm_id = 1 };
	uint32_t vm_id;
	struct vm *vm;
	int round;

	policy_begin();
	racer_start(&by_ioctl, set_by_ioctl);
	racer_start(&by_file, set_by_file);
	for (round = 0; round < effort(20, 200); round++) {
		vm_id = policy_start_guest(&vm);
		__atomic_store_n(&by_ioctl.vm_id, vm_id, __ATOMIC_RELAXED);
		__atomic_store_n(&by_file.vm_id, vm_id, __ATOMIC_RELAXED);
		await(policy_get(vm_id).setting[KVMGANG_KEY_COSTOP_US].out_origin ==
		      KVMGANG_ORIGIN_USER);
		vm_free(vm);
	}
	racer_stop(&by_ioctl);
	racer_stop(&by_file);
	REQUIRE(policy_reset(DEFAULTS, ALL_KEYS), ==, 0);
	expect_builtin(policy_start_guest(&vm));
}

static void *set_default_home(void *arg)
{
	struct racer *racer = arg;
	bool first = false;

	while (racer_goes_on(racer)) {
		first = !first;
		racer->error = racer->error ?:
			       policy_set_one(DEFAULTS, KVMGANG_KEY_HOME_NODES,
					      BIT(node_of(nth_cpu(first ? 0 : nr_cpus() - 1))));
	}
	return NULL;
}

/* A default that changes while VMs are born is missed by none of them. */
static void test_births(void)
{
	struct racer racer = {};
	uint32_t vm_ids[16];
	struct vm *vm;
	__u64 home;
	int i;

	if (node_of(nth_cpu(0)) == node_of(nth_cpu(nr_cpus() - 1)))
		tap_skip("needs two NUMA nodes");
	policy_begin();
	racer_start(&racer, set_default_home);
	for (i = 0; i < 16; i++)
		vm_ids[i] = policy_start_guest(&vm);
	racer_stop(&racer);
	home = policy_get(DEFAULTS).setting[KVMGANG_KEY_HOME_NODES].value;
	for (i = 0; i < 16; i++)
		EXPECT(home_of(vm_ids[i]), ==, home);
	tap_note("%lu changes", racer.rounds);
}

/* The VM is another one for the module that comes next. */
static void test_reload(void)
{
	uint32_t vm_id;
	struct vm *vm;

	policy_begin();
	vm = vm_new(1);
	vm_start(vm, guest_halt, 2 * NSEC_PER_MSEC);
	vm_id = vm_id_wait(vm);
	EXPECT(policy_set_one(DEFAULTS, KVMGANG_KEY_SHARES, 17), ==, 0);
	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_COSTOP_US, 4000), ==, 0);
	close(policy_device);
	REQUIRE(module_unload(), ==, 0);
	REQUIRE(module_load(), ==, 0);
	policy_device = policy_open(O_RDWR);
	expect_builtin(DEFAULTS);
	expect_builtin(vm_id_wait(vm));
}

TAP_MAIN(
	{ "home nodes count at once", test_home },
	{ "several keys change at once", test_all_at_once },
	{ "VMs die while they are set", test_races },
	{ "VMs are born while defaults change", test_births },
	{ "settings go with the module", test_reload },
)
