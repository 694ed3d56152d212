// SPDX-License-Identifier: GPL-2.0
/*
 * Contracts 2 and 3: what is set of a VM is kept and found again with its origin; all of a call or
 * nothing of it; and it goes with the VM.
 *
 * What a scheduler makes of it is no matter here; what it can ask and tell is test_hold's. How much
 * can be reserved is test_policy_admission's.
 */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"
#include "policy.h"
#include "tap.h"
#include "vmm.h"

static void test_new(void)
{
	uint32_t vm_id = policy_begin_with_guest();

	expect_builtin(DEFAULTS);
	expect_builtin(vm_id);
}

static void test_set(void)
{
	static const struct {
		enum kvmgang_key key;
		__u64 value;
	} settings[] = {
		{ KVMGANG_KEY_SHARES, KVMGANG_SHARES_MIN },
		{ KVMGANG_KEY_SHARES, KVMGANG_SHARES_MAX },
		/* Set to what it is by default, it is set all the same. */
		{ KVMGANG_KEY_SHARES, 100 },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_OFF },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_RELAXED },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_STRICT },
		{ KVMGANG_KEY_GANG, KVMGANG_GANG_AUTO },
		{ KVMGANG_KEY_COSTOP_US, 2000 },
		{ KVMGANG_KEY_COSTOP_US, KVMGANG_SKEW_US_MAX },
		{ KVMGANG_KEY_COSTART_US, KVMGANG_SKEW_US_MIN },
		{ KVMGANG_KEY_COSTART_US, 3000 },
		{ KVMGANG_KEY_HOME_NODES, 1 },
		{ KVMGANG_KEY_HOME_NODES, 0 },
		{ KVMGANG_KEY_LIMIT, 0 },
		{ KVMGANG_KEY_LIMIT, 1 },
		{ KVMGANG_KEY_LIMIT, KVMGANG_MILLI_PCPU_MAX },
		{ KVMGANG_KEY_RESERVATION, 0 },
		{ KVMGANG_KEY_RESERVATION, 1000 },
		{ KVMGANG_KEY_LATENCY, KVMGANG_LATENCY_NORMAL },
		{ KVMGANG_KEY_LATENCY, KVMGANG_LATENCY_SENSITIVE },
		{ KVMGANG_KEY_READY_TARGET, 0 },
		{ KVMGANG_KEY_READY_TARGET, KVMGANG_READY_TARGET_MAX },
		{ KVMGANG_KEY_ISOLATION, KVMGANG_ISOLATION_NONE },
		{ KVMGANG_KEY_ISOLATION, KVMGANG_ISOLATION_CORE },
	};
	uint32_t vm_id = policy_begin_with_guest();
	size_t i;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		EXPECT(policy_set_one(vm_id, settings[i].key, settings[i].value), ==, 0);
		expect_setting(vm_id, settings[i].key, settings[i].value, KVMGANG_ORIGIN_USER);
		EXPECT(policy_reset(vm_id, BIT(settings[i].key)), ==, 0);
		expect_builtin(vm_id);
		EXPECT(policy_set_one(DEFAULTS, settings[i].key, settings[i].value), ==, 0);
		expect_setting(DEFAULTS, settings[i].key, settings[i].value, KVMGANG_ORIGIN_USER);
		expect_setting(vm_id, settings[i].key, settings[i].value, KVMGANG_ORIGIN_DEFAULT);
		EXPECT(policy_reset(DEFAULTS, BIT(settings[i].key)), ==, 0);
		expect_builtin(vm_id);
	}
	/* To set some and reset others is one call. */
	EXPECT(policy_set_skew(vm_id, 5000, 4000), ==, 0);
	EXPECT(policy_set((struct kvmgang_policy){
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES),
		.reset = BIT(KVMGANG_KEY_COSTOP_US) | BIT(KVMGANG_KEY_COSTART_US),
		.setting[KVMGANG_KEY_SHARES].value = 7,
	}), ==, 0);
	expect_setting(vm_id, KVMGANG_KEY_SHARES, 7, KVMGANG_ORIGIN_USER);
	expect_setting(vm_id, KVMGANG_KEY_COSTOP_US, 3000, KVMGANG_ORIGIN_DEFAULT);
	expect_setting(vm_id, KVMGANG_KEY_COSTART_US, 2000, KVMGANG_ORIGIN_DEFAULT);
}

