// SPDX-License-Identifier: GPL-2.0
/*
 * The arithmetic of account.h, against a vCPU thread whose life is made up (life.h).
 *
 * Not here: where the module takes these figures from. That is vcpu_test.c's for reads, and for
 * switches the selftests', which have real vCPUs.
 */
#include <kunit/test.h>

#include "kunit.h"
#include "life.h"

#define NS_PER_TICK	4000000ULL	/* HZ=250 */
#define STEP		1000ULL		/* ns, of a test that wants to see where time goes */

/* The events that lead to a state, and where the next one leads. All begin on a pCPU. */
struct transition {
	const char *name;
	enum event path[4];
	int steps;
	u32 to;
};

#define TRANSITION(_name, _to, ...)					\
	{								\
		.name = (_name),					\
		.path = { __VA_ARGS__ },				\
		.steps = ARRAY_SIZE(((enum event[]){ __VA_ARGS__ })),	\
		.to = (_to),						\
	}

static const struct transition transitions[] = {
	TRANSITION("run, preempted", KVMGANG_READY, PREEMPT),
	TRANSITION("run, halts", KVMGANG_HALTED, HALT),
	TRANSITION("run, blocks", KVMGANG_BLOCKED, BLOCK),
	TRANSITION("run, held: runs on", KVMGANG_RUN, COSTOP),
	TRANSITION("run, throttled: runs on", KVMGANG_RUN, THROTTLE),
	TRANSITION("run, released: runs on", KVMGANG_RUN, RELEASE),
	TRANSITION("run, held, preempted", KVMGANG_COSTOP, COSTOP, PREEMPT),
	TRANSITION("run, throttled, preempted", KVMGANG_THROTTLED, THROTTLE, PREEMPT),
	TRANSITION("run, held, released, preempted", KVMGANG_READY, COSTOP, RELEASE, PREEMPT),
	TRANSITION("run, held, halts", KVMGANG_HALTED, COSTOP, HALT),
	TRANSITION("preempted, runs", KVMGANG_RUN, PREEMPT, ARRIVE),
	TRANSITION("preempted, held", KVMGANG_COSTOP, PREEMPT, COSTOP),
	TRANSITION("preempted, throttled", KVMGANG_THROTTLED, PREEMPT, THROTTLE),
	TRANSITION("preempted, released", KVMGANG_READY, PREEMPT, RELEASE),
	TRANSITION("woken, runs", KVMGANG_RUN, BLOCK, WAKE, ARRIVE),
	TRANSITION("woken, held", KVMGANG_COSTOP, BLOCK, WAKE, COSTOP),
	TRANSITION("woken, throttled", KVMGANG_THROTTLED, HALT, WAKE, THROTTLE),
	TRANSITION("woken, released", KVMGANG_READY, HALT, WAKE, RELEASE),
	TRANSITION("held, runs", KVMGANG_RUN, PREEMPT, COSTOP, ARRIVE),
	TRANSITION("held, held again", KVMGANG_COSTOP, PREEMPT, COSTOP, COSTOP),
	TRANSITION("held, throttled", KVMGANG_THROTTLED, PREEMPT, COSTOP, THROTTLE),
	TRANSITION("held, released", KVMGANG_READY, PREEMPT, COSTOP, RELEASE),
	TRANSITION("throttled, runs", KVMGANG_RUN, PREEMPT, THROTTLE, ARRIVE),
	TRANSITION("throttled, held", KVMGANG_COSTOP, PREEMPT, THROTTLE, COSTOP),
	TRANSITION("throttled, released", KVMGANG_READY, PREEMPT, THROTTLE, RELEASE),
	TRANSITION("held, ran, preempted: not held", KVMGANG_READY, PREEMPT, COSTOP, ARRIVE,
		   PREEMPT),
	TRANSITION("halted, woken", KVMGANG_READY, HALT, WAKE),
	TRANSITION("halted, runs without a wait", KVMGANG_RUN, HALT, ARRIVE),
	TRANSITION("halted, held: sleeps on", KVMGANG_HALTED, HALT, COSTOP),
	TRANSITION("halted, held, woken", KVMGANG_COSTOP, HALT, COSTOP, WAKE),
	TRANSITION("halted, throttled, woken", KVMGANG_THROTTLED, HALT, THROTTLE, WAKE),
	TRANSITION("halted, held, released, woken", KVMGANG_READY, HALT, COSTOP, RELEASE, WAKE),
	TRANSITION("blocked, woken", KVMGANG_READY, BLOCK, WAKE),
	TRANSITION("blocked, runs without a wait", KVMGANG_RUN, BLOCK, ARRIVE),
	TRANSITION("blocked, throttled: sleeps on", KVMGANG_BLOCKED, BLOCK, THROTTLE),
	TRANSITION("blocked, throttled, woken", KVMGANG_THROTTLED, BLOCK, THROTTLE, WAKE),
	TRANSITION("blocked, ran, halts: another sleep", KVMGANG_HALTED, BLOCK, ARRIVE, HALT),
};

