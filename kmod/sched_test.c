// SPDX-License-Identifier: GPL-2.0
/*
 * The scheduler's pure parts, which BPF runs: budget.h, core.h, fair.h, heap.h, home.h, quota.h and
 * target.h. What it does with them is for selftests/test_gang.c, test_wide.c, test_limit.c,
 * test_cgroup.c, test_isolate.c and test_target.c.
 */
#include <kunit/test.h>
#include <linux/array_size.h>

#include "kunit.h"
#include "sched_ext/budget.h"
#include "sched_ext/core.h"
#include "sched_ext/fair.h"
#include "sched_ext/heap.h"
#include "sched_ext/home.h"
#include "sched_ext/quota.h"
#include "sched_ext/target.h"

static struct heap *heap_new(struct kunit *test)
{
	struct heap *h = kunit_kzalloc(test, sizeof(*h), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, h);
	return h;
}

static void test_heap_empty(struct kunit *test)
{
	struct heap *h = heap_new(test);

	KUNIT_EXPECT_EQ(test, heap_pop(h).id, 0);
	KUNIT_EXPECT_TRUE(test, heap_push(h, 7, 0));
	KUNIT_EXPECT_EQ(test, heap_pop(h).id, 7);
	KUNIT_EXPECT_EQ(test, heap_pop(h).id, 0);
	KUNIT_EXPECT_EQ(test, h->nr, 0);
}

/* As many as go in come out, the least first, and each once; one more does not go in. */
static void test_heap_full(struct kunit *test)
{
	struct heap *h = heap_new(test);
	struct heap_entry e;
	struct rnd_state rnd;
	u64 last = 0, sum = 0;
	u32 id;

	seed_random(test, &rnd);
	for (id = 1; id < HEAP_SIZE; id++)
		KUNIT_ASSERT_TRUE(test, heap_push(h, id, random_below(&rnd, HEAP_SIZE)));
	KUNIT_EXPECT_FALSE(test, heap_push(h, HEAP_SIZE, 0));
	for (id = 1; id < HEAP_SIZE; id++) {
		e = heap_pop(h);
		KUNIT_ASSERT_NE(test, e.id, 0);
		KUNIT_ASSERT_GE(test, e.key, last);
		last = e.key;
		sum += e.id;
	}
	KUNIT_EXPECT_EQ(test, sum, (u64)HEAP_SIZE * (HEAP_SIZE - 1) / 2);
	KUNIT_EXPECT_EQ(test, heap_pop(h).id, 0);
}

/* What is pushed and popped in any order: never more, never less, and never less than the least. */
static void test_heap_mixed(struct kunit *test)
{
	struct heap *h = heap_new(test);
	static u64 key_of[64];
	struct rnd_state rnd;
	struct heap_entry e;
	u64 least;
	u32 step, id, i;

	seed_random(test, &rnd);
	memset(key_of, 0, sizeof(key_of));
	for (step = 0; step < 20000; step++) {
		id = 1 + random_below(&rnd, ARRAY_SIZE(key_of) - 1);
		if (!key_of[id]) {
			key_of[id] = 1 + random_below(&rnd, 1000);
			KUNIT_ASSERT_TRUE(test, heap_push(h, id, key_of[id]));
			continue;
		}
		least = U64_MAX;
		for (i = 1; i < ARRAY_SIZE(key_of); i++)
			if (key_of[i])
				least = min(least, key_of[i]);
		e = heap_pop(h);
		KUNIT_ASSERT_EQ(test, e.key, least);
		KUNIT_ASSERT_EQ(test, e.key, key_of[e.id]);
		key_of[e.id] = 0;
	}
}

static void test_charge(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, fair_charge(6000000, 100), 6000000);
	KUNIT_EXPECT_EQ(test, fair_charge(6000000, 200), 3000000);
	KUNIT_EXPECT_EQ(test, fair_charge(6000000, 1), 600000000);
	KUNIT_EXPECT_EQ(test, fair_charge(6000000, 10000), 60000);
	/* A host task whose weight is not known yet. */
	KUNIT_EXPECT_EQ(test, fair_charge(1, 0), 100);
}

