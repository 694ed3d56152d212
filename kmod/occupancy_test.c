// SPDX-License-Identifier: GPL-2.0
/*
 * Who had a pCPU, by made-up arrivals and departures on real ones, whose slots nobody else touches
 * while no guest runs. What runs beside a pCPU without a vCPU is the kernel's idle accounting and
 * not tested here.
 */
#include <kunit/test.h>
#include <linux/cpu.h>
#include <linux/sched/clock.h>
#include <linux/topology.h>

#include "kunit.h"
#include "occupancy.h"

static const struct kvmgang_occupant nobody = { .kind = KVMGANG_BY_NOBODY };
static const struct kvmgang_occupant host = { .kind = KVMGANG_BY_HOST };
static const struct kvmgang_occupant kthread = { .kind = KVMGANG_BY_KTHREAD };

/* A slot's time never goes back, so neither does that of the tests. */
static u64 now;

static struct kvmgang_occupant vm(u32 id)
{
	return (struct kvmgang_occupant){ .kind = KVMGANG_BY_VM, .vm_id = id };
}

static struct kvmgang_occupied read(int cpu)
{
	guard(irqsave)();
	return occupancy_read(cpu, now);
}

static struct kvmgang_occupant arrive(int cpu, u32 vm_id)
{
	struct kvmgang_occupied unused;

	guard(irqsave)();
	return occupancy_arrive(cpu, vm_id, now, &unused);
}

static u64 depart(int cpu, struct kvmgang_occupant next)
{
	struct kvmgang_occupied unused;

	guard(irqsave)();
	return occupancy_depart(cpu, next, now, &unused);
}

static u64 take_shared(int cpu)
{
	guard(irqsave)();
	return occupancy_take_shared(cpu, now);
}

static void expect_before(struct kunit *test, struct kvmgang_occupant got,
			  struct kvmgang_occupant expected)
{
	KUNIT_EXPECT_EQ(test, got.kind, expected.kind);
	KUNIT_EXPECT_EQ(test, got.vm_id, expected.vm_id);
}

static void expect_spent(struct kunit *test, int cpu, const struct kvmgang_occupied *since,
			 u64 vms, u64 hosts, u64 kthreads, u64 nobodies)
{
	struct kvmgang_occupied spent = read(cpu);
	int i;

	for (i = 0; i < KVMGANG_NR_DISPLACERS; i++)
		spent.ns[i] -= since->ns[i];
	KUNIT_EXPECT_EQ(test, spent.ns[KVMGANG_BY_VM], vms);
	KUNIT_EXPECT_EQ(test, spent.ns[KVMGANG_BY_SIBLING], 0);
	KUNIT_EXPECT_EQ(test, spent.ns[KVMGANG_BY_HOST], hosts);
	KUNIT_EXPECT_EQ(test, spent.ns[KVMGANG_BY_KTHREAD], kthreads);
	KUNIT_EXPECT_EQ(test, spent.ns[KVMGANG_BY_NOBODY], nobodies);
}

static void test_takes_turns(struct kunit *test)
{
	const int cpu = cpumask_first(cpu_online_mask);
	struct kvmgang_occupied since;

	depart(cpu, nobody);
	since = read(cpu);
	now += 10;
	expect_before(test, arrive(cpu, 1), nobody);
	now += 200;
	depart(cpu, host);
	now += 3000;
	expect_before(test, arrive(cpu, 2), host);
	expect_spent(test, cpu, &since, 200, 3000, 0, 10);
	now += 400;
	depart(cpu, kthread);
	now += 50000;
	/* In progress. */
	expect_spent(test, cpu, &since, 600, 3000, 50000, 10);
	expect_before(test, arrive(cpu, 1), kthread);
	depart(cpu, nobody);
	expect_spent(test, cpu, &since, 600, 3000, 50000, 10);
}

