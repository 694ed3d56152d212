// SPDX-License-Identifier: GPL-2.0
/*
 * Contract 2: what VMs reserve, there is; and nobody reserves more for a VM than its limit lets it
 * use. What is refused changes nothing and comes with the figures.
 *
 * What a scheduler makes of reservations and limits is no matter here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host.h"
#include "policy.h"
#include "service.h"
#include "tap.h"
#include "vmm.h"

#define RESERVATION	KVMGANG_KEY_RESERVATION
#define LIMIT		KVMGANG_KEY_LIMIT
#define HOME_NODES	KVMGANG_KEY_HOME_NODES

/* milli-pCPU of the host. */
static __u64 of_host(void)
{
	return 1000ULL * (__u64)nr_cpus();
}

static __u64 of_node(int node)
{
	__u64 milli = 0;
	int n;

	for (n = 0; n < nr_cpus(); n++)
		milli += node_of(nth_cpu(n)) == node ? 1000 : 0;
	return milli;
}

/* pCPUs of @nodes, which have @capacity, are too few for @reserved, because of the keys @bad. */
static void refuse(struct kvmgang_policy policy, __u64 bad, __u64 nodes, __u64 capacity,
		   __u64 reserved)
{
	struct kvmgang_policy asked = policy;
	struct policies before = policy_look(policy.vm_id);

	EXPECT(policy_call(policy_device, KVMGANG_SET_POLICY, &policy), ==, ENOSPC);
	EXPECT(policy.out_bad, ==, bad);
	EXPECT(policy.setting[HOME_NODES].value, ==, nodes);
	EXPECT(policy.setting[LIMIT].value, ==, capacity);
	EXPECT(policy.setting[RESERVATION].value, ==, reserved);
	/* The rest is as it was. */
	asked.size = policy.size;
	asked.out_bad = policy.out_bad;
	asked.setting[HOME_NODES] = policy.setting[HOME_NODES];
	asked.setting[LIMIT] = policy.setting[LIMIT];
	asked.setting[RESERVATION] = policy.setting[RESERVATION];
	EXPECT(memcmp(&asked, &policy, sizeof(asked)), ==, 0);
	expect_unchanged(&before, policy.vm_id);
}

/* Beside something that would be allowed. */
static void refuse_reservation(uint32_t vm_id, __u64 value, __u64 reserved)
{
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES) | BIT(RESERVATION),
		.reset = BIT(KVMGANG_KEY_GANG),
		.setting[KVMGANG_KEY_SHARES].value = 777,
	};

	policy.setting[RESERVATION].value = value;
	refuse(policy, BIT(RESERVATION), 0, of_host(), reserved);
}

static void test_sum(void)
{
	uint32_t one = policy_begin_with_guest(), other;
	__u64 all = of_host(), half = all / 2;
	struct vm *vm;

	other = policy_start_guest(&vm);
	refuse_reservation(one, all + 1, all + 1);
	EXPECT(policy_set_one(one, RESERVATION, all), ==, 0);
	refuse_reservation(other, 1, all + 1);
	EXPECT(policy_set_one(one, RESERVATION, half), ==, 0);
	refuse_reservation(other, all - half + 1, all + 1);
	EXPECT(policy_set_one(other, RESERVATION, all - half), ==, 0);
	refuse_reservation(one, half + 1, all + 1);
	/* Whoever reserves less makes room, and so does a VM that ends. */
	EXPECT(policy_reset(one, BIT(RESERVATION)), ==, 0);
	refuse_reservation(one, half + 1, all + 1);
	EXPECT(policy_set_one(other, RESERVATION, 1), ==, 0);
	EXPECT(policy_set_one(one, RESERVATION, all - 1), ==, 0);
	refuse_reservation(one, all, all + 1);
	vm_free(vm);
	EXPECT(policy_set_one(one, RESERVATION, all), ==, 0);
	expect_setting(one, RESERVATION, all, KVMGANG_ORIGIN_USER);
}