static void test_inheritance(void)
{
	uint32_t with = policy_begin_with_guest(), without, later;
	struct vm *vm;

	without = policy_start_guest(&vm);
	EXPECT(policy_set_one(with, KVMGANG_KEY_SHARES, 500), ==, 0);
	EXPECT(policy_set_one(DEFAULTS, KVMGANG_KEY_SHARES, 300), ==, 0);
	later = policy_start_guest(&vm);
	expect_setting(with, KVMGANG_KEY_SHARES, 500, KVMGANG_ORIGIN_USER);
	expect_setting(without, KVMGANG_KEY_SHARES, 300, KVMGANG_ORIGIN_DEFAULT);
	expect_setting(later, KVMGANG_KEY_SHARES, 300, KVMGANG_ORIGIN_DEFAULT);

	EXPECT(policy_reset(with, BIT(KVMGANG_KEY_SHARES)), ==, 0);
	expect_setting(with, KVMGANG_KEY_SHARES, 300, KVMGANG_ORIGIN_DEFAULT);
	EXPECT(policy_reset(DEFAULTS, ALL_KEYS), ==, 0);
	expect_builtin(with);
	expect_builtin(later);
}

/* @bad: the keys that are said to be wrong; 0: the argument comes back as it was. */
static void refuse(struct kvmgang_policy policy, int expected, __u64 bad)
{
	struct kvmgang_policy asked = policy;
	struct policies before = policy_look(policy.vm_id);

	EXPECT(policy_call(policy_device, KVMGANG_SET_POLICY, &policy), ==, expected);
	if (!EXPECT(policy.out_bad, ==, bad))
		tap_note("of set %#llx, reset %#llx", asked.set, asked.reset);
	asked.size = policy.size;
	asked.out_bad = policy.out_bad;
	asked.out_bad_vm = policy.out_bad_vm;
	EXPECT(memcmp(&asked, &policy, sizeof(asked)), ==, 0);
	expect_unchanged(&before, policy.vm_id);
}

/* Good settings beside the bad one must not be carried out either. */
static void refuse_value(uint32_t vm_id, enum kvmgang_key key, __u64 value)
{
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES) | BIT(KVMGANG_KEY_GANG) | BIT(key),
		.reset = BIT(KVMGANG_KEY_COSTART_US) & ~BIT(key),
		.setting = {
			[KVMGANG_KEY_SHARES] = { .value = 777 },
			[KVMGANG_KEY_GANG] = { .value = KVMGANG_GANG_OFF },
		},
	};

	policy.setting[key].value = value;
	refuse(policy, ERANGE, BIT(key));
}

static void refuse_values(uint32_t vm_id)
{
	static const __u64 huge = ~0ULL;
	__u64 node;

	refuse_value(vm_id, KVMGANG_KEY_SHARES, KVMGANG_SHARES_MIN - 1);
	refuse_value(vm_id, KVMGANG_KEY_SHARES, KVMGANG_SHARES_MAX + 1);
	refuse_value(vm_id, KVMGANG_KEY_SHARES, (1ULL << 32) + 100);
	refuse_value(vm_id, KVMGANG_KEY_GANG, KVMGANG_NR_GANGS);
	refuse_value(vm_id, KVMGANG_KEY_GANG, huge);
	refuse_value(vm_id, KVMGANG_KEY_COSTOP_US, KVMGANG_SKEW_US_MIN - 1);
	refuse_value(vm_id, KVMGANG_KEY_COSTOP_US, KVMGANG_SKEW_US_MAX + 1);
	refuse_value(vm_id, KVMGANG_KEY_COSTART_US, 0);
	refuse_value(vm_id, KVMGANG_KEY_COSTART_US, huge);
	refuse_value(vm_id, KVMGANG_KEY_LIMIT, KVMGANG_MILLI_PCPU_MAX + 1);
	refuse_value(vm_id, KVMGANG_KEY_LIMIT, (1ULL << 32) + 100);
	refuse_value(vm_id, KVMGANG_KEY_RESERVATION, KVMGANG_MILLI_PCPU_MAX + 1);
	refuse_value(vm_id, KVMGANG_KEY_RESERVATION, huge);
	refuse_value(vm_id, KVMGANG_KEY_LATENCY, KVMGANG_NR_LATENCIES);
	refuse_value(vm_id, KVMGANG_KEY_READY_TARGET, KVMGANG_READY_TARGET_MAX + 1);
	refuse_value(vm_id, KVMGANG_KEY_ISOLATION, KVMGANG_NR_ISOLATIONS);
	refuse_value(vm_id, KVMGANG_KEY_HOME_NODES, huge);
	/* No host of this test has a node 63; one good node beside it does not help. */
	for (node = 0; node <= 1; node++)
		refuse_value(vm_id, KVMGANG_KEY_HOME_NODES, 1ULL << 63 | node);
	refuse((struct kvmgang_policy){
		.vm_id = vm_id,
		.set = BIT(KVMGANG_KEY_SHARES) | BIT(KVMGANG_KEY_GANG),
		.setting[KVMGANG_KEY_GANG].value = 99,
	}, ERANGE, BIT(KVMGANG_KEY_SHARES) | BIT(KVMGANG_KEY_GANG));
}

