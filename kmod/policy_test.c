// SPDX-License-Identifier: GPL-2.0
/*
 * Settings: the table of keys and its arithmetic, for every key that it has, and the store of
 * policy.c, with VMs that come and go. Which text and which ioctl lead there is the selftests'
 * matter.
 */
#include <kunit/test.h>

#include "kfunc.h"
#include "kunit.h"
#include "policy.h"
#include "vcpu.h"

#define NODES		0x0fULL		/* of a host that is made up */

static void test_table(struct kunit *test)
{
	const struct policy_settings nothing = {};
	const struct policy_order *o;
	u32 key, other;
	u64 word;

	for (key = 0; key < KVMGANG_NR_KEYS; key++) {
		const struct policy_key *k = &policy_keys[key];

		KUNIT_ASSERT_NOT_NULL_MSG(test, k->name, "key %u has no row", key);
		KUNIT_EXPECT_LE(test, k->min, k->max);
		KUNIT_EXPECT_TRUE_MSG(test, policy_allows(key, k->builtin, NODES), "%s", k->name);
		for (other = 0; other < key; other++)
			KUNIT_EXPECT_STRNEQ(test, k->name, policy_keys[other].name);
		KUNIT_ASSERT_TRUE(test, k->type != POLICY_WORD || k->max < POLICY_MAX_WORDS);
		for (word = 0; k->type == POLICY_WORD && word <= k->max; word++)
			KUNIT_EXPECT_NOT_NULL(test, k->words[word]);
	}
	for (o = policy_orders; o->low != o->high; o++)
		KUNIT_EXPECT_LE(test, policy_keys[o->low].builtin, policy_keys[o->high].builtin);
	KUNIT_EXPECT_EQ(test, policy_contradictions(&nothing, NULL, NULL), 0);
}

static void test_range(struct kunit *test)
{
	u32 key;

	for (key = 0; key < KVMGANG_NR_KEYS; key++) {
		const struct policy_key *k = &policy_keys[key];

		if (k->type == POLICY_NODES)
			continue;
		KUNIT_EXPECT_TRUE(test, policy_allows(key, k->min, 0));
		KUNIT_EXPECT_TRUE(test, policy_allows(key, k->max, 0));
		KUNIT_EXPECT_FALSE(test, policy_allows(key, k->max + 1, ~0ULL));
		KUNIT_EXPECT_FALSE(test, policy_allows(key, U64_MAX, ~0ULL));
		if (k->min)
			KUNIT_EXPECT_FALSE(test, policy_allows(key, k->min - 1, ~0ULL));
	}
}

static void test_nodes(struct kunit *test)
{
	const u32 key = KVMGANG_KEY_HOME_NODES;

	KUNIT_EXPECT_TRUE(test, policy_allows(key, 0, 0));
	KUNIT_EXPECT_TRUE(test, policy_allows(key, NODES, NODES));
	KUNIT_EXPECT_TRUE(test, policy_allows(key, 8, NODES));
	KUNIT_EXPECT_FALSE(test, policy_allows(key, 16, NODES));
	KUNIT_EXPECT_FALSE(test, policy_allows(key, NODES | 1ULL << 63, NODES));
	KUNIT_EXPECT_TRUE(test, policy_allows(key, U64_MAX, U64_MAX));
}

/* Whatever is wrong is told, and nothing that was not asked for. */
static void test_refused(struct kunit *test)
{
	struct policy_settings asked = {};
	u64 bad;
	u32 key;

	for (bad = 0; bad <= policy_known(); bad++) {
		for (key = 0; key < KVMGANG_NR_KEYS; key++) {
			const struct policy_key *k = &policy_keys[key];

			asked.value[key] = bad & policy_bit(key) ? ~NODES : k->builtin;
		}
		asked.given = policy_known();
		KUNIT_ASSERT_EQ(test, policy_refused(&asked, NODES), bad);
		asked.given = 5;
		KUNIT_ASSERT_EQ(test, policy_refused(&asked, NODES), bad & 5);
	}
}