static void test_floor_and_ceiling(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, fair_floor(5, 100, 10), 90);
	KUNIT_EXPECT_EQ(test, fair_floor(95, 100, 10), 95);
	KUNIT_EXPECT_EQ(test, fair_floor(200, 100, 10), 200);
	/* A clock that is younger than the lag. */
	KUNIT_EXPECT_EQ(test, fair_floor(0, 5, 10), 0);
	KUNIT_EXPECT_EQ(test, fair_ceiling(5, 10), 5);
	KUNIT_EXPECT_EQ(test, fair_ceiling(15, 10), 10);
}

/* Whoever comes from another node is neither far ahead nor far behind, whatever the clocks. */
static void test_translate(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, fair_translate(105, 100, 5000, 10), 5005);
	KUNIT_EXPECT_EQ(test, fair_translate(95, 100, 5000, 10), 4995);
	KUNIT_EXPECT_EQ(test, fair_translate(200, 100, 5000, 10), 5010);
	KUNIT_EXPECT_EQ(test, fair_translate(0, 100, 5000, 10), 4990);
	KUNIT_EXPECT_EQ(test, fair_translate(5000, 4995, 100, 10), 105);
	KUNIT_EXPECT_EQ(test, fair_translate(4995, 5000, 3, 10), 0);
}

static void test_recent(struct kunit *test)
{
	u64 mean = 0;
	int i;

	KUNIT_EXPECT_EQ(test, fair_recent(1600, 1600, 16), 1600);
	for (i = 0; i < 200; i++)
		mean = fair_recent(mean, 16000, 16);
	KUNIT_EXPECT_GT(test, mean, 15900);
	KUNIT_EXPECT_LE(test, mean, 16000);
}

/* Windows end on a grid that all nodes share, and are half a length to one and a half. */
static void test_window_end(struct kunit *test)
{
	const u64 length = 6000000;
	struct rnd_state rnd;
	u64 now, end;
	u32 i;

	seed_random(test, &rnd);
	for (i = 0; i < 1000; i++) {
		now = ((u64)random_below(&rnd, U32_MAX) << 16) + random_below(&rnd, 65536);
		end = fair_window_end(now, length);
		KUNIT_ASSERT_EQ(test, end % length, 0);
		KUNIT_ASSERT_GE(test, end - now, length / 2);
		KUNIT_ASSERT_LT(test, end - now, length / 2 + length);
	}
}

/* It lies between what it was and the sample, and gets to what is said often enough. */
static void test_mean(struct kunit *test)
{
	const u64 reach = 96000000;
	u64 mean = 6000000, next;
	u32 i;

	KUNIT_EXPECT_EQ(test, fair_mean(mean, mean, reach), mean);
	for (i = 0; i < 10000; i++) {
		next = fair_mean(mean, 100000, reach);
		KUNIT_ASSERT_LE(test, next, mean);
		KUNIT_ASSERT_GE(test, next, 100000);
		mean = next;
	}
	KUNIT_EXPECT_LT(test, mean, 200000);
	/* Weighted by length: a few long runs count for more than many short ones. */
	for (i = 0; i < 100; i++)
		mean = fair_mean(mean, 6000000, reach);
	KUNIT_EXPECT_GT(test, mean, 5500000);
}

static void test_home(struct kunit *test)
{
	/* Two of four on a node of four: the other, empty one does not call. */
	KUNIT_EXPECT_FALSE(test, home_better(2, 0, 4, 4, 4));
	/* Six of four: it does, for who fits there. */
	KUNIT_EXPECT_TRUE(test, home_better(2, 0, 4, 6, 4));
	KUNIT_EXPECT_TRUE(test, home_better(2, 3, 4, 6, 4));
	/* As crowded as here, once there: stay. */
	KUNIT_EXPECT_FALSE(test, home_better(2, 4, 4, 6, 4));
	KUNIT_EXPECT_FALSE(test, home_better(4, 4, 4, 8, 4));
	/* A node twice as large bears twice as much. */
	KUNIT_EXPECT_TRUE(test, home_better(2, 8, 8, 6, 4));
	KUNIT_EXPECT_FALSE(test, home_better(2, 10, 8, 6, 4));
	/* To where its memory is a VM goes if that does not make the node crowded. */
	KUNIT_EXPECT_TRUE(test, home_fits(2, 2, 4));
	KUNIT_EXPECT_FALSE(test, home_fits(2, 3, 4));
}