static void refuse_requests(uint32_t vm_id)
{
	struct kvmgang_policy policy = { .vm_id = vm_id, .set = BIT(KVMGANG_KEY_SHARES) };

	policy.setting[KVMGANG_KEY_SHARES].value = 777;
	policy.flags = 1;
	refuse(policy, EINVAL, 0);
	policy.flags = 0;
	policy.setting[KVMGANG_KEY_SHARES].reserved = 1;
	refuse(policy, EINVAL, 0);
	policy.setting[KVMGANG_KEY_SHARES].reserved = 0;
	policy.reset = policy.set;
	refuse(policy, EINVAL, policy.set);
	policy.reset = BIT(KVMGANG_NR_KEYS) | BIT(63);
	refuse(policy, EINVAL, policy.reset);
	policy.reset = 0;
	policy.set |= BIT(KVMGANG_NR_KEYS);
	refuse(policy, EINVAL, BIT(KVMGANG_NR_KEYS));
}

static void test_refused(void)
{
	uint32_t vm_id = policy_begin_with_guest();

	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_SHARES, 123), ==, 0);
	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_COSTART_US, 150), ==, 0);
	refuse_values(vm_id);
	refuse_values(DEFAULTS);
	refuse_requests(vm_id);
	refuse_requests(DEFAULTS);
	expect_setting(vm_id, KVMGANG_KEY_SHARES, 123, KVMGANG_ORIGIN_USER);
}

/* Reads need no less care: an argument that is refused comes back as it was. */
static void test_struct(void)
{
	struct {
		struct kvmgang_policy policy;
		__u64 unknown[2];
	} longer = { .policy.size = sizeof(longer) };
	const __u32 abi1 = offsetof(struct kvmgang_policy, setting[KVMGANG_KEY_HOME_NODES + 1]);
	struct kvmgang_policy policy = { .set = 1 };

	policy_begin();
	EXPECT(policy_call(policy_device, KVMGANG_GET_POLICY, &policy), ==, EINVAL);
	policy = (struct kvmgang_policy){ .reset = 1 };
	EXPECT(policy_call(policy_device, KVMGANG_GET_POLICY, &policy), ==, EINVAL);
	policy = (struct kvmgang_policy){ .flags = 1 };
	EXPECT(policy_call(policy_device, KVMGANG_GET_POLICY, &policy), ==, EINVAL);
	policy = (struct kvmgang_policy){ .vm_id = 0xffffffff };
	EXPECT(policy_call(policy_device, KVMGANG_GET_POLICY, &policy), ==, ENOENT);
	EXPECT(policy_call(policy_device, KVMGANG_SET_POLICY, &policy), ==, ENOENT);
	/* The oldest callers know the keys up to home_nodes. */
	policy = (struct kvmgang_policy){ .size = abi1 - 8 };
	EXPECT(ioctl(policy_device, KVMGANG_GET_POLICY, &policy), ==, -1);
	EXPECT(errno, ==, EINVAL);
	policy = (struct kvmgang_policy){
		.size = abi1,
		.setting[KVMGANG_KEY_LIMIT].value = 5,
	};
	EXPECT(ioctl(policy_device, KVMGANG_GET_POLICY, &policy), ==, 0);
	EXPECT(policy.setting[KVMGANG_KEY_SHARES].value, ==, 100);
	EXPECT(policy.setting[KVMGANG_KEY_LIMIT].value, ==, 5);

	EXPECT(ioctl(policy_device, KVMGANG_GET_POLICY, &longer), ==, 0);
	EXPECT(longer.policy.setting[KVMGANG_KEY_SHARES].value, ==, 100);
	/* A key that this module does not know yet is to be set. */
	longer.policy = (struct kvmgang_policy){ .size = sizeof(longer) };
	longer.unknown[0] = 5;
	EXPECT(ioctl(policy_device, KVMGANG_SET_POLICY, &longer), ==, -1);
	EXPECT(errno, ==, E2BIG);
}