/* Set, reset and neither, of keys that were given and were not. */
static void test_apply(struct kunit *test)
{
	struct policy_settings asked = { .given = 0x3, .value = { 10, 11, 12, 13, 14 } };
	struct policy_settings to = { .given = 0x16, .value = { 0, 1, 2, 3, 4 } };

	policy_apply(&to, &asked, 0xc);
	KUNIT_EXPECT_EQ(test, to.given, 0x13);
	KUNIT_EXPECT_EQ(test, to.value[0], 10);
	KUNIT_EXPECT_EQ(test, to.value[1], 11);
	KUNIT_EXPECT_EQ(test, to.value[4], 4);
}

/* Bits of @who: 1 the user, 2 the cgroup, 4 the defaults have the key. */
static void test_value(struct kunit *test)
{
	static const u32 origins[8] = {
		KVMGANG_ORIGIN_DEFAULT, KVMGANG_ORIGIN_USER,
		KVMGANG_ORIGIN_CGROUP, KVMGANG_ORIGIN_USER,
		KVMGANG_ORIGIN_DEFAULT, KVMGANG_ORIGIN_USER,
		KVMGANG_ORIGIN_CGROUP, KVMGANG_ORIGIN_USER,
	};
	static const u64 values[8] = { 100, 1, 2, 1, 4, 1, 2, 1 };
	struct policy_settings own = { .value = { 1 } }, cgroup = { .value = { 2 } };
	struct policy_settings defaults = { .value = { 4 } };
	u32 who, origin;

	for (who = 0; who < 8; who++) {
		own.given = who & 1;
		cgroup.given = who >> 1 & 1;
		defaults.given = who >> 2;
		KUNIT_EXPECT_EQ(test, policy_value(&own, &cgroup, &defaults, 0, &origin),
				values[who]);
		KUNIT_EXPECT_EQ(test, origin, origins[who]);
		/* Another key of the same settings. */
		KUNIT_EXPECT_EQ(test, policy_value(&own, &cgroup, &defaults, 1, &origin),
				policy_keys[1].builtin);
		KUNIT_EXPECT_EQ(test, origin, KVMGANG_ORIGIN_DEFAULT);
	}
}

static u64 pick(u64 own, u64 inherited, u64 builtin)
{
	return own ?: inherited ?: builtin;
}

/* Each of the two from the VM, the defaults or built in; low, at the other, high. */
static void test_contradictions(struct kunit *test)
{
	static const u64 choices[] = { 0, 500, 2000, 3000, 9000 };
	const u64 pair = policy_bit(KVMGANG_KEY_COSTOP_US) | policy_bit(KVMGANG_KEY_COSTART_US);
	const u32 nr = ARRAY_SIZE(choices);
	u32 i, lows = 0;

	for (i = 0; i < nr * nr * nr * nr; i++) {
		struct policy_settings own = {}, defaults = {};
		u64 own_stop = choices[i % nr], own_start = choices[i / nr % nr];
		u64 stop = choices[i / nr / nr % nr], start = choices[i / nr / nr / nr];
		bool bad = pick(own_start, start, 2000) > pick(own_stop, stop, 3000);

		own.value[KVMGANG_KEY_COSTOP_US] = own_stop;
		own.value[KVMGANG_KEY_COSTART_US] = own_start;
		own.given = (own_stop ? policy_bit(KVMGANG_KEY_COSTOP_US) : 0) |
			    (own_start ? policy_bit(KVMGANG_KEY_COSTART_US) : 0);
		defaults.value[KVMGANG_KEY_COSTOP_US] = stop;
		defaults.value[KVMGANG_KEY_COSTART_US] = start;
		defaults.given = (stop ? policy_bit(KVMGANG_KEY_COSTOP_US) : 0) |
				 (start ? policy_bit(KVMGANG_KEY_COSTART_US) : 0);
		KUNIT_ASSERT_EQ(test, policy_contradictions(&own, NULL, &defaults),
				bad ? pair : 0);
		lows += bad;
	}
	KUNIT_EXPECT_GT(test, lows, 0);
}