/* The one that leaves announces the one that arrives; who was there before is the one that left. */
static void test_vcpu_after_vcpu(struct kunit *test)
{
	const int cpu = cpumask_first(cpu_online_mask);
	struct kvmgang_occupied since;

	depart(cpu, nobody);
	arrive(cpu, 1);
	since = read(cpu);
	now += 100;
	depart(cpu, vm(2));
	expect_before(test, arrive(cpu, 2), vm(1));
	now += 100;
	depart(cpu, vm(3));
	expect_before(test, arrive(cpu, 3), vm(2));
	depart(cpu, nobody);
	expect_before(test, arrive(cpu, 4), nobody);
	depart(cpu, nobody);
	expect_spent(test, cpu, &since, 200, 0, 0, 0);
}

/* Two pCPUs' clocks differ: what is older than what is known changes no time. */
static void test_clock_backwards(struct kunit *test)
{
	const int cpu = cpumask_first(cpu_online_mask);
	struct kvmgang_occupied since;

	depart(cpu, nobody);
	since = read(cpu);
	now += 1000;
	arrive(cpu, 1);
	now -= 400;
	depart(cpu, host);
	expect_spent(test, cpu, &since, 0, 0, 0, 1000);
	now += 500;
	expect_before(test, arrive(cpu, 1), host);
	now -= 100;
	depart(cpu, nobody);
	now += 200;
	expect_spent(test, cpu, &since, 0, 100, 0, 1100);
}

static void two_threads(struct kunit *test, int *a, int *b)
{
	*a = cpumask_first(cpu_online_mask);
	*b = cpumask_any_and_but(topology_sibling_cpumask(*a), cpu_online_mask, *a);
	if (*b >= nr_cpu_ids)
		kunit_skip(test, "no core here has two hardware threads");
	depart(*a, nobody);
	depart(*b, nobody);
}

static void test_shared(struct kunit *test)
{
	int a, b;

	two_threads(test, &a, &b);
	arrive(a, 1);
	take_shared(a);
	arrive(b, 2);
	take_shared(a);
	now += 100;
	/* Each is foreign to the other. */
	KUNIT_EXPECT_EQ(test, take_shared(a), 100);
	KUNIT_EXPECT_EQ(test, take_shared(a), 0);
	now += 50;
	KUNIT_EXPECT_EQ(test, take_shared(b), 150);
	KUNIT_EXPECT_EQ(test, depart(b, vm(1)), 0);
	arrive(b, 1);
	KUNIT_EXPECT_EQ(test, take_shared(a), 50);
	now += 1000;
	/* A sibling is not. */
	KUNIT_EXPECT_EQ(test, take_shared(a), 0);
	KUNIT_EXPECT_EQ(test, depart(b, vm(2)), 0);
	arrive(b, 2);
	now += 30;
	KUNIT_EXPECT_EQ(test, depart(a, nobody), 30);
	KUNIT_EXPECT_EQ(test, depart(b, nobody), 30);
}

/* What a sibling does beside it is no time of this pCPU, and both are at the same instant. */
static void test_core_settles(struct kunit *test)
{
	struct kvmgang_occupied since_a, since_b;
	int a, b;

	two_threads(test, &a, &b);
	since_a = read(a);
	since_b = read(b);
	arrive(a, 1);
	depart(b, kthread);
	now += 100;
	depart(a, host);
	now += 20;
	arrive(b, 1);
	now += 3;
	expect_spent(test, a, &since_a, 100, 23, 0, 0);
	expect_spent(test, b, &since_b, 3, 0, 120, 0);
	depart(b, nobody);
	depart(a, nobody);
}

static int begin(struct kunit *test)
{
	now = max(now, local_clock());
	return 0;
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_takes_turns),
	KUNIT_CASE(test_vcpu_after_vcpu),
	KUNIT_CASE(test_clock_backwards),
	KUNIT_CASE(test_shared),
	KUNIT_CASE(test_core_settles),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_occupancy",
	.init = begin,
	.test_cases = cases,
};

kunit_test_suite(suite);