KUNIT_ARRAY_PARAM_DESC(transition, transitions, name);

/* @every: read after each event, so that states are settled while they last. */
static void walk(struct kunit *test, const struct transition *t, bool every)
{
	struct kvmgang_counters before;
	struct life l;
	int i;

	life_begin(&l);
	life_pass(&l, STEP);
	life_arrive(&l, false);
	for (i = 0; i < t->steps; i++) {
		life_pass(&l, STEP);
		life_event(&l, t->path[i]);
		if (every)
			expect_truth(test, &l);
	}
	KUNIT_EXPECT_EQ(test, account_state(&l.a, !!l.queued), t->to);
	life_pass(&l, STEP);
	expect_truth(test, &l);

	/* The life could be wrong in the same way as the account; the table is not. */
	before = l.a.count;
	life_read(&l, l.now + STEP);
	for (i = 0; i < KVMGANG_NR_STATES; i++)
		KUNIT_EXPECT_EQ(test, l.a.count.state_ns[i] - before.state_ns[i],
				i == t->to ? STEP : 0);
}

static void test_transition(struct kunit *test)
{
	walk(test, test->param_value, false);
	walk(test, test->param_value, true);
}

static void test_birth(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	KUNIT_EXPECT_EQ(test, l.a.born, BIRTH);
	KUNIT_EXPECT_EQ(test, account_state(&l.a, 0), KVMGANG_BLOCKED);
	expect_truth(test, &l);
	/* Until a thread serves it, it is blocked. */
	life_pass(&l, STEP);
	expect_truth(test, &l);
	KUNIT_EXPECT_EQ(test, l.a.count.state_ns[KVMGANG_BLOCKED], STEP);
}

/* Reads in the middle of each state: each finds what passed since the last. */
static void test_read_in_progress(struct kunit *test)
{
	static const enum event path[] = { PREEMPT, COSTOP, THROTTLE, RELEASE, ARRIVE, HALT, WAKE,
					   ARRIVE, BLOCK, COSTOP, WAKE, ARRIVE };
	struct life l;
	int i, reads;

	life_begin(&l);
	life_arrive(&l, true);
	for (i = 0; i < ARRAY_SIZE(path); i++) {
		for (reads = 0; reads < 3; reads++) {
			life_pass(&l, STEP);
			expect_truth(test, &l);
			/* The same instant again: nothing more. */
			expect_truth(test, &l);
		}
		life_event(&l, path[i]);
	}
	/* In progress or not, the parts of a wait make one episode. */
	KUNIT_EXPECT_EQ(test, waited(&l), l.run_delay);
	KUNIT_EXPECT_EQ(test, l.a.count.ready_hist[account_bucket(3 * STEP)], 1);
	KUNIT_EXPECT_EQ(test, l.a.count.ready_hist[account_bucket(6 * STEP)], 1);
}