static void test_home_parts(struct kunit *test)
{
	u32 vcpus, parts, vcpu, part, last, size[16];

	KUNIT_EXPECT_EQ(test, home_parts(4, 4, 2), 1);
	KUNIT_EXPECT_EQ(test, home_parts(5, 4, 2), 2);
	KUNIT_EXPECT_EQ(test, home_parts(9, 4, 2), 2);
	KUNIT_EXPECT_EQ(test, home_parts(0, 4, 2), 1);
	/* Nodes that the user wants, but without pCPUs. */
	KUNIT_EXPECT_EQ(test, home_parts(5, 0, 0), 1);
	/* Who is numbered beyond what is counted by now belongs somewhere, too. */
	KUNIT_EXPECT_EQ(test, home_part(7, 4, 2), 1);
	KUNIT_EXPECT_EQ(test, home_part(7, 4, 0), 0);
	for (vcpus = 1; vcpus <= 100; vcpus++) {
		for (parts = 1; parts <= ARRAY_SIZE(size) && parts <= vcpus; parts++) {
			memset(size, 0, sizeof(size));
			for (vcpu = last = 0; vcpu < vcpus; vcpu++) {
				part = home_part(vcpu, vcpus, parts);
				KUNIT_ASSERT_LT(test, part, parts);
				KUNIT_ASSERT_GE(test, part, last);
				last = part;
				size[part]++;
			}
			for (part = 0; part < parts; part++) {
				KUNIT_ASSERT_EQ(test, size[part],
						home_part_size(part, vcpus, parts));
				KUNIT_ASSERT_GE(test, size[part], vcpus / parts);
				KUNIT_ASSERT_LE(test, size[part], (vcpus + parts - 1) / parts);
			}
			KUNIT_ASSERT_EQ(test, home_part_size(parts, vcpus, parts), 0);
		}
	}
}

#define NODES	4
#define VMS	40

static const u32 cpus[NODES] = { 4, 4, 8, 16 };

/* Does a VM of @width, whose memory is on @memory, move from @here to @node? */
static bool moves_to(const u32 *load, u32 width, u32 here, u32 node, u32 memory)
{
	if (home_better(width, load[node], cpus[node], load[here], cpus[here]))
		return true;
	return node == memory && home_fits(width, load[node], cpus[node]);
}

/* The moves that @nr VMs make which begin anywhere, and those of the last round of all. */
static u32 homes_settle(struct rnd_state *rnd, u32 nr, u32 *last)
{
	u32 load[NODES] = {}, width[VMS], home[VMS], memory[VMS];
	u32 round, vm, node, here, moves = 0;

	for (vm = 0; vm < nr; vm++) {
		width[vm] = 1 + random_below(rnd, 8);
		home[vm] = random_below(rnd, NODES);
		memory[vm] = random_below(rnd, NODES);
		load[home[vm]] += width[vm];
	}
	for (round = 0, *last = 1; *last && round < 1000; round++) {
		*last = 0;
		for (vm = 0; vm < nr; vm++) {
			for (node = 0; node < NODES; node++) {
				here = home[vm];
				if (node == here ||
				    !moves_to(load, width[vm], here, node, memory[vm]))
					continue;
				load[here] -= width[vm];
				load[node] += width[vm];
				home[vm] = node;
				++*last;
				moves++;
			}
		}
	}
	return moves;
}

