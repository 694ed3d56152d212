// SPDX-License-Identifier: GPL-2.0
/*
 * Admission of reservations: its arithmetic on a host that is made up, and policy_change() on the
 * one that there is, with VMs that come and go, in random order against sums made the long way.
 */
#include <kunit/test.h>

#include "admission.h"
#include "kunit.h"
#include "policy.h"
#include "vcpu.h"

#define RESERVATION	policy_bit(KVMGANG_KEY_RESERVATION)
#define HOME_NODES	policy_bit(KVMGANG_KEY_HOME_NODES)

#define NR_NODES	4
#define NR_VMS		6
#define NR_CHANGES	20000

static const u32 node_pcpus[NR_NODES] = { 1, 2, 2, 3 };

struct host {
	struct policy_settings own[NR_VMS], defaults;
};

static u64 capacity_of(u64 nodes)
{
	u64 capacity = 0;
	int node;

	for (node = 0; node < NR_NODES; node++)
		if (!nodes || nodes & BIT_ULL(node))
			capacity += 1000 * node_pcpus[node];
	return capacity;
}

static u64 value_of(const struct host *host, int vm, u32 key)
{
	u32 origin;

	return policy_value(&host->own[vm], NULL, &host->defaults, key, &origin);
}

/* As policy.c does it. Returns the pool that is too full, or ~0. */
static u64 full_pool(const struct host *now, const struct host *then, u64 *reserved)
{
	struct admission_claim before, after;
	struct admission_pool pool = {};
	int vm;

	do {
		pool = (struct admission_pool){ .nodes = pool.next };
		for (vm = 0; vm < NR_VMS; vm++) {
			before = admission_claim(&now->own[vm], NULL, &now->defaults);
			after = admission_claim(&then->own[vm], NULL, &then->defaults);
			admission_add(&pool, &before, &after);
		}
		*reserved = pool.after;
		if (admission_refused(&pool, capacity_of(pool.nodes)))
			return pool.nodes;
	} while (pool.next);
	return ~0ULL;
}

static u64 sum_of(const struct host *host, u64 nodes)
{
	u64 sum = 0, home;
	int vm;

	for (vm = 0; vm < NR_VMS; vm++) {
		home = value_of(host, vm, KVMGANG_KEY_HOME_NODES);
		if (!nodes || (home && (home | nodes) == nodes))
			sum += value_of(host, vm, KVMGANG_KEY_RESERVATION);
	}
	return sum;
}

static bool is_named(const struct host *host, u64 nodes)
{
	int vm;

	for (vm = 0; vm < NR_VMS; vm++)
		if (value_of(host, vm, KVMGANG_KEY_HOME_NODES) == nodes &&
		    value_of(host, vm, KVMGANG_KEY_RESERVATION))
			return true;
	return !nodes;
}

/* The same by looking at all sets of nodes that there are. */
static u64 full_pool_by_sums(const struct host *now, const struct host *then)
{
	u64 nodes, sum;

	for (nodes = 0; nodes < 1 << NR_NODES; nodes++) {
		sum = sum_of(then, nodes);
		if (is_named(then, nodes) && sum > capacity_of(nodes) && sum > sum_of(now, nodes))
			return nodes;
	}
	return ~0ULL;
}

/* One VM or the defaults get or lose one or both of the keys. */
static void change_at_random(struct rnd_state *rnd, struct host *host)
{
	u32 who = random_below(rnd, NR_VMS + 1);
	struct policy_settings asked = {
		.value = {
			[KVMGANG_KEY_RESERVATION] = 250 * random_below(rnd, 9),
			[KVMGANG_KEY_HOME_NODES] = random_below(rnd, 1 << NR_NODES),
		},
	};
	u64 keys = random_below(rnd, 2) ? RESERVATION : 0, reset;

	keys |= random_below(rnd, 2) ? HOME_NODES : 0;
	reset = random_below(rnd, 4) ? 0 : keys;
	asked.given = keys & ~reset;
	policy_apply(who < NR_VMS ? &host->own[who] : &host->defaults, &asked, reset);
}

static void test_random(struct kunit *test)
{
	u32 nr_host = 0, nr_nodes = 0, nr_admitted = 0, i;
	struct host now = {}, then;
	u64 full, reserved, nodes;
	struct rnd_state rnd;

	seed_random(test, &rnd);
	for (i = 0; i < NR_CHANGES; i++) {
		then = now;
		change_at_random(&rnd, &then);
		full = full_pool(&now, &then, &reserved);
		KUNIT_ASSERT_EQ_MSG(test, full, full_pool_by_sums(&now, &then), "change %u", i);
		if (full == ~0ULL) {
			now = then;
			nr_admitted++;
		} else {
			KUNIT_ASSERT_EQ(test, reserved, sum_of(&then, full));
			nr_host += !full;
			nr_nodes += !!full;
		}
		/* The host, and nodes that overlap with none: as long as nothing goes, they fit. */
		for (nodes = 0; nodes < 1 << NR_NODES; nodes = nodes ? 2 * nodes : 1)
			KUNIT_ASSERT_LE(test, sum_of(&now, nodes), capacity_of(nodes));
	}
	KUNIT_EXPECT_GT(test, nr_admitted, 0);
	KUNIT_EXPECT_GT(test, nr_host, 0);
	KUNIT_EXPECT_GT(test, nr_nodes, 0);
}

/* pCPUs went: whatever takes no more is admitted, and nothing that takes more. */
static void test_less_pcpus(struct kunit *test)
{
	static const struct {
		u64 before, after;
		bool refused;
	} changes[] = {
		{ 5000, 4999, false }, { 5000, 5000, false }, { 5000, 5001, true },
		{ 5000, 0, false }, { 4000, 4000, false }, { 3999, 4000, false },
		{ 3999, 4001, true }, { 0, 4001, true },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		struct admission_pool pool = {
			.before = changes[i].before, .after = changes[i].after,
		};

		KUNIT_EXPECT_EQ(test, admission_refused(&pool, 4000), changes[i].refused);
	}
}