static void test_episode(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 0);
	life_preempt(&l);
	life_pass(&l, 700);
	life_hold(&l, KVMGANG_COSTOP);
	life_pass(&l, 5000);
	life_hold(&l, 0);
	life_pass(&l, 50);
	/* What was held is no ready time. */
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 750);
	KUNIT_EXPECT_EQ(test, l.a.count.ready_hist[0], 1);
	KUNIT_EXPECT_EQ(test, l.a.episode, 0);

	/* Held all the time, or not waiting: no episode. */
	life_preempt(&l);
	life_hold(&l, KVMGANG_THROTTLED);
	life_pass(&l, 5000);
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 0);
	life_sleep(&l, KVMGANG_HALTED);
	life_pass(&l, 5000);
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 0);
	KUNIT_EXPECT_EQ(test, l.a.count.ready_hist[0], 1);
	KUNIT_EXPECT_EQ(test, l.a.count.ready_hist[account_bucket(5000)], 0);
	expect_truth(test, &l);
}

/* A hold that begins when the wait before it cannot be settled: that stays ready time. */
static void test_hold_unsettled(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	life_arrive(&l, false);
	life_preempt(&l);
	account_hold(&l.a, l.now + 300, KVMGANG_COSTOP, l.queued);
	/* Nor does a read that is older than the hold count as held. */
	life_read(&l, l.now + 100);
	KUNIT_EXPECT_EQ(test, l.a.count.state_ns[KVMGANG_READY], 100);
	l.now += 1000;
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 300);
	KUNIT_EXPECT_EQ(test, l.a.count.state_ns[KVMGANG_READY], 300);
	KUNIT_EXPECT_EQ(test, l.a.count.state_ns[KVMGANG_COSTOP], 700);
	expect_identity(test, &l);
}

/*
 * A hold that ends when the vCPU is about to run, by a clock that has gone on since the scheduler
 * stamped that: no more is held than was waited.
 */
static void test_hold_late(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	life_arrive(&l, false);
	life_preempt(&l);
	life_hold(&l, KVMGANG_COSTOP);
	life_pass(&l, 1000);
	account_hold(&l.a, l.now + 24, 0, l.queued);
	l.hold = 0;
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 0);
	expect_truth(test, &l);
	/* What was too much of it is not held against the next wait. */
	life_preempt(&l);
	life_pass(&l, 1000);
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 1000);
	expect_truth(test, &l);
}

/* Read as of before the hold ended, and after: it is all settled as held in the end. */
static void test_hold_read_late(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	life_arrive(&l, false);
	life_preempt(&l);
	life_pass(&l, 500);
	life_hold(&l, KVMGANG_THROTTLED);
	life_pass(&l, 1000);
	life_hold(&l, KVMGANG_COSTOP);
	life_pass(&l, 100);
	life_hold(&l, 0);
	life_read(&l, l.now - 800);
	KUNIT_EXPECT_EQ(test, waited(&l), 800);
	life_pass(&l, 300);
	KUNIT_EXPECT_EQ(test, life_arrive(&l, false), 800);
	expect_truth(test, &l);
}

/* A preempted vCPU's time that the scheduler did not count as a wait is the switch's own cost. */
static void test_switch_cost(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	life_arrive(&l, false);
	life_preempt(&l);
	l.now += 300;
	account_arrive(&l.a, l.now, 100, 0);
	KUNIT_EXPECT_EQ(test, l.a.count.state_ns[KVMGANG_READY], 100);
	KUNIT_EXPECT_EQ(test, l.a.count.state_ns[KVMGANG_RUN], 200);
	expect_identity(test, &l);
}

static void test_remote(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	life_arrive(&l, true);
	life_pass(&l, 100);
	life_read(&l, l.now);
	KUNIT_EXPECT_EQ(test, l.a.count.run_remote_ns, 100);
	/* Neither a wait nor a sleep is remote. */
	life_preempt(&l);
	life_pass(&l, 100);
	life_arrive(&l, true);
	life_sleep(&l, KVMGANG_HALTED);
	life_pass(&l, 100);
	life_arrive(&l, false);
	life_pass(&l, 100);
	expect_truth(test, &l);
	KUNIT_EXPECT_EQ(test, l.a.count.run_remote_ns, 100);
}