/* However VMs begin, they come to rest, and nobody can then do better alone. */
static void test_homes_settle(struct kunit *test)
{
	struct rnd_state rnd;
	u32 nr, last, moves = 0;

	seed_random(test, &rnd);
	for (nr = 1; nr <= VMS; nr++) {
		moves += homes_settle(&rnd, nr, &last);
		KUNIT_ASSERT_EQ(test, last, 0);
	}
	KUNIT_EXPECT_GT(test, moves, 0);
}

static void test_budget(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, budget_earned(6000000, 1500), 9000000);
	KUNIT_EXPECT_EQ(test, budget_earned(3600 * BUDGET_SECOND, 1), 1000000);
	KUNIT_EXPECT_EQ(test, budget_burst(4, 2000000, 1500), 8000000);
	KUNIT_EXPECT_EQ(test, budget_burst(4, 2000000, 1), 1000000);
	KUNIT_EXPECT_EQ(test, budget_burst(0, 2000000, 1000), 2000000);
	KUNIT_EXPECT_EQ(test, budget_wait(8000000, 8000000, 1000), 0);
	KUNIT_EXPECT_EQ(test, budget_wait(-2000000, 8000000, 1000), 10000001);
	/* Four that draw while one and a half is earned. */
	KUNIT_EXPECT_EQ(test, budget_lasts(5000000, 4, 1500), 2000001);
	KUNIT_EXPECT_EQ(test, budget_lasts(-5, 4, 1500), 1);
	KUNIT_EXPECT_EQ(test, budget_lasts(5, 1, 1500), 0);
	KUNIT_EXPECT_EQ(test, budget_lasts(8000000, 4, 3999), BUDGET_SECOND);
}

/* Turns as long as the budget lasts, and pauses until there is one: the limit comes out of it. */
static void test_budget_turns(struct kunit *test)
{
	static const u32 limits[] = { 1, 10, 100, 1500, 3999 };
	const u32 vcpus = 4;
	u64 ns, now, used;
	s64 budget, burst;
	u32 i, turn;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		burst = budget_burst(vcpus, 2000000, limits[i]);
		budget = burst;
		now = 0;
		used = 0;
		for (turn = 0; turn < 1000; turn++) {
			do {
				ns = budget_lasts(budget, vcpus, limits[i]);
				now += ns;
				used += vcpus * ns;
				budget += (s64)budget_earned(ns, limits[i]) - (s64)(vcpus * ns);
			} while (budget > 0);
			ns = budget_wait(budget, burst, limits[i]);
			KUNIT_ASSERT_LE(test, ns, 2 * BUDGET_SECOND);
			now += ns;
			budget += budget_earned(ns, limits[i]);
		}
		/* Within a thousandth: earnings are rounded down to a nanosecond each time. */
		KUNIT_EXPECT_LE(test, used * 1000, now / 1000 * limits[i] * 1001);
		KUNIT_EXPECT_GE(test, used * 1000, now / 1000 * limits[i] * 999);
	}
}

/* Of four vCPUs on four pCPUs: what others have, these are ready for. */
static void test_target_settles(struct kunit *test)
{
	const u32 width = 4, aim = width * target_aim(50);
	u64 allowance, last;
	u32 step;

	for (allowance = 4000, step = 0; allowance > width * 50; step++) {
		last = allowance;
		allowance = target_step(allowance, (s64)allowance - aim, aim, 0);
		KUNIT_ASSERT_LT(test, allowance, last);
	}
	KUNIT_EXPECT_LE(test, step, 12);
	for (step = 0; step < 100; step++) {
		allowance = target_step(allowance, (s64)allowance - aim, aim, 0);
		KUNIT_ASSERT_GE(test, allowance, aim);
	}
	KUNIT_EXPECT_LE(test, allowance, aim + 4);
}