/* The most that there can be does not overflow. */
static void test_many(struct kunit *test)
{
	const struct admission_claim most = {
		.nodes = U64_MAX, .amount = KVMGANG_MILLI_PCPU_MAX,
	};
	struct admission_pool pool = {};
	u32 i;

	for (i = 0; i < KVMGANG_MAX_VMS; i++)
		admission_add(&pool, &most, &most);
	KUNIT_EXPECT_EQ(test, pool.after, (u64)KVMGANG_MAX_VMS * KVMGANG_MILLI_PCPU_MAX);
	KUNIT_EXPECT_EQ(test, pool.next, U64_MAX);
	pool = (struct admission_pool){ .nodes = pool.next };
	admission_add(&pool, &most, &most);
	KUNIT_EXPECT_EQ(test, pool.after, KVMGANG_MILLI_PCPU_MAX);
	KUNIT_EXPECT_EQ(test, pool.next, 0);
}

#define NR_FAKES	4

/* What the VMs of the store are to have: U64_MAX: nothing of their own; ids 0: not there. */
struct model {
	struct fake_vm *fakes[NR_FAKES];
	u32 ids[NR_FAKES];
	u64 own[NR_FAKES], by_default;
};

static u64 model_sum(const struct model *model)
{
	u64 sum = 0;
	int vm;

	for (vm = 0; vm < NR_FAKES; vm++)
		if (model->ids[vm])
			sum += model->own[vm] == U64_MAX ? model->by_default : model->own[vm];
	return sum;
}

/* A VM ends, or one that has ended is another one. */
static void model_toggle(struct kunit *test, struct model *model, int vm)
{
	struct kvmgang_vcpu *vcpu;

	model->own[vm] = U64_MAX;
	if (model->ids[vm]) {
		fake_vm_destroy(model->fakes[vm]);
		model->ids[vm] = 0;
		return;
	}
	vcpu = fake_vm_enter(model->fakes[vm], 0);
	KUNIT_ASSERT_NOT_NULL(test, vcpu);
	model->ids[vm] = vcpu->vm->id;
}

/* @vm NR_FAKES: the defaults; @value U64_MAX: reset. */
static void model_change(struct kunit *test, struct model *model, int vm, u64 value, u64 capacity)
{
	struct policy_request request = {
		.vm_id = vm < NR_FAKES ? model->ids[vm] : 0,
		.set = {
			.given = policy_bit(KVMGANG_KEY_COSTOP_US),
			.value = {
				[KVMGANG_KEY_COSTOP_US] = 5000,
				[KVMGANG_KEY_RESERVATION] = value,
			},
		},
	};
	u64 generation = policy_generation(), before = model_sum(model), after;
	u64 *to = vm < NR_FAKES ? &model->own[vm] : &model->by_default, was = *to;
	struct policy_view view;

	*(value == U64_MAX ? &request.reset : &request.set.given) |= RESERVATION;
	*to = vm == NR_FAKES && value == U64_MAX ? 0 : value;
	after = model_sum(model);
	if (after <= capacity || after <= before) {
		KUNIT_ASSERT_EQ(test, policy_change(&request), 0);
	} else {
		*to = was;
		KUNIT_ASSERT_EQ(test, policy_change(&request), -ENOSPC);
		KUNIT_ASSERT_EQ(test, request.bad, RESERVATION);
		KUNIT_ASSERT_EQ(test, request.full.nodes, 0);
		KUNIT_ASSERT_EQ(test, request.full.capacity, capacity);
		KUNIT_ASSERT_EQ(test, request.full.reserved, after);
		KUNIT_ASSERT_EQ(test, policy_generation(), generation);
	}
	KUNIT_ASSERT_EQ(test, policy_read(request.vm_id, &view), 0);
	KUNIT_ASSERT_EQ(test, view.value[KVMGANG_KEY_RESERVATION],
			*to == U64_MAX ? model->by_default : *to);
}

/* VMs are born with whatever the default is, so that there may be too much for a while. */
static void test_store(struct kunit *test)
{
	const u64 capacity = 1000 * num_online_cpus();
	u32 vm, i, nr_too_much = 0;
	struct model model = {};
	struct rnd_state rnd;
	u64 value;

	seed_random(test, &rnd);
	for (vm = 0; vm < NR_FAKES; vm++)
		model.fakes[vm] = fake_vm_new(test, 1);
	for (i = 0; i < 2000; i++) {
		vm = random_below(&rnd, NR_FAKES + 1);
		if (vm < NR_FAKES && (!model.ids[vm] || !random_below(&rnd, 8))) {
			model_toggle(test, &model, vm);
		} else {
			value = capacity / 8 * random_below(&rnd, 10);
			value = random_below(&rnd, 4) ? value : U64_MAX;
			model_change(test, &model, vm, value, capacity);
		}
		nr_too_much += model_sum(&model) > capacity;
	}
	KUNIT_EXPECT_GT(test, nr_too_much, 0);
	KUNIT_EXPECT_LT(test, nr_too_much, i);
}

static int begin(struct kunit *test)
{
	struct policy_request request = { .reset = policy_known() };

	return policy_change(&request);
}

static void end(struct kunit *test)
{
	begin(test);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_random),
	KUNIT_CASE(test_less_pcpus),
	KUNIT_CASE(test_many),
	KUNIT_CASE(test_store),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_admission",
	.init = begin,
	.exit = end,
	.test_cases = cases,
};

kunit_test_suite(suite);