static void test_shared(struct kunit *test)
{
	struct kvmgang_account a = {};

	account_born(&a, BIRTH);
	account_arrive(&a, BIRTH, 0, 0);
	account_fill(&a, KVMGANG_RUN, BIRTH + 1000);
	account_shared(&a, 400);
	KUNIT_EXPECT_EQ(test, a.count.run_shared_ns, 400);
	account_shared(&a, 600);
	KUNIT_EXPECT_EQ(test, a.count.run_shared_ns, 1000);
	/* Never more than there was of run. */
	account_shared(&a, 1);
	KUNIT_EXPECT_EQ(test, a.count.run_shared_ns, 1000);
}

/* A read that is a tick ahead of the next event, in each state: nothing is lost or taken back. */
static void test_clock_backwards(struct kunit *test)
{
	static const enum event path[] = { PREEMPT, COSTOP, ARRIVE, HALT, WAKE, ARRIVE, BLOCK,
					   ARRIVE };
	struct kvmgang_counters before;
	struct life l;
	u64 cursor;
	int i, j;

	life_begin(&l);
	life_arrive(&l, false);
	for (i = 0; i < ARRAY_SIZE(path); i++) {
		life_pass(&l, 10 * NS_PER_TICK);
		life_read(&l, l.now + NS_PER_TICK);
		KUNIT_EXPECT_GE(test, l.a.cursor, l.now + NS_PER_TICK);
		expect_identity(test, &l);
		before = l.a.count;
		cursor = l.a.cursor;

		life_event(&l, path[i]);
		life_read(&l, l.now);
		KUNIT_EXPECT_GE(test, l.a.cursor, cursor);
		for (j = 0; j < KVMGANG_NR_STATES; j++)
			KUNIT_EXPECT_GE(test, l.a.count.state_ns[j], before.state_ns[j]);
		expect_identity(test, &l);
	}
	/* And once the clock is past all of that, it is at the present again. */
	life_pass(&l, ARRAY_SIZE(path) * NS_PER_TICK);
	life_read(&l, l.now);
	KUNIT_EXPECT_EQ(test, l.a.cursor, l.now);
	expect_identity(test, &l);
}

static void test_fill_backwards(struct kunit *test)
{
	struct kvmgang_account a = {};

	account_born(&a, BIRTH);
	account_fill(&a, KVMGANG_HALTED, BIRTH + 100);
	account_fill(&a, KVMGANG_RUN, BIRTH + 99);
	account_fill(&a, KVMGANG_RUN, BIRTH + 100);
	account_fill(&a, KVMGANG_RUN, 0);
	KUNIT_EXPECT_EQ(test, a.cursor, BIRTH + 100);
	KUNIT_EXPECT_EQ(test, a.count.state_ns[KVMGANG_HALTED], 100);
	KUNIT_EXPECT_EQ(test, a.count.state_ns[KVMGANG_RUN], 0);
}

/*
 * The scheduler's clock stood still: it counts less of the wait than a read saw. The read's figure
 * stays, and the next wait counts in full.
 */
static void test_run_delay_behind(struct kunit *test)
{
	struct life l;

	life_begin(&l);
	life_arrive(&l, false);
	life_preempt(&l);
	life_pass(&l, 1000);
	life_read(&l, l.now);
	KUNIT_EXPECT_EQ(test, account_arrive(&l.a, l.now, 900, 0), 1000);
	KUNIT_EXPECT_EQ(test, waited(&l), 1000);

	account_depart(&l.a, l.now, KVMGANG_RUN);
	l.now += 500;
	KUNIT_EXPECT_EQ(test, account_arrive(&l.a, l.now, 1400, 0), 500);
	KUNIT_EXPECT_EQ(test, waited(&l), 1500);
	expect_identity(test, &l);
}