/* The same of reservation and limit, of which 0 is above everything. */
static void test_reserved_above_limit(struct kunit *test)
{
	static const u64 choices[] = { U64_MAX, 0, 500, 1000 };
	const u64 reservation = policy_bit(KVMGANG_KEY_RESERVATION);
	const u64 limit = policy_bit(KVMGANG_KEY_LIMIT);
	const u32 nr = ARRAY_SIZE(choices);
	u32 i, nr_bad = 0;

	for (i = 0; i < nr * nr * nr; i++) {
		u64 low = choices[i % nr], high = choices[i / nr % nr], told = choices[i / nr / nr];
		struct policy_settings own = {
			.given = (low != U64_MAX ? reservation : 0) | (high != U64_MAX ? limit : 0),
			.value = {
				[KVMGANG_KEY_RESERVATION] = low,
				[KVMGANG_KEY_LIMIT] = high,
			},
		}, cgroup = {
			.given = told != U64_MAX ? limit : 0,
			.value = { [KVMGANG_KEY_LIMIT] = told },
		};
		bool bad;

		low = low == U64_MAX ? 0 : low;
		high = high != U64_MAX ? high : told != U64_MAX ? told : 0;
		bad = high && low > high;
		KUNIT_ASSERT_EQ(test, policy_contradictions(&own, &cgroup, NULL),
				bad ? reservation | limit : 0);
		nr_bad += bad;
	}
	KUNIT_EXPECT_GT(test, nr_bad, 0);
}

static int set_one(u32 vm_id, u32 key, u64 value)
{
	struct policy_request request = { .vm_id = vm_id, .set.given = policy_bit(key) };

	request.set.value[key] = value;
	return policy_change(&request);
}

static int reset(u32 vm_id, u64 keys)
{
	struct policy_request request = { .vm_id = vm_id, .reset = keys };

	return policy_change(&request);
}

static void expect_shares(struct kunit *test, u32 vm_id, u64 value, u32 origin)
{
	struct kvmgang_vm_policy answer;
	struct policy_view view;

	KUNIT_ASSERT_EQ(test, policy_read(vm_id, &view), 0);
	KUNIT_EXPECT_EQ(test, view.value[KVMGANG_KEY_SHARES], value);
	KUNIT_EXPECT_EQ(test, view.origin[KVMGANG_KEY_SHARES], origin);
	KUNIT_ASSERT_EQ(test, policy_for_scheduler(vm_id, &answer), 0);
	KUNIT_EXPECT_EQ(test, answer.shares, value);
	KUNIT_EXPECT_EQ(test, answer.generation, policy_generation());
}

static void test_store(struct kunit *test)
{
	const u32 key = KVMGANG_KEY_SHARES;
	struct fake_vm *vm = fake_vm_new(test, 1);
	struct kvmgang_vm_policy answer;
	struct kvmgang_vcpu *vcpu = fake_vm_enter(vm, 0);
	u64 generation = policy_generation();
	struct policy_view view;
	u32 id;

	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	id = vcpu->vm->id;
	expect_shares(test, id, 100, KVMGANG_ORIGIN_DEFAULT);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, key, 50), 0);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, key, 0), -ERANGE);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, KVMGANG_KEY_GANG, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, KVMGANG_NR_KEYS, 1), -EINVAL);
	expect_shares(test, id, 50, KVMGANG_ORIGIN_CGROUP);
	KUNIT_EXPECT_EQ(test, policy_tell_home(id, 0), -ERANGE);
	KUNIT_EXPECT_EQ(test, policy_tell_home(id, 1ULL << 63), -ERANGE);
	/* That was no user. */
	KUNIT_EXPECT_EQ(test, policy_generation(), generation);
	KUNIT_EXPECT_EQ(test, set_one(id, key, 70), 0);
	KUNIT_EXPECT_GT(test, policy_generation(), generation);
	expect_shares(test, id, 70, KVMGANG_ORIGIN_USER);
	KUNIT_EXPECT_EQ(test, reset(id, policy_bit(key)), 0);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, key, U64_MAX), 0);
	expect_shares(test, id, 100, KVMGANG_ORIGIN_DEFAULT);

	fake_vm_destroy(vm);
	KUNIT_EXPECT_EQ(test, policy_read(id, &view), -ENOENT);
	KUNIT_EXPECT_EQ(test, policy_for_scheduler(id, &answer), -ENOENT);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, key, 50), -ENOENT);
	KUNIT_EXPECT_EQ(test, policy_tell_home(id, 1), -ENOENT);
	KUNIT_EXPECT_EQ(test, set_one(id, key, 70), -ENOENT);
}