static void test_contradictions(void)
{
	const __u64 costop = BIT(KVMGANG_KEY_COSTOP_US), costart = BIT(KVMGANG_KEY_COSTART_US);
	uint32_t vm_id = policy_begin_with_guest();
	struct kvmgang_policy policy = {
		.vm_id = vm_id,
		.set = costart,
		.setting = {
			[KVMGANG_KEY_COSTOP_US] = { .value = 500 },
			[KVMGANG_KEY_COSTART_US] = { .value = 3001 },
		},
	};
	struct policies before;

	/* With the default, with each other, with what is set already. */
	refuse(policy, EINVAL, costart);
	policy.set = costop;
	refuse(policy, EINVAL, costop);
	policy.set = costop | costart;
	refuse(policy, EINVAL, costop | costart);
	EXPECT(policy_set_skew(vm_id, 500, 500), ==, 0);
	policy.set = costart;
	policy.setting[KVMGANG_KEY_COSTART_US].value = 501;
	refuse(policy, EINVAL, costart);
	policy.set = 0;
	policy.reset = costart;
	refuse(policy, EINVAL, costart);
	policy.reset = costop | costart;
	EXPECT(policy_set(policy), ==, 0);

	/* The defaults by themselves, and with what is set of a VM. */
	policy = (struct kvmgang_policy){
		.set = costop,
		.setting[KVMGANG_KEY_COSTOP_US].value = 1999,
	};
	refuse(policy, EINVAL, costop);
	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_COSTART_US, 2500), ==, 0);
	policy.setting[KVMGANG_KEY_COSTOP_US].value = 2499;
	refuse(policy, EINVAL, costop);
	before = policy_look(vm_id);
	EXPECT(policy_call(policy_device, KVMGANG_SET_POLICY, &policy), ==, EINVAL);
	EXPECT(policy.out_bad_vm, ==, vm_id);
	expect_unchanged(&before, vm_id);
	policy.setting[KVMGANG_KEY_COSTOP_US].value = 2500;
	EXPECT(policy_set(policy), ==, 0);
	expect_setting(vm_id, KVMGANG_KEY_COSTOP_US, 2500, KVMGANG_ORIGIN_DEFAULT);
}

static void test_generation(void)
{
	uint32_t vm_id = policy_begin_with_guest();
	__u64 generation = policy_get(vm_id).out_generation;

	EXPECT(generation, >, 0);
	EXPECT(policy_get(DEFAULTS).out_generation, ==, generation);
	EXPECT(policy_set_one(vm_id, KVMGANG_KEY_SHARES, 5), ==, 0);
	EXPECT(policy_get(DEFAULTS).out_generation, >, generation);
	generation = policy_get(DEFAULTS).out_generation;
	EXPECT(policy_set_one(DEFAULTS, KVMGANG_KEY_SHARES, 5), ==, 0);
	EXPECT(policy_get(vm_id).out_generation, >, generation);
}

static void test_death(void)
{
	struct kvmgang_policy policy = {};
	uint32_t first, second;
	char path[PATH_MAX];
	struct vm *vm;

	policy_begin();
	first = policy_start_guest(&vm);
	policy_await_files(first);
	EXPECT(policy_set_one(first, KVMGANG_KEY_SHARES, 4321), ==, 0);
	EXPECT(policy_set_one(first, KVMGANG_KEY_HOME_NODES, 1), ==, 0);
	vm_free(vm);
	policy.vm_id = first;
	EXPECT(policy_call(policy_device, KVMGANG_GET_POLICY, &policy), ==, ENOENT);
	EXPECT(policy_set_one(first, KVMGANG_KEY_SHARES, 1), ==, ENOENT);
	policy_path(path, first, "shares");
	await(access(path, F_OK));

	second = policy_start_guest(&vm);
	EXPECT(second, >, first);
	expect_builtin(second);
}

TAP_MAIN(
	{ "a new VM has the defaults", test_new },
	{ "set and reset, of a VM and of the defaults", test_set },
	{ "defaults are for VMs that have no setting of their own", test_inheritance },
	{ "what is refused changes nothing", test_refused },
	{ "bad arguments", test_struct },
	{ "co-start is never above co-stop", test_contradictions },
	{ "the generation grows with every change", test_generation },
	{ "settings go with the VM", test_death },
)