static void test_default(void)
{
	uint32_t one = policy_begin_with_guest(), other, later;
	__u64 all = of_host(), half = all / 2;
	struct vm *vm;

	other = policy_start_guest(&vm);
	refuse_reservation(DEFAULTS, all, 2 * all);
	EXPECT(policy_set_one(one, RESERVATION, half), ==, 0);
	refuse_reservation(DEFAULTS, all - half + 1, all + 1);
	EXPECT(policy_set_one(DEFAULTS, RESERVATION, all - half), ==, 0);
	expect_setting(other, RESERVATION, all - half, KVMGANG_ORIGIN_DEFAULT);

	/* A VM is born, room or no room. From then on it is only to become better. */
	later = policy_start_guest(&vm);
	expect_setting(later, RESERVATION, all - half, KVMGANG_ORIGIN_DEFAULT);
	refuse_reservation(one, half + 1, all + (all - half) + 1);
	EXPECT(policy_set_one(one, KVMGANG_KEY_SHARES, 5), ==, 0);
	EXPECT(policy_set_one(one, RESERVATION, half), ==, 0);
	EXPECT(policy_set_one(one, RESERVATION, half - 1), ==, 0);
	refuse_reservation(one, half, all + (all - half));
	EXPECT(policy_set_one(later, RESERVATION, 0), ==, 0);
	EXPECT(policy_set_one(one, RESERVATION, half), ==, 0);
	/* To follow the default is to reserve that, too. */
	refuse((struct kvmgang_policy){ .vm_id = later, .reset = ALL_KEYS }, BIT(RESERVATION), 0,
	       all, all + (all - half));
	EXPECT(policy_reset(DEFAULTS, ALL_KEYS), ==, 0);
	EXPECT(policy_reset(later, ALL_KEYS), ==, 0);
}

/* @keys, home nodes or reservation or both, are to be set. */
static struct kvmgang_policy placed(uint32_t vm_id, __u64 keys, int node, __u64 value)
{
	return (struct kvmgang_policy){
		.vm_id = vm_id,
		.set = keys,
		.setting = {
			[HOME_NODES] = { .value = BIT(node) },
			[RESERVATION] = { .value = value },
		},
	};
}

static void test_nodes(void)
{
	const __u64 home = BIT(HOME_NODES), amount = BIT(RESERVATION);
	int here = node_of(nth_cpu(0)), there = node_of(nth_cpu(nr_cpus() - 1));
	__u64 all = of_node(here), nodes = BIT(here);
	uint32_t one, other;
	struct vm *vm;

	if (here == there)
		tap_skip("needs two NUMA nodes");
	one = policy_begin_with_guest();
	other = policy_start_guest(&vm);
	refuse(placed(one, home | amount, here, all + 1), home | amount, nodes, all, all + 1);
	EXPECT(policy_set_one(one, RESERVATION, all + 1), ==, 0);
	refuse(placed(one, home, here, 0), home, nodes, all, all + 1);
	EXPECT(policy_set(placed(one, home | amount, here, all)), ==, 0);
	refuse(placed(one, amount, here, all + 1), amount, nodes, all, all + 1);

	/* Whoever need not be here takes nothing of this node. */
	EXPECT(policy_set_one(other, RESERVATION, 10), ==, 0);
	refuse(placed(other, home, here, 0), home, nodes, all, all + 10);
	EXPECT(policy_set_one(other, HOME_NODES, BIT(here) | BIT(there)), ==, 0);
	EXPECT(policy_set_one(other, HOME_NODES, BIT(there)), ==, 0);
	EXPECT(policy_set_one(other, HOME_NODES, 0), ==, 0);
	EXPECT(policy_reset(other, home), ==, 0);
	refuse(placed(DEFAULTS, home, here, 0), home, nodes, all, all + 10);
	EXPECT(policy_set(placed(DEFAULTS, home, there, 0)), ==, 0);
	EXPECT(policy_set(placed(other, home | amount, here, 0)), ==, 0);
}