static void test_target(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, target_aim(1), 1);
	KUNIT_EXPECT_EQ(test, target_aim(1000), 875);
	/* More when they wait for less, and of what nobody uses; never less than none. */
	KUNIT_EXPECT_EQ(test, target_step(100, -40, 150, 0), 110);
	KUNIT_EXPECT_EQ(test, target_step(100, -40, 150, 2000), 610);
	KUNIT_EXPECT_EQ(test, target_step(100, 0, 150, 0), 100);
	KUNIT_EXPECT_EQ(test, target_step(100, 3000, 150, 2000), 0);

	KUNIT_EXPECT_TRUE(test, target_is_feasible(4200, 200, 4000));
	KUNIT_EXPECT_FALSE(test, target_is_feasible(4201, 200, 4000));

	KUNIT_EXPECT_EQ(test, target_part(1000, 400, 1000), 400);
	KUNIT_EXPECT_EQ(test, target_part(1000, 1000, 4000), 250);
	KUNIT_EXPECT_EQ(test, target_part(0, 1000, 4000), 0);
}

static void test_quota(struct kunit *test)
{
	const u64 quota = 50000000, period = 100000000;

	KUNIT_EXPECT_EQ(test, quota_periods(5, 5, period), 0);
	KUNIT_EXPECT_EQ(test, quota_periods(5, 4, period), 0);
	KUNIT_EXPECT_EQ(test, quota_periods(5, 4 + period, period), 0);
	KUNIT_EXPECT_EQ(test, quota_periods(5, 5 + period, period), 1);
	KUNIT_EXPECT_EQ(test, quota_earned(2, quota), 2 * quota);
	/* After a year as after a while. */
	KUNIT_EXPECT_EQ(test, quota_earned(1ULL << 60, quota), 3 * quota);
	KUNIT_EXPECT_EQ(test, quota_bounded(-60000000, quota, 0), -50000000);
	KUNIT_EXPECT_EQ(test, quota_bounded(60000000, quota, 0), 50000000);
	KUNIT_EXPECT_EQ(test, quota_bounded(60000000, quota, 7000000), 57000000);
	KUNIT_EXPECT_EQ(test, quota_bounded(-3, quota, 0), -3);
	/* Nothing left, a bit owed, and all that can be owed. */
	KUNIT_EXPECT_EQ(test, quota_next(0, quota, period, 5), 5 + period);
	KUNIT_EXPECT_EQ(test, quota_next(-1, quota, period, 5), 5 + period);
	KUNIT_EXPECT_EQ(test, quota_next(-50000000, quota, period, 5), 5 + 2 * period);
	KUNIT_EXPECT_EQ(test, quota_lasts(6000000, 3, 1000), 2000000);
	KUNIT_EXPECT_EQ(test, quota_lasts(6000000, 0, 1000), 6000000);
	KUNIT_EXPECT_EQ(test, quota_lasts(-1, 3, 1000), 1000);
}

/* Several that draw at a time, each overdrawing it a bit: what they get in the end is the quota. */
static void test_quota_periods(struct kunit *test)
{
	static const u64 quotas[] = { 1000000, 50000000, 250000000 };
	const u64 period = 100000000, late = 5000, tasks = 4;
	u64 now, since, ns, used, periods;
	u32 i, turn;
	s64 budget;

	for (i = 0; i < ARRAY_SIZE(quotas); i++) {
		budget = quotas[i];
		since = 0;
		now = 0;
		used = 0;
		for (turn = 0; turn < 1000; turn++) {
			ns = quota_lasts(budget, tasks, 1000) + late;
			now += ns;
			used += tasks * ns;
			budget = quota_bounded(budget - (s64)(tasks * ns), quotas[i], 0);
			if (budget <= 0)
				now = quota_next(budget, quotas[i], period, since);
			periods = quota_periods(since, now, period);
			since += periods * period;
			budget = quota_bounded(budget + quota_earned(periods, quotas[i]),
					       quotas[i], 0);
			KUNIT_ASSERT_GT(test, budget, 0);
		}
		periods = now / period;
		KUNIT_EXPECT_LE(test, used, (periods + 2) * quotas[i]);
		KUNIT_EXPECT_GE(test, used, (periods - 2) * quotas[i]);
	}
}