/* A cgroup may contradict the user, who can still change all else, of the VM and by default. */
static void test_limit_of_cgroup(struct kunit *test)
{
	struct fake_vm *vm = fake_vm_new(test, 1);
	struct kvmgang_vcpu *vcpu = fake_vm_enter(vm, 0);
	struct kvmgang_vm_policy answer;
	u32 id;

	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	id = vcpu->vm->id;
	KUNIT_EXPECT_EQ(test, set_one(id, KVMGANG_KEY_RESERVATION, 1000), 0);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, KVMGANG_KEY_RESERVATION, 5), -EINVAL);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, KVMGANG_KEY_LIMIT, 500), 0);
	KUNIT_ASSERT_EQ(test, policy_for_scheduler(id, &answer), 0);
	KUNIT_EXPECT_EQ(test, answer.limit, 500);
	KUNIT_EXPECT_EQ(test, answer.reservation, 1000);
	KUNIT_EXPECT_EQ(test, answer.latency, KVMGANG_LATENCY_NORMAL);
	KUNIT_EXPECT_EQ(test, answer.ready_target, 0);
	KUNIT_EXPECT_EQ(test, answer.isolation, KVMGANG_ISOLATION_NONE);

	KUNIT_EXPECT_EQ(test, set_one(id, KVMGANG_KEY_SHARES, 5), 0);
	KUNIT_EXPECT_EQ(test, set_one(0, KVMGANG_KEY_SHARES, 5), 0);
	KUNIT_EXPECT_EQ(test, set_one(0, KVMGANG_KEY_LIMIT, 900), 0);
	KUNIT_EXPECT_EQ(test, set_one(id, KVMGANG_KEY_RESERVATION, 501), -EINVAL);
	KUNIT_EXPECT_EQ(test, set_one(id, KVMGANG_KEY_RESERVATION, 500), 0);
	KUNIT_EXPECT_EQ(test, policy_tell_cgroup(id, KVMGANG_KEY_LIMIT, U64_MAX), 0);
	/* Now the default counts. */
	KUNIT_EXPECT_EQ(test, set_one(0, KVMGANG_KEY_LIMIT, 499), -EINVAL);
	KUNIT_EXPECT_EQ(test, set_one(id, KVMGANG_KEY_LIMIT, 0), 0);
	KUNIT_EXPECT_EQ(test, set_one(0, KVMGANG_KEY_LIMIT, 499), 0);
}

static int begin(struct kunit *test)
{
	return reset(0, policy_known());
}

static void end(struct kunit *test)
{
	reset(0, policy_known());
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_table),
	KUNIT_CASE(test_range),
	KUNIT_CASE(test_nodes),
	KUNIT_CASE(test_refused),
	KUNIT_CASE(test_apply),
	KUNIT_CASE(test_value),
	KUNIT_CASE(test_contradictions),
	KUNIT_CASE(test_reserved_above_limit),
	KUNIT_CASE(test_store),
	KUNIT_CASE(test_limit_of_cgroup),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_policy",
	.init = begin,
	.exit = end,
	.test_cases = cases,
};

kunit_test_suite(suite);