/* A wait longer than the clock is old, as on a host that has just booted, or than the life is. */
static void test_long_wait(struct kunit *test)
{
	struct kvmgang_account a = {};

	account_born(&a, 5);
	account_wait(&a, 10, 100);
	KUNIT_EXPECT_EQ(test, a.count.state_ns[KVMGANG_READY], 100);
	KUNIT_EXPECT_EQ(test, a.count.state_ns[KVMGANG_BLOCKED], 0);
	KUNIT_EXPECT_EQ(test, a.cursor, 105);

	a = (struct kvmgang_account){};
	account_born(&a, 1000);
	account_wait(&a, 1010, 100);
	KUNIT_EXPECT_EQ(test, a.count.state_ns[KVMGANG_READY], 100);
	KUNIT_EXPECT_EQ(test, a.count.state_ns[KVMGANG_BLOCKED], 0);
	KUNIT_EXPECT_EQ(test, a.cursor, 1100);
}

static enum event random_event(const struct life *l, struct rnd_state *rnd)
{
	static const enum event off_run[] = { PREEMPT, PREEMPT, HALT, BLOCK, COSTOP, RELEASE };
	static const enum event queued[] = { ARRIVE, ARRIVE, ARRIVE, COSTOP, THROTTLE, RELEASE };
	static const enum event asleep[] = { WAKE, WAKE, WAKE, ARRIVE, THROTTLE, RELEASE };
	u32 i = random_below(rnd, ARRAY_SIZE(queued));

	if (l->running)
		return off_run[i];
	return l->queued ? queued[i] : asleep[i];
}

/* From nothing to some ticks: all orders of magnitude are as likely. */
static u64 random_ns(struct rnd_state *rnd)
{
	return prandom_u32_state(rnd) >> (7 + random_below(rnd, 25));
}

/* The bucket by the words of the uapi header and not by bits. */
static int bucket_of(u64 ns)
{
	int i;

	for (i = 0; i < KVMGANG_READY_BUCKETS - 1; i++)
		if (ns < 1ULL << (KVMGANG_READY_SHIFT + i))
			break;
	return i;
}

static void random_arrive(struct kunit *test, struct life *l, struct rnd_state *rnd)
{
	u64 episode = l->episode;

	l->episode = 0;
	if (episode)
		l->truth.ready_hist[bucket_of(episode)]++;
	KUNIT_ASSERT_EQ(test, life_arrive(l, random_below(rnd, 2)), episode);
	KUNIT_ASSERT_EQ(test, waited(l), l->run_delay);
}

#define LIVES		8
#define EVENTS		8192	/* each */

static void test_random(struct kunit *test)
{
	struct rnd_state rnd;
	struct life l;
	enum event event;
	int life, i;

	seed_random(test, &rnd);
	for (life = 0; life < LIVES; life++) {
		life_begin(&l);
		for (i = 0; i < EVENTS; i++) {
			life_pass(&l, random_ns(&rnd));
			/* Most go unseen until later. */
			if (!random_below(&rnd, 3))
				expect_truth(test, &l);
			event = random_event(&l, &rnd);
			if (event == ARRIVE)
				random_arrive(test, &l, &rnd);
			else
				life_event(&l, event);
			expect_identity(test, &l);
		}
		expect_truth(test, &l);
		KUNIT_ASSERT_MEMEQ(test, l.a.count.ready_hist, l.truth.ready_hist,
				   sizeof(l.truth.ready_hist));
	}
}

/* Counters, as one array, never go back. */
static void expect_monotonic(struct kunit *test, struct kvmgang_counters *before,
			     const struct life *l)
{
	const u64 *was = (u64 *)before, *is = (u64 *)&l->a.count;
	int i;

	for (i = 0; i < sizeof(*before) / sizeof(*is); i++)
		KUNIT_ASSERT_GE_MSG(test, is[i], was[i], "counter %d", i);
	*before = l->a.count;
}

/* Reads up to a tick ahead of the scheduler's clock, or behind it. */
static void test_random_clock(struct kunit *test)
{
	struct kvmgang_counters before = {};
	struct rnd_state rnd;
	struct life l;
	u64 skew, cursor;
	int i;

	seed_random(test, &rnd);
	life_begin(&l);
	for (i = 0; i < EVENTS; i++) {
		life_pass(&l, random_ns(&rnd));
		skew = random_below(&rnd, 2 * NS_PER_TICK);
		cursor = l.a.cursor;
		life_read(&l, l.now + skew - NS_PER_TICK);
		life_event(&l, random_event(&l, &rnd));
		KUNIT_ASSERT_GE(test, l.a.cursor, cursor);
		expect_identity(test, &l);
		expect_monotonic(test, &before, &l);
		if (l.running)
			KUNIT_ASSERT_GE(test, waited(&l), l.run_delay);
	}
	/* Later than all that may have been charged ahead. */
	if (!l.running)
		life_arrive(&l, false);
	life_pass(&l, EVENTS * NS_PER_TICK);
	life_read(&l, l.now);
	KUNIT_EXPECT_EQ(test, l.a.cursor, l.now);
	expect_identity(test, &l);
}