static void test_core(struct kunit *test)
{
	u64 word = core_word(0, 1);

	KUNIT_EXPECT_EQ(test, core_in(word), 0);
	word = core_entered(word, 0, 7);
	KUNIT_EXPECT_TRUE(test, core_is_for(word, 0, 7));
	KUNIT_EXPECT_FALSE(test, core_is_for(word, 1, 7));
	/* Of the same owner others may enter, of another one nobody but who is alone. */
	KUNIT_EXPECT_EQ(test, core_entered(word, 1, 8), 0);
	KUNIT_EXPECT_TRUE(test, core_is_for(core_entered(word, 0, 8), 0, 8));
	word = core_entered(word, 1, 7);
	KUNIT_EXPECT_EQ(test, core_in(word), 3);
	KUNIT_EXPECT_EQ(test, core_entered(word, 0, 8), 0);
	/* Who leaves is still in, until it has been seen to have gone. */
	word = core_left(word, 1);
	KUNIT_EXPECT_EQ(test, core_in(word), 3);
	KUNIT_EXPECT_EQ(test, core_leaving(word), 2);
	KUNIT_EXPECT_EQ(test, core_entered(word, 0, 8), 0);
	KUNIT_EXPECT_EQ(test, core_leaving(core_entered(word, 1, 7)), 0);
	word = core_without(word, core_leaving(word));
	KUNIT_EXPECT_EQ(test, core_in(word), 1);
	KUNIT_EXPECT_TRUE(test, core_is_for(core_entered(word, 0, 8), 0, 8));
	/* Who is not in cannot leave. */
	KUNIT_EXPECT_EQ(test, core_left(word, 1), word);
	/* Another epoch knows nothing of this one, whose number has 16 bits. */
	KUNIT_EXPECT_EQ(test, core_word(word, 1), word);
	KUNIT_EXPECT_EQ(test, core_word(word, CORE_EPOCHS + 2), word);
	KUNIT_EXPECT_EQ(test, core_in(core_word(word, 2)), 0);
}

/*
 * Threads of a core enter, leave and are seen to have gone in any order: those that are in are
 * always there for one owner.
 */
static void test_core_mixed(struct kunit *test)
{
	u32 in_for[CORE_THREADS] = {}, thread, owner, i, turn;
	struct rnd_state rnd;
	u64 word = 0, next;

	seed_random(test, &rnd);
	for (turn = 0; turn < 100000; turn++) {
		thread = random_below(&rnd, CORE_THREADS);
		owner = 1 + random_below(&rnd, 3);
		if (random_below(&rnd, 2)) {
			word = core_left(word, thread);
			if (random_below(&rnd, 2) && core_leaving(word) >> thread & 1) {
				word = core_without(word, 1U << thread);
				in_for[thread] = 0;
			}
		} else {
			next = core_entered(word, thread, owner);
			for (i = 0; i < CORE_THREADS; i++)
				if (i != thread && in_for[i] && in_for[i] != owner)
					break;
			KUNIT_ASSERT_EQ(test, !!next, i == CORE_THREADS);
			if (next) {
				word = next;
				in_for[thread] = owner;
			}
		}
		for (i = 0; i < CORE_THREADS; i++)
			KUNIT_ASSERT_EQ(test, !!in_for[i], core_in(word) >> i & 1);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_heap_empty),
	KUNIT_CASE(test_heap_full),
	KUNIT_CASE(test_heap_mixed),
	KUNIT_CASE(test_charge),
	KUNIT_CASE(test_floor_and_ceiling),
	KUNIT_CASE(test_translate),
	KUNIT_CASE(test_recent),
	KUNIT_CASE(test_window_end),
	KUNIT_CASE(test_mean),
	KUNIT_CASE(test_budget),
	KUNIT_CASE(test_budget_turns),
	KUNIT_CASE(test_core),
	KUNIT_CASE(test_core_mixed),
	KUNIT_CASE(test_quota),
	KUNIT_CASE(test_quota_periods),
	KUNIT_CASE(test_home),
	KUNIT_CASE(test_home_parts),
	KUNIT_CASE(test_homes_settle),
	KUNIT_CASE(test_target),
	KUNIT_CASE(test_target_settles),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_sched",
	.test_cases = cases,
};

kunit_test_suite(suite);