/* One of @keys goes too far, because of the other or, by default, of @bad_vm. */
static void refuse_pair(uint32_t vm_id, __u64 keys, __u64 limit, __u64 reservation,
			uint32_t bad_vm)
{
	struct policies before = policy_look(vm_id);
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES) | keys,
		.setting = {
			[KVMGANG_KEY_SHARES] = { .value = 777 },
			[LIMIT] = { .value = limit },
			[RESERVATION] = { .value = reservation },
		},
	};

	EXPECT(policy_call(policy_device, KVMGANG_SET_POLICY, &policy), ==, EINVAL);
	EXPECT(policy.out_bad, ==, keys);
	EXPECT(policy.out_bad_vm, ==, bad_vm);
	EXPECT(policy.setting[LIMIT].value, ==, limit);
	EXPECT(policy.setting[RESERVATION].value, ==, reservation);
	expect_unchanged(&before, vm_id);
}

static void test_limit(void)
{
	uint32_t vm_id = policy_begin_with_guest();

	refuse_pair(vm_id, BIT(LIMIT) | BIT(RESERVATION), 150, 151, 0);
	EXPECT(policy_set_one(vm_id, LIMIT, 150), ==, 0);
	refuse_pair(vm_id, BIT(RESERVATION), 0, 151, 0);
	EXPECT(policy_set_one(vm_id, RESERVATION, 150), ==, 0);
	refuse_pair(vm_id, BIT(LIMIT), 149, 0, 0);
	/* Without a limit nothing is above it. */
	EXPECT(policy_set_one(vm_id, LIMIT, 0), ==, 0);
	EXPECT(policy_set_one(vm_id, RESERVATION, 500), ==, 0);

	EXPECT(policy_set_one(DEFAULTS, LIMIT, 499), ==, 0);
	EXPECT(policy_set_one(vm_id, LIMIT, 600), ==, 0);
	EXPECT(policy_set((struct kvmgang_policy){
		.vm_id = vm_id,
		.set = BIT(RESERVATION),
		.reset = BIT(LIMIT),
		.setting[RESERVATION].value = 400,
	}), ==, 0);
	expect_setting(vm_id, LIMIT, 499, KVMGANG_ORIGIN_DEFAULT);
	refuse_pair(DEFAULTS, BIT(LIMIT), 399, 0, vm_id);
	refuse_pair(DEFAULTS, BIT(RESERVATION), 0, 500, 0);
	EXPECT(policy_set_one(DEFAULTS, LIMIT, 0), ==, 0);
}

static void test_doors(void)
{
	uint32_t vm_id = policy_begin_with_guest();
	struct policies before;
	struct service command;
	char said[128];

	policy_await_files(vm_id);
	EXPECT(policy_write(vm_id, "limit", "150"), ==, 0);
	before = policy_look(vm_id);
	EXPECT(policy_write(vm_id, "reservation", "151"), ==, EINVAL);
	EXPECT(policy_write(DEFAULTS, "reservation", "151"), ==, EINVAL);
	expect_unchanged(&before, vm_id);
	EXPECT(policy_write(vm_id, "limit", "default"), ==, 0);
	before = policy_look(vm_id);
	EXPECT(policy_write(vm_id, "reservation", "1024000"), ==, ENOSPC);
	EXPECT(policy_write(DEFAULTS, "reservation", "1024000"), ==, ENOSPC);

	command = command_start(NULL, "defaults", "reservation=1024000");
	EXPECT(service_wait(&command), ==, 1);
	snprintf(said, sizeof(said),
		 "kvmgang: reservation '1024000': 1024000 of the host's %llu milli-pCPU would be reserved\n",
		 of_host());
	expect_said(&command, said);
	EXPECT(strlen(command.said), ==, strlen(said));
	expect_unchanged(&before, vm_id);
}

TAP_MAIN(
	{ "the reservations of all VMs fit the host", test_sum },
	{ "default reservations are those of VMs, too", test_default },
	{ "reservations of VMs on chosen nodes fit these", test_nodes },
	{ "no reservation is above the limit", test_limit },
	{ "files and the command refuse the same", test_doors },
)