static void test_buckets(struct kunit *test)
{
	u64 edge;
	int i;

	KUNIT_EXPECT_EQ(test, account_bucket(0), 0);
	KUNIT_EXPECT_EQ(test, account_bucket(1), 0);
	for (i = 1; i < KVMGANG_READY_BUCKETS; i++) {
		edge = 1ULL << (i + 9);
		KUNIT_EXPECT_EQ(test, account_bucket(edge - 1), i - 1);
		KUNIT_EXPECT_EQ(test, account_bucket(edge), i);
		KUNIT_EXPECT_EQ(test, account_bucket(edge + 1), i);
	}
	/* The last has no upper bound. */
	for (i = 40; i < 64; i++) {
		KUNIT_EXPECT_EQ(test, account_bucket(1ULL << i), KVMGANG_READY_BUCKETS - 1);
		KUNIT_EXPECT_EQ(test, account_bucket(2 * (1ULL << i) - 1),
				KVMGANG_READY_BUCKETS - 1);
	}
}

/* An episode goes into one bucket, once, at its end. */
static void test_histogram(struct kunit *test)
{
	u64 expected[KVMGANG_READY_BUCKETS] = {};
	struct life l;
	u64 ns;
	int i;

	life_begin(&l);
	life_arrive(&l, false);
	for (i = 0; i <= 41; i++) {
		ns = 1ULL << i;
		life_preempt(&l);
		life_pass(&l, ns);
		life_read(&l, l.now);
		KUNIT_ASSERT_MEMEQ(test, l.a.count.ready_hist, expected, sizeof(expected));
		KUNIT_ASSERT_EQ(test, life_arrive(&l, false), ns);
		expected[bucket_of(ns)]++;
		KUNIT_ASSERT_MEMEQ(test, l.a.count.ready_hist, expected, sizeof(expected));
	}
}

static void test_sum(struct kunit *test)
{
	const int nr = sizeof(struct kvmgang_counters) / sizeof(u64);
	struct kvmgang_counters sum, add;
	int i;

	for (i = 0; i < nr; i++) {
		((u64 *)&sum)[i] = i;
		((u64 *)&add)[i] = 1000 * i;
	}
	account_sum(&sum, &add);
	for (i = 0; i < nr; i++) {
		KUNIT_EXPECT_EQ(test, ((u64 *)&sum)[i], 1001 * i);
		KUNIT_EXPECT_EQ(test, ((u64 *)&add)[i], 1000 * i);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(test_birth),
	KUNIT_CASE_PARAM(test_transition, transition_gen_params),
	KUNIT_CASE(test_read_in_progress),
	KUNIT_CASE(test_episode),
	KUNIT_CASE(test_hold_unsettled),
	KUNIT_CASE(test_hold_late),
	KUNIT_CASE(test_hold_read_late),
	KUNIT_CASE(test_switch_cost),
	KUNIT_CASE(test_remote),
	KUNIT_CASE(test_shared),
	KUNIT_CASE(test_clock_backwards),
	KUNIT_CASE(test_fill_backwards),
	KUNIT_CASE(test_run_delay_behind),
	KUNIT_CASE(test_long_wait),
	KUNIT_CASE(test_random),
	KUNIT_CASE(test_random_clock),
	KUNIT_CASE(test_buckets),
	KUNIT_CASE(test_histogram),
	KUNIT_CASE(test_sum),
	{}
};

static struct kunit_suite suite = {
	.name = "kvmgang_account",
	.test_cases = cases,
};

kunit_test_suite(suite);
